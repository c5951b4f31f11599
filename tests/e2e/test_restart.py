"""A turn outlives its daemon, a message its turn (I-1, I-12, invariants 3 and 31; issue: "the turn is adopted")."""

from __future__ import annotations

import os
import signal

import pytest

from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.boxes

SLOW = """
[[rule]]
from = "operator"
steps = [
  { say = "working" },
  { shell = '''
    echo begun
    while [ ! -e /ws/go ]; do sleep 0.05; done
    echo once >> /ws/runs
    wc -l < /ws/runs''', into = "runs" },
  { send = "{body}: ran {runs}" },
]
"""


def release(hive: HiveProcess, name: str) -> None:
    """Let the agent's shell step end, from outside its box."""
    (hive.work(name) / "go").touch()


def working(hive: HiveProcess, name: str) -> None:
    """Wait until the agent's turn has called its first tool."""
    turn = hive.wait_for("turn.started", lambda e: e["agent"] == name)["data"]["id"]
    for _name, _id, data in hive.client.stream(f"/turns/{turn}/stream"):
        if data.get("event", {}).get("type") == "tool_call":
            return


def test_a_killed_daemon_is_replaced_and_the_turn_goes_on(hive: HiveProcess) -> None:
    hive.agent("ana", playbook=SLOW)
    message = hive.send("ana", "build")
    working(hive, "ana")
    hive.kill()
    hive.start()
    hive.wait_for("turn.adopted", lambda e: e["agent"] == "ana")
    release(hive, "ana")
    hive.wait_for("turn.ended", lambda e: e["agent"] == "ana")
    assert hive.answers("ana") == ["build: ran begun\n1"]
    after = hive.message(message)
    assert (after["state"], after["attempts"]) == ("handled", 1)
    assert hive.count("message.handled", lambda e: e["subject"] == f"m{message}") == 1
    assert hive.count("turn.started") == 1


def test_a_turn_that_ends_while_no_daemon_runs_is_finished_by_the_next(hive: HiveProcess) -> None:
    hive.agent("ana", playbook=SLOW.replace('{ send = "{body}: ran {runs}" },', ""))
    message = hive.send("ana", "build")
    working(hive, "ana")
    hive.stop()
    release(hive, "ana")
    hive.start()
    assert hive.wait_for("turn.ended")["data"]["result"] == "ok"
    assert hive.message(message)["state"] == "handled"


def test_mail_of_a_box_that_dies_comes_back_flagged_and_the_crash_is_told(hive: HiveProcess) -> None:
    """CW-7, invariant 32: without an operation in flight it is a crash, reported once."""
    hive.agent("ana", playbook=SLOW)
    message = hive.send("ana", "build")
    working(hive, "ana")
    for pid in hive.boxes():
        os.kill(pid, signal.SIGKILL)
    crashed = hive.wait_for("agent.crashed")
    assert crashed["agent"] == "ana"
    assert hive.wait_for("turn.ended")["data"]["result"] == "lost"
    hive.wait_for("turn.started", count=2)
    release(hive, "ana")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
    after = hive.message(message)
    assert (after["attempts"], after["maybe_seen"]) == (2, True)
    told = [m for m in hive.client.get("/messages", limit=50)["items"] if m["sender"] == "system"]
    assert [("ana" in m["body"]) for m in told] == [True]


def test_a_box_that_died_without_a_daemon_gives_its_mail_back(hive: HiveProcess) -> None:
    """D-16: by pid, start time and namespace; at once, without counting as a failure."""
    hive.agent("ana", playbook=SLOW)
    message = hive.send("ana", "build")
    working(hive, "ana")
    hive.kill()
    for pid in hive.boxes():
        os.kill(pid, signal.SIGKILL)
    hive.start()
    lost = hive.wait_for("turn.ended")
    assert (lost["data"]["result"], lost["data"]["reason"]) == ("lost", "daemon_gone")
    hive.wait_for("turn.started", count=2)
    release(hive, "ana")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
    assert hive.count("agent.crashed") == 0


def test_a_hive_that_was_stopped_in_order_finds_its_idle_box_again(hive: HiveProcess) -> None:
    """Invariant 33: a start tells nothing about agents that did not change."""
    hive.agent("ana")
    hive.send("ana", "one")
    hive.wait_for("message.handled")
    boxes = hive.boxes()
    assert len(boxes) == 1
    assert hive.stop() == 0
    hive.start()
    hive.send("ana", "two")
    hive.wait_for("message.handled", count=2)
    assert hive.boxes() == boxes
    assert hive.count("box.starting") == 1
    assert hive.answers("ana") == ["heard: one", "heard: two"]
    assert hive.count("agent.crashed") == 0
