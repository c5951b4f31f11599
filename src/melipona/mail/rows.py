"""Rows of `messages` as records, and the one place that adds one, with its long body and its event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from melipona.errors import Bug
from melipona.files.vouching import Vouch, Vouched, vouch_for_nothing
from melipona.ids import OPERATOR, SYSTEM, AgentId, MessageId
from melipona.mail.bodies import LongBodies
from melipona.mail.model import Message, MessageKind, MessageState
from melipona.store import events
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import messages
from melipona.text import first_lines

COLUMNS = tuple(messages.c[field.name] for field in fields(Message))
_KINDS = {kind.value: kind for kind in MessageKind}


@dataclass(frozen=True, slots=True)
class Draft:
    """A message about to be written. `agent_id` None: to the operator. `thread` None: it begins one."""

    sender: str
    recipient: str
    agent_id: AgentId | None
    body: str
    size: int
    kind: MessageKind
    origin: Sequence[str]
    wake: bool = True
    thread: int | None = None
    reply_to: int | None = None
    hop: int = 0
    broadcast_id: str | None = None
    send_key: str | None = None
    body_path: str | None = None
    """Set when the whole body is stored already (a broadcast's, after its first row)."""


_WRITTEN = (
    "sender",
    "recipient",
    "agent_id",
    "body",
    "body_path",
    "body_bytes",
    "kind",
    "wake",
    "thread",
    "reply_to",
    "hop",
    "origin",
    "broadcast_id",
    "send_key",
    "sent_at",
    "entered_at",
)
_insert = Hot(insert(messages).values({column: bindparam(f"p_{column}") for column in _WRITTEN}))
_complete = Hot(
    update(messages)
    .where(messages.c.id == bindparam("p_id"))
    .values(thread=bindparam("p_thread"), body_path=bindparam("p_path"))
)


def message_of(row: Sequence[Any]) -> Message:
    """A row selected as `COLUMNS`. An unknown kind reads as mail (LE-15)."""
    values = dict(zip((column.name for column in COLUMNS), row, strict=True))
    values["state"] = MessageState.of(values["state"])
    values["kind"] = _KINDS.get(values["kind"], MessageKind.MAIL)
    values["origin"] = tuple(json.loads(values["origin"]))
    values["wake"] = bool(values["wake"])
    values["maybe_seen"] = bool(values["maybe_seen"])
    values["thread"] = values["id"] if values["thread"] is None else values["thread"]
    return Message(**values)


def add(
    c: Connection, draft: Draft, *, cap: int, bodies: LongBodies | None = None, vouch: Vouch = vouch_for_nothing
) -> tuple[MessageId, MessageId, str | None]:
    """Write a message with its event. Returns its id, its thread and the path of a long body.

    No stored body exceeds `cap` bytes (invariant 7): a longer one goes to `bodies`, its first lines stay. Without
    `bodies` it must not be longer. What `vouch` finds in the stored body goes into the event (BR-15).
    """
    values = _values(c, draft, cap)
    number = _insert.insert(c, **values)
    path = draft.body_path
    if path is None and draft.size > cap:
        if bodies is None:
            raise Bug(f"a body of {draft.size} bytes and no place for it")
        path = _store_body(bodies, draft, number)
    thread = number if draft.thread is None else draft.thread
    if thread != draft.thread or path != draft.body_path:
        _complete.run(c, p_id=number, p_thread=thread, p_path=path)
    data = {
        "id": number,
        "sender": draft.sender,
        "recipient": draft.recipient,
        "agent_id": draft.agent_id,
        "kind": draft.kind.value,
        "thread": thread,
        "wake": draft.wake,
        **files_of(vouch(values["p_body"])),
    }
    agent = draft.recipient if draft.agent_id is not None else None
    events.record(c, "message.sent", agent=agent, subject=f"m{number}", by=draft.sender, data=data)
    return MessageId(number), MessageId(thread), path


def files_of(vouched: Vouched) -> dict[str, Any]:
    """How an event names the files of a body; nothing where there are none."""
    files = {"files": list(vouched.paths)} if vouched.paths else {}
    return {**files, "files_cut": True} if vouched.cut else files


def _values(c: Connection, draft: Draft, cap: int) -> dict[str, Any]:
    at = now(c)
    return {
        "p_sender": draft.sender,
        "p_recipient": draft.recipient,
        "p_agent_id": draft.agent_id,
        "p_body": first_lines(draft.body, cap) if draft.size > cap else draft.body,
        "p_body_path": draft.body_path,
        "p_body_bytes": draft.size,
        "p_kind": draft.kind.value,
        "p_wake": int(draft.wake),
        "p_thread": draft.thread,
        "p_reply_to": draft.reply_to,
        "p_hop": draft.hop,
        "p_origin": json.dumps(list(draft.origin)),
        "p_broadcast_id": draft.broadcast_id,
        "p_send_key": draft.send_key,
        "p_sent_at": at,
        "p_entered_at": at,
    }


def _store_body(bodies: LongBodies, draft: Draft, number: int) -> str:
    if draft.broadcast_id is not None:
        return bodies.for_everybody(number, draft.body)
    if draft.recipient == OPERATOR:
        return bodies.for_operator(number, draft.body)
    return bodies.for_agent(draft.recipient, number, draft.body)


def record(c: Connection, kind: str, message: Message, *, by: str = SYSTEM, **data: Any) -> None:
    """An event of what became of a message."""
    agent = message.recipient if message.agent_id is not None else None
    events.record(c, kind, agent=agent, subject=f"m{message.id}", by=by, data=data)
