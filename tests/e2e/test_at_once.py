"""A turn that its sender's transaction opens (PERFORMANCE.md section 11, rule 7), and what may go wrong with it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from melipona.testing.hive import QUICK, HiveProcess, Json, running_hive

pytestmark = pytest.mark.boxes


def of_transaction(hive: HiveProcess, message: int) -> list[str]:
    """Kinds of the events that were recorded in the transaction in which a message was sent."""
    items: list[Json] = []
    while page := hive.client.get("/events/page", after=items[-1]["id"] if items else 0, limit=200)["items"]:
        items += sorted(page, key=lambda event: event["id"])
    [sent] = [event for event in items if event["kind"] == "message.sent" and event["subject"] == f"m{message}"]
    return [event["kind"] for event in items if event["at"] == sent["at"]]


def player_of(hive: HiveProcess) -> int:
    """Host pid of the only engine: the program below the only box's init."""
    [init] = hive.boxes()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and b"playbook.py" in (entry / "cmdline").read_bytes():
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == init:
                return int(entry.name)
    raise AssertionError("no engine runs")


def test_an_idle_agents_turn_is_opened_by_the_commit_that_stores_its_message(tmp_path: Path) -> None:
    """Box and engine cold or kept: message, turn and lease are one transaction; both are answered."""
    with running_hive(tmp_path) as hive:
        hive.agent("ana")
        for count, body in ((1, "cold"), (2, "kept")):
            number = hive.send("ana", body)
            assert of_transaction(hive, number) == ["message.sent", "message.leased", "turn.started"]
            hive.wait_for("turn.ended", count=count)
        assert hive.answers("ana") == ["heard: cold", "heard: kept"]
        assert hive.count("box.up") == 1


def test_without_a_free_slot_the_message_waits_its_turn(tmp_path: Path) -> None:
    """First come, first served: the loop opens it when a slot is free (I-7)."""
    held = '[[rule]]\nsteps = [{ hold = "/ws/go", timeout = 100 }]\n'
    with running_hive(tmp_path, config=QUICK + "[turns]\ncap = 1\n") as hive:
        hive.agent("ana", playbook=held)
        hive.agent("ben")
        hive.send("ana", "hold")
        number = hive.send("ben", "hello")
        assert of_transaction(hive, number) == ["message.sent"]
        assert hive.count("turn.started", lambda event: event["agent"] == "ben") == 0
        hive.wait_for("box.up", lambda event: event["agent"] == "ana")
        (hive.work("ana") / "go").touch()
        hive.wait_for("turn.ended", lambda event: event["agent"] == "ben")
        assert hive.answers("ben") == ["heard: hello"]


def test_a_kept_engine_that_died_unseen_is_replaced_and_gets_its_prompt(tmp_path: Path) -> None:
    """The prompt was stored for an engine that is gone: a new one is prompted, and nothing counts as seen (I-3)."""
    with running_hive(tmp_path) as hive:
        hive.agent("ana")
        hive.send("ana", "one")
        hive.wait_for("turn.ended")
        os.kill(player_of(hive), signal.SIGKILL)
        number = hive.send("ana", "two")
        assert hive.wait_for("turn.ended", count=2)["data"]["result"] == "ok"
        assert hive.answers("ana") == ["heard: one", "heard: two"]
        message = hive.message(number)
        assert (message["state"], message["maybe_seen"]) == ("handled", False)
