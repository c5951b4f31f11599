"""The state of an agent as a pure function of facts (D-37): never stored, never read off an engine's words.

The first row that applies wins:

    | state      | reason                       | when                                                       |
    |------------|------------------------------|------------------------------------------------------------|
    | changing   | the operation's kind         | an operation of the agent is in flight that waits for no   |
    |            |                              | turn to end                                                |
    | paused     | attached                     | a person is at a terminal in its box; a turn that runs     |
    |            |                              | comes before this                                          |
    | off        | destroyed, stopped           | its wish is not to run and nothing is in flight            |
    | queued     | behind_cap                   | its parked turn has news and wants its slot back           |
    | waiting    | receive                      | its turn is parked in `receive`                            |
    | working    | interrupting, box_starting,  | a turn runs (these reasons when they apply, else none)     |
    |            | box_away, pausing,           |                                                            |
    |            | compacting                   |                                                            |
    | failed     | crashed, gave_up             | it crashed (tried again at `until`, or never by itself)    |
    | paused     | paused                       | a person paused it                                         |
    | needs_you  | permission, question, ...    | a person must answer                                       |
    | waiting    | rate_limited, upstream, ...  | a trouble that passes by itself                            |
    | stuck      | no_key, login_expired, ...   | any other trouble                                          |
    | stuck      | budget_spent                 | its budget, or with due mail the hive's, is spent          |
    | queued     | compacting, renewing         | a person asked for that, and it is about to begin          |
    | paused     | interrupted                  | an interrupt holds its mail until the operator acts (D-18) |
    | waiting    | turns_per_hour               | due mail, but it has had its turns of this hour            |
    | waiting    | disk                         | due mail, but too little of the disk is free               |
    | queued     | behind_cap, starting         | due mail: no slot is free, or its turn is about to begin   |
    | stuck      | parked_mail                  | mail that failed too often waits for the operator          |
    | waiting    | back_off                     | mail is tried again at `until`                             |
    | idle       | -                            | nothing to do                                              |

A trouble whose time has come (`wake_at` is past) counts as over: the turn loop tries again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from melipona.clock import Micros
from melipona.operations.model import COMPACTING, YIELDING
from melipona.turns.agent_facts import AgentFacts, Limits, Process, facts, facts_of

__all__ = ["Actor", "AgentFacts", "Limits", "Process", "State", "Status", "derive", "facts", "facts_of", "summary"]


class State(StrEnum):
    """The words of the grammar of states (`DESIGN.md`)."""

    NEEDS_YOU = "needs_you"
    WORKING = "working"
    QUEUED = "queued"
    WAITING = "waiting"
    IDLE = "idle"
    PAUSED = "paused"
    STUCK = "stuck"
    FAILED = "failed"
    CHANGING = "changing"
    OFF = "off"


class Actor(StrEnum):
    """Who or what acts next."""

    OPERATOR = "operator"
    AGENT = "agent"
    DAEMON = "daemon"
    PEER = "peer"  # whoever writes to it
    TIME = "time"  # a timer runs until `until`


@dataclass(frozen=True, slots=True)
class Status:
    """A state, its stable reason code and what a person reads about it. Times are microseconds."""

    state: State
    reason: str | None
    detail: str | None
    since: Micros
    until: Micros | None
    next_actor: Actor


ATTACHED = "attached"
"""The kind of operation that a terminal is (`terminals/`)."""
FAILURES = frozenset({"crashed", "gave_up"})
ASKS = frozenset({"permission", "question", "approval"})
PASSING = frozenset({"rate_limited", "upstream", "turns_per_hour"})

_TEXTS = {
    "crashed": "its box ended unexpectedly",
    "gave_up": "it crashed too often; the daemon does not start it again by itself",
    "permission": "asks for permission",
    "question": "asks a question",
    "approval": "waits for an approval",
    "rate_limited": "the model's rate limit is reached",
    "upstream": "the model's service fails",
    "turns_per_hour": "it has had its turns of this hour",
    "no_key": "there is no key for the model",
    "login_expired": "the model's service refuses the key",
    "model_refused": "its model calls are not allowed",
    "budget_spent": "the budget of the day is spent",
    "engine_missing": "its engine is not installed",
    "box_failed": "its box did not start",
    "disk_limit": "its files take more than they may",
}

_Rule = Callable[[AgentFacts, Micros], Status | None]


def derive(facts: AgentFacts, now: Micros) -> Status:
    """The status that `facts` show at `now`, by the table above."""
    for rule in _RULES:
        found = rule(facts, now)
        if found is not None:
            return found
    return _idle(facts)


def summary(statuses: Iterable[Status]) -> str:
    """One sentence about all agents: "12 agents, 3 working, 2 need you, 1 stuck". Idle ones go without saying."""
    counts = Counter(status.state for status in statuses)
    total = sum(counts.values())
    if not total:
        return "no agents"
    noun = "1 agent" if total == 1 else f"{total} agents"
    shown = [f"{counts[state]} {_word(state, counts[state])}" for state in _SHOWN if counts[state]]
    if not shown:
        return f"{noun}, idle" if total == 1 else f"{noun}, all idle"
    return ", ".join([noun, *shown])


_SHOWN = (
    State.WORKING,
    State.NEEDS_YOU,
    State.STUCK,
    State.FAILED,
    State.QUEUED,
    State.WAITING,
    State.CHANGING,
    State.PAUSED,
    State.OFF,
)


def _word(state: State, count: int) -> str:
    if state is State.NEEDS_YOU:
        return "needs you" if count == 1 else "need you"
    return state.value


# ---- the rules, in their order ------------------------------------------------------------------------------------


def _changing(f: AgentFacts, now: Micros) -> Status | None:
    op = f.operation
    if op is None or op.kind == ATTACHED or op.kind in YIELDING:
        return None
    detail = f"{op.kind}, asked by {op.by}" + (f": {op.detail}" if op.detail else "")
    return Status(State.CHANGING, op.kind, detail, op.since, _ahead(op.again_at, now), Actor.DAEMON)


def _off(f: AgentFacts, now: Micros) -> Status | None:
    if f.wish == "running":
        return None
    detail = _count(f.mail.waiting, "message waits", "messages wait") if f.wish == "stopped" else None
    actor = Actor.OPERATOR
    return Status(State.OFF, f.wish, f"{detail} until it is started" if detail else None, f.entered_at, None, actor)


def _turn(f: AgentFacts, now: Micros) -> Status | None:
    turn = f.turn
    if turn is None:
        return None
    if turn.waiting:
        if f.process is not None and f.process.wants_slot:
            return Status(
                State.QUEUED,
                "behind_cap",
                f"has news and goes on as soon as one of {f.cap} slots is free",
                turn.entered_at,
                None,
                Actor.DAEMON,
            )
        return Status(
            State.WAITING, "receive", "waits for mail", turn.entered_at, _ahead(turn.wake_at, now), Actor.PEER
        )
    reason, detail, actor = _work(f)
    return Status(State.WORKING, reason, detail, turn.started_at, None, actor)


def _work(f: AgentFacts) -> tuple[str | None, str | None, Actor]:
    turn, process = f.turn, f.process
    assert turn is not None
    if turn.interrupt_by is not None:
        return "interrupting", f"{turn.interrupt_by} asked it to stop", Actor.DAEMON
    if f.box == "starting":
        return "box_starting", "its box is starting", Actor.DAEMON
    if process is not None and process.link is False:
        return "box_away", "its box is not connected to the daemon", Actor.DAEMON
    if turn.compacts:
        by = f.operation.by if f.operation is not None else "a person"
        return "compacting", f"compacts its conversation, asked by {by}", Actor.AGENT
    about = f"mail from {', '.join(dict.fromkeys(turn.senders))}" if turn.senders else None
    if process is not None and process.tool:
        about = f"{process.tool}, for {about}" if about else process.tool
    if f.paused_at is not None:
        return "pausing", f"is paused by {f.paused_by or 'operator'} after this turn", Actor.AGENT
    return None, about, Actor.AGENT


def _attached(f: AgentFacts, now: Micros) -> Status | None:
    op = f.operation
    if op is None or op.kind != ATTACHED:
        return None
    detail = f"{op.by} is at a terminal in its box; it begins no turn until that is closed"
    return Status(State.PAUSED, ATTACHED, detail, op.since, None, Actor.OPERATOR)


def _failed(f: AgentFacts, now: Micros) -> Status | None:
    return _troubled(f, now, State.FAILED) if f.trouble in FAILURES else None


def _paused(f: AgentFacts, now: Micros) -> Status | None:
    if f.paused_at is None:
        return None
    waits = _count(f.mail.waiting, "message waits", "messages wait")
    detail = f"by {f.paused_by or 'operator'}" + (f"; {waits}" if waits else "")
    return Status(State.PAUSED, "paused", detail, f.paused_at, None, Actor.OPERATOR)


def _trouble(f: AgentFacts, now: Micros) -> Status | None:
    if f.trouble is None:
        return None
    if f.trouble in ASKS:
        return _troubled(f, now, State.NEEDS_YOU)
    return _troubled(f, now, State.WAITING if f.trouble in PASSING else State.STUCK)


def _troubled(f: AgentFacts, now: Micros, state: State) -> Status | None:
    if f.wake_at is not None and f.wake_at <= now:
        return None
    assert f.trouble is not None
    detail = f.trouble_detail or _TEXTS.get(f.trouble, f.trouble)
    actor = Actor.OPERATOR if f.wake_at is None else Actor.TIME
    return Status(state, f.trouble, detail, f.entered_at, f.wake_at, actor)


def _budget(f: AgentFacts, now: Micros) -> Status | None:
    money = f.money
    if money.limit and money.spent >= money.limit:
        whose = "its budget"
    elif money.hive_limit and money.hive_spent >= money.hive_limit and f.mail.due:
        whose = "the hive's budget"
    else:
        return None
    amount = money.limit if whose == "its budget" else money.hive_limit
    since = money.last_at or f.mail.due_since or f.entered_at
    detail = f"{whose} of {amount / 1_000_000:.2f} USD for today is spent"
    return Status(State.STUCK, "budget_spent", detail, since, money.day_ends, Actor.TIME)


def _held(f: AgentFacts, now: Micros) -> Status | None:
    if f.held_at is None or f.mail.due or not f.mail.waking:
        return None
    waits = _count(f.mail.waiting, "message waits", "messages wait")
    detail = f"its turn was interrupted; {waits} until you send it something or resume it"
    return Status(State.PAUSED, "interrupted", detail, f.held_at, None, Actor.OPERATOR)


def _asked(f: AgentFacts, now: Micros) -> Status | None:
    op = f.operation
    if op is None or op.kind not in YIELDING:
        return None
    what = "compacts its conversation" if op.kind == COMPACTING else "begins a new conversation"
    full = op.kind == COMPACTING and f.cap and f.running >= f.cap
    when = f", when one of {f.cap} slots is free" if full else ""
    return Status(State.QUEUED, op.kind, f"{what}{when}, asked by {op.by}", op.since, None, Actor.DAEMON)


def _hour(f: AgentFacts, now: Micros) -> Status | None:
    if f.turns_until is None or f.turns_until <= now:
        return None
    since = f.mail.due_since or f.entered_at
    return Status(State.WAITING, "turns_per_hour", _TEXTS["turns_per_hour"], since, f.turns_until, Actor.TIME)


def _queued(f: AgentFacts, now: Micros) -> Status | None:
    if not f.mail.due:
        return None
    since = f.mail.due_since or f.entered_at
    if f.disk:
        return Status(State.WAITING, "disk", f.disk, since, None, Actor.OPERATOR)
    if f.cap and f.running >= f.cap:
        behind = f.running - f.cap + (f.behind or 0)
        detail = f"behind {behind}" if behind else f"next, when one of {f.cap} slots is free"
        return Status(State.QUEUED, "behind_cap", detail, since, None, Actor.DAEMON)
    return Status(State.QUEUED, "starting", "its turn is about to begin", since, None, Actor.DAEMON)


def _parked(f: AgentFacts, now: Micros) -> Status | None:
    if not f.mail.parked:
        return None
    detail = f"{_count(f.mail.parked, 'message', 'messages')} failed too often and waits for you"
    if f.mail.parked > 1:
        detail = detail.replace("waits", "wait")
    return Status(State.STUCK, "parked_mail", detail, f.mail.parked_since or f.entered_at, None, Actor.OPERATOR)


def _back_off(f: AgentFacts, now: Micros) -> Status | None:
    if f.mail.next_at is None:
        return None
    detail = f"{_count(f.mail.waking, 'message is', 'messages are')} tried again after a failure"
    return Status(State.WAITING, "back_off", detail, f.last_ended_at or f.entered_at, f.mail.next_at, Actor.TIME)


def _idle(f: AgentFacts) -> Status:
    rides = _count(f.mail.waiting, "message rides", "messages ride")
    detail = f"{rides} along with its next turn" if rides else None
    since = max(f.created_at, f.last_ended_at or 0, key=int)
    return Status(State.IDLE, None, detail, Micros(since), None, Actor.PEER)


def _count(number: int, one: str, many: str) -> str:
    return "" if not number else f"1 {one}" if number == 1 else f"{number} {many}"


def _ahead(at: Micros | None, now: Micros) -> Micros | None:
    return at if at is not None and at > now else None


_RULES: tuple[_Rule, ...] = (
    _changing,
    _off,
    _turn,
    _attached,
    _failed,
    _paused,
    _trouble,
    _budget,
    _asked,
    _held,
    _hour,
    _queued,
    _parked,
    _back_off,
)
