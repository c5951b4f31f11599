"""A machine that plays random legal histories of mail, with crashes, and checks I-1 to I-6 after every step.

The store is the real one. A crash strikes before or after a commit; the caller cannot know which. Then the daemon
starts anew: it gives back what the open turns hold. The checker keeps only what callers were told.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from sqlalchemy import Connection, select

from melipona.clock import ManualClock
from melipona.ids import AgentId, TurnId
from melipona.mail import looks
from melipona.mail import store as rows
from melipona.mail.bodies import FileBodies
from melipona.mail.model import Message
from melipona.mail.service import Mail
from melipona.principals import AgentPrincipal, OperatorPrincipal, Principal
from melipona.settings import MailSettings
from melipona.store import events
from melipona.store.engine import Store
from melipona.store.schema import LEASED, messages, turns
from melipona.testing.rooms import temporary_rooms
from melipona.testing.store import begin_turn, end_turn

LIMIT = 3
SETTINGS = MailSettings(
    attempts=LIMIT, backoff=(5, 30), thread_hops=0, thread_per_minute=0, sends_per_minute=0, broadcasts_per_minute=0
)
AGENTS = ("ana", "ben")
ENDS = ("failed", "failed", "ok", "rate_limited")
OPERATOR = OperatorPrincipal(method="test")
STATE_AFTER = {
    "message.sent": 0,
    "message.leased": 1,
    "message.handled": 2,
    "message.given_back": 0,
    "message.parked": 3,
    "message.retried": 0,
}


States = dict[int, tuple[str, int, int | None]]
"""Number: sender, state, turn."""


class CrashError(Exception):
    """The daemon died; whether the last transaction was stored is unknown to the caller."""


@cache
def template() -> tuple[Path, dict[str, AgentId]]:
    """A hive with two agents, made once and copied for each history."""
    data = Path(tempfile.mkdtemp(prefix="mail-machine-")) / "data"
    atexit.register(shutil.rmtree, data.parent)

    async def make() -> dict[str, AgentId]:
        async with temporary_rooms(data) as hive:
            return {name: (await hive.agent(name)).id for name in AGENTS}

    return data, asyncio.run(make())


class MailMachine(RuleBasedStateMachine):
    """Rules are what clients, turn loops and crashes do; `told` holds what they were told."""

    turns = Bundle("turns")
    sent_numbers = Bundle("sent_numbers")

    def __init__(self) -> None:
        super().__init__()
        source, self.ids = template()
        self.data = Path(tempfile.mkdtemp(prefix="mail-machine-")) / "data"
        shutil.copytree(source, self.data)
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.store: Store = self.runner.run(Store.open(self.data / "hive.db", self.clock, force_place=True))
        self.mail = Mail(self.store, SETTINGS, FileBodies(self.data))
        self.fault: str | None = None
        self.keys = 0
        self.sent: dict[int, str] = {}
        self.given: dict[int, set[int]] = {}
        self.good: set[int] = set()
        self.maybe_good: set[int] = set()

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.data.parent)

    # ---- transactions that may crash ------------------------------------------------------------------------------

    def write(self, op: Callable[[Connection], Any]) -> Any:
        """One transaction; a crash is followed by the next daemon's start."""
        where, self.fault = self.fault, None

        def crashing(c: Connection) -> Any:
            value = op(c)
            if where == "before":
                raise CrashError
            return value

        try:
            value = self.runner.run(self.store.write(crashing))
        except CrashError:
            self.recover()
            raise
        if where == "after":
            self.recover()
            raise CrashError
        return value

    def read(self, op: Callable[..., Any], *args: Any) -> Any:
        return self.runner.run(self.store.read(op, *args))

    def recover(self) -> None:
        """What a starting daemon does with the turns of the one before (D-16)."""
        for turn, generation in self.read(_open_turns):
            self.runner.run(self.store.write(self.end_op, turn, generation, "lost", False))

    # ---- what the machine plays -----------------------------------------------------------------------------------

    @initialize()
    def begins(self) -> None:
        """Nothing yet."""

    @rule(where=st.sampled_from(["before", "after"]))
    def arm(self, where: str) -> None:
        """The next transaction crashes."""
        self.fault = where

    @rule()
    def time_passes(self) -> None:
        self.clock.advance(timedelta(minutes=1))

    @rule(target=sent_numbers, sender=st.sampled_from(["operator", "ben", "ana"]), wake=st.booleans())
    def send(self, sender: str, wake: bool) -> int:
        """A client that repeats with the same key until it is told something (I-2)."""
        to = "ana" if sender != "ana" else "ben"
        by: Principal = OPERATOR if sender == "operator" else AgentPrincipal(self.ids[sender], sender)  # type: ignore[arg-type]
        self.keys += 1
        key = f"k{self.keys}"
        try:
            sent = self.write(lambda c: self.mail.send(c, by, to, key, key=key, wake=wake))
        except CrashError:
            sent = self.write(lambda c: self.mail.send(c, by, to, key, key=key, wake=wake))
        self.sent[sent.id] = to
        return sent.id

    @rule(target=turns, agent=st.sampled_from(AGENTS), limit=st.integers(1, 3))
    def begin(self, agent: str, limit: int) -> tuple[TurnId, int] | None:
        """A turn begins, if none is open."""
        return self._begin(agent, limit)

    @rule(agent=st.sampled_from(AGENTS), how=st.sampled_from(ENDS))
    def whole_turn(self, agent: str, how: str) -> None:
        """A turn from its beginning to its end."""
        turn = self._begin(agent, 3)
        if turn is not None:
            self._end(turn, how)

    def _begin(self, agent: str, limit: int) -> tuple[TurnId, int] | None:
        identifier = self.ids[agent]
        self.clock.advance(timedelta(seconds=20))

        def op(c: Connection) -> tuple[TurnId, list[Message]] | None:
            return None if rows.open_turn(c, identifier) else self._begin_next(c, identifier, limit)

        try:
            begun = self.write(op)
        except CrashError:
            return None
        if begun is None:
            return None
        self.take(*begun)
        return begun[0], 1

    @rule(agent=st.sampled_from(AGENTS))
    def receive(self, agent: str) -> None:
        """A tool call leases to the open turn (D-19)."""
        identifier = self.ids[agent]

        def op(c: Connection) -> tuple[TurnId, list[Message]] | None:
            turn = rows.open_turn(c, identifier)
            return None if turn is None else (turn[0], self.lease_op(c, identifier, turn[0], 3))

        try:
            found = self.write(op)
        except CrashError:
            return
        if found is not None:
            self.take(*found)

    @rule(turn=consumes(turns), how=st.sampled_from(ENDS), restart=st.booleans())
    def end(self, turn: tuple[TurnId, int] | None, how: str, restart: bool) -> None:
        """A turn ends: in time, or (`restart`) after a new daemon has given its mail back and begun the next."""
        if turn is None:
            return
        if restart:
            self.fault = None
            self.recover()
            agent = self.read(_agent_of, turn[0])
            self.take(*self.write(lambda c: self._begin_next(c, agent, 2)))
        self._end(turn, how)

    def _end(self, turn: tuple[TurnId, int], how: str) -> None:
        held = {message.id for message in self.read(rows.leased, *turn)}
        before = self.read(_states)
        try:
            ended = self.write(lambda c: self.end_op(c, *turn, how, how == "failed"))
        except CrashError:
            if how == "ok":
                self.maybe_good |= held
            return
        if not ended:
            assert self.read(_states) == before, "a dead turn changed something (I-5)"
        elif how == "ok":
            self.good |= held

    def _begin_next(self, c: Connection, agent: AgentId, limit: int) -> tuple[TurnId, list[Message]]:
        turn = begin_turn(c, agent, 1, 1)
        return turn, self.lease_op(c, agent, turn, limit)

    @rule(number=sent_numbers)
    def retry(self, number: int) -> None:
        """The operator hands a parked message out again."""
        try:
            self.write(lambda c: self._retry_parked(c, number))
        except CrashError:
            pass

    def _retry_parked(self, c: Connection, number: int) -> None:
        if looks.get(c, number).state.value == "parked":
            self.mail.retry(c, number, by=OPERATOR)

    # ---- the operations, to be broken by the machines that must fail ----------------------------------------------

    def lease_op(self, c: Connection, agent: AgentId, turn: TurnId, limit: int) -> list[Message]:
        return rows.lease(c, agent, turn, 1, limit=limit)

    def end_op(self, c: Connection, turn: TurnId, generation: int, how: str, failed: bool) -> bool:
        """As the turn loop: the row first; a turn that has ended already has no say (D-16)."""
        self.settle_op(c, turn, generation, how, failed)
        if c.execute(select(turns.c.state).where(turns.c.id == turn)).scalar_one() == "ended":
            return False
        end_turn(c, turn, how)
        return True

    def settle_op(self, c: Connection, turn: TurnId, generation: int, how: str, failed: bool) -> None:
        if how == "ok":
            self.mail.acknowledge(c, turn, generation)
        else:
            self.mail.give_back(c, turn, generation, failed=failed, reason=how)

    def take(self, turn: TurnId, got: list[Message]) -> None:
        """What a turn was handed."""
        if any(message.failures >= 2 for message in got):
            assert len(got) == 1, "poison was handed out with others (D-18)"
        for message in got:
            before = self.given.setdefault(message.id, set())
            assert message.maybe_seen or not before, f"m{message.id} again without its flag (I-3)"
            assert message.failures < LIMIT, f"m{message.id} after {message.failures} failures (I-4)"
            assert turn not in before, f"m{message.id} twice to one turn"
            before.add(turn)

    # ---- what must always hold ------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """All of it over one snapshot."""
        states, open_now, told = self.read(_snapshot)
        self._handled_only_by_good_turns(states)
        self._leases_belong_to_open_turns(states, open_now)
        self._events_fold_to_rows(states, told)

    def _handled_only_by_good_turns(self, states: States) -> None:
        """I-1, I-2."""
        own = {number: state for number, (sender, state, _) in states.items() if sender != "system"}
        assert set(own) == set(self.sent), "stored is not what was acknowledged"
        for number, state in own.items():
            assert state != 2 or number in self.good | self.maybe_good, f"m{number} handled without a good turn"

    def _leases_belong_to_open_turns(self, states: States, open_now: set[int]) -> None:
        """I-5, I-9."""
        for number, (_, state, turn) in states.items():
            assert state != LEASED or turn in open_now, f"m{number} is leased to nobody"

    def _events_fold_to_rows(self, states: States, told: list[tuple[str, int]]) -> None:
        """I-6, and I-4: the operator is told of each parking once."""
        last = {number: STATE_AFTER[kind] for kind, number in told if kind in STATE_AFTER}
        assert last == {number: state for number, (_, state, _) in states.items()}, "events and rows differ"
        parkings = Counter(number for kind, number in told if kind == "message.parked")
        notices = Counter(number for kind, number in told if kind == "notice")
        assert parkings == notices, "the operator was not told once of each parking"


def _snapshot(c: Connection) -> tuple[States, set[int], list[tuple[str, int]]]:
    told = [(event.kind, int((event.subject or "m0")[1:])) for event in events.after(c, 0, kind="message.", limit=9999)]
    query = select(messages.c.reply_to).where(messages.c.kind == "notice")
    told += [("notice", row[0]) for row in c.execute(query)]
    return _states(c), {turn for turn, _ in _open_turns(c)}, told


def _states(c: Connection) -> States:
    query = select(messages.c.id, messages.c.sender, messages.c.state, messages.c.turn)
    return {row[0]: (row[1], row[2], row[3]) for row in c.execute(query)}


def _open_turns(c: Connection) -> list[tuple[TurnId, int]]:
    query = select(turns.c.id, turns.c.generation).where(turns.c.state != "ended")
    return [(TurnId(row[0]), row[1]) for row in c.execute(query)]


def _agent_of(c: Connection, turn: TurnId) -> AgentId:
    return AgentId(c.execute(select(turns.c.agent_id).where(turns.c.id == turn)).scalar_one())
