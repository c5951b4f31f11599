"""The mail of a hive: sending, kicks, notices, and what the ends of turns do to it.

Methods that take a connection are operations: they run inside `store.write`, also inside other rooms' transactions.
Leases are functions of `mail.store`, looks of `mail.looks`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from datetime import timedelta

import structlog
from sqlalchemy import Connection, select

from melipona.clock import Micros, later
from melipona.files.references import Files
from melipona.files.vouching import CHANGE_MOST, PAGE_MOST, Lookup, Vouch, Vouched
from melipona.ids import EVERYBODY, OPERATOR, SYSTEM, AgentId, MessageId, TurnId
from melipona.mail import acts, looks, recipients
from melipona.mail import store as rows
from melipona.mail.bodies import LongBodies
from melipona.mail.model import LEASE_MOST, MailLimits, Message, MessageKind, Sent, Tripped, checked_body
from melipona.mail.post import Office, sent_with
from melipona.mail.retention import delete_messages, old_handled
from melipona.mail.rows import Draft, add
from melipona.principals import Principal
from melipona.settings import MailSettings
from melipona.store import events
from melipona.store.engine import Store
from melipona.store.schema import agents

log = structlog.get_logger("mail")


class Mail:
    """The mail of one hive."""

    def __init__(self, store: Store, settings: MailSettings, bodies: LongBodies, files: Files) -> None:
        self.store = store
        self.settings = settings
        self.limits = MailLimits.of(settings)
        self.bodies = bodies
        self.files = files
        self.arrived: Callable[[Connection, AgentId], None] | None = None
        """Told, in the sender's transaction, who has a new message that may wake it. The turn loop sets it."""
        self._office = Office(self.limits, bodies, self._arrived, self._vouch)

    async def begin(self) -> None:
        """Remove the bodies of messages that a daemon died over; once, before anything is sent."""
        left = await asyncio.to_thread(self.bodies.sweep, await self.store.read(looks.newest))
        if left:
            log.info("removed long bodies of messages that were not stored", files=len(left))

    # ---- writing --------------------------------------------------------------------------------------------------

    def send(
        self,
        c: Connection,
        sender: Principal,
        to: str,
        body: str,
        *,
        reply_to: int | None = None,
        key: str | None = None,
        wake: bool = True,
    ) -> Sent:
        """Send `body` to a name, to `operator`, or to `*` (all agents). A used `key` answers with its first message.

        Raises:
            NotFound: no such recipient, or no such message to reply to.
            Refused: a tombstone, oneself, or not on the sender's list.
            Invalid: an empty or too long body.
            Tripped: the breaker; pass it to `record_trip` in a transaction of its own.
            Conflict: the key was used for another message, or the inbox is full.
        """
        letter = self._office.letter(sender, body, reply_to=reply_to, key=key, wake=wake)
        if to == EVERYBODY:
            return self._office.broadcast(c, letter)
        return self._office.send(c, letter, to)

    def broadcast(
        self, c: Connection, sender: Principal, body: str, *, key: str | None = None, wake: bool = True
    ) -> Sent:
        """Send `body` to all agents but the sender and tombstones, one message each (D-20).

        Raises:
            as `send`; NotFound when there is nobody.
        """
        return self.send(c, sender, EVERYBODY, body, key=key, wake=wake)

    async def post(
        self,
        by: Principal,
        to: str,
        body: str,
        *,
        reply_to: int | None = None,
        key: str | None = None,
        wake: bool = True,
    ) -> Sent:
        """`send` as a transaction of its own; a refusal by the breaker is recorded."""
        try:
            return await self.store.write(self.send, by, to, body, reply_to=reply_to, key=key, wake=wake)
        except Tripped as trip:
            await self.store.write(self.record_trip, trip)
            raise

    def kick(self, c: Connection, agent_id: AgentId, reason: str) -> MessageId:
        """Wake an agent by an ordinary message from `system` (BR-7, BR-12). `reason` is what happened: `restarted`."""
        name = recipients.party(c, agent_id).name
        text = (
            f"You were {reason}. Your notes are in /agents/{name}/state, and your session continues where it was. "
            "Read your notes, and go on with what was under way; if nothing was, end your turn."
        )
        return self._from_system(c, name, agent_id, text, MessageKind.KICK)

    def notice(
        self, c: Connection, to: str, text: str, *, subject: int | None = None, key: str | None = None
    ) -> MessageId | None:
        """Tell an agent or the operator of an event (BR-13). `subject` is the message it is about.

        With a `key` it is told once only. None when it was told already, or when nobody takes mail under `to`.
        """
        agent_id = None
        if to != OPERATOR:
            row = recipients.BY_NAME.one(c, p_name=to)
            if row is None or row[3] == "destroyed":
                return None
            agent_id = recipients.Party.of(row).id
        if key is not None and any(message.recipient == to for message in sent_with(c, SYSTEM, key)):
            return None
        return self._from_system(c, to, agent_id, text, MessageKind.NOTICE, subject=subject, key=key)

    def notice_manager(self, c: Connection, text: str, *, but: str | None = None) -> MessageId | None:
        """`notice` to the manager, if there is one and it is not `but`."""
        query = select(agents.c.name).where(agents.c.role == "manager", agents.c.wish.in_(("running", "stopped")))
        name = c.execute(query).scalar_one_or_none()
        return None if name is None or name == but else self.notice(c, name, text)

    def record_trip(self, c: Connection, trip: Tripped) -> None:
        """Record that the breaker refused something, and tell the operator: once for each `key` of a refusal."""
        text = f"The breaker stopped {trip.agent}: {trip.message}."
        if self.notice(c, OPERATOR, text, subject=trip.thread, key=f"tripped:{trip.key}") is not None:
            subject = None if trip.thread is None else f"m{trip.thread}"
            data = {"thread": trip.thread, "code": trip.code, "reason": trip.message}
            events.record(c, "thread.tripped", agent=trip.agent, subject=subject, data=data)

    # ---- the ends of turns ----------------------------------------------------------------------------------------

    def lease(
        self, c: Connection, agent_id: AgentId, turn: TurnId, generation: int, *, limit: int = LEASE_MOST
    ) -> list[Message]:
        """`mail.store.lease`, with the files of each body in its event."""
        return rows.lease(c, agent_id, turn, generation, limit=limit, vouch=Lookup(self.files, CHANGE_MOST).vouched)

    def acknowledge(self, c: Connection, turn: TurnId, generation: int) -> int:
        """`mail.store.acknowledge`."""
        return rows.acknowledge(c, turn, generation)

    def give_back(self, c: Connection, turn: TurnId, generation: int, *, failed: bool, reason: str) -> list[Message]:
        """`mail.store.give_back`."""
        limits, vouch = self.limits, self._vouch
        return rows.give_back(c, turn, generation, failed=failed, reason=reason, limits=limits, vouch=vouch)

    def never_arrived(self, c: Connection, turn: TurnId, generation: int, identifiers: Container[MessageId]) -> None:
        """These were leased for a call whose asker hung up: they wait again, marked, and the turn goes on.

        Else its good end would acknowledge what its agent never saw (I-1).
        """
        reason = "its reader hung up before it came"
        rows.give_back(
            c, turn, generation, failed=False, reason=reason, limits=self.limits, vouch=self._vouch, only=identifiers
        )

    # ---- the operator's acts --------------------------------------------------------------------------------------

    def retry(self, c: Connection, identifier: int, *, by: Principal) -> Message:
        """`mail.acts.retry`."""
        return acts.retry(c, identifier, by=by.name)

    def mark_read(self, c: Connection, identifiers: list[MessageId] | None = None) -> int:
        """`mail.acts.mark_read`."""
        return acts.mark_read(c, identifiers)

    def page_look(self) -> Vouch:
        """Looks up the files of the bodies of one answer to a person: blocks on the disk."""
        return Lookup(self.files, PAGE_MOST).vouched

    def _vouch(self, body: str) -> Vouched:
        """The files that a body names as of this change; in the writer's thread, so a bounded look."""
        return Lookup(self.files, CHANGE_MOST).vouched(body)

    def whole_body(self, message: Message) -> str:
        """The whole body, read from its file when it is long: blocks on the disk, so run it in a thread.

        Raises:
            WorldFailed: its file is gone.
        """
        if message.body_path is None:
            return message.body
        return self.bodies.whole(message.recipient, message.body_path)

    async def clean_up(self, at: Micros) -> int:
        """Delete messages handled longer before `at` than `keep_days`, with their files. Returns how many.

        It works in bounded transactions, so that mail goes on between them.
        """
        if not self.settings.keep_days:
            return 0
        before = later(at, -timedelta(days=self.settings.keep_days))
        cursor: int | None = 0
        deleted = 0
        while cursor is not None:
            step = await self.store.read(old_handled, cursor, before)
            for recipient, path in step.files:
                await asyncio.to_thread(self.bodies.remove, recipient, path)
            if step.old:
                await self.store.reserved.write(delete_messages, step.old)
            cursor, deleted = step.cursor, deleted + len(step.old)
        return deleted

    def _arrived(self, c: Connection, agent_id: AgentId) -> None:
        if self.arrived is not None:
            self.arrived(c, agent_id)

    def _from_system(
        self,
        c: Connection,
        to: str,
        agent_id: AgentId | None,
        text: str,
        kind: MessageKind,
        *,
        subject: int | None = None,
        key: str | None = None,
    ) -> MessageId:
        size = checked_body(text, self.limits)
        draft = Draft(SYSTEM, to, agent_id, text, size, kind, (SYSTEM,), reply_to=subject, send_key=key)
        return add(c, draft, cap=self.limits.body_bytes, bodies=self.bodies, vouch=self._vouch)[0]
