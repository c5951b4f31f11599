"""Life of the real engine in its box: warm turns, idle stop, resume, interrupt (issue 3, D-18, D-26, TG-3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from melipona.testing.claude_hive import (
    ENGINE,
    UNTIL_GO,
    ClaudeHive,
    ends,
    running_claude_hive,
    script,
    shell,
)
from melipona.testing.hive import Json

pytestmark = [pytest.mark.boxes, pytest.mark.claude]


def session(hive: ClaudeHive, turn: int) -> str:
    """The engine's session of a turn."""
    [started] = hive.log_of(turn, "session_started")
    return started["session"]


def program(hive: ClaudeHive, turn: int) -> str:
    """The engine program of a turn."""
    [start] = hive.log_of(turn, "start")
    return start["program"]


def test_turns_share_a_warm_process_and_a_later_one_resumes_the_session(tmp_path: Path) -> None:
    """Issue: two turns in one warm process; idle stop; resume in a new process with the same session."""
    with running_claude_hive(tmp_path, engine_idle=1.5) as hive:
        hive.claude()
        hive.send("ana", script(shell("echo the-first-turn"), {"text": "one"}))
        hive.ended(1)
        engine = hive.engine()
        hive.send("ana", script(shell("echo $PPID"), {"text": "two"}))
        hive.ended(2)
        assert hive.engine() == engine
        assert (program(hive, 1), session(hive, 1)) == (program(hive, 2), session(hive, 2))
        ends(engine)(30)
        boxes = hive.boxes()
        assert len(boxes) == 1, "the box outlives its engine"
        hive.send("ana", script(shell("echo the-third-turn"), {"text": "three"}))
        hive.ended(3)
        assert hive.engine() != engine
        assert program(hive, 3) != program(hive, 2)
        assert session(hive, 3) == session(hive, 1)
        assert hive.boxes() == boxes
    last = hive.asked[-1]
    assert [result.strip() for result in (last["results"][0], last["results"][2])] == [
        "the-first-turn",
        "the-third-turn",
    ]


def test_a_changed_model_reaches_a_warm_engine(tmp_path: Path) -> None:
    """HN-3: `agent set` takes effect with the next turn, in the same process."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude(model="claude-sonnet-4-5")
        hive.send("ana", script({"text": "one"}))
        hive.ended(1)
        hive.client.patch("/agents/ana", {"model": "claude-opus-4-5"})
        hive.send("ana", script({"text": "two"}))
        hive.ended(2)
        assert program(hive, 1) == program(hive, 2)
        models = [request["model"] for request in hive.asked]  # the engine tries a new model before it uses it
        assert models == ["claude-sonnet-4-5", "claude-opus-4-5", "claude-opus-4-5"]
        rows = [hive.client.get(f"/turns/{turn}")["model"] for turn in (1, 2)]
        assert rows == ["claude-sonnet-4-5", "claude-opus-4-5"]


def interrupted(hive: ClaudeHive) -> Json:
    """Interrupt ana in the middle of a Bash command; the turn's row."""
    hive.claude()
    hive.agent("bob")
    hive.send("ana", script(shell(f"mel send operator begun; {UNTIL_GO}"), {"text": "never said"}))
    hive.told("begun")
    engine = hive.engine()
    tools = {pid: ends(pid) for pid, line in hive.inside().items() if not line.startswith(ENGINE)}
    assert tools, "the command runs"
    hive.client.post("/agents/ana/interrupt")
    turn = hive.ended()
    for gone in tools.values():
        gone(20)
    assert set(hive.inside()) == {engine}, "the engine is warm, and no process of the tool is left"
    return turn


def nothing_runs_on(hive: ClaudeHive) -> None:
    """While another agent gets and handles new mail, ana begins no turn."""
    hive.send("bob", "hello")
    hive.wait_for("turn.ended", lambda e: e["agent"] == "bob")
    assert hive.count("turn.started", lambda e: e["agent"] == "ana") == 1


