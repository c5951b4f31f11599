"""What a message is, and the decisions about it that need no database: failures, the breaker, sizes.

A message waits, is leased to one turn, and is handled when that turn ends well (LE-1). What fails too often is parked
and waits for the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from melipona.clock import Micros, later
from melipona.errors import Invalid, LimitReached
from melipona.ids import AgentId, MessageId, TurnId
from melipona.settings import MailSettings
from melipona.store import schema

LEASE_MOST = 32
"""Most messages that one turn begins with, or that one `receive` returns."""

INBOX_MOST = 10_000
"""Most messages that agents may have waiting for one agent (SECURITY.md T35). The operator is not bound by it."""


FILES_AN_HOUR = 64 << 20
"""Bytes of files that the long bodies of one agent may make within an hour: they lie outside its disk limit (T35)."""


class MessageState(StrEnum):
    """Where a message is. Rows hold the number of `schema`."""

    WAITING = "waiting"
    LEASED = "leased"
    HANDLED = "handled"
    PARKED = "parked"

    @classmethod
    def of(cls, number: int) -> MessageState:
        """The state that a row holds as `number`."""
        return _STATES[number]


_STATES = {
    schema.WAITING: MessageState.WAITING,
    schema.LEASED: MessageState.LEASED,
    schema.HANDLED: MessageState.HANDLED,
    schema.PARKED: MessageState.PARKED,
}


class MessageKind(StrEnum):
    """Why it was written: by somebody, to everybody, to wake an agent, or to tell of an event."""

    MAIL = "mail"
    BROADCAST = "broadcast"
    KICK = "kick"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Message:
    """One row for one recipient.

    `agent_id` is None when the recipient is the operator. `body` is at most the cap; the whole of a longer one lies at
    `body_path` (as the recipient sees it), `body_bytes` is its whole size. `attempts` counts the turns it was handed
    to, `failures` those that count towards parking (D-18). `turn` leases it, or handled it. `origin` is who had a hand
    in what led to it, oldest first (T30). `wake_at` is the end of a back-off.
    """

    id: MessageId
    sender: str
    recipient: str
    agent_id: AgentId | None
    body: str
    body_path: str | None
    body_bytes: int
    kind: MessageKind
    state: MessageState
    wake: bool
    attempts: int
    failures: int
    maybe_seen: bool
    turn: TurnId | None
    generation: int
    thread: MessageId
    reply_to: MessageId | None
    hop: int
    origin: tuple[str, ...]
    broadcast_id: str | None
    send_key: str | None
    last_error: str | None
    sent_at: Micros
    entered_at: Micros
    wake_at: Micros | None


@dataclass(frozen=True, slots=True)
class Sent:
    """What a sender is told: the ids (one a recipient), the thread, and a note when the mail does not move at once."""

    ids: tuple[MessageId, ...]
    thread: MessageId | None = None
    note: str = ""
    repeated: bool = False

    @property
    def id(self) -> MessageId:
        """The only id, or the first of a broadcast."""
        return self.ids[0]


@dataclass(frozen=True, slots=True)
class MailLimits:
    """`[mail]` as the decisions need it. 0 means no limit, but for `attempts`."""

    attempts: int
    backoff: tuple[timedelta, ...]
    body_bytes: int
    body_max_bytes: int
    thread_hops: int
    thread_per_minute: int
    sends_per_minute: int
    broadcasts_per_minute: int

    @classmethod
    def of(cls, settings: MailSettings) -> MailLimits:
        """The limits in `settings`."""
        return cls(
            attempts=settings.attempts,
            backoff=tuple(timedelta(seconds=seconds) for seconds in settings.backoff),
            body_bytes=settings.body_bytes,
            body_max_bytes=settings.body_max_bytes,
            thread_hops=settings.thread_hops,
            thread_per_minute=settings.thread_per_minute,
            sends_per_minute=settings.sends_per_minute,
            broadcasts_per_minute=settings.broadcasts_per_minute,
        )


@dataclass(frozen=True, slots=True)
class Parked:
    """It failed too often: it waits for the operator."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """It is handed out again, but not before `at`."""

    at: Micros


def after_failure(message: Message, limits: MailLimits, now: Micros) -> Parked | WaitUntil:
    """What becomes of `message` whose turn has just failed in a way that counts (D-18)."""
    failures = message.failures + 1
    if failures >= limits.attempts:
        return Parked()
    if not limits.backoff:
        return WaitUntil(now)
    return WaitUntil(later(now, limits.backoff[min(failures, len(limits.backoff)) - 1]))


def delivered_alone(message: Message) -> bool:
    """Whether it failed so often that no other message shall share its turn's fate (D-18)."""
    return message.failures >= 2


