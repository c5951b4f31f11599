"""A turn's mail: lease, acknowledge, give back, park.

What ends a lease is fenced by turn *and* generation: what a dead turn reports changes nothing (D-16, I-5).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from sqlalchemy import Connection, bindparam, func, or_, select, text, update

from melipona.files.vouching import Vouch, vouch_for_nothing
from melipona.ids import OPERATOR, SYSTEM, AgentId, MessageId, TurnId
from melipona.mail.looks import get
from melipona.mail.model import (
    LEASE_MOST,
    MailLimits,
    Message,
    MessageKind,
    MessageState,
    Parked,
    after_failure,
    delivered_alone,
)
from melipona.mail.rows import COLUMNS, Draft, add, files_of, message_of, record
from melipona.store import events
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import agents, messages, turns
from melipona.text import first_lines

_m = messages.c
_waiting = text("messages.state = 0")
_due = or_(_m.wake_at.is_(None), _m.wake_at <= bindparam("p_now"))
_of_agent = _m.agent_id == bindparam("p_agent")
_of_turn = (_m.turn == bindparam("p_turn"), text("messages.state = 1"))
_fence = (*_of_turn, _m.generation == bindparam("p_generation"))

LEASABLE = Hot(select(*COLUMNS).where(_of_agent, _waiting, _due).order_by(_m.id).limit(bindparam("p_limit")))
LEASED_BY = Hot(select(*COLUMNS).where(*_of_turn).order_by(_m.id))
_open_turn_of = select(turns.c.id).where(turns.c.agent_id == bindparam("p_agent"), text("turns.state <> 'ended'"))
HELD_BY = Hot(
    select(*COLUMNS).where(_m.turn == _open_turn_of.scalar_subquery(), text("messages.state = 1")).order_by(_m.id)
)
LEASE = Hot(
    update(messages)
    .where(_m.id == bindparam("p_id"), _waiting)
    .values(
        state=text("1"),
        turn=bindparam("p_turn"),
        generation=bindparam("p_generation"),
        attempts=bindparam("p_attempts"),
        maybe_seen=bindparam("p_seen"),
        entered_at=bindparam("p_now"),
        wake_at=text("NULL"),
    )
)
ACKNOWLEDGE = Hot(
    update(messages)
    .where(*_fence)
    .values(state=text("2"), entered_at=bindparam("p_now"))
    .returning(_m.id, _m.recipient)
)
HELD = Hot(select(*COLUMNS).where(*_fence).order_by(_m.id))
OPEN_TURN = Hot(
    select(turns.c.id, turns.c.generation).where(
        turns.c.agent_id == bindparam("p_agent"), text("turns.state <> 'ended'")
    )
)
COUNT_WAITING = Hot(select(func.count()).select_from(messages).where(_of_agent, _waiting))


def lease(
    c: Connection,
    agent_id: AgentId,
    turn: TurnId,
    generation: int,
    *,
    limit: int = LEASE_MOST,
    vouch: Vouch = vouch_for_nothing,
) -> list[Message]:
    """Lease the oldest waiting messages of an agent, that are due, to its turn. Returns them as they are now.

    A message that failed twice is handed out alone: never with others, and never to a turn that holds mail already
    (D-18). From the second attempt on a message is marked as maybe seen (I-3). What `vouch` finds in a body goes into
    the event (BR-15).
    """
    at = now(c)
    found = [message_of(row) for row in LEASABLE.all(c, p_agent=agent_id, p_now=at, p_limit=limit)]
    if not found:
        return []
    leased: list[Message] = []
    for message in _together(c, found, turn):
        row = replace(
            message,
            state=MessageState.LEASED,
            turn=turn,
            generation=generation,
            attempts=message.attempts + 1,
            maybe_seen=message.attempts > 0 or message.maybe_seen,
            entered_at=at,
            wake_at=None,
        )
        LEASE.run(
            c,
            p_id=row.id,
            p_turn=turn,
            p_generation=generation,
            p_attempts=row.attempts,
            p_seen=int(row.maybe_seen),
            p_now=at,
        )
        files = files_of(vouch(row.body))
        record(c, "message.leased", row, turn=turn, attempts=row.attempts, maybe_seen=row.maybe_seen, **files)
        leased.append(row)
    return leased


def _together(c: Connection, found: list[Message], turn: TurnId) -> list[Message]:
    """Those of `found` that the turn may have together, with what it holds already."""
    if not any(delivered_alone(message) for message in found):
        return found
    if delivered_alone(found[0]) and LEASED_BY.one(c, p_turn=turn) is None:
        return found[:1]
    return [message for message in found if not delivered_alone(message)]


def acknowledge(c: Connection, turn: TurnId, generation: int) -> int:
    """The turn ended well: what it holds is handled. Returns how many; 0 for a turn that holds nothing (any more)."""
    rows = ACKNOWLEDGE.all(c, p_turn=turn, p_generation=generation, p_now=now(c))
    for identifier, recipient in sorted(rows):
        events.record(c, "message.handled", agent=recipient, subject=f"m{identifier}", data={"turn": turn})
    return len(rows)


def give_back(
    c: Connection,
    turn: TurnId,
    generation: int,
    *,
    failed: bool,
    reason: str,
    limits: MailLimits,
    vouch: Vouch = vouch_for_nothing,
    only: Container[MessageId] | None = None,
) -> list[Message]:
    """The turn did not end well: what it holds waits again, or is parked. Returns the messages as they are now.

    `failed` counts towards parking and sets the back-off; without it (rate limit, login, budget, upstream, daemon stop,
    interrupt: D-18) the message waits with no delay. The operator is told, once, of each that is parked (I-4).
    With `only`, the turn goes on and keeps the others.
    """
    after: list[Message] = []
    for row in HELD.all(c, p_turn=turn, p_generation=generation):
        message = message_of(row)
        if only is not None and message.id not in only:
            continue
        decision = after_failure(message, limits, now(c)) if failed else None
        if _recipient_purged(c, message):
            decision, reason = Parked(), "its recipient was purged"
        wake_at = None if decision is None or isinstance(decision, Parked) else decision.at
        c.execute(
            update(messages)
            .where(_m.id == message.id, _m.state == 1)
            .values(
                state=3 if isinstance(decision, Parked) else 0,
                failures=message.failures + int(failed),
                last_error=reason,
                turn=message.turn if isinstance(decision, Parked) else None,
                wake_at=wake_at,
                entered_at=now(c),
            )
        )
        now_is = get(c, message.id)
        kind = "message.parked" if isinstance(decision, Parked) else "message.given_back"
        record(c, kind, now_is, turn=turn, failures=now_is.failures, reason=reason, wake_at=wake_at)
        if isinstance(decision, Parked):
            _tell_parked(c, now_is, reason, limits, vouch)
        after.append(now_is)
    return after


def leased_by(c: Connection, turn: TurnId) -> list[Message]:
    """What a turn holds, oldest first."""
    return [message_of(row) for row in LEASED_BY.all(c, p_turn=turn)]


def held_by(c: Connection, agent_id: AgentId) -> list[Message]:
    """What an agent's open turn holds, oldest first; nothing without one."""
    return [message_of(row) for row in HELD_BY.all(c, p_agent=agent_id)]


