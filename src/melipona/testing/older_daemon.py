"""The daemon as a program of the previous schema would be: for tests of an upgrade.

    python -m melipona.testing.older_daemon --data DIR ...

It knows no newer revision than 0002, makes its database at that one, and writes what that one has: events without a
person, and no people. (Where the clone has the released program in its history, the tests run that too.)
"""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy import bindparam, insert, null

from melipona import daemon
from melipona.access.model import Person
from melipona.api import app
from melipona.principals import Role
from melipona.store import events, migrate, seals
from melipona.store.hot import Hot
from melipona.store.schema import events as table

REVISION = "0002"
NAMES = ("at", "kind", "agent", "subject", "principal", "request_id", "data")


class _Insert:
    """An event without what the older schema has not."""

    def __init__(self) -> None:
        self._statement = Hot(insert(table).values({name: bindparam(f"p_{name}") for name in NAMES}))

    def insert(self, c: Any, **values: Any) -> int:
        """As `Hot.insert`."""
        return self._statement.insert(c, **{f"p_{name}": values[f"p_{name}"] for name in NAMES})


def _owner(c: Any) -> Person:
    del c
    return Person("", "owner", Role.ADMIN, True, 0, None)


def pin() -> None:
    """Take this process back to the previous schema."""
    upgrade: Any = migrate._upgrade  # pyright: ignore[reportPrivateUsage]
    columns = (table.c.id, *(table.c[name] for name in NAMES), null(), null())
    pinned: list[tuple[Any, str, Any]] = [
        (migrate, "HEAD", REVISION),
        (migrate, "KNOWN", ("0001", REVISION)),
        (migrate, "_upgrade", lambda path: upgrade(path, REVISION)),  # pyright: ignore[reportUnknownLambdaType]
        (events, "_insert", _Insert()),
        (app, "owner", _owner),
        (events, "_columns", columns),
        (seals, "_columns", columns),
    ]
    for module, name, value in pinned:
        setattr(module, name, value)
    again: list[tuple[Any, str, Any]] = [(seals, "_next", Hot(seals.unsealed()))]
    for module, name, value in again:
        setattr(module, name, value)


if __name__ == "__main__":
    pin()
    sys.exit(daemon.main())
