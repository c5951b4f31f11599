"""Turns and leases: the daemon's own admission, ends, adoption, slots, interrupts, budgets of turns, over many lives.

The product's wiring decides (`Daemon`, `Turns`, `Closing`, `Adoption`, `Slots`); only boxes are imagined: at each
restart a draw says whose box has survived. I-1, I-3, I-5 to I-9.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from melipona.daemon import Daemon, engine_drivers
from melipona.engines.engine import Result
from melipona.gate.upstream import Upstream
from melipona.ids import AgentId, TurnId
from melipona.mail import store as mail_rows
from melipona.turns import store as rows
from melipona.turns.adopt import Adoption
from melipona.turns.closing import BOX_FAILED, Closing
from melipona.turns.loop import Admitted, Turns
from melipona.turns.model import BOX_LOST, STOPPED, Ending, Progress, TurnState, ending_of, ending_of_exit
from melipona.turns.parts import RunnerParts
from melipona.turns.runner import TurnRunner

from .base import HOST, LIMIT, OPERATOR, SETTINGS, StoreMachine, begin_life
from .bench import CrashError, scratch

CAP = 2
AGENTS = ("ana", "ben", "cy")
MACHINE_SETTINGS = SETTINGS.model_copy(
    update={
        "turns": SETTINGS.turns.model_copy(update={"cap": CAP, "rate_limit": 30}),
        "budgets": SETTINGS.budgets.model_copy(update={"turns_per_hour": 30}),
        "boxes": SETTINGS.boxes.model_copy(update={"owner_uid": 64000}),
    }
)
PERSON = frozenset({"no_key", "gave_up", "model_refused", "disk_limit", "engine_missing"})
"""Troubles that wait for a person; all others end by time (I-9)."""
SURVIVORS = (frozenset(AGENTS), frozenset[str](), frozenset({"ana"}), frozenset({"ben", "cy"}))
PAUSE_MOST = 7 * 86_400_000_000


def endings() -> dict[str, Ending]:
    """One of each kind, as runners make them."""

    def of(outcome: Any) -> Ending:
        return ending_of(Result(outcome, text="words"), Progress(), MACHINE_SETTINGS.turns)

    return {
        "ok": of("ok"),
        "failed": of("failed"),
        "too_long": of("too_long"),
        "rate_limited": of("rate_limited"),
        "upstream": of("upstream"),
        "interrupted": of("interrupted"),
        "exit": ending_of_exit(-9, "killed"),
        "box lost": BOX_LOST,
        "box failed": Ending("failed", BOX_FAILED, "it did not start", trouble=BOX_FAILED),
        "stopped": STOPPED,
    }


KINDS = tuple(endings())
FAILURES = frozenset({"failed", "too_long", "exit", "box lost"})
"""Ends that count towards parking (D-18)."""


@dataclass(slots=True)
class Held:
    """A turn that a daemon runs, as its runner knows it."""

    admitted: Admitted
    epoch: int
    parts: RunnerParts
    mail: set[int] = field(default_factory=set)


class NoStations:
    """No box is held: turns that are opened at once are prompted later."""

    def get(self, agent: AgentId) -> None:
        del agent


class Tasks:
    """Takes up the turns that a sender's transaction has opened, once it is committed."""

    def __init__(self, machine: TurnMachine) -> None:
        self._machine = machine

    def start_soon(self, work: Any, runner: TurnRunner, *, name: str) -> None:
        del work, name
        self._machine._hold(Admitted(runner.turn, runner.agent, runner.mail))


