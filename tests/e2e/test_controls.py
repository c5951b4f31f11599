"""Compacting a conversation and beginning a new one, in a whole hive (HN-4, HN-7, D-18, I-8)."""

from __future__ import annotations

import pytest

from melipona.client import Problem
from melipona.testing.hive import HiveProcess, Json

pytestmark = pytest.mark.boxes

HOLD = """
[[rule]]
body = "hold"
steps = [{ hold = "/ws/go", timeout = 100 }, { send = "went on" }]
[[rule]]
steps = [{ send = "heard: {body}" }]
"""


def ask(hive: HiveProcess, what: str, name: str = "ana") -> str:
    return str(hive.client.post(f"/agents/{name}/{what}")["operation"])


def outcome(hive: HiveProcess, operation: str) -> Json:
    """How an operation ended."""
    return hive.wait_for("operation.ended", lambda e: e["data"]["id"] == operation)["data"]


def handled(hive: HiveProcess, message: int) -> None:
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")


def events_of(hive: HiveProcess, turn: int) -> list[Json]:
    lines = hive.client.stream(f"/turns/{turn}/stream")
    return [data["event"] for _, _, data in lines if "event" in data]


def newest_turn(hive: HiveProcess, name: str = "ana") -> Json:
    found: Json = hive.client.get(f"/agents/{name}/turns")["items"][0]
    return found


def test_an_idle_agent_compacts_at_once_in_a_turn_of_its_own_without_mail(hive: HiveProcess) -> None:
    """HN-7: the act is a turn that people see, with a note, a cost and a cause; it wakes no mail and handles none."""
    hive.agent("ana", playbook=HOLD)
    handled(hive, hive.send("ana", "one"))
    operation = ask(hive, "compact")
    assert outcome(hive, operation)["state"] == "done"
    turn = newest_turn(hive)
    assert (turn["result"], turn["cause"]["kind"], turn["cause"]["by"]) == ("ok", "compact", "operator")
    assert turn["cause"]["messages"] == []
    assert [event["type"] for event in events_of(hive, turn["id"])].count("compaction") == 1
    assert hive.client.get("/agents/ana")["pending"] is None
    assert hive.answers("ana") == ["heard: one"]


def test_a_compaction_waits_for_the_running_turn_and_comes_before_more_mail(hive: HiveProcess) -> None:
    """The agent shows what is pending and goes on working; `why` tells it; mail that came meanwhile waits."""
    hive.agent("ana", playbook=HOLD)
    first = hive.send("ana", "hold")
    number = int(hive.wait_for("turn.started")["data"]["id"])
    operation = ask(hive, "compact")
    second = hive.send("ana", "two")
    shown = hive.client.get("/agents/ana")
    assert (shown["state"], shown["pending"]["kind"], shown["pending"]["by"]) == ("working", "compacting", "operator")
    assert "its conversation is compacted after this" in hive.client.get("/why/ana")["text"]
    (hive.work("ana") / "go").touch()
    assert outcome(hive, operation)["state"] == "done"
    handled(hive, first)
    handled(hive, second)
    causes = [turn["cause"]["kind"] for turn in reversed(hive.client.get("/agents/ana/turns")["items"])]
    assert causes == ["mail", "compact", "mail"]
    assert number == 1


def test_a_new_session_forgets_the_conversation_and_keeps_the_rest(hive: HiveProcess) -> None:
    """The next turn has another session in another process; mail, files and settings stay."""
    hive.agent("ana", playbook=HOLD)
    handled(hive, hive.send("ana", "one"))
    (hive.work("ana") / "kept").touch()
    before = session_of(hive, 1)
    assert outcome(hive, ask(hive, "new-session"))["state"] == "done"
    hive.wait_for("agent.session_renewed", lambda e: e["agent"] == "ana" and e["by"] == "operator")
    handled(hive, hive.send("ana", "two"))
    after = session_of(hive, newest_turn(hive)["id"])
    assert before != after
    assert (hive.work("ana") / "kept").exists()
    assert hive.answers("ana") == ["heard: one", "heard: two"]


