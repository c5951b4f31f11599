"""Why an agent, a message or a turn does not move: who or what acts next, which timer runs, what a person can type.

Everything is said from rows and process facts, like the status; words of agents and engines are quoted as such.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, literal_column, select

from melipona.clock import Micros, rfc3339
from melipona.errors import NotFound
from melipona.ids import OPERATOR, SYSTEM
from melipona.operations.model import YIELDING
from melipona.store.schema import HANDLED, LEASED, PARKED, WAITING, agents, messages, turns
from melipona.text import visible
from melipona.turns.agent_facts import AgentFacts, Limits, Process, facts_of, senders_of
from melipona.turns.model import COMPACT
from melipona.turns.status import Actor, State, Status, derive

SECOND = 1_000_000
STATES = {WAITING: "waiting", LEASED: "leased", HANDLED: "handled", PARKED: "parked"}


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer that runs: what happens at `until`."""

    what: str
    until: Micros


@dataclass(frozen=True, slots=True)
class Why:
    """An explanation. `commands` are what a person can type, most useful first."""

    subject: str
    sentences: tuple[str, ...]
    next_actor: Actor | None
    """None: it is over, nobody acts."""
    timer: Timer | None
    commands: tuple[str, ...]
    facts: Mapping[str, Any]
    at: Micros

    @property
    def text(self) -> str:
        """The explanation for people, a few lines."""
        lines = [*self.sentences]
        if self.timer is not None:
            until = rfc3339(self.timer.until)
            lines.append(f"timer: {self.timer.what} in {spell(self.timer.until - self.at)} ({until})")
        if self.commands:
            lines.append(f"you can type: {', or '.join(self.commands)}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The answer of `/why/{subject}`."""
        timer = self.timer and {"what": self.timer.what, "until": rfc3339(self.timer.until)}
        return {
            "subject": self.subject,
            "text": self.text,
            "sentences": list(self.sentences),
            "next_actor": self.next_actor and self.next_actor.value,
            "timer": timer,
            "commands": list(self.commands),
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class Look:
    """The moment and the limits that an explanation is made with. `turn_seconds` is the limit of a turn, 0 = none."""

    now: Micros
    cap: int
    limits: Limits | None = None
    process: Mapping[str, Process] = field(default_factory=dict[str, Process])
    turn_seconds: float = 0


def why(c: Connection, subject: str, look: Look) -> Why:
    """Explain an agent by its name, a message (`m12`) or a turn (`t7`). An agent of that very name comes first.

    Raises:
        NotFound: there is no such thing.
    """
    numbered = re.fullmatch(r"([mt])([0-9]{1,18})", subject)
    if numbered is None or _agent_id(c, subject) is not None:
        return why_agent(c, subject, look)
    return (why_message if numbered[1] == "m" else why_turn)(c, int(numbered[2]), look)


# ---- an agent -------------------------------------------------------------------------------------------------------


def why_agent(c: Connection, name: str, look: Look) -> Why:
    """Explain an agent.

    Raises:
        NotFound: there is none of this name.
    """
    identifier = _agent_id(c, name)
    if identifier is None:
        raise NotFound(f"there is no agent {name!r}", remedy="`mel agent list` shows all", code="no_such_agent")
    known = facts_of(c, identifier, look.now, look.cap, limits=look.limits, process=look.process)
    status = derive(known, look.now)
    sentences = [_headline(name, status, look.now), *_consequence(known, status), *_backlog(known, status)]
    timer = None if status.until is None else Timer(_what(status), status.until)
    if timer is None and known.turn is not None and not known.turn.waiting:
        timer = _turn_limit(known.turn.started_at, look)
    facts = {
        "state": status.state.value,
        "reason": status.reason,
        "waiting": known.mail.waiting,
        "leased": known.mail.leased,
        "parked": known.mail.parked,
        "turn": known.turn and known.turn.id,
        "box": known.box,
        "wish": known.wish,
        "behind": known.behind,
    }
    return Why(name, tuple(sentences), status.next_actor, timer, _commands(known, status), facts, look.now)


def _headline(name: str, status: Status, now: Micros) -> str:
    words = "needs you" if status.state is State.NEEDS_YOU else f"is {status.state}"
    detail = f": {visible(status.detail, lines=False)}" if status.detail else ""
    return f"{name} {words} since {spell(now - status.since)}{detail}"


_CONSEQUENCES = {
    "behind_cap": "Next: the daemon gives it a slot when another turn ends, first come, first served.",
    "starting": "Next: the daemon begins its turn.",
    "receive": "Next: whoever writes to it; or its time runs out and it goes on without mail.",
    "interrupting": "Next: the engine stops, or the daemon ends it after the grace time.",
    "box_starting": "Next: the daemon, when the box answers.",
    "box_away": "Next: its box dials in again, or the daemon finds it gone and gives the turn's mail back.",
    "compacting": "Next: the daemon, between two turns of it; mail that comes meanwhile waits.",
    "renewing": "Next: the daemon, between two turns of it; the next turn remembers nothing of this conversation.",
    "attached": "Next: whoever is at the terminal. Its mail waits until that is closed.",
    "pausing": "Next: the agent; after this turn it runs no other until it is resumed.",
    "crashed": "Next: the daemon tries again when there is mail; after too many crashes in a row it gives up.",
    "gave_up": "Next: you. Nothing happens until it is started again.",
    "paused": "Next: you. Its mail waits until it is resumed.",
    "rate_limited": "Next: the daemon tries again when the limit is over; the message does not count as failed.",
    "upstream": "Next: the daemon tries again by itself; the message does not count as failed.",
    "turns_per_hour": "Next: the daemon, when the oldest turn of this hour is an hour old.",
    "budget_spent": "Next: the next day brings a new budget, or you give it more.",
    "interrupted": "Next: you. After an interrupt given-back mail wakes nobody until you send something or resume it.",
    "parked_mail": "Next: you. Parked mail is not handed out again by itself.",
    "back_off": "Next: the daemon hands the message out again.",
    "model_refused": "Next: you. Give it another model, or allow what it asks for; then start it again.",
    "no_key": "Next: you. Give the daemon a key in [models.anthropic] or its environment and start it again.",
    "login_expired": "Next: you. Mend the key; the daemon also tries again by itself.",
    "engine_missing": "Next: you. Install its engine, then start it again.",
    "disk_limit": "Next: you. Remove some of its files, then start it again.",
    "stopped": "Next: you. It runs no turns until it is started.",
    "destroyed": "It is gone; its files are kept until it is purged.",
}


def _consequence(known: AgentFacts, status: Status) -> list[str]:
    if status.state is State.IDLE:
        return ["Nothing is to do. Next: whoever writes to it."]
    if status.state is State.WORKING and status.reason is None:
        return ["Next: the agent. Mail that comes now waits until this turn ends; it cancels nothing."]
    if status.state is State.CHANGING:
        return ["Next: the daemon, which carries this out and tries again if it fails."]
    found = _CONSEQUENCES.get(status.reason or "")
    if found is not None:
        return [found]
    return ["Next: the daemon tries again." if status.until is not None else "Next: you."]


_WAIT_FOR_TURN = {
    "attached": "a person is at a terminal in its box: it begins no other turn until that is closed.",
    "compacting": "its conversation is compacted after this, before it reads more mail.",
    "renewing": "a new conversation begins after this turn.",
}


def _backlog(known: AgentFacts, status: Status) -> list[str]:
    lines: list[str] = []
    operation = known.operation
    if operation is not None and operation.kind in _WAIT_FOR_TURN and operation.kind != status.reason:
        lines.append(f"{operation.by} asked: {_WAIT_FOR_TURN[operation.kind]}")
    if known.mail.waiting and status.state is not State.IDLE and status.reason not in ("paused", "interrupted"):
        waiting = known.mail.waiting
        lines.append(f"{waiting} of its messages {'waits' if waiting == 1 else 'wait'}.")
    if known.mail.parked and status.reason != "parked_mail":
        parked = known.mail.parked
        lines.append(f"{parked} of its messages {'is' if parked == 1 else 'are'} parked.")
    if status.reason not in ("crashed", "gave_up") and known.crashes:
        lines.append(f"It crashed {known.crashes} times since its last good turn.")
    return lines


def _what(status: Status) -> str:
    return {
        "receive": "it stops waiting",
        "crashed": "it may run again",
        "rate_limited": "it tries again",
        "upstream": "it tries again",
        "turns_per_hour": "it may run again",
        "budget_spent": "a new day begins",
        "back_off": "the message is handed out again",
    }.get(status.reason or "", "the daemon tries again")


def _commands(known: AgentFacts, status: Status) -> tuple[str, ...]:
    name = known.name
    match status.reason:
        case "paused" | "pausing":
            return (f"mel agent resume {name}",)
        case "interrupted":
            return (f"mel agent resume {name}", f"mel send {name} TEXT")
        case "stopped" | "gave_up" | "no_key" | "disk_limit":
            return (f"mel agent start {name}",)
        case "crashed" | "box_failed" | "engine_missing":
            return (f"mel agent start {name}", "mel doctor")
        case "budget_spent":
            return (f"mel agent set {name} --budget USD",)
        case "parked_mail":
            return ("mel mail parked", "mel mail retry ID")
        case "destroyed":
            return (f"mel agent destroy {name} --purge",)
        case "model_refused":
            return (f"mel agent set {name} --model MODEL", f"mel agent start {name}")
        case "login_expired":
            return ("mel doctor",)
        case _:
            pass
    if status.reason in YIELDING and known.turn is None:
        return (f"mel agent take-back {name}",)
    if known.turn is not None and status.state in (State.WORKING, State.WAITING):
        return (f"mel log {name} -f", f"mel interrupt {name}")
    return (f"mel send {name} TEXT",) if status.state is State.IDLE else ()


# ---- a message ------------------------------------------------------------------------------------------------------


def why_message(c: Connection, number: int, look: Look) -> Why:
    """Explain a message.

    Raises:
        NotFound: there is none of this number.
    """
    row = c.execute(select(messages).where(messages.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no message m{number}", remedy="`mel mail` lists them", code="no_message")
    subject, state, age = f"m{number}", STATES[row.state], spell(look.now - row.entered_at)
    facts = {"state": state, "recipient": row.recipient, "attempts": row.attempts, "failures": row.failures}
    facts |= {"turn": row.turn, "last_error": row.last_error}
    if row.state == HANDLED:
        how = f"turn t{row.turn} ended well" if row.turn is not None else f"{row.recipient} has read it"
        return Why(subject, (f"{subject} is handled since {age}: {how}.",), None, None, (), facts, look.now)
    if row.state == PARKED:
        return _parked(row, subject, age, facts, look)
    if row.agent_id is None:
        said = f"{subject} waits since {age} for you to read it."
        return Why(
            subject, (said,), Actor.OPERATOR, None, ("mel inbox", f"mel inbox --read {subject}"), facts, look.now
        )
    if row.state == LEASED:
        return _leased(c, row, subject, age, facts, look)
    return _waiting(c, row, subject, age, facts, look)


def _parked(row: Any, subject: str, age: str, facts: Mapping[str, Any], look: Look) -> Why:
    error = visible(row.last_error or "no reason is known", lines=False)
    said = (
        f"{subject} is parked since {age}: it failed {row.failures} times, the last time with: {error}",
        "Next: you. It is not handed out again by itself.",
    )
    return Why(subject, said, Actor.OPERATOR, None, (f"mel mail retry {subject}",), facts, look.now)


def _leased(c: Connection, row: Any, subject: str, age: str, facts: Mapping[str, Any], look: Look) -> Why:
    turn = why_turn(c, row.turn, look)
    seen = "; an earlier turn may have acted on it" if row.maybe_seen else ""
    said = f"{subject} is in the hands of turn t{row.turn} of {row.recipient} since {age}{seen}."
    ends = "It is handled when that turn ends well, and given back when it does not."
    return Why(subject, (said, ends, *turn.sentences), turn.next_actor, turn.timer, turn.commands, facts, look.now)


def _waiting(c: Connection, row: Any, subject: str, age: str, facts: Mapping[str, Any], look: Look) -> Why:
    first = f"{subject} waits since {age} for {row.recipient}."
    tried = _tried(row)
    if row.wake_at is not None and row.wake_at > look.now:
        timer = Timer("it is handed out again", row.wake_at)
        said = (first, *tried, "Next: the daemon hands it out again after the back-off.")
        return Why(subject, said, Actor.TIME, timer, (f"mel mail retry {subject}",), facts, look.now)
    agent = why_agent(c, row.recipient, look)
    said = [first, *tried]
    ahead = _before(c, row)
    if not row.wake:
        said.append("It wakes nobody; it comes along with the next turn.")
    elif ahead:
        said.append(f"{ahead} older messages for {row.recipient} wait too.")
    if row.failures >= 2:
        said.append("It failed before, so it is delivered alone.")
    return Why(subject, (*said, *agent.sentences), agent.next_actor, agent.timer, agent.commands, facts, look.now)


def _tried(row: Any) -> list[str]:
    if not row.attempts:
        return []
    error = f", the last time with: {visible(row.last_error, lines=False)}" if row.last_error else ""
    had = "1 turn" if row.attempts == 1 else f"{row.attempts} turns"
    return [f"{had} had it, {row.failures} failed{error}"]


def _before(c: Connection, row: Any) -> int:
    query = select(func.count()).where(
        messages.c.agent_id == row.agent_id, messages.c.state == literal_column("0"), messages.c.id < row.id
    )
    return int(c.execute(query).scalar_one())


# ---- a turn ---------------------------------------------------------------------------------------------------------


def why_turn(c: Connection, number: int, look: Look) -> Why:
    """Explain a turn.

    Raises:
        NotFound: there is none of this number.
    """
    row = c.execute(select(turns).where(turns.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no turn t{number}", remedy="`mel turns` lists them", code="no_turn")
    subject = f"t{number}"
    facts = {"state": row.state, "agent": row.agent, "result": row.result, "reason": row.reason}
    woken = f"woken by mail from {', '.join(dict.fromkeys(senders_of(row.cause))) or SYSTEM}"
    if row.wake_source == COMPACT:
        woken = "to compact its conversation"
    if row.state != "ended":
        agent = why_agent(c, row.agent, look)
        said = (f"{subject} of {row.agent}, {woken}, began {spell(look.now - row.started_at)} ago.", *agent.sentences)
        return Why(subject, said, agent.next_actor, agent.timer, agent.commands, facts, look.now)
    took = spell(row.ended_at - row.started_at)
    said = [
        f"{subject} of {row.agent}, {woken}, ended {spell(look.now - row.ended_at)} ago after {took}: {row.result}."
    ]
    if row.reason or row.note:
        told = ": ".join(visible(text, lines=False) for text in (row.reason, row.note) if text)
        said.append(f"The reason is {told}")
    if row.interrupt_by:
        said.append(f"{row.interrupt_by} asked it to stop.")
    if row.result not in (None, "ok"):
        said.append("Its mail was given back.")
    commands = (f"mel log {row.agent}",) if row.result != "ok" else ()
    return Why(subject, tuple(said), None, None, commands, facts, look.now)


def _turn_limit(started_at: Micros, look: Look) -> Timer | None:
    if not look.turn_seconds:
        return None
    until = Micros(started_at + int(look.turn_seconds * SECOND))
    return Timer("the turn is interrupted", until) if until > look.now else None


# ---- small things ---------------------------------------------------------------------------------------------------


def _agent_id(c: Connection, name: str) -> str | None:
    if name in (OPERATOR, SYSTEM):
        return None
    query = select(agents.c.id).where(agents.c.name == name, agents.c.wish != literal_column("'purged'"))
    return c.execute(query).scalar_one_or_none()


def spell(micros: int) -> str:
    """A duration for people: 38 s, 4 min, 2 h 10 min, 3 d."""
    seconds = max(0, round(micros / SECOND))
    if seconds < 100:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return f"{minutes // 1440} d"
