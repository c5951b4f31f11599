"""Deleting handled mail after its time, in bounded steps. What was not handled is never deleted (LE-1)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from melipona.clock import Micros
from melipona.ids import MessageId
from melipona.store.schema import HANDLED, messages

STEP = 500
"""Rows looked at in one transaction."""
_m = messages.c


@dataclass(frozen=True, slots=True)
class Step:
    """One step's result. `cursor` None: it was the last. `files` are (recipient, path) of bodies that nobody needs."""

    cursor: int | None
    deleted: tuple[MessageId, ...]
    files: tuple[tuple[str, str], ...]


def delete_handled(c: Connection, cursor: int, before: Micros) -> Step:
    """Look at the next messages after `cursor`, oldest first, and delete those handled before `before`."""
    query = select(_m.id, _m.state, _m.sent_at, _m.entered_at, _m.recipient, _m.body_path, _m.broadcast_id)
    found = c.execute(query.where(_m.id > cursor).order_by(_m.id).limit(STEP)).all()
    old = [row for row in found if row.sent_at < before]
    gone = [row for row in old if row.state == HANDLED and row.entered_at < before]
    if gone:
        c.execute(delete(messages).where(_m.id.in_([row.id for row in gone])))
    files = {
        (row.recipient, row.body_path)
        for row in gone
        if row.body_path is not None and not _shared(c, row.id, row.broadcast_id)
    }
    last = len(found) < STEP or len(old) < len(found)
    return Step(None if last else found[-1].id, tuple(MessageId(row.id) for row in gone), tuple(sorted(files)))


def _shared(c: Connection, identifier: int, broadcast_id: str | None) -> bool:
    """Whether another message of the same broadcast is left; its rows were written in one go."""
    if broadcast_id is None:
        return False
    near = select(_m.id).where(_m.id.between(identifier - 10_000, identifier + 10_000))
    return c.execute(near.where(_m.broadcast_id == broadcast_id).limit(1)).first() is not None
