"""The append-only events: audit log, outbox and live stream in one.

`record` is called inside the transaction of the change it tells of. Event numbers are the row ids: durable, monotonic,
also across restarts (OP-8). Readers page by number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select

from melipona.ids import SYSTEM
from melipona.store.engine import NOBODY, Actor, Event, now
from melipona.store.hot import Hot
from melipona.store.schema import events

_insert = Hot(
    insert(events).values(
        {
            column: bindparam(f"p_{column}")
            for column in ("at", "kind", "agent", "subject", "principal", "request_id", "data", "person", "via")
        }
    )
)
_columns = (
    events.c.id,
    events.c.at,
    events.c.kind,
    events.c.agent,
    events.c.subject,
    events.c.principal,
    events.c.request_id,
    events.c.data,
    events.c.person,
    events.c.via,
)
PAGE = 500
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def record(
    c: Connection,
    kind: str,
    *,
    agent: str | None = None,
    subject: str | None = None,
    by: str = SYSTEM,
    data: Mapping[str, Any] | None = None,
    actor: Actor | None = None,
) -> int:
    """Add an event to the transaction of `c` and return its number.

    `kind` is `noun.verb` in the past (`message.sent`); `agent` the name it concerns, `subject` a shown id (`m12`,
    `t7`), `by` the name of who caused it, `data` small JSON facts (never a secret, never a long text). The person on
    whose request the transaction runs is recorded beside them, whatever `by` says; `actor` is somebody else than them.
    """
    at = now(c)
    text = _encoded(data)
    request, who = c.info.get("request_id"), actor or c.info.get("actor", NOBODY)
    number = _insert.insert(
        c,
        p_at=at,
        p_kind=kind,
        p_agent=agent,
        p_subject=subject,
        p_principal=by,
        p_request_id=request,
        p_data=text,
        p_person=who.person,
        p_via=who.via,
    )
    c.info["events"].append(Event(number, at, kind, agent, subject, by, request, text, who.person, who.via))
    return number


def _encoded(data: Mapping[str, Any] | None) -> str:
    """Facts as JSON. A lone surrogate, which a hostile JSON text can hold, must not fail the change it comes with."""
    text = _encode(data or {})
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def last_number(c: Connection) -> int:
    """The newest event's number, 0 when there is none."""
    return int(c.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())


def after(
    c: Connection, number: int, *, limit: int = PAGE, agent: str | None = None, kind: str | None = None
) -> list[Event]:
    """Events with numbers above `number`, oldest first; `kind` may end with `.` to mean a whole noun."""
    query = select(*_columns).where(events.c.id > number).order_by(events.c.id).limit(limit)
    return [Event(*row) for row in c.execute(_narrowed(query, agent, kind))]


def before(
    c: Connection, number: int | None, *, limit: int = 50, agent: str | None = None, kind: str | None = None
) -> list[Event]:
    """Events with numbers below `number` (None: from the newest on), newest first."""
    query = select(*_columns).order_by(events.c.id.desc()).limit(limit)
    if number is not None:
        query = query.where(events.c.id < number)
    return [Event(*row) for row in c.execute(_narrowed(query, agent, kind))]


def _narrowed(query: Any, agent: str | None, kind: str | None) -> Any:
    if agent is not None:
        query = query.where(events.c.agent == agent)
    if kind is not None:
        query = query.where(
            events.c.kind.startswith(kind, autoescape=True) if kind.endswith(".") else events.c.kind == kind
        )
    return query
