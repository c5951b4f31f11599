"""The daemon as a program of the previous schema would be: for tests of an upgrade.

    python -m melipona.testing.older_daemon --data DIR ...

It knows no newer revision than 0001, makes its database at that one, and writes what that one has. (Where the clone has
the released program in its history, the tests run that too.)
"""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy import Connection, insert, update

from melipona import daemon
from melipona.ids import EpochId
from melipona.store import check, events, migrate
from melipona.store.engine import now
from melipona.store.schema import epochs
from melipona.views import hive

REVISION = "0001"


def _begin(c: Connection, *, host: str, pid: int, version: str) -> EpochId:
    at = now(c)
    c.execute(update(epochs).where(epochs.c.ended_at.is_(None), epochs.c.host == host).values(ended_at=at))
    epoch = c.execute(insert(epochs).values(host=host, pid=pid, started_at=at).returning(epochs.c.id)).scalar_one()
    events.record(c, "daemon.started", data={"epoch": epoch, "pid": pid, "version": version})
    return EpochId(epoch)


def _end(c: Connection, epoch: EpochId, *, why: str) -> None:
    c.execute(update(epochs).where(epochs.c.id == epoch).values(ended_at=now(c)))
    events.record(c, "daemon.stopping", data={"epoch": epoch, "why": why})


async def _no_check(self: check.Checks) -> None:
    del self


def _nothing_checked(c: Connection) -> None:
    del c


def pin() -> None:
    """Take this process back to the first schema."""
    upgrade: Any = migrate._upgrade  # pyright: ignore[reportPrivateUsage]
    pinned: dict[str, Any] = {
        "HEAD": REVISION,
        "KNOWN": (REVISION,),
        "_upgrade": lambda path: upgrade(path, REVISION),  # pyright: ignore[reportUnknownLambdaType]
    }
    for name, value in pinned.items():
        setattr(migrate, name, value)
    for name, function in (("begin_epoch", _begin), ("end_epoch", _end)):
        setattr(daemon, name, function)
    check.Checks.run = _no_check
    hive.last_check = _nothing_checked


if __name__ == "__main__":
    pin()
    sys.exit(daemon.main())