def leased(c: Connection, turn: TurnId, generation: int) -> list[Message]:
    """What a turn of this generation holds, oldest first: an adopting daemon goes on with it."""
    return [message_of(row) for row in HELD.all(c, p_turn=turn, p_generation=generation)]


def open_turn(c: Connection, agent_id: AgentId) -> tuple[TurnId, int] | None:
    """Number and generation of an agent's open turn."""
    row = OPEN_TURN.one(c, p_agent=agent_id)
    return None if row is None else (TurnId(row[0]), int(row[1]))


def waiting(c: Connection, agent_id: AgentId) -> int:
    """How many messages wait for an agent, due or not."""
    row = COUNT_WAITING.one(c, p_agent=agent_id)
    return int(row[0]) if row else 0


def _tell_parked(c: Connection, message: Message, reason: str, limits: MailLimits, vouch: Vouch) -> None:
    text = first_lines(
        f"Message m{message.id} from {message.sender} to {message.recipient} is parked after {message.failures} failed "
        f"turns. It waits until `mel mail retry m{message.id}`. The last turn failed: {reason}",
        limits.body_bytes,
    )
    draft = Draft(SYSTEM, OPERATOR, None, text, len(text.encode()), MessageKind.NOTICE, (SYSTEM,), reply_to=message.id)
    add(c, draft, cap=limits.body_bytes, vouch=vouch)


def _recipient_purged(c: Connection, message: Message) -> bool:
    if message.agent_id is None:
        return False
    wish = select(agents.c.wish).where(agents.c.id == message.agent_id)
    return c.execute(wish).scalar_one_or_none() == "purged"