class TurnMachine(StoreMachine):
    """Rules are the turn loop's, the runners', the operator's and the boxes'."""

    agents_of = AGENTS

    def begin(self) -> None:
        self.cap = CAP
        self.sent: set[int] = set()
        self.given: dict[int, set[int]] = {}
        self.failures: dict[int, int] = {}
        self.doubtful: set[int] = set()
        self.good: set[int] = set()
        self.maybe_good: set[int] = set()
        self.held: dict[AgentId, Held] = {}
        self.zombies: list[Held] = []
        self.survivors: frozenset[str] = frozenset()
        self.uncertain = False
        self.endings = endings()
        self._live()

    def _live(self) -> None:
        """A daemon's life: the product's own wiring."""
        store: Any = self.bench
        self.bench.forget_subscribers()
        epoch = self.bench.do(begin_life)
        daemon = Daemon(scratch(), MACHINE_SETTINGS, Upstream("http://127.0.0.1:9", "key"), store, epoch)
        daemon.host = HOST
        daemon.engines = engine_drivers({})
        self.parts = daemon._runner_parts(NoStations())  # type: ignore[arg-type]
        self.turns = daemon.turns = Turns(self.parts, daemon.slots, daemon.budgets, host=HOST)
        daemon.slots.cap = self.cap
        self.turns._tasks = Tasks(self)  # type: ignore[assignment]
        self.daemon, self.epoch, self.agents = daemon, int(epoch), daemon.agents
        nobody: Any = None
        self.adoption = Adoption(store, nobody, daemon.folders, nobody, self.turns, self.parts, HOST)

    def recover(self) -> None:
        """The next daemon: accounts for its elders, goes on with turns whose boxes live, ends the others."""
        old, self.held = self.held, {}
        self.zombies += old.values()
        self._live()
        self.bench.do(self.daemon._account_for_older_daemons)
        for turn in self.read(rows.open_turns):
            if turn.agent not in self.survivors:
                self.bench.do(self.adoption._end_lost, turn)
                continue
            station: Any = SimpleNamespace(agent_id=turn.agent_id)
            admitted = self.bench.do(self.adoption._take_over, station)
            assert admitted is not None, "a turn of an older daemon could not be taken over"
            self._hold(admitted)
            known = old.get(turn.agent_id)
            if known is not None and known.admitted.turn.id == turn.id:
                assert {m.id for m in admitted.mail} >= known.mail, "mail of a turn that goes on was lost"
        self.survivors = frozenset()

    @initialize(cap=st.integers(1, 2), sends=st.lists(st.sampled_from(AGENTS), min_size=2, max_size=5))
    def mail_waits(self, cap: int, sends: list[str]) -> None:
        self.cap = self.daemon.slots.cap = cap
        for to in sends:
            self.send(to, True)
            self.clock.advance(timedelta(seconds=1))

    # ---- the operator -----------------------------------------------------------------------------------------------

    @rule(to=st.sampled_from(AGENTS), wake=st.sampled_from([True, True, False]))
    def send(self, to: str, wake: bool) -> None:
        key = f"k{len(self.sent)}-{self.crashes}"
        for _ in range(2):
            try:
                sent = self.write(lambda c: self.daemon.mail.send(c, OPERATOR, to, key, key=key, wake=wake))
            except CrashError:
                continue
            self.sent.add(sent.id)
            return

    @rule(name=st.sampled_from(AGENTS), verb=st.sampled_from(["pause", "resume", "resume"]))
    def pauses(self, name: str, verb: str) -> None:
        try:
            self.bench.run(getattr(self.agents, verb)(OPERATOR, name))
        except CrashError:
            self.restart()

    @rule(name=st.sampled_from(AGENTS))
    def asks_for_an_interrupt(self, name: str) -> None:
        held = self.held.get(self.ids[name])
        if held is not None:
            try:
                self.write(rows.ask_interrupt, held.admitted.turn.id, "operator", name)
            except CrashError:
                pass

    @rule(name=st.sampled_from(AGENTS))
    def forgives(self, name: str) -> None:
        """The operator starts an agent anew: its trouble is forgotten."""
        try:
            self.bench.run(self.agents.start(OPERATOR, name))
        except CrashError:
            self.restart()

    @rule(minutes=st.sampled_from([5, 61]))
    def much_time_passes(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes))

    # ---- turns ------------------------------------------------------------------------------------------------------

    @rule()
    def admit(self) -> None:
        """The turn loop looks once."""
        wanted = self._who_should_run()
        running = self._count("running")
        try:
            admitted = self.write(self.turns._admit).admitted
        except CrashError:
            return
        chosen = [one.agent.id for one in admitted]
        assert running + len(chosen) <= self.cap, "more turns than slots (I-7)"
        blocked = [
            row[0] for row in self.rows("SELECT id FROM agents WHERE trouble IN ('turns_per_hour', 'budget_spent')")
        ]
        expected = [one for one in wanted if one not in blocked][: max(0, self.cap - running)]
        tried = wanted[: max(0, self.cap - running)]
        assert chosen == [one for one in tried if one not in blocked], f"{chosen} run, {expected} should (I-7: FIFO)"
        for one in admitted:
            self._hold(one)

    def _hold(self, one: Admitted) -> None:
        held = Held(one, int(self.turns._p.epoch), self.parts)
        assert one.agent.id not in self.held, "two runners of one agent (I-7)"
        self.held[one.agent.id] = held
        self.turns._runners[one.agent.id] = held  # type: ignore[assignment]
        self._take(held, one)

    def _take(self, held: Held, one: Admitted) -> None:
        poison = [m for m in one.mail if m.failures >= 2]
        assert not poison or len(one.mail) == 1, "poison was handed out with others (D-18)"
        for message in one.mail:
            self._given(message, held)

    def _given(self, message: Any, held: Held) -> None:
        turn, before = held.admitted.turn.id, self.given.setdefault(message.id, set())
        assert message.maybe_seen or not before - {turn}, f"m{message.id} again without its flag (I-3)"
        assert message.failures == self.failures.get(message.id, 0) or message.id in self.doubtful, (
            "failures are miscounted (D-18)"
        )
        assert message.failures < LIMIT, f"m{message.id} after {message.failures} failures (I-4)"
        before.add(turn)
        held.mail.add(message.id)

    @rule(name=st.sampled_from(AGENTS))
    def receive(self, name: str) -> None:
        held = self.held.get(self.ids[name])
        if held is None:
            return
        turn = held.admitted.turn
        try:
            got = self.write(lambda c: mail_rows.lease(c, turn.agent_id, turn.id, turn.generation))
        except CrashError:
            return
        for message in got:
            self._given(message, held)

    @rule(name=st.sampled_from(AGENTS), how=st.sampled_from(["ok", "ok", *KINDS]))
    def end(self, name: str, how: str) -> None:
        """A runner ends its turn."""
        held = self.held.get(self.ids[name])
        if held is None:
            return
        mail = {m.id for m in self.read(mail_rows.leased_by, held.admitted.turn.id)}
        try:
            ended = self.write(self._closing(held).store, self.endings[how])
        except CrashError:
            if how == "ok":
                self.maybe_good |= mail
            self.doubtful |= mail
            return
        assert ended, "the daemon that holds a turn could not end it"
        del self.held[self.ids[name]], self.turns._runners[self.ids[name]]
        if how == "ok":
            self.good |= mail
        elif how in FAILURES:
            for number in mail:
                self.failures[number] = self.failures.get(number, 0) + 1

    @rule(data=st.data(), how=st.sampled_from(["ok", "failed", "interrupted"]))
    def a_dead_daemons_runner_reports(self, data: st.DataObject, how: str) -> None:
        """What a daemon that is gone still wants to write changes nothing (I-5, D-16)."""
        if self.zombies:
            self._reports(self.zombies[data.draw(st.integers(0, len(self.zombies) - 1), label="zombie")], how)

    def _reports(self, held: Held, how: str) -> None:
        self.bench.fault = None
        before = self._everything()
        changed = self.write(self._closing(held).store, self.endings[how])
        assert not changed, "a daemon that lost a turn ended it (I-5)"
        assert self._everything() == before, "a daemon that lost a turn changed something (I-5)"

    def _closing(self, held: Held) -> Closing:
        one = held.admitted
        return Closing(
            held.parts, one.turn, one.agent, Progress(), duration_seconds=1, model=None, program=None, sent=0, box=None
        )

    @rule(name=st.sampled_from(AGENTS), back=st.booleans())
    def parks(self, name: str, back: bool) -> None:
        """A turn waits in `receive` and gives its slot back; or it wants one again (D-19)."""
        held = self.held.get(self.ids[name])
        if held is None:
            return
        turn, running = held.admitted.turn, self._count("running")
        try:
            if not back:
                self.write(rows.set_state, turn.id, self.epoch, TurnState.WAITING)
            elif self.write(self.daemon.slots._try_take, turn, first=True):
                assert self._count("running") <= max(self.cap, running), (
                    "a parked turn took a slot that is not there (I-7)"
                )
            else:
                assert running >= self.cap, "a free slot was refused"
        except CrashError:
            pass

    @rule(name=st.sampled_from(AGENTS))
    def box_crashes(self, name: str) -> None:
        """Its turn ends as lost, and the agent backs off (CW-7)."""
        self.end(name, "box lost")
        try:
            self.write(self.agents.box_crashed, self.ids[name], "it is gone")
        except CrashError:
            pass

    @rule(survivors=st.sampled_from(SURVIVORS), report=st.sampled_from([None, "ok", "failed"]))
    def restarts(self, survivors: frozenset[str], report: str | None) -> None:
        """`kill -9`; some boxes live on. The runners of the dead daemon may still report."""
        self.survivors = survivors
        self.restart()
        if report is not None:
            for held in self.zombies[-3:]:
                self._reports(held, report)

    @rule(name=st.sampled_from(AGENTS), how=st.sampled_from(["ok", "failed", "rate_limited", "interrupted"]))
    def runs_and_ends(self, name: str, how: str) -> None:
        """Mail, a turn, its end, and more mail."""
        self.send(name, True)
        self.admit()
        self.end(name, how)
        self.send(name, True)
        self.admit()

    @rule(name=st.sampled_from(AGENTS), other=st.sampled_from(AGENTS))
    def a_slot_is_taken_meanwhile(self, name: str, other: str) -> None:
        """D-19: who comes back from `receive` waits for a slot."""
        self.parks(name, False)
        self.send(other, True)
        self.admit()
        self.parks(name, True)

    @rule(name=st.sampled_from(AGENTS), verb=st.sampled_from(["pause", "interrupt"]))
    def is_kept_from_running(self, name: str, verb: str) -> None:
        """A pause or an interrupt while mail waits (OP-9, D-18)."""
        self.send(name, True)
        if verb == "pause":
            self.pauses(name, "pause")
        self.end(name, "interrupted" if verb == "interrupt" else "failed")
        self.clock.advance(timedelta(minutes=10))
        self.admit()
        self.end(name, "ok")
        self.pauses(name, "resume")

    # ---- what must always hold --------------------------------------------------------------------------------------

    def _who_should_run(self) -> list[AgentId]:
        """The longest waiting first, by the rules of the documents, not by the product's query."""
        at, found = self.clock.now(), list[tuple[int, str]]()
        open_now = {row[0] for row in self.rows("SELECT agent_id FROM turns WHERE state <> 'ended'")}
        busy = {row[0] for row in self.rows("SELECT agent_id FROM operations WHERE state = 'running'")}
        for id_, paused, held, trouble, wake in self.rows(
            "SELECT id, paused_at, held_at, trouble, wake_at FROM agents WHERE wish = 'running'"
        ):
            if paused is not None or id_ in open_now or id_ in busy:
                continue
            if trouble is not None and (wake is None or wake > at):
                continue
            since = [
                entered
                for entered, wake_at, sender, sent_at in self.rows(
                    "SELECT entered_at, wake_at, sender, sent_at FROM messages "
                    f"WHERE state = 0 AND wake = 1 AND agent_id = '{id_}'"
                )
                if (wake_at is None or wake_at <= at) and (held is None or (sender == "operator" and sent_at > held))
            ]
            if since:
                found.append((min(since), id_))
        ties = {since for since, _ in found}
        return [AgentId(id_) for _, id_ in sorted(found)] if len(ties) == len(found) else self._as_product(found)

    def _as_product(self, found: list[tuple[int, str]]) -> list[AgentId]:
        """Of those that wait equally long any order is right: the product's, checked to be the same set."""
        order = [one.id for one in self.read(rows.due, 100)]
        assert set(order) == {id_ for _, id_ in found}, "who is due is decided wrongly"
        since = {id_: at for at, id_ in found}
        assert [since[one] for one in order] == sorted(since.values()), "not the longest waiting first (I-7)"
        return order

    def _count(self, state: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM turns WHERE state = '{state}'")[0][0])

    def _everything(self) -> list[tuple[Any, ...]]:
        tables = ("turns", "messages", "agents", "events", "operations", "programs", "boxes")
        return [row for table in tables for row in self.rows(f"SELECT * FROM {table}")]

    @invariant()
    def turns_are_held(self) -> None:
        """I-7, I-8, I-9, and no turn without a cause."""
        open_now = self.rows("SELECT id, agent_id, state, epoch, cause, generation FROM turns WHERE state <> 'ended'")
        agents = [row[1] for row in open_now]
        assert len(agents) == len(set(agents)), "two open turns of one agent (I-7)"
        if not self.crashes:
            assert sum(row[2] == "running" for row in open_now) <= self.cap, "more turns than slots (I-7)"
        for turn, agent, _, epoch, cause, _ in open_now:
            assert epoch == self.epoch, f"t{turn} is held by a daemon that is gone (I-8)"
            assert json.loads(cause)["messages"], f"t{turn} has no cause"
            known = self.held.get(agent)
            assert known is not None, f"t{turn} runs nowhere (I-8)"
            assert known.admitted.turn.id == turn
        for name, trouble, wake in self.rows("SELECT name, trouble, wake_at FROM agents WHERE trouble IS NOT NULL"):
            assert trouble in PERSON or wake is not None, f"{name}: {trouble} waits for nothing (I-9)"
            assert wake is None or wake - self.clock.now() <= PAUSE_MOST, f"{name} waits too long (I-9)"

    @invariant()
    def mail_follows(self) -> None:
        """I-1, I-5."""
        open_now = {row[0]: row[1] for row in self.rows("SELECT id, generation FROM turns WHERE state <> 'ended'")}
        for number, sender, state, turn, generation in self.rows(
            "SELECT id, sender, state, turn, generation FROM messages WHERE agent_id IS NOT NULL"
        ):
            if state == 1:
                assert open_now.get(TurnId(turn)) == generation, f"m{number} is leased to nobody (I-5)"
            if state == 2:
                assert number in self.good | self.maybe_good or sender == "system", f"m{number} handled badly (I-1)"
            if number in self.good:
                assert state == 2, f"m{number} of a good turn is not handled (I-1)"
        stored = {row[0] for row in self.rows("SELECT id FROM messages WHERE sender = 'operator'")}
        assert stored >= self.sent, "an acknowledged message is gone (I-1)"

    @invariant()
    def events_fold_to_turns(self) -> None:
        """I-6."""
        state: dict[str, str] = {}
        for event in self.told("turn."):
            verb = event.kind.removeprefix("turn.")
            if verb in ("started", "adopted", "running"):
                state[event.subject or ""] = "running"
            elif verb in ("waiting", "ended"):
                state[event.subject or ""] = verb
        rows_now = {f"t{row[0]}": row[1] for row in self.rows("SELECT id, state FROM turns")}
        assert state == rows_now, "events and turns differ (I-6)"
