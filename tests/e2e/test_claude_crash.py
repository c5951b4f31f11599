"""`kill -9` of daemon, engine and box while the real engine works: one turn, one acknowledgement, one effect.

Issue 3: "the turn is adopted, its message acknowledged once, the call's effect once"; D-16, D-18, D-19, D-23, D-44,
invariants 3, 31, 32.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from melipona.testing.claude_hive import (
    ENGINE,
    UNTIL_GO,
    ClaudeHive,
    ends,
    running_claude_hive,
    script,
    send,
    shell,
)

pytestmark = [pytest.mark.boxes, pytest.mark.claude]


def restarted(hive: ClaudeHive) -> None:
    """Kill the daemon and start another, which takes the turn over."""
    hive.kill()
    hive.start()
    hive.wait_for("turn.adopted", lambda e: e["agent"] == "ana")


def went_on_once(hive: ClaudeHive, message: int) -> None:
    """One turn, which ended well; the message was handed out and acknowledged once."""
    turn = hive.ended()
    assert turn["result"] == "ok", turn
    after = hive.message(message)
    assert (after["state"], after["attempts"], after["failures"]) == ("handled", 1, 0)
    assert hive.count("message.handled", lambda e: e["subject"] == f"m{message}") == 1
    assert hive.count("turn.started", lambda e: e["agent"] == "ana") == 1
    assert hive.count("agent.crashed") == 0


def test_the_daemon_dies_while_the_model_streams(tmp_path: Path) -> None:
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        message = hive.send("ana", script({"slow": 1.5}))
        hive.wait_for("turn.started")
        hive.hear(1, "text_delta")
        engine = hive.engine()
        restarted(hive)
        went_on_once(hive, message)
        assert hive.engine() == engine
        assert [end["end"] for end in hive.stub.ends] == ["aborted", "done"]
        turn = hive.client.get("/turns/1")
        assert turn["tokens"]["input"] >= 2000, "the call that was cut was paid for too"


def test_the_daemon_dies_while_a_tool_runs(tmp_path: Path) -> None:
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        steps = [shell(f"mel send operator begun; echo run >> /ws/runs; {UNTIL_GO}; cat /ws/runs"), send("after")]
        message = hive.send("ana", script(*steps, {"text": "bye"}))
        hive.told("begun")
        restarted(hive)
        hive.go()
        went_on_once(hive, message)
        assert hive.answers("ana") == ["begun", "after"]
        assert hive.results_of(1)[0]["text"].split()[-1:] == ["run"]


def test_the_daemon_dies_while_a_tool_runs_and_stays_away_until_the_turn_is_over(tmp_path: Path) -> None:
    """The engine's last words wait in the box."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        message = hive.send("ana", script(shell(f"mel send operator begun; {UNTIL_GO}"), {"text": "bye"}))
        hive.told("begun")
        tools = [ends(pid) for pid, line in hive.inside().items() if not line.startswith(ENGINE)]
        assert tools
        hive.kill()
        hive.go()
        for over in tools:
            over(20)
        hive.start()
        went_on_once(hive, message)


