"""Upgrades: a database of an older schema is migrated by a program that is killed on its way, and then by another.

Size is the number of kills. Each round makes a database at the oldest schema with mail, events and seals in it, kills
the migration at a fault point (or in the middle of its statements), starts again, and asks: is every row still what it
was, is the schema that of a fresh database, is the copy from before whole. Upgrades of running hives, with boxes and
turns that go on, are tests/faults/test_storage_upgrade.py.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.faults.campaign import CampaignResult
from melipona.clock import SystemClock
from melipona.store import migrate

QUICK = 6
FULL = 200
MOMENTS = (
    "store.migrate.before_backup",
    "store.copy.before_vacuum",
    "store.copy.after_vacuum",
    "store.copy.before_sync",
    "store.migrate.after_backup",
    "store.migrate.before_upgrade",
    "in the middle",
    "store.upgrade.before_commit",
    "store.upgrade.after_commit",
    "store.migrate.after_upgrade",
)
"""Fault points of a migration, in their order, and one between its statements."""
PROGRAM = """
import os, sys
from pathlib import Path
from melipona import faults
from melipona.clock import SystemClock
from melipona.store.migrate import ensure_schema

class Die:
    async def at(self, name): self.here(name)
    def here(self, name):
        if name == sys.argv[2]:
            os.kill(os.getpid(), 9)

faults.install(Die())
if sys.argv[2] == "in the middle":
    from alembic import op
    add = op.add_column
    def added(*args, **kw):
        add(*args, **kw)
        os.kill(os.getpid(), 9)
    op.add_column = added
ensure_schema(Path(sys.argv[1]), SystemClock())
"""
Rows = dict[str, list[dict[str, Any]]]


def older(path: Path, chance: random.Random) -> int:
    """Make a database of the oldest schema with random rows; how many."""
    upgrade: Any = migrate._upgrade  # pyright: ignore[reportPrivateUsage]
    upgrade(path, migrate.KNOWN[0])
    migrate.mark_new(path, SystemClock())
    count = chance.randrange(1, 400)
    with closing(sqlite3.connect(path)) as c:
        c.execute("INSERT INTO epochs(host, pid, started_at) VALUES ('host', 1, 2)")
        for number in range(count):
            body = "x" * chance.randrange(3000)
            c.execute(
                "INSERT INTO messages(sender, recipient, body, body_bytes, kind, origin, sent_at, entered_at)"
                " VALUES ('operator', 'ana', ?, ?, 'mail', '[]', ?, ?)",
                (body, len(body), number, number),
            )
            c.execute(
                "INSERT INTO events(at, kind, principal, data) VALUES (?, 'message.sent', 'operator', '{}')", (number,)
            )
        c.commit()
    return count


def content(path: Path) -> Rows:
    """Every row of every table but the revision."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as c:
        c.row_factory = sqlite3.Row
        names = [row[0] for row in c.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [dict(row) for row in c.execute(f"SELECT * FROM {name} ORDER BY 1")]
            for name in names
            if name != "alembic_version"
        }


def schema(path: Path) -> list[tuple[str, ...]]:
    """Columns, indexes and triggers."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as c:
        tables = [row[0] for row in c.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        columns = sorted(
            (table, *(str(value) for value in row[1:]))
            for table in tables
            for row in c.execute(f"PRAGMA table_xinfo({table})")
        )
        rest = c.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE type <> 'table' AND sql NOT NULL ORDER BY 1, 2"
        )
        return [*columns, *((kind, name, " ".join(sql.split())) for kind, name, sql in rest)]


def missing(before: Rows, after: Rows) -> int:
    """Rows that are gone or are not what they were."""
    gone = 0
    for table, rows in before.items():
        there = Counter(
            repr(sorted((k, v) for k, v in row.items() if k in (rows or [row])[0])) for row in after.get(table, [])
        )
        there.subtract(repr(sorted(row.items())) for row in rows)
        gone += sum(-count for count in there.values() if count < 0)
    return gone


def run(seed: int, size: int, folder: Path) -> CampaignResult:
    """Kill `size` migrations, as `seed` says, and check what the next start makes of them."""
    chance = random.Random(seed)
    faults: Counter[str] = Counter()
    recovery: list[float] = []
    broken: list[str] = []
    rows = lost = 0
    fresh = folder / "fresh.db"
    fresh.unlink(missing_ok=True)
    migrate.ensure_schema(fresh, SystemClock())
    for number in range(size):
        path = folder / f"round-{number}" / "mel.db"
        path.parent.mkdir()
        rows += older(path, chance)
        before, moment = content(path), chance.choice(MOMENTS)
        faults[f"kill at {moment}"] += 1
        died = subprocess.run([sys.executable, "-c", PROGRAM, str(path), moment], timeout=60, check=False)
        if died.returncode != -9:
            broken.append(f"round {number}: the migration passed {moment} and ended with {died.returncode}")
        begun = time.monotonic()
        again = subprocess.run([sys.executable, "-c", PROGRAM, str(path), ""], timeout=60, check=False)
        recovery.append(time.monotonic() - begun)
        if again.returncode != 0 or schema(path) != schema(fresh):
            broken.append(f"round {number}: after a kill at {moment} the schema is not that of a fresh database")
            continue
        lost += missing(before, content(path))
        copies = list(path.parent.glob("*.before-*"))
        if len(copies) != 1 or content(copies[0]) != before:
            broken.append(f"round {number}: after a kill at {moment} the copy from before is not whole")
    return CampaignResult(
        campaign="upgrade",
        seed=seed,
        size=size,
        operations=rows,
        faults=dict(faults),
        acknowledged=rows,
        lost=lost,
        checked=("D-32", "I-1"),
        violations={"D-32": broken} if broken else {},
        recovery=recovery,
        worst_seed=seed,
        notes=("Rows of every table are compared one by one; running hives are upgraded by the tests.",),
    )
