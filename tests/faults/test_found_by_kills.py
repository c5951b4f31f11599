"""What `python -m bench.faults kills` found: each a state that a kill left behind, made again by hand."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from melipona.testing.hive import HiveProcess
from melipona.testing.leftovers import leftovers

pytestmark = pytest.mark.boxes


@pytest.fixture
def hive(tmp_path: Path) -> Generator[HiveProcess]:
    """A hive whose agent has worked, with a box that lives; it must leave nothing."""
    made = HiveProcess(tmp_path / "hive")
    try:
        made.start()
        made.agent("ana")
        made.send("ana", "one")
        made.wait_for("message.handled")
        yield made
    finally:
        made.close()
    assert leftovers(made.data) == []


def test_a_box_whose_daemon_died_before_it_knew_the_box_is_ended_with_all_that_was_made_for_it(
    hive: HiveProcess,
) -> None:
    """Seed 3, kill 150: process, folder and control group stayed, because the row had no handle and was still named."""
    (old,) = hive.boxes()
    hive.kill()
    _change(hive.data, "UPDATE boxes SET state = 'starting', handle = NULL WHERE state = 'up'")
    hive.start()
    hive.wait_for("box.gone")
    hive.send("ana", "two")
    hive.wait_for("message.handled", count=2)
    assert old not in hive.boxes()


def test_the_folder_of_a_box_that_is_gone_is_removed_by_the_next_daemon(hive: HiveProcess) -> None:
    """Seed 3: the daemon died after it had written that the box is gone, and before it removed the box's folder."""
    left = hive.data / "boxes" / "01a1fe23-d407-7387-af5d-cd5bb92d335a" / "run"
    hive.kill()
    left.mkdir(parents=True)
    os.mknod(left / "ctl.sock", stat.S_IFSOCK | 0o600)
    boxes = hive.boxes()
    hive.start()
    hive.send("ana", "two")
    hive.wait_for("message.handled", count=2)
    assert not left.parent.exists()
    assert hive.boxes() == boxes


def _change(data: Path, statement: str) -> None:
    with closing(sqlite3.connect(data / "mel.db")) as c, c:
        c.execute(statement)
