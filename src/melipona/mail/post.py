"""Sending: who may write to whom, send keys, the breaker, the thread, one row a recipient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection, bindparam, select, text, update

from melipona.errors import Conflict, NotFound, Refused
from melipona.files.vouching import Vouch
from melipona.ids import EVERYBODY, OPERATOR, AgentId, MessageId, new_id
from melipona.mail import recipients, traffic
from melipona.mail import store as rows
from melipona.mail.bodies import LongBodies
from melipona.mail.looks import get
from melipona.mail.model import (
    INBOX_MOST,
    MailLimits,
    Message,
    MessageKind,
    Sent,
    Traffic,
    breaker,
    checked_body,
    files_breaker,
)
from melipona.mail.recipients import Party
from melipona.mail.rows import COLUMNS, Draft, add, message_of
from melipona.mail.threads import Place, place
from melipona.principals import AgentPrincipal, OperatorPrincipal, Principal
from melipona.store import events
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import agents, messages

_m = messages.c
SENT_WITH = Hot(
    select(*COLUMNS).where(
        _m.sender == bindparam("p_sender"),
        _m.send_key == bindparam("p_key"),
        text("messages.send_key IS NOT NULL"),
    )
)
NTH_WAITING = Hot(
    select(_m.id)
    .where(_m.agent_id == bindparam("p_agent"), text("messages.state = 0"))
    .order_by(_m.id)
    .limit(1)
    .offset(bindparam("p_before"))
)


@dataclass(frozen=True, slots=True)
class Letter:
    """What somebody wants to send. `size` is checked already."""

    sender: Principal
    body: str
    size: int
    reply_to: int | None = None
    key: str | None = None
    wake: bool = True


@dataclass(frozen=True, slots=True)
class Office:
    """The limits and folders that sending needs."""

    limits: MailLimits
    bodies: LongBodies
    arrived: Callable[[Connection, AgentId], None]
    """Told of each message that may wake its recipient, in the sender's transaction."""
    vouch: Vouch

    def letter(self, sender: Principal, body: str, *, reply_to: int | None, key: str | None, wake: bool) -> Letter:
        """A letter with a checked body.

        Raises:
            Invalid: the body is empty or too long.
        """
        return Letter(sender, body, checked_body(body, self.limits), reply_to, key, wake)

    def send(self, c: Connection, letter: Letter, to: str) -> Sent:
        """One message to one recipient; see `Mail.send`."""
        repeated = self._repeated(c, letter, to)
        if repeated is not None:
            return repeated
        me = recipients.party(c, letter.sender.id) if isinstance(letter.sender, AgentPrincipal) else None
        if to == letter.sender.name:
            raise Refused("nobody can write to themselves", remedy="keep notes in your state folder", code="self_send")
        party = None if to == OPERATOR else recipients.recipient(c, to)
        if me is not None:
            recipients.check_allowed(me, to, to_manager=party is not None and party.manager)
        spot = self._place(c, letter, to)
        if me is not None:
            self._check_files(c, me, letter.size)
            self._check_traffic(c, me, spot, None if party is None else party.id)
        draft = Draft(
            sender=letter.sender.name,
            recipient=to,
            agent_id=None if party is None else party.id,
            body=letter.body,
            size=letter.size,
            kind=MessageKind.MAIL,
            origin=spot.origin,
            wake=letter.wake,
            thread=spot.thread,
            reply_to=letter.reply_to,
            hop=spot.hop,
            send_key=letter.key,
        )
        number, thread, _ = add(c, draft, cap=self.limits.body_bytes, bodies=self.bodies, vouch=self.vouch)
        if party is not None and party.held and isinstance(letter.sender, OperatorPrincipal):
            _let_go(c, party)
        if party is not None and letter.wake:
            self.arrived(c, party.id)
        return Sent((number,), thread, "" if party is None else party.note)

    def broadcast(self, c: Connection, letter: Letter) -> Sent:
        """One message to each agent; see `Mail.broadcast`."""
        repeated = self._repeated(c, letter, EVERYBODY)
        if repeated is not None:
            return repeated
        me = recipients.party(c, letter.sender.id) if isinstance(letter.sender, AgentPrincipal) else None
        if me is not None:
            recipients.check_allowed(me, EVERYBODY)
        readers = recipients.everybody_but(c, letter.sender.name)
        if not readers:
            raise NotFound("there is no other agent", remedy="write to the operator", code="nobody")
        spot = self._place(c, letter, EVERYBODY)
        if me is not None:
            self._check_files(c, me, letter.size)
            self._check_broadcasts(c, me, spot)
        common, path, ids = new_id(), None, list[MessageId]()
        vouch = cache(self.vouch)  # one body, one look
        for reader in readers:
            draft = Draft(
                sender=letter.sender.name,
                recipient=reader.name,
                agent_id=reader.id,
                body=letter.body,
                size=letter.size,
                kind=MessageKind.BROADCAST,
                origin=spot.origin,
                wake=letter.wake,
                reply_to=letter.reply_to,
                hop=spot.hop,
                broadcast_id=common,
                send_key=letter.key,
                body_path=path,
            )
            number, _, path = add(c, draft, cap=self.limits.body_bytes, bodies=self.bodies, vouch=vouch)
            ids.append(number)
        asleep = [reader.name for reader in readers if reader.note]
        note = f"it waits for {', '.join(asleep)}: stopped or paused" if asleep else ""
        return Sent(tuple(ids), None, note)

    def _repeated(self, c: Connection, letter: Letter, to: str) -> Sent | None:
        """The answer for a key that was used already (I-2)."""
        if letter.key is None:
            return None
        found = sent_with(c, letter.sender.name, letter.key)
        if not found:
            return None
        first = found[0]
        same_reader = first.broadcast_id is not None if to == EVERYBODY else first.recipient == to
        if not same_reader or first.body_bytes != letter.size or not letter.body.startswith(first.body):
            raise Conflict(
                f"the key {letter.key!r} was used for message m{first.id}", remedy="use another key", code="key_used"
            )
        return Sent(tuple(message.id for message in found), first.thread, repeated=True)

    def _place(self, c: Connection, letter: Letter, to: str) -> Place:
        reply = None if letter.reply_to is None else _replied(c, letter.sender, letter.reply_to)
        if not isinstance(letter.sender, AgentPrincipal):
            name = letter.sender.name
            return Place(None if reply is None else reply.thread, None if reply is None else reply.id, 0, (name,))
        return place(letter.sender.name, to, rows.held_by(c, letter.sender.id), reply)

    def _check_traffic(self, c: Connection, me: Party, spot: Place, to: AgentId | None) -> None:
        """The breaker (D-21) and the recipient's quota (T35)."""
        at, limits = now(c), self.limits
        thread = spot.thread if to is not None else None
        seen = Traffic(
            sender=me.name,
            hop=spot.hop,
            thread=thread,
            parent=spot.parent,
            thread_busy=thread is not None and traffic.thread_busy(c, thread, limits.thread_per_minute, at),
            sender_busy=traffic.sender_busy(c, me.name, limits.sends_per_minute, at),
        )
        trip = breaker(seen, limits, at)
        if trip is not None:
            raise trip
        if to is not None and NTH_WAITING.one(c, p_agent=to, p_before=INBOX_MOST - 1) is not None:
            raise Conflict("the recipient's inbox is full", remedy="tell the operator", code="inbox_full")

    def _check_files(self, c: Connection, me: Party, size: int) -> None:
        """The quota of files that long bodies make (T35); short ones are bounded by their number."""
        if size <= self.limits.body_bytes:
            return
        trip = files_breaker(me.name, size, traffic.file_bytes(c, me.name, now(c)), now(c))
        if trip is not None:
            raise trip

    def _check_broadcasts(self, c: Connection, me: Party, spot: Place) -> None:
        at, limits = now(c), self.limits
        busy = traffic.broadcasts_busy(c, me.name, limits.broadcasts_per_minute, at)
        seen = Traffic(me.name, spot.hop, None, spot.parent, sender_busy=busy, broadcast=True)
        trip = breaker(seen, limits, at)
        if trip is not None:
            raise trip


def sent_with(c: Connection, sender: str, key: str) -> list[Message]:
    """What `sender` sent with this key, oldest first."""
    found = [message_of(row) for row in SENT_WITH.all(c, p_sender=sender, p_key=key)]
    return sorted(found, key=lambda message: message.id)


def _replied(c: Connection, sender: Principal, identifier: int) -> Message:
    """The message that `sender` replies to, which must be one of its own mail."""
    message = get(c, identifier)
    if not isinstance(sender, AgentPrincipal) or message.sender == sender.name or message.agent_id == sender.id:
        return message
    raise NotFound(f"no message m{identifier} in your mail", remedy="leave reply_to out", code="no_message")


def _let_go(c: Connection, party: Party) -> None:
    """The operator wrote to an agent whose mail was held back after an interrupt (D-18)."""
    c.execute(update(agents).where(agents.c.id == party.id).values(held_at=None))
    events.record(c, "agent.changed", agent=party.name, by=OPERATOR, data={"held": False})