def test_a_new_session_asked_for_in_a_turn_begins_after_it(hive: HiveProcess) -> None:
    """The turn that runs keeps its conversation to its end, and its mail is handled."""
    hive.agent("ana", playbook=HOLD)
    message = hive.send("ana", "hold")
    hive.wait_for("turn.started")
    operation = ask(hive, "new-session")
    assert hive.client.get("/agents/ana")["pending"]["kind"] == "renewing"
    (hive.work("ana") / "go").touch()
    assert outcome(hive, operation)["state"] == "done"
    handled(hive, message)
    handled(hive, hive.send("ana", "two"))
    assert session_of(hive, 1) != session_of(hive, 2)


def test_what_waits_is_taken_back_by_a_word_and_by_stop(hive: HiveProcess) -> None:
    """Nothing that was taken back is done later, and its end says so."""
    hive.agent("ana", playbook=HOLD)
    hive.send("ana", "hold")
    hive.wait_for("turn.started")
    operation = ask(hive, "compact")
    hive.client.post("/agents/ana/take-back")
    assert outcome(hive, operation)["error"] == "taken back: by operator"
    again = ask(hive, "new-session")
    hive.client.post("/agents/ana/stop")
    assert outcome(hive, again)["error"] == "taken back: stopping was asked by operator"
    hive.wait_for("operation.ended", lambda e: e["data"]["kind"] == "stopping")
    shown = hive.client.get("/agents/ana")
    assert (shown["state"], shown["pending"]) == ("off", None)
    assert newest_turn(hive)["cause"]["kind"] == "mail"


def test_what_cannot_be_done_is_refused_with_a_reason(hive: HiveProcess) -> None:
    """No conversation yet, stopped, nothing to take back."""
    hive.agent("ana", playbook=HOLD)
    for what, code in (("compact", "no_session"), ("new-session", "no_session"), ("take-back", "nothing_waits")):
        with pytest.raises(Problem) as refused:
            ask(hive, what)
        assert refused.value.code == code
    handled(hive, hive.send("ana", "one"))
    hive.client.post("/agents/ana/stop")
    hive.wait_for("operation.ended", lambda e: e["data"]["kind"] == "stopping")
    with pytest.raises(Problem) as refused:
        ask(hive, "compact")
    assert refused.value.code == "stopped"
    assert outcome(hive, ask(hive, "new-session"))["state"] == "done"


def test_a_compaction_keeps_the_mail_of_an_interrupt_where_it_is(hive: HiveProcess) -> None:
    """D-18: it is no word of the operator to the agent."""
    hive.agent("ana", playbook=HOLD)
    handled(hive, hive.send("ana", "one"))
    message = hive.send("ana", "hold")
    hive.wait_for("turn.started", count=2)
    hive.client.post("/agents/ana/interrupt")
    hive.wait_for("turn.ended", count=2)
    assert outcome(hive, ask(hive, "compact"))["state"] == "done"
    shown = hive.client.get("/agents/ana")
    assert (shown["state"], shown["reason"]) == ("paused", "interrupted")
    assert hive.message(message)["state"] == "waiting"


@pytest.mark.parametrize("what", ["compact", "new-session"])
def test_what_was_asked_for_survives_the_daemon(hive: HiveProcess, what: str) -> None:
    """I-8: killed while the turn runs, the next daemon does it after that turn."""
    hive.agent("ana", playbook=HOLD)
    message = hive.send("ana", "hold")
    hive.wait_for("turn.started")
    operation = ask(hive, what)
    hive.kill()
    hive.start()
    (hive.work("ana") / "go").touch()
    assert outcome(hive, operation)["state"] == "done"
    handled(hive, message)
    handled(hive, hive.send("ana", "two"))


def session_of(hive: HiveProcess, turn: int) -> str:
    [started] = [event for event in events_of(hive, turn) if event["type"] == "session_started"]
    return str(started["session"])
