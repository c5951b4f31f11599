"""What an engine writes ends its own turn at most, never the daemon (T6, T7, invariant 44)."""

from __future__ import annotations

from pathlib import Path

import pytest

from melipona.testing.hive import QUICK, HiveProcess, running_hive

pytestmark = pytest.mark.boxes

ODD_LINES = r"""
[[rule]]
body = "odd"
steps = [
  { raw = '{"type":"text","text":"half a \ud83d character"}' },
  { raw = '{"type":"tool","id":"\ud800","name":"\udfff","input":{"n":123456789012345678901234567890,"x":1e999}}' },
  { raw = '{"type":"session","session":"s\ud800","model":"\ud800"}' },
  { raw = '{"type":"rate_limited","retry_after":99999999999999}' },
  { raw = '{"type":"context","tokens":99999999999999999999999}' },
  { raw = '{"type":"result","outcome":"rate_limited","detail":"\udc00"}' },
  { hold = "/ws/go", timeout = 60 },
]

[[rule]]
body = "deep"
steps = [{ raw = '{"type":"tool","id":"a","name":"b","input":{"a":', times = 900 }, { send = "still here" }]

[[rule]]
steps = [{ send = "heard: {body}" }]
"""

BUG = """
import sys
from melipona import daemon
from melipona.engines.playbook import PlaybookDecoder
feed = PlaybookDecoder.feed
def broken(self, line):
    if b'"poison"' in line:
        raise KeyError("a bug")
    return feed(self, line)
PlaybookDecoder.feed = broken
sys.exit(daemon.main(sys.argv[1:]))
"""


def test_lines_that_no_row_and_no_file_can_hold_end_only_their_turn(hive: HiveProcess) -> None:
    """T7: half characters, numbers without end, times without end; the next message finds the agent as it was."""
    hive.agent("ana", playbook=ODD_LINES)
    hive.agent("ben")
    daemon = hive.client.get("/state")["daemon"]["pid"]
    message = hive.send("ana", "odd")
    ended = hive.wait_for("turn.ended", lambda e: e["agent"] == "ana")
    assert ended["data"]["result"] == "rate_limited"
    shown = hive.client.get("/agents/ana")
    assert shown["reason"] == "rate_limited"
    assert hive.message(message)["state"] == "waiting"
    hive.send("ben", "hello")
    assert hive.wait_for("turn.ended", lambda e: e["agent"] == "ben")["data"]["result"] == "ok"
    hive.agent("cleo", playbook=ODD_LINES)
    hive.send("cleo", "deep")
    assert hive.wait_for("turn.ended", lambda e: e["agent"] == "cleo")["data"]["result"] == "ok"
    assert hive.client.get("/state")["daemon"]["pid"] == daemon


def test_a_bug_that_a_turn_meets_is_the_end_of_that_turn_only(tmp_path: Path) -> None:
    """Not of the daemon, which would meet it again at each start; the message is parked in the end (D-18, I-4)."""
    poison = """[[rule]]\nsteps = [{ raw = '{"type":"poison"}' }, { hold = "/ws/go", timeout = 60 }]\n"""
    hive = HiveProcess(
        tmp_path / "hive", config=QUICK + "[mail]\nattempts = 2\nbackoff = [0.05]\n", program=("-c", BUG)
    )
    hive.start()
    try:
        daemon = hive.pid
        hive.agent("ana", playbook=poison)
        hive.agent("ben")
        message = hive.send("ana", "go")
        ended = hive.wait_for("turn.ended", lambda e: e["agent"] == "ana")
        assert (ended["data"]["result"], ended["data"]["reason"]) == ("failed", "bug")
        hive.wait_for("message.parked", lambda e: e["subject"] == f"m{message}")
        hive.send("ben", "hello")
        assert hive.wait_for("turn.ended", lambda e: e["agent"] == "ben")["data"]["result"] == "ok"
        assert hive.pid == daemon
        assert "KeyError" in hive.log
    finally:
        hive.close()


def test_a_box_whose_files_grow_over_the_limit_is_ended_and_a_person_is_asked(tmp_path: Path) -> None:
    """D-26, T6: measured while it runs; its message comes back, `why` says what to do, and a start goes on."""
    config = QUICK + "disk_bytes = 2000000\ndisk_sweep = 0.2\n"
    playbook = """
[[rule]]
body = "fill"
steps = [{ shell = "head -c 8000000 /dev/zero > /ws/big" }, { hold = "/ws/go", timeout = 60 }]

[[rule]]
steps = [{ send = "heard: {body}" }]
"""
    with running_hive(tmp_path, config=config) as hive:
        hive.agent("ana", playbook=playbook)
        message = hive.send("ana", "fill")
        ended = hive.wait_for("turn.ended")
        assert (ended["data"]["result"], ended["data"]["reason"]) == ("failed", "disk_limit")
        hive.wait_for("box.gone")
        assert hive.boxes() == []
        assert hive.client.get("/agents/ana")["reason"] == "disk_limit"
        assert "file" in hive.client.get("/why/ana")["text"]
        assert hive.message(message)["state"] == "waiting"
        assert hive.count("agent.crashed") == 0
        (hive.work("ana") / "big").unlink()
        (hive.work("ana") / "go").touch()
        hive.client.patch("/agents/ana", {"playbook": None})
        hive.client.post("/agents/ana/start")
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
        assert "heard: fill" in hive.answers("ana")
