"""Mail: sends, turns, receives, retries, crashes before and after commits, late results of dead turns (I-1 to I-6)."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, invariant, rule
from sqlalchemy import Connection, select

from melipona.errors import Conflict
from melipona.ids import AgentId, TurnId
from melipona.mail import looks
from melipona.mail import store as rows
from melipona.mail.model import Message, Sent
from melipona.principals import AgentPrincipal, Principal
from melipona.store.schema import LEASED, turns
from melipona.testing.store import begin_turn, end_turn

from .base import LIMIT, NAMES, OPERATOR, StoreMachine, services
from .bench import CrashError

ENDS = ("failed", "failed", "ok", "rate_limited")
STATE_AFTER = {
    "message.sent": 0,
    "message.leased": 1,
    "message.handled": 2,
    "message.given_back": 0,
    "message.parked": 3,
    "message.retried": 0,
}
BACKOFF_MOST = 30_000_000

States = dict[int, tuple[str, int, int | None]]
"""Number: sender, state, turn."""
Turn = tuple[TurnId, int]


class MailMachine(StoreMachine):
    """Rules are what clients, turn loops and crashes do; the rest is what they were told."""

    turns = Bundle("turns")
    sent_numbers = Bundle("sent_numbers")

    def begin(self) -> None:
        self.mail, self.agents, _ = services(self.bench, 1)
        self.keys: dict[int, tuple[Principal, str, str]] = {}
        self.sent: set[int] = set()
        self.read_by_operator: set[int] = set()
        self.given: dict[int, set[TurnId]] = {}
        self.good: set[int] = set()
        self.maybe_good: set[int] = set()
        self.next_key = 0

    def recover(self) -> None:
        """What a starting daemon does with the turns of the one before, whose boxes are gone (D-16)."""
        for turn, generation in self.read(_open_turns):
            self.bench.do(self._settle, (turn, generation), "lost")

    # ---- clients ----------------------------------------------------------------------------------------------------

    @initialize(sends=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
    def mail_waits(self, sends: list[str]) -> None:
        for to in sends:
            self.send("operator", to, True)

    @rule(
        target=sent_numbers,
        sender=st.sampled_from(["operator", "ben", "ana"]),
        to=st.sampled_from(["ana", "ben", "operator", "*"]),
        wake=st.booleans(),
    )
    def send(self, sender: str, to: str, wake: bool) -> int:
        """A client that repeats with the same key until it is told something (I-2)."""
        to = ("ben" if sender == "ana" else "ana") if to == sender else to
        by: Principal = OPERATOR if sender == "operator" else AgentPrincipal(self.ids[sender], sender)  # type: ignore[arg-type]
        self.next_key += 1
        key = f"k{self.next_key}"

        def op(c: Connection) -> Sent:
            return self.mail.send(c, by, to, f"body of {key}", key=key, wake=wake)

        try:
            sent = self.write(op)
        except CrashError:
            sent = self.write(op)
        assert not self.sent & set(sent.ids), "an id was given twice"
        self.sent |= set(sent.ids)
        self.keys[sent.id] = (by, to, key)
        return sent.id

    @rule(number=sent_numbers, other=st.booleans())
    def send_again(self, number: int, other: bool) -> None:
        """A key that was used: the first answer for the same message, a refusal for another (I-2)."""
        by, to, key = self.keys[number]
        body = f"body of {key}" + (" and more" if other else "")
        try:
            again = self.write(lambda c: self.mail.send(c, by, to, body, key=key))
        except Conflict:
            assert other, "a repeated send was refused"
        except CrashError:
            pass
        else:
            assert again.repeated
            assert again.id == number, f"the key of m{number} gave m{again.id}"
            assert not other, "one key served two messages"

    @rule()
    def operator_reads(self) -> None:
        unread = {message.id for message in self.read(looks.unread, 1000)}
        try:
            self.write(lambda c: self.mail.mark_read(c))
        except CrashError:
            pass
        self.read_by_operator |= unread

    @rule()
    def retry(self) -> None:
        """The operator hands what is parked out again."""
        for message in self.read(looks.parked):
            try:
                self.write(lambda c, number=message.id: self.mail.retry(c, number, by=OPERATOR))
            except CrashError:
                pass

    # ---- turns ------------------------------------------------------------------------------------------------------

    @rule(target=turns, agent=st.sampled_from(NAMES), limit=st.integers(1, 3))
    def begin_a_turn(self, agent: str, limit: int) -> Turn | None:
        """A turn begins, if none is open."""
        return self._begin(agent, limit)

    @rule(agent=st.sampled_from(NAMES), hows=st.lists(st.sampled_from(ENDS), min_size=1, max_size=4))
    def whole_turns(self, agent: str, hows: list[str]) -> None:
        """Turns from their beginning to their end."""
        for how in hows:
            turn = self._begin(agent, 3)
            if turn is not None:
                self._end(turn, how)

    @rule(agent=st.sampled_from(NAMES), times=st.integers(2, 4), fresh=st.booleans(), retry=st.booleans())
    def fails_again_and_again(self, agent: str, times: int, fresh: bool, retry: bool) -> None:
        """What is poison comes to be known as such: it goes alone, and is parked in the end."""
        self.send("operator", agent, True)
        for _ in range(times):
            turn = self._begin(agent, 3)
            if turn is not None:
                self._end(turn, "failed")
            self.clock.advance(timedelta(seconds=40))
        if fresh:
            self.send("operator", agent, True)
        if retry:
            self.retry()
        turn = self._begin(agent, 3)
        if turn is not None:
            self._end(turn, "ok")

    @rule(agent=st.sampled_from(NAMES), how=st.sampled_from(ENDS))
    def a_restarted_turn_reports(self, agent: str, how: str) -> None:
        """An older generation wants to settle what the present one holds (I-5, D-41)."""
        turn = self._begin(agent, 3)
        if turn is not None:
            self.end_of_another_generation(turn, how)
            self._end(turn, "ok")

    def _begin(self, agent: str, limit: int) -> Turn | None:
        identifier = self.ids[agent]
        self.clock.advance(timedelta(seconds=2))

        def op(c: Connection) -> tuple[TurnId, list[Message]] | None:
            return None if rows.open_turn(c, identifier) else _begin_next(c, identifier, limit)

        early = self._early()
        try:
            begun = self.write(op)
        except CrashError:
            return None
        if begun is None:
            return None
        assert not early & {message.id for message in begun[1]}, "handed out before its back-off was over (D-18)"
        self._take(*begun)
        return begun[0], 1

    def _early(self) -> set[int]:
        """What must not be handed out yet."""
        at = self.clock.now()
        return {row[0] for row in self.rows(f"SELECT id FROM messages WHERE state = 0 AND wake_at > {at}")}

    @rule(agent=st.sampled_from(NAMES))
    def receive(self, agent: str) -> None:
        """A tool call leases to the open turn (D-19)."""
        identifier = self.ids[agent]

        def op(c: Connection) -> tuple[TurnId, list[Message]] | None:
            turn = rows.open_turn(c, identifier)
            return None if turn is None else (turn[0], rows.lease(c, identifier, turn[0], 1, limit=3))

        try:
            found = self.write(op)
        except CrashError:
            return
        if found is not None:
            self._take(*found)

    @rule(turn=consumes(turns), how=st.sampled_from(ENDS), restart=st.booleans())
    def end(self, turn: Turn | None, how: str, restart: bool) -> None:
        """A turn ends: in time, or (`restart`) after a new daemon has given its mail back and begun the next."""
        if turn is None:
            return
        if restart:
            self.restart()
            agent = self.read(_agent_of, turn[0])
            self._take(*self.write(lambda c: _begin_next(c, agent, 2)))
        self._end(turn, how)

    @rule(turn=turns, how=st.sampled_from(ENDS))
    def end_of_another_generation(self, turn: Turn | None, how: str) -> None:
        """Who held a lease in an older generation has no say (I-5, D-41)."""
        if turn is not None:
            self.bench.fault = None
            before = self.read(_states)
            self.write(self._mail_settles, (turn[0], turn[1] - 1), how)
            assert self.read(_states) == before, "an older generation changed something (I-5)"

    def _end(self, turn: Turn, how: str) -> None:
        held = {message.id for message in self.read(rows.leased, *turn)}
        before = self.read(_states)
        try:
            ended = self.write(self._settle, turn, how)
        except CrashError:
            if how == "ok":
                self.maybe_good |= held
            return
        if not ended:
            assert self.read(_states) == before, "a dead turn changed something (I-5)"
        elif how == "ok":
            self.good |= held

    def _settle(self, c: Connection, turn: Turn, how: str) -> bool:
        """As a turn's end, but that its mail is settled before it is known whether the turn is open: both must hold."""
        self._mail_settles(c, turn, how)
        if c.execute(select(turns.c.state).where(turns.c.id == turn[0])).scalar_one() == "ended":
            return False
        end_turn(c, turn[0], how)
        return True

    def _mail_settles(self, c: Connection, turn: Turn, how: str) -> None:
        if how == "ok":
            self.mail.acknowledge(c, *turn)
        else:
            self.mail.give_back(c, *turn, failed=how == "failed", reason=how)

    def _take(self, turn: TurnId, got: list[Message]) -> None:
        """What a turn was handed."""
        if any(message.failures >= 2 for message in got):
            assert len(got) == 1, "poison was handed out with others (D-18)"
        for message in got:
            before = self.given.setdefault(message.id, set())
            assert message.maybe_seen or not before, f"m{message.id} again without its flag (I-3)"
            assert message.failures < LIMIT, f"m{message.id} after {message.failures} failures (I-4)"
            assert turn not in before, f"m{message.id} twice to one turn"
            assert self.read(looks.get, message.id) == message, f"m{message.id} is stored as another than it was told"
            before.add(turn)

    # ---- what must always hold --------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        """All of it over one snapshot."""
        states = self.read(_states)
        self._handled_only_by_good_turns(states)
        self._leases_belong_to_open_turns(states)
        self._events_fold_to_rows(states)
        self._waits_are_bounded()

    def _handled_only_by_good_turns(self, states: States) -> None:
        """I-1, I-2."""
        own = {number: state for number, (sender, state, _) in states.items() if sender != "system"}
        assert set(own) == self.sent, "stored is not what was acknowledged"
        good = self.good | self.maybe_good | self.read_by_operator
        for number, state in own.items():
            assert state != 2 or number in good, f"m{number} handled without a good turn"
            assert state == 2 or number not in self.good, f"m{number} of a good turn is not handled"

    def _leases_belong_to_open_turns(self, states: States) -> None:
        """I-5, I-9."""
        open_now = {turn for turn, _ in self.read(_open_turns)}
        for number, (_, state, turn) in states.items():
            assert state != LEASED or turn in open_now, f"m{number} is leased to nobody"

    def _events_fold_to_rows(self, states: States) -> None:
        """I-6, and I-4: the operator is told of each parking once."""
        events = [(event.kind, int((event.subject or "m0")[1:])) for event in self.told("message.")]
        last = {number: STATE_AFTER[kind] for kind, number in events if kind in STATE_AFTER}
        assert last == {number: state for number, (_, state, _) in states.items()}, "events and rows differ"
        parkings = Counter(number for kind, number in events if kind == "message.parked")
        notices = Counter(row[0] for row in self.rows("SELECT reply_to FROM messages WHERE kind = 'notice'"))
        assert parkings == notices, "the operator was not told once of each parking"

    def _waits_are_bounded(self) -> None:
        """I-9: nothing waits longer than its back-off, and what is leased, handled or parked waits for no time."""
        at = self.clock.now()
        for number, state, wake_at in self.rows("SELECT id, state, wake_at FROM messages WHERE wake_at IS NOT NULL"):
            assert state == 0, f"m{number} in state {state} has a time to wake"
            assert wake_at - at <= BACKOFF_MOST, f"m{number} waits longer than any back-off"


def _begin_next(c: Connection, agent: AgentId, limit: int) -> tuple[TurnId, list[Message]]:
    turn = begin_turn(c, agent, 1, 1)
    return turn, rows.lease(c, agent, turn, 1, limit=limit)


def _states(c: Connection) -> States:
    query = "SELECT id, sender, state, turn FROM messages"
    return {row[0]: tuple(row[1:]) for row in c.exec_driver_sql(query)}  # type: ignore[misc]


def _open_turns(c: Connection) -> list[Turn]:
    query = select(turns.c.id, turns.c.generation).where(turns.c.state != "ended")
    return [(TurnId(row[0]), row[1]) for row in c.execute(query)]


def _agent_of(c: Connection, turn: TurnId) -> AgentId:
    return AgentId(c.execute(select(turns.c.agent_id).where(turns.c.id == turn)).scalar_one())
