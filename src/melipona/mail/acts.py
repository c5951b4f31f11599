"""What people do to mail: retry it, mark it read; and what a purge does to what waited."""

from __future__ import annotations

from sqlalchemy import Connection, select, text, update

from melipona.errors import Conflict
from melipona.ids import OPERATOR, AgentId, MessageId
from melipona.mail.looks import get
from melipona.mail.model import Message, MessageState
from melipona.mail.rows import record
from melipona.store import events
from melipona.store.engine import now
from melipona.store.schema import agents, messages

_m = messages.c
_waiting = text("messages.state = 0")


def retry(c: Connection, identifier: int, *, by: str) -> Message:
    """Hand a parked message out again from a clean count; end the back-off of a waiting one.

    Raises:
        NotFound: no such message.
        Conflict: it is leased or handled, or its recipient takes no mail.
    """
    message = get(c, identifier)
    if message.agent_id is None or message.state not in (MessageState.PARKED, MessageState.WAITING):
        raise Conflict(f"message m{identifier} is {message.state}", remedy="only a parked one can be retried")
    if _wish(c, message.agent_id) in ("destroyed", "purged"):
        raise Conflict(
            f'agent "{message.recipient}" is {_wish(c, message.agent_id)}', remedy="send it to another agent"
        )
    values = {"state": 0, "failures": 0, "wake_at": None, "entered_at": now(c)}
    c.execute(update(messages).where(_m.id == identifier).values(values))
    after = get(c, identifier)
    record(c, "message.retried", after, by=by, agent_id=after.agent_id)
    return after


def mark_read(c: Connection, identifiers: list[MessageId] | None = None) -> int:
    """The operator has read these messages (None: all): they are handled. Returns how many were unread."""
    query = (
        update(messages)
        .where(_m.agent_id.is_(None), _waiting)
        .values(state=2, entered_at=now(c))
        .returning(_m.id, _m.sender)
    )
    if identifiers is not None:
        query = query.where(_m.id.in_(identifiers))
    rows = sorted(c.execute(query).all())
    for identifier, _ in rows:
        events.record(c, "message.handled", subject=f"m{identifier}", by=OPERATOR, data={"turn": None})
    return len(rows)


def park_all_of(c: Connection, agent_id: AgentId, reason: str) -> int:
    """Park what waits for an agent that takes no mail any more. Returns how many."""
    query = (
        update(messages)
        .where(_m.agent_id == agent_id, _waiting)
        .values(state=3, last_error=reason, wake_at=None, entered_at=now(c))
        .returning(_m.id)
    )
    rows = sorted(c.execute(query).all())
    for (identifier,) in rows:
        message = get(c, identifier)
        record(c, "message.parked", message, turn=None, failures=message.failures, reason=reason, wake_at=None)
    return len(rows)


def _wish(c: Connection, agent_id: AgentId) -> str | None:
    return c.execute(select(agents.c.wish).where(agents.c.id == agent_id)).scalar_one_or_none()
