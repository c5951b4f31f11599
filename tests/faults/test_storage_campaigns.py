"""The campaigns against storage and upgrades, small, and that they would see a loss (SECURITY.md 6.3, C and I)."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from bench.faults import upgrade


def test_a_migration_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Campaign I, each kill answered by the next start."""
    found = upgrade.run(seed=11, size=3, folder=tmp_path)
    assert found.ok, found.violations
    assert sum(found.faults.values()) == 3
    assert found.acknowledged > 0


def test_the_campaign_sees_rows_that_are_gone_or_changed(tmp_path: Path) -> None:
    """The test of the test."""
    path = tmp_path / "mel.db"
    made = upgrade.older(path, random.Random(1))
    before = upgrade.content(path)
    assert upgrade.missing(before, upgrade.content(path)) == 0
    with closing(sqlite3.connect(path)) as c:
        c.execute("DELETE FROM messages WHERE id = 1")
        c.execute("UPDATE messages SET body = body || '!' WHERE id = ?", (made,))
        c.commit()
    assert upgrade.missing(before, upgrade.content(path)) == 2
