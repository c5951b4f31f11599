"""Messages as a person sees them, and the lists that people ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Connection, Select, func, literal, literal_column, select, union
from typing_extensions import TypedDict

from melipona.clock import rfc3339, rfc3339_or_none
from melipona.errors import Invalid, NotFound
from melipona.ids import OPERATOR, SYSTEM
from melipona.store.schema import messages
from melipona.views.page import LIMIT, listed, page

SEARCHED = 100_000
"""Messages that one search looks at: a text that is nowhere must not read the whole history."""
STATES = ("waiting", "leased", "handled", "parked")
"""Names of the stored numbers, in their order."""


class Vouched(Protocol):
    """Which tokens of a body are files that people may read, and whether not all were looked up."""

    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def cut(self) -> bool: ...


Vouch = Callable[[str], Vouched]
"""Looks a body up (`files/vouching.py`)."""


class MessageView(TypedDict):
    """A message."""

    id: int
    """Shown as `m12`."""
    sender: str
    """A name: an agent, `operator` or `system`."""
    recipient: str
    body: str
    """Of a long one its first lines; the whole stands in the file `body_path`."""
    body_path: str | None
    """The file of a long body, as its recipient sees it."""
    body_bytes: int
    files: list[str]
    """Words of `body` that are files which `/files` shows, in their order. A page links these words and no others."""
    files_cut: bool
    """More words look like paths than were looked up."""
    kind: str
    """mail, broadcast, kick or notice."""
    sent_at: str
    state: str
    """waiting, leased, handled or parked."""
    since: str
    """Since when it is in this state."""
    attempts: int
    """Turns it was handed to."""
    failures: int
    """Attempts that count towards parking."""
    maybe_seen: bool
    """An earlier turn may have acted on it."""
    wake: bool
    """False when it only rides along with the next turn."""
    turn: int | None
    """The turn that holds it, or handled it."""
    thread: int | None
    reply_to: int | None
    broadcast_id: str | None
    next_try_at: str | None
    last_error: str | None


class Messages(TypedDict):
    """A page of messages, newest first."""

    items: list[MessageView]
    next: int | None


def message_view(row: Any, vouch: Vouch) -> MessageView:
    """A row of `messages` as the world sees it."""
    vouched = vouch(row.body)
    return {
        "id": row.id,
        "sender": row.sender,
        "recipient": row.recipient,
        "body": row.body,
        "body_path": row.body_path,
        "body_bytes": row.body_bytes,
        "files": list(vouched.paths),
        "files_cut": vouched.cut,
        "kind": row.kind,
        "sent_at": rfc3339(row.sent_at),
        "state": STATES[row.state] if 0 <= row.state < len(STATES) else str(row.state),  # LE-15
        "since": rfc3339(row.entered_at),
        "attempts": row.attempts,
        "failures": row.failures,
        "maybe_seen": bool(row.maybe_seen),
        "wake": bool(row.wake),
        "turn": row.turn,
        "thread": row.thread,
        "reply_to": row.reply_to,
        "broadcast_id": row.broadcast_id,
        "next_try_at": rfc3339_or_none(row.wake_at),
        "last_error": row.last_error,
    }


def one_message(c: Connection, number: int, *, vouch: Vouch) -> MessageView:
    """The message with this number.

    Raises:
        NotFound: there is none.
    """
    row = c.execute(select(messages).where(messages.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no message m{number}", remedy="`mel mail` lists them")
    return message_view(row, vouch)


def list_messages(
    c: Connection,
    *,
    vouch: Vouch,
    limit: int = LIMIT,
    following: int | None = None,
    agent: str | None = None,
    state: str | None = None,
    thread: int | None = None,
    text: str | None = None,
) -> dict[str, Any]:
    """Messages of the whole hive, newest first; `agent` keeps those it sent or got, `text` those whose body (of a long
    one: its first lines) holds it, letters of ASCII in either case, among the newest `SEARCHED` below `following`.

    Raises:
        Invalid: there is no such state.
    """
    query = _newest(limit, following)
    if text is not None:
        newest = select(func.coalesce(func.max(messages.c.id), 0)).scalar_subquery()
        oldest = (newest if following is None else literal(following)) - SEARCHED
        query = query.where(messages.c.id > oldest, messages.c.body.icontains(text, autoescape=True))
    if agent is not None and state is None and thread is None and text is None:
        query = query.where(messages.c.id.in_(_ids_of(agent, limit, following)))
    elif agent is not None:
        query = query.where((messages.c.sender == agent) | (messages.c.recipient == agent))
    if state is not None:
        query = query.where(_is_state(state))
    if thread is not None:
        query = query.where((messages.c.thread == thread) | (messages.c.id == thread))
    return _paged(c, query, limit, vouch)


def inbox(c: Connection, *, vouch: Vouch, limit: int = LIMIT, following: int | None = None) -> dict[str, Any]:
    """The operator's messages, newest first (D-39)."""
    return _paged(c, _newest(limit, following).where(messages.c.recipient == OPERATOR), limit, vouch)


