"""Looks at mail that change nothing: one message, an inbox, what is unread or parked, the whole hive's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, func, select, text

from melipona.errors import NotFound
from melipona.ids import OPERATOR
from melipona.mail.model import Message
from melipona.mail.rows import COLUMNS, message_of
from melipona.store.hot import Hot
from melipona.store.schema import agents, messages

_m = messages.c

RECENT = Hot(
    select(*COLUMNS)
    .where(_m.recipient == bindparam("p_name"), _m.agent_id == bindparam("p_agent"))
    .order_by(_m.id.desc())
    .limit(bindparam("p_limit"))
)
BY_ID = Hot(select(*COLUMNS).where(_m.id == bindparam("p_id")))
UNREAD = Hot(
    select(*COLUMNS)
    .where(_m.agent_id.is_(None), text("messages.state = 0"))
    .order_by(_m.id)
    .limit(bindparam("p_limit"))
)


def get(c: Connection, identifier: int) -> Message:
    """One message.

    Raises:
        NotFound: there is none.
    """
    row = BY_ID.one(c, p_id=identifier)
    if row is None:
        raise NotFound(f"no message m{identifier}", remedy="`mel mail` lists them", code="no_message")
    return message_of(row)


def newest(c: Connection) -> int:
    """The number of the newest message there is, 0 when there is none."""
    return int(c.execute(select(func.coalesce(func.max(_m.id), 0))).scalar_one())


def recent(c: Connection, name: str, limit: int) -> list[Message]:
    """The newest messages to `name`, newest first, consuming nothing (BR-6). Unknown names have none."""
    if name == OPERATOR:
        return listing(c, recipient=OPERATOR, limit=limit)
    query = select(agents.c.id).where(agents.c.name == name, text("agents.wish <> 'purged'"))
    agent_id = c.execute(query).scalar_one_or_none()
    if agent_id is None:
        return []
    return [message_of(row) for row in RECENT.all(c, p_name=name, p_agent=agent_id, p_limit=limit)]


def unread(c: Connection, limit: int = 50) -> list[Message]:
    """What the operator has not read, oldest first (D-39)."""
    return [message_of(row) for row in UNREAD.all(c, p_limit=limit)]


def parked(c: Connection, *, limit: int = 50, before: int | None = None) -> list[Message]:
    """Parked messages, newest first."""
    return _page(c, select(*COLUMNS).where(text("messages.state = 3")), limit, before)


def listing(
    c: Connection,
    *,
    sender: str | None = None,
    recipient: str | None = None,
    thread: int | None = None,
    limit: int = 50,
    before: int | None = None,
) -> list[Message]:
    """Messages of the whole hive, newest first, narrowed by what is given."""
    query: Any = select(*COLUMNS)
    for column, value in ((_m.sender, sender), (_m.recipient, recipient), (_m.thread, thread)):
        if value is not None:
            query = query.where(column == value)
    return _page(c, query, limit, before)


def _page(c: Connection, query: Any, limit: int, before: int | None) -> list[Message]:
    if before is not None:
        query = query.where(_m.id < before)
    return [message_of(tuple(row)) for row in c.execute(query.order_by(_m.id.desc()).limit(limit))]
