"""How much was sent within the last minute: bounded looks along an index, never a count of a whole history.

The usual look reads one row: the N-th newest. Only when that lies within the minute are the rows counted, a broadcast
as one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Text, bindparam, cast, func, select

from melipona.clock import Micros
from melipona.store.hot import Hot
from melipona.store.schema import messages

MINUTE = 60_000_000
HOUR = 3_600_000_000
MOST_ROWS = 8192
"""Rows that an exact count looks at; a broadcast to more agents than that counts as several."""

_m = messages.c


def _nth(column: Any) -> Hot:
    return Hot(
        select(_m.sent_at)
        .where(column == bindparam("p_value"))
        .order_by(_m.id.desc())
        .limit(1)
        .offset(bindparam("p_before"))
    )


def _count(column: Any, *, broadcasts: bool = False) -> Hot:
    newest = (
        select(_m.sent_at, func.coalesce(_m.broadcast_id, cast(_m.id, Text)).label("what"), _m.broadcast_id)
        .where(column == bindparam("p_value"))
        .order_by(_m.id.desc())
        .limit(MOST_ROWS)
        .subquery()
    )
    query = select(func.count(newest.c.what.distinct())).where(
        newest.c.sent_at > bindparam("p_from"), newest.c.sent_at <= bindparam("p_to")
    )
    return Hot(query.where(newest.c.broadcast_id.is_not(None)) if broadcasts else query)


NTH_OF_SENDER, COUNT_OF_SENDER = _nth(_m.sender), _count(_m.sender)
NTH_OF_THREAD, COUNT_OF_THREAD = _nth(_m.thread), _count(_m.thread)
COUNT_BROADCASTS = _count(_m.sender, broadcasts=True)


def _file_bytes() -> Hot:
    newest = (
        select(_m.sent_at, _m.body_bytes, _m.body_path, func.coalesce(_m.broadcast_id, cast(_m.id, Text)).label("what"))
        .where(_m.sender == bindparam("p_value"))
        .order_by(_m.id.desc())
        .limit(MOST_ROWS)
        .subquery()
    )
    files = (
        select(func.max(newest.c.body_bytes).label("size"))
        .where(newest.c.body_path.is_not(None))
        .where(newest.c.sent_at > bindparam("p_from"), newest.c.sent_at <= bindparam("p_to"))
        .group_by(newest.c.what)
        .subquery()
    )
    return Hot(select(func.coalesce(func.sum(files.c.size), 0)))


FILE_BYTES = _file_bytes()


def sender_busy(c: Connection, sender: str, limit: int, at: Micros) -> bool:
    """Whether `sender` has sent `limit` times within the minute before `at`; 0 is never."""
    return _busy(c, NTH_OF_SENDER, COUNT_OF_SENDER, sender, limit, at)


def thread_busy(c: Connection, thread: int, limit: int, at: Micros) -> bool:
    """The same for a thread."""
    return _busy(c, NTH_OF_THREAD, COUNT_OF_THREAD, thread, limit, at)


def broadcasts_busy(c: Connection, sender: str, limit: int, at: Micros) -> bool:
    """The same for the broadcasts of `sender`."""
    return bool(limit) and _counted(c, COUNT_BROADCASTS, sender, at) >= limit


def file_bytes(c: Connection, sender: str, at: Micros) -> int:
    """Bytes of the files that long bodies of `sender` have made within the hour before `at`."""
    row = FILE_BYTES.one(c, p_value=sender, p_from=at - HOUR, p_to=at)
    return int(row[0]) if row else 0


def _busy(c: Connection, nth: Hot, count: Hot, value: str | int, limit: int, at: Micros) -> bool:
    if not limit:
        return False
    row = nth.one(c, p_value=value, p_before=limit - 1)
    if row is None or not at - MINUTE < row[0] <= at:
        return False
    return _counted(c, count, value, at) >= limit


def _counted(c: Connection, count: Hot, value: str | int, at: Micros) -> int:
    row = count.one(c, p_value=value, p_from=at - MINUTE, p_to=at)
    return int(row[0]) if row else 0