def unread_from_agents(c: Connection, *, vouch: Vouch, limit: int = LIMIT) -> dict[str, Any]:
    """The operator's unread messages that agents sent, newest first: what `mel inbox --wait` waits for (D-39)."""
    # No agent is the operator; naming the recipient too would lead the planner away from the index of waiting ones.
    query = _newest(limit, None).where(
        messages.c.agent_id.is_(None), _is_state("waiting"), messages.c.sender.not_in((OPERATOR, SYSTEM))
    )
    return _paged(c, query, limit, vouch)


def count_by_state(c: Connection) -> dict[str, int]:
    """How many agents' messages wait, are leased and parked, and how many the operator has not read.

    Handled ones are never counted: there is no bound to them.
    """
    counts: dict[str, int] = {}
    for state in ("waiting", "leased", "parked"):
        query = select(func.count()).select_from(messages).where(_is_state(state), messages.c.agent_id.is_not(None))
        counts[state] = int(c.execute(query).scalar_one())
    unread = select(func.count()).select_from(messages).where(_is_state("waiting"), messages.c.agent_id.is_(None))
    counts["unread"] = int(c.execute(unread).scalar_one())
    return counts


def waiting_by_agent(c: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Waiting messages of each of these agents; those without any are absent."""
    query = (
        select(messages.c.agent_id, func.count())
        .where(_is_state("waiting"), messages.c.agent_id.in_(ids))
        .group_by(messages.c.agent_id)
    )
    return {str(row[0]): int(row[1]) for row in c.execute(query)}


def _ids_of(agent: str, limit: int, following: int | None) -> Any:
    """Ids of the newest messages that `agent` got and that it sent, each from its index; an OR would scan."""
    parts: list[Any] = []
    for column in (messages.c.recipient, messages.c.sender):
        query = select(messages.c.id).where(column == agent).order_by(messages.c.id.desc()).limit(limit + 1)
        if following is not None:
            query = query.where(messages.c.id < following)
        parts.append(select(query.subquery().c.id))
    return union(*parts)


def _newest(limit: int, following: int | None) -> Select[Any]:
    query = select(messages).order_by(messages.c.id.desc()).limit(limit + 1)
    return query if following is None else query.where(messages.c.id < following)


def _is_state(name: str) -> Any:
    """With a literal, because only so do the partial indexes serve (PERFORMANCE.md section 11, rule 16)."""
    if name not in STATES:
        raise Invalid(f"there is no message state {name!r}", remedy=f"states are {', '.join(STATES)}")
    return messages.c.state == literal_column(str(STATES.index(name)))


def _paged(c: Connection, query: Select[Any], limit: int, vouch: Vouch) -> dict[str, Any]:
    return listed(*page(c.execute(query).all(), limit, partial(message_view, vouch=vouch), lambda row: row.id))
