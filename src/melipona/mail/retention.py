"""Deleting handled mail after its time, in bounded steps. What was not handled is never deleted (LE-1).

The files of long bodies go before their rows: a crash in between finds the rows again, and nothing of a file is left
that no row names.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """One step. `cursor` None: it is the last. `files` are (recipient, path) of bodies that go with `old`."""

    cursor: int | None
    old: tuple[MessageId, ...]
    files: tuple[tuple[str, str], ...]


def old_handled(c: Connection, cursor: int, before: Micros) -> Step:
    """Look at the next messages after `cursor`, oldest first, for those handled before `before`. Changes nothing."""
    query = select(_m.id, _m.state, _m.sent_at, _m.entered_at, _m.recipient, _m.body_path, _m.broadcast_id)
    found = c.execute(query.where(_m.id > cursor).order_by(_m.id).limit(STEP)).all()
    old = [row for row in found if row.sent_at < before]
    gone = [row for row in old if row.state == HANDLED and row.entered_at < before]
    going = {row.id for row in gone}
    files = {
        (row.recipient, row.body_path)
        for row in gone
        if row.body_path is not None and not _shared(c, row.id, row.broadcast_id, going)
    }
    last = len(found) < STEP or len(old) < len(found)
    return Step(None if last else found[-1].id, tuple(MessageId(row.id) for row in gone), tuple(sorted(files)))


def delete_messages(c: Connection, identifiers: Sequence[MessageId]) -> None:
    """Delete what `old_handled` found: what is handled stays so."""
    c.execute(delete(messages).where(_m.id.in_(identifiers), _m.state == HANDLED))


def _shared(c: Connection, identifier: int, broadcast_id: str | None, going: set[int]) -> bool:
    """Whether a message of the same broadcast stays; its rows were written in one go."""
    if broadcast_id is None:
        return False
    near = select(_m.id).where(_m.id.between(identifier - 10_000, identifier + 10_000))
    rows = c.execute(near.where(_m.broadcast_id == broadcast_id))
    return any(number not in going for (number,) in rows)
