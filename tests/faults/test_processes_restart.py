"""Killing and restarting the daemon leaves every box connected within two seconds (SECURITY.md section 7 line 6).

A few times here; a hundred times in the campaign: `python -m bench.faults processes --full`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from melipona.testing.box_faults import HELD, reconnection
from melipona.testing.hive import QUICK, running_hive

pytestmark = pytest.mark.boxes

RESTARTS = 3
SECONDS = 2.0
SLACK = 3.0
"""What a machine that does other things meanwhile may take on top; the campaign counts without it."""


def test_every_box_is_connected_soon_after_each_restart(tmp_path: Path) -> None:
    """The folder of sockets is bound, so a new daemon's are found; no turn ends, no box is another one."""
    with running_hive(tmp_path, config=QUICK + "[turns]\ncap = 8\n") as hive:
        names = ("ana", "ben", "cleo", "dora")
        for name in names:
            hive.agent(name, playbook=HELD)
            hive.send(name, "hold")
        for name in names:
            hive.wait_for("box.up", lambda e, name=name: e["agent"] == name)
        boxes = sorted(hive.boxes())
        took = [reconnection(hive, names) for _ in range(RESTARTS)]
        assert sorted(hive.boxes()) == boxes
        assert sorted(took)[RESTARTS // 2] < SECONDS
        assert max(took) < SECONDS + SLACK, took
        for name in names:
            (hive.work(name) / "go").touch()
        hive.wait_for("turn.ended", lambda e: e["data"]["result"] == "ok", count=len(names))
        assert hive.count("turn.ended") == len(names)
