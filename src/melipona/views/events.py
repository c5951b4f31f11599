"""Events as a person and a stream see them."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, func, select
from typing_extensions import TypedDict

from melipona.clock import rfc3339
from melipona.store import events as log
from melipona.store.engine import Event
from melipona.store.schema import events, meta
from melipona.views.page import LIMIT, as_object, listed, page


class EventView(TypedDict):
    """Something that happened; `id` is its number, ever growing."""

    id: int
    at: str
    kind: str
    agent: str | None
    subject: str | None
    by: str
    """Whose name it goes under: `operator`, `system` or an agent."""
    person: str | None
    """The person on whose request it happened."""
    via: str | None
    """How they came in: `socket`, `session <id>` or `token <id>`."""
    request_id: str | None
    data: dict[str, Any]


class Events(TypedDict):
    """A page of events."""

    items: list[EventView]
    next: int | None


def event_view(event: Event) -> EventView:
    """`event` as the world sees it."""
    return {
        "id": event.id,
        "at": rfc3339(event.at),
        "kind": event.kind,
        "agent": event.agent,
        "subject": event.subject,
        "by": event.principal,
        "person": event.person,
        "via": event.via,
        "request_id": event.request_id,
        "data": as_object(event.data),
    }


def event_json(event: Event) -> str:
    """The same as one line of JSON; `data` is already encoded and is not read again."""
    head = {
        "id": event.id,
        "at": rfc3339(event.at),
        "kind": event.kind,
        "agent": event.agent,
        "subject": event.subject,
        "by": event.principal,
        "person": event.person,
        "via": event.via,
        "request_id": event.request_id,
    }
    return json.dumps(head, separators=(",", ":"), ensure_ascii=False)[:-1] + f',"data":{event.data}}}'


def list_events(
    c: Connection,
    *,
    limit: int = LIMIT,
    following: int | None = None,
    after: int | None = None,
    agent: str | None = None,
    kind: str | None = None,
) -> dict[str, Any]:
    """Events, newest first; with `after` those above that number, oldest first, as a follower reads them."""
    if after is None:
        rows = log.before(c, following, limit=limit + 1, agent=agent, kind=kind)
    else:
        rows = log.after(c, max(after, following or 0), limit=limit + 1, agent=agent, kind=kind)
    return listed(*page(rows, limit, event_view, lambda event: event.id))


def store_id(c: Connection) -> str:
    """The id of this store; another one after a restore (D-33)."""
    return str(c.execute(select(meta.c.value).where(meta.c.key == "store_id")).scalar_one())


def bounds(c: Connection) -> tuple[int, int]:
    """Numbers of the oldest and the newest event kept; (1, 0) when there is none."""
    # Two statements: SQLite looks min and max up in the index only when each stands alone.
    first = c.execute(select(func.min(events.c.id))).scalar_one()
    return (1, 0) if first is None else (int(first), log.last_number(c))
