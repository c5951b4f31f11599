"""Power loss by replay of what was synced: nothing acknowledged is lost, nothing is half there (I-1, I-17)."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bench.faults.power import compiler, losses, recording

CHILD = Path(__file__).with_name("faults_child.py")
CUTS = 60

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler: writes cannot be recorded")


def recorded(folder: Path, story: str) -> tuple[Path, list[tuple[str, int]]]:
    """Run a story under record: the record, and what was acknowledged with where the record stood then."""
    data, record = folder / "data", folder / "record"
    data.mkdir()
    ended = subprocess.run(
        [sys.executable, str(CHILD), story, str(data / "mel.db")],
        env=os.environ | recording(data, record, folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = [line.split() for line in ended.stdout.splitlines()]
    return record, [(key, int(at)) for key, at in told]


def missing(folder: Path, story: str, seed: int) -> tuple[int, int]:
    """How many acknowledged keys are gone after power losses, and how many unsynced writes those have lost."""
    record, acknowledged = recorded(folder, story)
    assert len(acknowledged) > 300
    gone = lost = 0
    for image, at, away in losses(record, folder, random.Random(seed), CUTS, first=acknowledged[0][1]):
        lost += away
        found = after_recovery(image / "mel.db")
        if found is None:
            gone += 1
            continue
        stored, events = found
        assert stored == events, "no change without its event"
        gone += len({key for key, told in acknowledged if told <= at} - stored)
    return gone, lost


def after_recovery(path: Path) -> tuple[set[str], set[str]] | None:
    """Keys, and subjects of events, as the next start finds them; None when the database is not whole."""
    try:
        with closing(sqlite3.connect(path)) as c:
            if c.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return None
            stored = {row[0] for row in c.execute("SELECT key FROM meta WHERE value LIKE 'x%'")}
            return stored, {row[0] for row in c.execute("SELECT subject FROM events")}
    except sqlite3.DatabaseError:
        return None


@pytest.mark.parametrize("seed", [1, 2])
def test_a_power_loss_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    """SECURITY.md 6.2: kill -9 does not test fsync; this does, with checkpoints, a cut WAL and torn writes in it."""
    gone, lost = missing(tmp_path, "power", seed)
    assert gone == 0
    assert lost > 50, "the cuts lost something at all"


def test_a_store_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    """The test of the test: with synchronous=OFF acknowledged changes do go."""
    gone, _ = missing(tmp_path, "power_unsynced", 1)
    assert gone > 0
