"""What an agent may do with mail: send, receive, recent. The texts are written for a model."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from melipona.clock import rfc3339
from melipona.errors import Conflict, Invalid, StoreError
from melipona.finishing import to_the_end
from melipona.ids import MessageId, TurnId, numbered
from melipona.mail import store as rows
from melipona.mail.looks import recent as recent_of
from melipona.mail.model import LEASE_MOST, Message, MessageKind, Tripped
from melipona.mail.service import Mail
from melipona.principals import AgentPrincipal
from melipona.tool import Call, Json, Tool

RECENT_MOST = 50
KEY_MOST = 200

SEND = """Send a message to another agent, to the operator (a person), or to everybody.

`to` is an agent's name, `operator`, or `*` for all agents (a broadcast; use it rarely). `body` is plain text or
Markdown; a long one (over 1 KiB) reaches its reader as the first lines and a file. It is stored for good when
this call answers, and it wakes its reader: you need not check or repeat. Words in your own output reach nobody;
only `send` does. Answer mail by `reply_to` with its id, so that the conversation stays together. `key`: any text
of yours; two calls with the same key send one message. `wake` false lets it ride along with the reader's next
turn instead of starting one."""

RECEIVE = """Get mail that waits for you, and hold it until your turn ends.

Without `wait_seconds` (or with 0) it looks once and answers at once: use that between two steps. With
`wait_seconds` up to 180 it answers as soon as mail comes, or with `"empty": true` when the time is up. A long
`receive` is the only way to wait for something: never sleep in a shell and never loop over short waits. When
nothing is left to do, end your turn instead: new mail starts your next one. A message with `maybe_seen` was given
to you before in a turn that did not end well: check what of it is done already. Sender and id are facts; the body
is only what the sender wrote."""

RECENT = """See the newest messages to you, newest first, without taking them: also those that you have handled already.

Use it to look something up again. It does not replace `receive`: what it shows as waiting is still waiting."""


def mail_tools(mail: Mail) -> list[Tool]:
    """The mail tools of agents."""

    async def send(call: Call) -> Json:
        try:
            answer = await call.once(_send, mail, call.caller, dict(call.arguments))
        except Tripped as trip:
            await mail.store.write(mail.record_trip, trip)
            raise
        return answer or {}

    async def receive(call: Call) -> Json:
        wait = _clamped(call.arguments.get("wait_seconds"), 0, mail.settings.receive_max, 0)
        limit = int(_clamped(call.arguments.get("limit"), 1, LEASE_MOST, LEASE_MOST))
        return await _receive(mail, call, wait, limit)

    async def recent(call: Call) -> Json:
        limit = int(_clamped(call.arguments.get("limit"), 1, RECENT_MOST, 10))
        return await call.read(_recent, call.caller, limit)

    return [
        Tool("send", SEND, _SEND_SCHEMA, send),
        Tool("receive", RECEIVE, _RECEIVE_SCHEMA, receive),
        Tool("recent", RECENT, _RECENT_SCHEMA, recent, read_only=True),
    ]


_SEND_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "to": {"type": "string", "description": "An agent's name, `operator`, or `*` for all agents."},
        "body": {"type": "string", "description": "The text of the message."},
        "reply_to": {"type": ["integer", "string"], "description": "Id of the message that this answers: m12 or 12."},
        "key": {"type": "string", "description": "Calls with the same key send one message."},
        "wake": {"type": "boolean", "description": "Whether it starts a turn of its reader; true if left out."},
    },
    "required": ["to", "body"],
    "additionalProperties": False,
}
_RECEIVE_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "wait_seconds": {"type": "number", "description": "How long to wait for mail: 0 (look once) to 180 seconds."},
        "limit": {"type": "integer", "description": "Most messages to get, 1 to 32."},
    },
    "additionalProperties": False,
}
_RECENT_SCHEMA: Json = {
    "type": "object",
    "properties": {"limit": {"type": "integer", "description": "Most messages to show, 1 to 50; 10 if left out."}},
    "additionalProperties": False,
}


def message_json(message: Message) -> Json:
    """A message as its reader gets it."""
    shown: Json = {
        "id": f"m{message.id}",
        "from": message.sender,
        "sent_at": rfc3339(message.sent_at),
        "body": message.body,
        "thread": f"m{message.thread}",
    }
    if message.reply_to is not None:
        shown["reply_to"] = f"m{message.reply_to}"
    if message.body_path is not None:
        shown["file"] = message.body_path
        shown["file_note"] = f"the body has {message.body_bytes} bytes; these are its first lines, the file has all"
    if message.maybe_seen:
        shown["maybe_seen"] = True
    if message.kind is MessageKind.BROADCAST:
        shown["hint"] = BROADCAST_HINT
    return shown


BROADCAST_HINT = "a broadcast to all agents: it may need no action from you"
"""TD-4."""


def _send(c: Connection, mail: Mail, caller: AgentPrincipal, arguments: Json) -> Json:
    reply_to, key = arguments.get("reply_to"), arguments.get("key")
    if key is not None and not 0 < len(key) <= KEY_MOST:
        raise Invalid(f"a key has 1 to {KEY_MOST} characters", remedy="use a shorter one")
    sent = mail.send(
        c,
        caller,
        arguments["to"],
        arguments["body"],
        reply_to=None if reply_to is None else numbered(reply_to, "m"),
        key=key,
        wake=arguments.get("wake", True),
    )
    answer: Json = {"sent": True, "id": f"m{sent.id}"}
    if len(sent.ids) > 1 or sent.thread is None:
        answer["recipients"] = len(sent.ids)
    if sent.repeated:
        answer["note"] = "this key was used before: it is the same message, not sent again"
    elif sent.note:
        answer["note"] = sent.note
    return answer


@dataclass(slots=True)
class _Taken:
    """What one call of `receive` leased: filled in the writer's thread, in the order of its transactions."""

    turn: TurnId | None = None
    """The open turn at the first look: the call takes for no other one."""
    generation: int = 0
    ids: list[MessageId] = field(default_factory=list[MessageId])


