"""The state of an agent is a pure function of facts, first rule that applies wins (D-37)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melipona.clock import Micros
from melipona.ids import AgentId, AgentName
from melipona.turns.agent_facts import AgentFacts, InFlight, MailFacts, Money, OpenTurn, Process
from melipona.turns.status import Actor, State, Status, derive, summary

NOW = Micros(1_000_000_000)
SECOND = 1_000_000


def at(seconds: float) -> Micros:
    return Micros(NOW + int(seconds * SECOND))


QUIET = AgentFacts(
    id=AgentId("a1"), name=AgentName("ana"), wish="running", created_at=at(-100), entered_at=at(-50), cap=2
)
TURN = OpenTurn(7, False, at(-10), at(-10), None, ("ben", "ben", "operator"), None)
DUE = MailFacts(waiting=2, waking=2, due=2, due_since=at(-5))
OPERATION = InFlight("stopping", "operator", at(-1), None, None)


def test_an_agent_without_work_is_idle_since_its_last_turn() -> None:
    """D-37: idle needs no reason."""
    assert derive(QUIET, NOW) == Status(State.IDLE, None, None, at(-100), None, Actor.PEER)
    assert derive(replace(QUIET, last_ended_at=at(-3)), NOW).since == at(-3)


def test_mail_that_wakes_nobody_leaves_it_idle() -> None:
    """D-20: wake=false rides along."""
    found = derive(replace(QUIET, mail=MailFacts(waiting=1)), NOW)
    assert found.state == State.IDLE
    assert found.detail == "1 message rides along with its next turn"


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({"operation": OPERATION}, State.CHANGING, "stopping"),
        ({"wish": "stopped"}, State.OFF, "stopped"),
        ({"wish": "destroyed"}, State.OFF, "destroyed"),
        ({"turn": TURN}, State.WORKING, None),
        ({"turn": replace(TURN, waiting=True)}, State.WAITING, "receive"),
        ({"turn": replace(TURN, waiting=True), "process": Process(wants_slot=True)}, State.QUEUED, "behind_cap"),
        ({"turn": replace(TURN, interrupt_by="operator")}, State.WORKING, "interrupting"),
        ({"turn": TURN, "box": "starting"}, State.WORKING, "box_starting"),
        ({"turn": TURN, "process": Process(link=False)}, State.WORKING, "box_away"),
        ({"turn": TURN, "paused_at": at(-2)}, State.WORKING, "pausing"),
        ({"trouble": "gave_up"}, State.FAILED, "gave_up"),
        ({"trouble": "crashed", "wake_at": at(5)}, State.FAILED, "crashed"),
        ({"paused_at": at(-2), "paused_by": "operator"}, State.PAUSED, "paused"),
        ({"trouble": "permission"}, State.NEEDS_YOU, "permission"),
        ({"trouble": "rate_limited", "wake_at": at(300)}, State.WAITING, "rate_limited"),
        ({"trouble": "no_key"}, State.STUCK, "no_key"),
        ({"trouble": "login_expired", "wake_at": at(600)}, State.STUCK, "login_expired"),
        ({"trouble": "something_new"}, State.STUCK, "something_new"),
        ({"money": Money(spent=5, limit=5, day_ends=at(9))}, State.STUCK, "budget_spent"),
        ({"money": Money(hive_spent=5, hive_limit=5), "mail": DUE}, State.STUCK, "budget_spent"),
        ({"held_at": at(-1), "mail": MailFacts(waiting=1, waking=1)}, State.PAUSED, "interrupted"),
        ({"mail": DUE, "turns_until": at(60)}, State.WAITING, "turns_per_hour"),
        ({"mail": DUE}, State.QUEUED, "starting"),
        ({"mail": DUE, "running": 2, "behind": 3}, State.QUEUED, "behind_cap"),
        ({"mail": MailFacts(parked=1, parked_since=at(-8))}, State.STUCK, "parked_mail"),
        ({"mail": MailFacts(waiting=1, waking=1, next_at=at(5))}, State.WAITING, "back_off"),
    ],
)
def test_each_cause_has_its_state_and_reason(change: dict[str, object], state: State, reason: str | None) -> None:
    """D-37, DESIGN.md grammar of states."""
    found = derive(replace(QUIET, **change), NOW)  # type: ignore[arg-type]
    assert (found.state, found.reason) == (state, reason)
    assert found.state is State.IDLE or found.reason or found.detail, "nothing is stuck without a why"


ORDER = [
    {"operation": OPERATION},
    {"wish": "stopped"},
    {"turn": TURN},
    {"trouble": "gave_up"},
    {"paused_at": at(-2)},
    {"money": Money(spent=5, limit=5)},
    {"held_at": at(-1), "mail": MailFacts(waiting=1, waking=1, parked=1)},
    {"mail": replace(DUE, parked=1, next_at=at(3))},
]


@pytest.mark.parametrize("first", range(len(ORDER) - 1))
def test_an_earlier_cause_hides_a_later_one(first: int) -> None:
    """The documented table is the order."""
    both = replace(QUIET, **(ORDER[first + 1] | ORDER[first]))  # type: ignore[arg-type]
    alone = replace(QUIET, **ORDER[first])  # type: ignore[arg-type]
    assert derive(both, NOW).reason == derive(alone, NOW).reason


def test_a_trouble_whose_time_has_come_is_over() -> None:
    """The loop tries again, so the state says so."""
    limited = replace(QUIET, trouble="rate_limited", wake_at=at(-1))
    assert derive(limited, NOW).state == State.IDLE
    assert derive(replace(limited, mail=DUE), NOW).state == State.QUEUED


def test_times_and_next_actor_are_told() -> None:
    """D-37: since, until; principle 4: who acts next."""
    limited = derive(replace(QUIET, trouble="rate_limited", wake_at=at(300), trouble_detail="5 h window"), NOW)
    assert (limited.since, limited.until, limited.detail) == (at(-50), at(300), "5 h window")
    assert limited.next_actor is Actor.TIME
    assert derive(replace(QUIET, trouble="gave_up"), NOW).next_actor is Actor.OPERATOR
    assert derive(replace(QUIET, mail=DUE), NOW).since == at(-5)
    parked = replace(TURN, waiting=True, entered_at=at(-4), wake_at=at(20))
    assert (derive(replace(QUIET, turn=parked), NOW).since, derive(replace(QUIET, turn=parked), NOW).until) == (
        at(-4),
        at(20),
    )


def test_the_queue_says_how_many_stand_before() -> None:
    """DESIGN.md: queued "behind 3"."""
    assert derive(replace(QUIET, mail=DUE, running=2, behind=3), NOW).detail == "behind 3"
    assert derive(replace(QUIET, mail=DUE, running=2, behind=0), NOW).detail == "next, when one of 2 slots is free"


def test_working_names_whose_mail_it_is_and_the_tool() -> None:
    """DESIGN.md: the activity is in our words."""
    assert derive(replace(QUIET, turn=TURN), NOW).detail == "mail from ben, operator"
    assert derive(replace(QUIET, turn=TURN, process=Process(tool="Bash")), NOW).detail == (
        "Bash, for mail from ben, operator"
    )


def test_an_operator_message_after_an_interrupt_ends_the_hold() -> None:
    """D-18: until the operator sends or says resume."""
    held = replace(QUIET, held_at=at(-1), mail=DUE)
    assert derive(held, NOW).state == State.QUEUED


def test_the_summary_is_one_sentence() -> None:
    """DESIGN.md: above the table one sentence."""

    def some(state: State, number: int) -> list[Status]:
        return [Status(state, None, None, NOW, None, Actor.PEER)] * number

    mixed = [
        *some(State.IDLE, 6),
        *some(State.STUCK, 1),
        *some(State.WORKING, 3),
        *some(State.NEEDS_YOU, 2),
    ]
    assert summary(mixed) == "12 agents, 3 working, 2 need you, 1 stuck"
    assert summary([]) == "no agents"
    assert summary(some(State.IDLE, 1)) == "1 agent, idle"
    assert summary(some(State.IDLE, 4)) == "4 agents, all idle"
    assert summary(some(State.NEEDS_YOU, 1)) == "1 agent, 1 needs you"


_times = st.none() | st.integers(NOW - 10**9, NOW + 10**9).map(Micros)
_facts = st.builds(
    AgentFacts,
    id=st.just(AgentId("a1")),
    name=st.just(AgentName("ana")),
    wish=st.sampled_from(["running", "stopped", "destroyed"]),
    created_at=st.just(at(-100)),
    entered_at=st.just(at(-50)),
    paused_at=_times,
    held_at=_times,
    trouble=st.none() | st.sampled_from(["gave_up", "crashed", "rate_limited", "no_key", "odd"]),
    trouble_detail=st.none() | st.text(max_size=5),
    wake_at=_times,
    operation=st.none() | st.just(OPERATION),
    box=st.none() | st.sampled_from(["starting", "up", "stopping"]),
    turn=st.none() | st.sampled_from([TURN, replace(TURN, waiting=True), replace(TURN, senders=())]),
    mail=st.builds(
        MailFacts,
        waiting=st.integers(0, 3),
        waking=st.integers(0, 3),
        due=st.integers(0, 3),
        due_since=_times,
        next_at=_times,
        parked=st.integers(0, 2),
    ),
    money=st.builds(Money, spent=st.integers(0, 9), limit=st.integers(0, 9), last_at=_times),
    turns_until=_times,
    last_ended_at=_times,
    behind=st.none() | st.integers(0, 5),
    running=st.integers(0, 5),
    cap=st.integers(0, 5),
    process=st.none() | st.builds(Process, link=st.none() | st.booleans(), wants_slot=st.booleans()),
)


@given(_facts)
def test_every_combination_has_a_state_with_a_why(facts: AgentFacts) -> None:
    """Principle 4: each state other than working and idle has a reason."""
    found = derive(facts, NOW)
    assert found.reason or found.state in (State.WORKING, State.IDLE)
    assert found.next_actor is not Actor.TIME or found.until is None or found.until > NOW or found.reason == "back_off"