def test_the_daemon_dies_while_receive_waits(tmp_path: Path) -> None:
    """D-19: the call goes on with the next daemon, and what it then receives is leased to the same turn."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        waits = {"tool": "mcp__melipona__receive", "input": {"wait_seconds": 120}}
        message = hive.send("ana", script(waits, send("received"), {"text": "bye"}))
        hive.wait_for("turn.waiting")
        restarted(hive)
        second = hive.send("ana", "this ends the waiting")
        went_on_once(hive, message)
        assert hive.answers("ana") == ["received"]
        after = hive.message(second)
        assert (after["state"], after["attempts"]) == ("handled", 1)
        assert "this ends the waiting" in hive.results_of(1)[0]["text"]


def dying(moment: str, folder: Path) -> tuple[str, ...]:
    """What Python runs for a daemon that dies at that moment, once."""
    return ("-m", "melipona.testing.crashing_daemon", moment, str(folder / "died"))


@pytest.mark.parametrize("moment", ["prompt-stored", "prompt-written"])
def test_the_daemon_dies_around_the_writing_of_the_prompt(tmp_path: Path, moment: str) -> None:
    """D-44: the next daemon neither loses the line nor writes it twice."""
    with running_claude_hive(tmp_path, program=dying(moment, tmp_path)) as hive:
        hive.claude()
        message = hive.send("ana", script(send("once only"), {"text": "bye"}))
        hive.died()
        hive.start()
        hive.wait_for("turn.adopted")
        went_on_once(hive, message)
        assert hive.answers("ana") == ["once only"]
        assert len(hive.asked) == 2, "the call of the tool, and the end"


def test_the_daemon_dies_when_send_is_done_and_its_answer_is_not(tmp_path: Path) -> None:
    """D-23: the relay asks again, the answer is the recorded one, and one message is there."""
    with running_claude_hive(tmp_path, program=dying("send", tmp_path)) as hive:
        hive.claude()
        message = hive.send("ana", script(send("once only"), {"text": "bye"}))
        hive.died()
        hive.start()
        went_on_once(hive, message)
        assert hive.answers("ana") == ["once only"]
        [result] = hive.results_of(1)
        assert result["ok"], result
        assert hive.asked[-1]["results"] == [result["text"]], "the model never saw an error"


def test_mail_of_a_killed_engine_comes_back_flagged(tmp_path: Path) -> None:
    """D-18: a failure that counts; the box stays, its next engine resumes the session, and no tool runs on."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        message = hive.send("ana", script(shell(f"mel send operator begun; {UNTIL_GO}"), {"text": "bye"}))
        hive.told("begun")
        boxes = hive.boxes()
        left = [ends(pid) for pid, line in hive.inside().items() if not line.startswith(ENGINE)]
        os.kill(hive.engine(), signal.SIGKILL)
        first = hive.ended()
        assert (first["result"], first["reason"]) == ("failed", "engine_ended")
        assert "signal 9" in first["note"]
        for gone in left:
            gone(20)
        hive.wait_for("turn.started", count=2)
        hive.go()
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
        after = hive.message(message)
        assert (after["attempts"], after["failures"], after["maybe_seen"]) == (2, 1, True)
        assert hive.boxes() == boxes
        assert any("maybe seen before (attempt 2)" in request["text"] for request in hive.asked)
        sessions = {hive.log_of(turn, "session_started")[0]["session"] for turn in (1, 2)}
        assert len(sessions) == 1


def test_an_engine_that_is_killed_while_no_daemon_runs_is_noticed_by_the_next(tmp_path: Path) -> None:
    """D-16, D-18: the box lives, the engine's end is heard, the mail comes back flagged."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        message = hive.send("ana", script(shell(f"mel send operator begun; {UNTIL_GO}"), {"text": "bye"}))
        hive.told("begun")
        engine = hive.engine()
        over = ends(engine)
        hive.kill()
        os.kill(engine, signal.SIGKILL)
        over(20)
        hive.start()
        assert hive.ended()["reason"] == "engine_ended"
        hive.go()
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
        after = hive.message(message)
        assert (after["attempts"], after["failures"], after["maybe_seen"]) == (2, 1, True)


def test_mail_of_a_killed_box_comes_back_flagged(tmp_path: Path) -> None:
    """CW-7, invariant 32: it is a crash, told once; a new box resumes the session."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        message = hive.send("ana", script(shell(f"mel send operator begun; {UNTIL_GO}"), {"text": "bye"}))
        hive.told("begun")
        [box] = hive.boxes()
        os.kill(box, signal.SIGKILL)
        assert hive.ended()["result"] == "lost"
        hive.wait_for("turn.started", count=2)
        hive.go()
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
        after = hive.message(message)
        assert (after["attempts"], after["maybe_seen"]) == (2, True)
        assert hive.count("agent.crashed") == 1
        sessions = {hive.log_of(turn, "session_started")[0]["session"] for turn in (1, 2)}
        assert len(sessions) == 1
