"""Edges of a hive's life that its parts cannot show alone: long paths, boxes that hang, orphans, loops, systemd."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from melipona.testing.hive import QUICK, HiveProcess, running_hive

pytestmark = pytest.mark.boxes

HOLD = """
[[rule]]
from = "system"
steps = [{ say = "seen" }]

[[rule]]
steps = [{ hold = "/ws/go", timeout = 100 }, { send = "went on" }]
"""


def in_tool(hive: HiveProcess, name: str) -> int:
    """Wait until the agent's first turn is inside a tool; its number."""
    number = int(hive.wait_for("turn.started", lambda e: e["agent"] == name)["data"]["id"])
    for _name, _id, data in hive.client.stream(f"/turns/{number}/stream"):
        if data.get("event", {}).get("type") == "tool_call":
            return number
    raise AssertionError("the turn ended without a tool call")


def until_no_box(hive: HiveProcess, within: float = 30) -> None:
    """No event tells it: there is no daemon."""
    end = time.monotonic() + within
    while hive.boxes():
        assert time.monotonic() < end, f"boxes are left: {hive.boxes()}"
        time.sleep(0.05)


def test_a_hive_works_below_a_path_of_200_bytes(tmp_path: Path) -> None:
    """D-10: daemon, `mel`, boxd and gate all dial sockets that no AF_UNIX address can name in full."""
    folder = tmp_path
    while len(os.fsencode(folder)) < 200:
        folder = folder / "a-long-name-of-a-folder"
    folder.mkdir(parents=True)
    with running_hive(folder) as hive:
        assert len(os.fsencode(hive.data)) > 200
        hive.agent("ana")
        said = subprocess.run(
            [sys.executable, "-m", "melipona.cli.main", "--data", str(hive.data), "send", "ana", "hello"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        hive.wait_for("message.handled")
        assert hive.answers("ana") == ["heard: hello"]


def test_a_box_that_does_not_dial_in_after_a_restart_is_ended_and_its_mail_given_back(tmp_path: Path) -> None:
    """D-16: a stopped init is there by pid and never answers; given back without counting as a failure (D-18)."""
    with running_hive(tmp_path, config=QUICK + "[turns]\nadopt = 1\n") as hive:
        hive.agent("ana", playbook=HOLD)
        message = hive.send("ana", "build")
        in_tool(hive, "ana")
        hive.kill()
        (init,) = hive.boxes()
        os.kill(init, signal.SIGSTOP)
        hive.start()
        lost = hive.wait_for("turn.ended")
        assert (lost["data"]["result"], lost["data"]["reason"]) == ("lost", "daemon_gone")
        back = hive.wait_for("message.given_back")
        assert (back["subject"], back["data"]["failures"]) == (f"m{message}", 0)
        (hive.work("ana") / "go").touch()
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
        assert init not in hive.boxes()
        assert hive.count("agent.crashed") == 0


def test_boxes_end_themselves_when_no_daemon_comes_back(tmp_path: Path) -> None:
    """D-3: with a program running and without one; the next daemon gives the mail back."""
    config = "[boxes]\norphan_busy = 2\norphan_idle = 1\n"
    with running_hive(tmp_path, config=config) as hive:
        hive.agent("ana", playbook=HOLD)
        hive.agent("ben")
        message = hive.send("ana", "build")
        hive.send("ben", "hello")
        in_tool(hive, "ana")
        hive.wait_for("turn.ended", lambda e: e["agent"] == "ben")
        assert len(hive.boxes()) == 2
        hive.kill()
        until_no_box(hive)
        (hive.work("ana") / "go").touch()
        hive.start()
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
        assert (hive.message(message)["attempts"], hive.message(message)["maybe_seen"]) == (2, True)


def test_a_box_that_no_row_names_is_ended_at_start(hive: HiveProcess) -> None:
    """D-3: for example after the store was restored."""
    hive.agent("ana")
    hive.send("ana", "hello")
    hive.wait_for("turn.ended")
    assert len(hive.boxes()) == 1
    hive.stop()
    c = sqlite3.connect(hive.data / "mel.db")
    c.execute("UPDATE boxes SET state = 'gone'")
    c.commit()
    c.close()
    hive.start()
    hive.wait_for("box.swept")
    assert hive.boxes() == []


def test_a_conversation_that_feeds_itself_is_stopped_and_told(tmp_path: Path) -> None:
    """D-21: two agents that answer each other for ever; the operator's word starts anew."""
    answer = (
        '[[rule]]\nfrom = "system"\nsteps = [{ say = "seen" }]\n[[rule]]\nsteps = [{ send = "and you?", to = "%s" }]\n'
    )
    with running_hive(tmp_path, config=QUICK + "[mail]\nthread_hops = 6\n") as hive:
        hive.agent("ana", playbook=answer % "ben")
        hive.agent("ben", playbook=answer % "ana")
        hive.send("ana", "say hello to ben")
        tripped = hive.wait_for("thread.tripped")
        assert tripped["data"]
        hive.wait_for("turn.ended", count=7)
        sent = hive.count("message.sent", lambda e: {e["data"]["sender"], e["data"]["recipient"]} == {"ana", "ben"})
        assert 6 <= sent <= 8
        told = [m for m in hive.client.get("/messages", limit=50)["items"] if m["sender"] == "system"]
        assert told, "the operator is told"


def test_systemd_is_told_when_the_hive_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    """`sd_notify`: READY after older boxes are accounted for, STOPPING at an orderly end."""
    address = f"\0melipona-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(30)
        hive = HiveProcess(tmp_path / "hive", env={"NOTIFY_SOCKET": "@" + address[1:]})
        hive.start()
        try:
            assert sock.recv(100) == b"READY=1"
        finally:
            hive.close()
        assert sock.recv(100) == b"STOPPING=1"


def test_a_new_limit_in_mel_toml_is_judged_at_the_next_start(tmp_path: Path) -> None:
    """D-30: an agent that has had its turns waits with a time; a daemon with another limit lets it go on at once."""
    with running_hive(tmp_path, config=QUICK + "[budgets]\nturns_per_hour = 1\n") as hive:
        hive.agent("ana")
        hive.send("ana", "one")
        hive.wait_for("turn.ended")
        hive.send("ana", "two")
        trouble = hive.wait_for("agent.trouble")
        assert trouble["data"]["code"] == "turns_per_hour"
        shown = hive.client.get("/agents/ana")
        assert (shown["reason"], shown["until"] is not None) == ("turns_per_hour", True)
        hive.stop()
        hive.config.write_text(QUICK + "[budgets]\nturns_per_hour = 5\n")
        hive.start()
        hive.wait_for("turn.ended", count=2)
        assert hive.answers("ana") == ["heard: one", "heard: two"]


OLDER = """
import sys
from melipona.boxes import wire
wire.PROTOCOL = 0
from melipona import daemon
sys.exit(daemon.main(sys.argv[1:]))
"""


def test_a_box_that_speaks_a_newer_protocol_is_ended_and_its_mail_given_back(tmp_path: Path) -> None:
    """D-14: an older Melipona took the hive back; it says so and does not guess."""
    hive = HiveProcess(tmp_path / "hive")
    hive.start()
    try:
        hive.agent("ana", playbook=HOLD)
        message = hive.send("ana", "build")
        in_tool(hive, "ana")
        hive.client.post("/agents/ana/pause")
        hive.stop()
        older = HiveProcess(tmp_path / "hive", program=("-c", OLDER))
        older.start()
        assert older.wait_for("turn.ended")["data"]["result"] == "lost"
        back = older.wait_for("message.given_back")
        assert (back["subject"], back["data"]["failures"]) == (f"m{message}", 0)
        assert "newer protocol" in older.log
        assert "newer protocol" in older.wait_for("box.gone")["data"]["why"]
        assert older.boxes() == []
        older.stop()
        hive.start()
        (hive.work("ana") / "go").touch()
        hive.client.post("/agents/ana/resume")
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
    finally:
        hive.close()


def test_a_restart_ends_the_box_and_the_agent_runs_a_turn_for_its_wake_message(hive: HiveProcess) -> None:
    """HN-6, BR-8, LC-1, TG-5: shown as changing while it is in flight; one kick, acted on; the session goes on."""
    playbook = """
[[rule]]
from = "system"
steps = [{ send = "back, turn {turn}", to = "operator" }]

[[rule]]
steps = [{ send = "turn {turn}" }]
"""
    hive.agent("ana", playbook=playbook)
    hive.send("ana", "hello")
    hive.wait_for("turn.ended")
    before = hive.boxes()
    assert hive.client.post("/agents/ana/restart")["state"] == "changing"
    hive.wait_for("agent.restarted")
    hive.wait_for("turn.ended", count=2)
    after = hive.boxes()
    assert len(before) == len(after) == 1
    assert before != after
    assert hive.answers("ana") == ["turn 1", "back, turn 2"]
    kicks = [m for m in hive.client.get("/messages", limit=50)["items"] if m["kind"] == "kick"]
    assert [kick["state"] for kick in kicks] == ["handled"]
    assert hive.count("agent.crashed") == 0
    assert hive.client.get("/agents/ana")["state"] == "idle"


def test_each_turn_leaves_its_statistics_and_blanks_where_nothing_is_known(hive: HiveProcess) -> None:
    """TS-1..TS-3, HN-2, HN-3, LE-4, LE-8: counted calls and time; no model call leaves no number, not a 0."""
    playbook = """
[[rule]]
body = "fail"
steps = [{ fail = "out of ideas" }]

[[rule]]
steps = [{ shell = "true" }, { shell = "true" }, { send = "done" }]
"""
    hive.agent("ana", playbook=playbook)
    hive.send("ana", "work")
    hive.wait_for("turn.ended")
    hive.send("ana", "fail")
    hive.wait_for("turn.ended", count=2)
    failed, good = hive.client.get("/turns", agent="ana")["items"]
    assert (good["result"], good["cause"]["kind"], good["cause"]["from"]) == ("ok", "mail", ["operator"])
    assert sum(good["tools"].values()) == good["tool_calls"] == 3
    assert good["duration_ms"] >= 0
    assert good["ended_at"] > good["started_at"]
    assert (set(good["tokens"].values()), good["cost_usd"]) == ({None}, None)
    assert (failed["result"], failed["reason"]) == ("failed", "engine_failed")
    assert "out of ideas" in failed["note"]