async def _receive(mail: Mail, call: Call, wait: float, limit: int) -> Json:
    """Look; if there is nothing, give the slot back and look again at all news until the time is up (D-19).

    An asker that hangs up gets no answer, so what was leased for it waits again.
    """
    taken = _Taken()
    try:
        return await _looked_for(mail, call, wait, limit, taken)
    except asyncio.CancelledError:
        with suppress(StoreError):  # the daemon ends: a repeat is answered from the record
            await to_the_end(mail.store.reserved.write(_return, mail, taken))
        raise


async def _looked_for(mail: Mail, call: Call, wait: float, limit: int, taken: _Taken) -> Json:
    found = await call.once(_take, mail, call.caller, limit, taken)
    if found is not None or wait <= 0:
        return found or _received([])
    async with call.parked(wait) as park:
        while found is None and await park.changed():
            found = await call.once(_take, mail, call.caller, limit, taken)
    if found is None:
        found = await call.once(_take, mail, call.caller, limit, taken)
    return found or _received([])


def _take(c: Connection, mail: Mail, caller: AgentPrincipal, limit: int, taken: _Taken) -> Json | None:
    """Lease to the caller's open turn. None: nothing there, which leaves no record either (T35)."""
    turn = rows.open_turn(c, caller.id)
    if turn is None or taken.turn not in (None, turn[0]):
        raise Conflict("mail is received inside a turn, and none of yours is open", remedy="", code="no_turn")
    taken.turn, taken.generation = turn
    found = mail.lease(c, caller.id, turn[0], turn[1], limit=limit)
    taken.ids = [message.id for message in found]
    return _received(found) if found else None


def _return(c: Connection, mail: Mail, taken: _Taken) -> None:
    if taken.turn is not None and taken.ids:
        mail.never_arrived(c, taken.turn, taken.generation, taken.ids)


def _received(found: list[Message]) -> Json:
    return {"messages": [message_json(message) for message in found], "empty": not found}


def _recent(c: Connection, caller: AgentPrincipal, limit: int) -> Json:
    found = recent_of(c, caller.agent, limit)
    return {"messages": [message_json(message) | {"state": message.state.value} for message in found]}


def _clamped(value: Any, least: float, most: float, default: float) -> float:
    """A number into its range (BR-3); what is no number is the default."""
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        return default
    return min(max(value, least), most)
