"""What a login must bring back, once: rows that are good for minutes, and for the browser that began.

A row holds the hash of what comes back, never that itself. Strangers have no rows made: what they must bring back
follows from the login page's cookie, and is only noted when it was brought (`spend`).
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from melipona.access.model import CLOCK_MOST, LINK_LIFE, hashed
from melipona.clock import later
from melipona.errors import LimitReached, Refused
from melipona.store.engine import now
from melipona.store.schema import login_challenges as rows

LIFE = timedelta(minutes=5)
OPEN_MOST = 20
"""Challenges of one person that may be open at once."""

Json = dict[str, Any]


def add(c: Connection, secret: str, kind: str, bound_to: str, person_id: str, data: Json) -> None:
    """Open a challenge that `secret` answers, for whoever shows that they are `bound_to`.

    Raises:
        LimitReached: the person has too many open.
    """
    at = now(c)
    c.execute(delete(rows).where(rows.c.ends_at <= at))
    mine = select(func.count()).select_from(rows).where(rows.c.person_id == person_id, rows.c.used_at.is_(None))
    if int(c.execute(mine).scalar_one()) >= OPEN_MOST:
        raise LimitReached("too much is waiting for your passkey", remedy="try again in five minutes", code="login")
    values = {"bound_to": hashed(bound_to), "person_id": person_id, "data": json.dumps(data), "created_at": at}
    c.execute(insert(rows).values(id_hash=hashed(secret), kind=kind, ends_at=later(at, LIFE), **values))


def find(c: Connection, secret: str, kind: str, bound_to: str) -> Json:
    """The data of the open challenge that `secret` answers.

    Raises:
        Refused: there is none, it was answered, has ended, or belongs to another browser.
    """
    at = now(c)
    back = rows.c.created_at <= later(at, CLOCK_MOST)  # a clock that went back must not lengthen its life
    mine = rows.c.kind == kind, rows.c.bound_to == hashed(bound_to)
    usable = rows.c.id_hash == hashed(secret), *mine, rows.c.used_at.is_(None), rows.c.ends_at > at, back
    row = c.execute(select(rows.c.data).where(*usable)).first()
    if row is None:
        raise _over()
    return json.loads(row.data)


def opened_at(c: Connection, secret: str) -> int:
    """When the challenge that `secret` answers was opened, in microseconds; there is one."""
    return int(c.execute(select(rows.c.created_at).where(rows.c.id_hash == hashed(secret))).scalar_one())


def take(c: Connection, secret: str, kind: str, bound_to: str) -> Json:
    """Use an open challenge up; its data.

    Raises:
        Refused: as `find`.
    """
    data = find(c, secret, kind, bound_to)
    c.execute(update(rows).where(rows.c.id_hash == hashed(secret)).values(used_at=now(c)))
    return data


def rebind(c: Connection, secret: str, bound_to: str, data: Json) -> None:
    """Bind an open challenge to another name of the same browser, with other data."""
    values = {"bound_to": hashed(bound_to), "data": json.dumps(data)}
    c.execute(update(rows).where(rows.c.id_hash == hashed(secret)).values(**values))


def spend(c: Connection, secret: str, kind: str) -> None:
    """Note that a stranger has brought `secret` back; whoever brings it again is refused.

    Raises:
        Refused: it was brought before.
    """
    at = now(c)
    c.execute(delete(rows).where(rows.c.ends_at <= at))
    if c.execute(select(rows.c.kind).where(rows.c.id_hash == hashed(secret))).first() is not None:
        raise _over()
    ends = later(at, LINK_LIFE + CLOCK_MOST)  # the cookie that it follows from is good no longer
    values = {"bound_to": "", "data": "{}", "created_at": at, "ends_at": ends, "used_at": at}
    c.execute(insert(rows).values(id_hash=hashed(secret), kind=kind, **values))


def _over() -> Refused:
    return Refused("this took too long, or was done already", remedy="begin again", code="login_over")