def test_an_interrupt_in_mid_tool_leaves_no_process_and_holds_the_mail(tmp_path: Path) -> None:
    """D-18, PR-4: the operator's own act; the mail is given back without failure and wakes nobody until new mail."""
    with running_claude_hive(tmp_path) as hive:
        turn = interrupted(hive)
        assert (turn["result"], turn["interrupt_by"]) == ("interrupted", "operator")
        message = hive.message(1)
        assert (message["state"], message["attempts"], message["failures"]) == ("waiting", 1, 0)
        nothing_runs_on(hive)
        assert hive.state() == ("paused", "interrupted")
        why = hive.client.get("/why/ana")
        assert "its turn was interrupted" in why["text"]
        assert "until you send it something or resume it" in why["text"]
        assert why["next_actor"] == "operator"
        more = hive.send("ana", script({"text": "went on"}))
        hive.wait_for("turn.ended", lambda e: e["agent"] == "ana", count=2)
        assert [hive.message(m)["state"] for m in (1, more)] == ["handled", "handled"]
        assert hive.state() == ("idle", None)


def test_resume_lets_held_mail_go_on(tmp_path: Path) -> None:
    """D-18: `mel agent resume` ends the hold; the message is marked as maybe seen."""
    with running_claude_hive(tmp_path) as hive:
        interrupted(hive)
        nothing_runs_on(hive)
        hive.go()
        hive.client.post("/agents/ana/resume")
        hive.wait_for("turn.ended", lambda e: e["agent"] == "ana", count=2)
        message = hive.message(1)
        assert (message["state"], message["attempts"], message["maybe_seen"]) == ("handled", 2, True)
        assert any("maybe seen before (attempt 2)" in request["text"] for request in hive.asked)


def test_an_interrupt_ends_a_waiting_receive(tmp_path: Path) -> None:
    """D-18, D-19: a turn that waits for mail is interrupted like any other; its engine stays warm."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        waits = {"tool": "mcp__melipona__receive", "input": {"wait_seconds": 120}}
        message = hive.send("ana", script(waits, {"text": "never said"}))
        hive.wait_for("turn.waiting")
        engine = hive.engine()
        hive.client.post("/agents/ana/interrupt")
        assert hive.ended()["result"] == "interrupted"
        assert hive.message(message)["state"] == "waiting"
        hive.send("ana", script({"text": "went on"}))
        assert hive.ended(2)["result"] == "ok"
        assert hive.engine() == engine
        assert hive.message(message)["state"] == "handled"


def test_the_real_engine_compacts_its_conversation_when_it_is_asked_to(tmp_path: Path) -> None:
    """HN-4, HN-7: also after its process has ended; a conversation that is too short is told as not compacted."""
    with running_claude_hive(tmp_path, engine_idle=1.5) as hive:
        hive.claude()
        for number, text in enumerate(("one", "two"), 1):
            hive.send("ana", script({"text": text}))
            hive.ended(number)
        ends(hive.engine())(30)
        operation = hive.client.post("/agents/ana/compact")["operation"]
        over = hive.wait_for("operation.ended", lambda event: event["data"]["id"] == operation)
        assert over["data"]["state"] == "done"
        turn = hive.client.get("/agents/ana/turns")["items"][0]
        assert (turn["result"], turn["cause"]["kind"]) == ("ok", "compact")
        assert len(hive.log_of(turn["id"], "compaction")) == 1
        assert turn["cost_usd"] is not None, "what it cost is counted at the gate"
        hive.send("ana", script({"text": "three"}))
        hive.ended(4)
        assert session(hive, 4) == session(hive, 1)


def test_the_real_engine_begins_a_new_session_when_it_is_asked_to(tmp_path: Path) -> None:
    """HN-4: another process, another session, and the model hears nothing of the old one."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        hive.send("ana", script({"text": "the-old-words"}))
        hive.ended(1)
        old = hive.engine()
        hive.client.post("/agents/ana/new-session")
        ends(old)(30)
        hive.send("ana", script({"text": "two"}))
        hive.ended(2)
        assert session(hive, 1) != session(hive, 2)
        assert "the-old-words" not in str(hive.asked[-1])