class Tripped(LimitReached):
    """The breaker refused a message (D-21). `key` is the same for repetitions of one refusal."""

    def __init__(self, message: str, *, remedy: str, code: str, agent: str, thread: int | None, key: str) -> None:
        super().__init__(message, remedy=remedy, code=code)
        self.agent = agent
        self.thread = thread
        self.key = key


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the breaker looks at when `sender` writes. `thread` is None unless both ends are agents."""

    sender: str
    hop: int
    thread: int | None
    parent: int | None
    thread_busy: bool = False
    """The thread has had its messages of this minute."""
    sender_busy: bool = False
    """The sender has had its sends (or broadcasts) of this minute."""
    broadcast: bool = False


def breaker(traffic: Traffic, limits: MailLimits, now: Micros) -> Tripped | None:
    """Whether this message would feed a conversation that feeds itself; None lets it pass (D-21, D-20)."""
    between_agents = traffic.thread is not None or traffic.broadcast
    if between_agents and limits.thread_hops and traffic.hop > limits.thread_hops:
        where = f"thread m{traffic.thread}" if traffic.thread is not None else "this chain of mail"
        return Tripped(
            f"{where} has gone back and forth {limits.thread_hops} times between agents, which is its limit",
            remedy="end the conversation; tell the operator if it must go on",
            code="thread_tripped",
            agent=traffic.sender,
            thread=traffic.thread,
            key=f"hops:{traffic.sender}:{traffic.parent}",
        )
    if traffic.thread_busy:
        return Tripped(
            f"thread m{traffic.thread} had {limits.thread_per_minute} messages within a minute, which is its limit",
            remedy="put what you have to say into fewer messages, a minute from now",
            code="thread_tripped",
            agent=traffic.sender,
            thread=traffic.thread,
            key=f"thread:{traffic.thread}:{now // 600_000_000}",
        )
    if traffic.sender_busy:
        most, noun = limits.sends_per_minute, "messages"
        if traffic.broadcast:
            most, noun = limits.broadcasts_per_minute, "broadcasts"
        return Tripped(
            f"you sent {most} {noun} within a minute, which is your limit",
            remedy="wait a minute",
            code="send_rate",
            agent=traffic.sender,
            thread=None,
            key=f"sends:{traffic.sender}:{noun}:{now // 3_600_000_000}",
        )
    return None


def files_breaker(sender: str, size: int, written: int, now: Micros) -> Tripped | None:
    """Whether a long body of `size` bytes is too much after the `written` ones of this hour; None lets it pass."""
    if written + size <= FILES_AN_HOUR:
        return None
    return Tripped(
        f"your long messages of the last hour have {written} bytes; the limit is {FILES_AN_HOUR} an hour",
        remedy="publish a file and send its path",
        code="send_bytes",
        agent=sender,
        thread=None,
        key=f"bytes:{sender}:{now // 3_600_000_000}",
    )


def checked_body(body: str, limits: MailLimits) -> int:
    """The size of `body` in bytes.

    Raises:
        Invalid: it is empty, not encodable, or longer than the longest (OP-1).
    """
    try:
        size = len(body.encode())
    except UnicodeEncodeError as error:
        raise Invalid("the body is not valid text", remedy="send UTF-8 without lone surrogates") from error
    if not body.strip():
        raise Invalid("the body is empty", remedy="write something")
    if size > limits.body_max_bytes:
        raise Invalid(
            f"the body has {size} bytes; the limit is {limits.body_max_bytes}",
            remedy="publish a file and send its path",
            code="body_too_long",
        )
    return size
