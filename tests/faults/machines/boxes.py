"""Rows of boxes, programs and lines, against a world of boxes that outlives daemons (LE-22, D-16, D-44, I-8).

`EngineSeat` is the product's; boxd is imagined as its contract says: it keeps programs by id, takes each line once and
in order, and lives on when the daemon dies. Crashes strike around every commit, and between boxd's deed and its record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from melipona.agents import store as agent_rows
from melipona.boxes.link import Hello, ProgramInfo, ProgramSpec
from melipona.clock import Micros
from melipona.daemon import engine_drivers
from melipona.errors import BoxLost
from melipona.ids import AgentId, BoxId, ProgramId
from melipona.turns import box_rows, program_rows
from melipona.turns.adopt import Adoption
from melipona.turns.parts import RunnerParts
from melipona.turns.seat import EngineSeat

from .base import HOST, NAMES, SETTINGS, StoreMachine, begin_life, services
from .bench import CrashError

IDLE = 60_000_000


@dataclass(slots=True)
class Program:
    """A program in the world: the lines it has taken."""

    lines: list[bytes] = field(default_factory=list[bytes])
    exit: int | None = None


@dataclass(slots=True)
class Box:
    """A box in the world."""

    agent: AgentId
    programs: dict[ProgramId, Program] = field(default_factory=dict[ProgramId, Program])


class Boxd:
    """The link to one box: as `link.Link` promises."""

    def __init__(self, machine: BoxMachine, box: BoxId) -> None:
        self._machine, self._box = machine, box

    def _world(self) -> Box:
        box = self._machine.world.get(self._box)
        if box is None:
            raise BoxLost("it is gone")
        return box

    async def start(self, spec: ProgramSpec) -> ProgramInfo:
        program = self._world().programs.setdefault(spec.id, Program())
        return ProgramInfo(spec.id, 7, 0, len(program.lines) + 1, program.exit)

    async def write(self, program: ProgramId, seq: int, line: bytes) -> None:
        lines = self._world().programs[program].lines
        assert seq <= len(lines) + 1, f"line {seq} came after {len(lines)}: one is missing (D-44)"
        if seq == len(lines) + 1:
            lines.append(line)
        else:
            assert lines[seq - 1] == line, f"line {seq} is another one now (D-44)"
        self._machine.die_between()

    async def forget(self, program: ProgramId) -> None:
        self._world().programs.pop(program, None)


class BoxMachine(StoreMachine):
    """Rules: boxes come up and go, engines sit, lines are put and sent, idle ones end, daemons die."""

    def begin(self) -> None:
        self.world: dict[BoxId, Box] = {}
        self.seats: dict[str, EngineSeat] = {}
        self.put: dict[ProgramId, list[str]] = {}
        self.count = 0
        self.dies = False
        self.told_up: set[BoxId] = set()
        self._live()

    def _live(self) -> None:
        store: Any = self.bench
        self.epoch = int(self.bench.do(begin_life))
        mail, agents, _ = services(self.bench, self.epoch)
        nobody: Any = None
        self.parts = RunnerParts(
            store=store,
            stations=nobody,
            engines=engine_drivers({}),
            settings=SETTINGS,
            clock=self.clock,
            epoch=self.epoch,
            turns_folder=self.bench.path,
            grew=lambda _: None,
            playbook=lambda _: {},
            agents=agents,
            mail=mail,
            budgets=nobody,
            has_key=True,
        )
        self.adoption = Adoption(store, nobody, nobody, nobody, nobody, self.parts, HOST)

    def recover(self) -> None:
        """As `Adoption`: a box that lives and is known goes on, one that is not is written off, others are swept."""
        self.seats.clear()
        self._live()
        known: set[BoxId] = set()
        for row in self.read(box_rows.live_boxes, HOST):
            if row.handle is None or row.id not in self.world:
                self.bench.do(box_rows.box_gone, row.id, row.agent, "gone when the daemon started")
            else:
                known.add(row.id)
        for box in list(self.world):
            if box not in known:
                assert box not in self.told_up, "a box that was up is known to no row (LE-22)"
                del self.world[box]
        for row in self.read(box_rows.live_boxes, HOST):
            seat = self._seat(row.agent, row.id)
            self.bench.run(self.adoption._forget_strangers(seat.station, self._hello(row.id)))
            if self.read(program_rows.live_program, row.id) is not None:
                self.bench.run(seat.take(of_turn=None))
                self.seats[row.agent] = seat
                self.bench.run(seat.send())
                self._nothing_is_unsent(seat)

    def _hello(self, box: BoxId) -> Hello:
        found = self.world[box].programs
        programs = [ProgramInfo(id_, 7, 0, len(one.lines) + 1, one.exit) for id_, one in found.items()]
        return Hello(1, "boxd", box, programs)

    def die_between(self) -> None:
        """Boxd has done it; the daemon dies before it knows."""
        if self.dies:
            self.dies = False
            raise CrashError

    def _seat(self, name: str, box: BoxId) -> EngineSeat:
        agent = self.read(agent_rows.named, name)
        over = SimpleNamespace(is_set=lambda: box not in self.world)
        station: Any = SimpleNamespace(
            box=box, over=over, link=Boxd(self, box), why="gone", agent_id=agent.id, program=None
        )
        return EngineSeat(self.parts, agent, station)

    def _run(self, work: Any) -> bool:
        """Run a piece of the daemon's work; False when the daemon died in it."""
        try:
            self.bench.run(work)
        except CrashError:
            self.dies = False
            self.restart()
            return False
        return True

    # ---- rules ------------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), dies=st.sampled_from([None, None, None, "before it starts", "after it started"]))
    def box_comes_up(self, name: str, dies: str | None) -> None:
        """Intent first, then the box, then its handle (LE-22), then its engine."""
        if any(row.agent == name for row in self.read(box_rows.live_boxes, HOST)):
            return
        self.count += 1
        box = BoxId(f"box{self.count:03}")
        self._run(self._come_up(name, box, dies))

    async def _come_up(self, name: str, box: BoxId, dies: str | None) -> None:
        do = self.bench.do
        do(box_rows.add_box, box, self.ids[name], name, driver="world", host=HOST)
        if dies == "before it starts":
            raise CrashError
        self.world[box] = Box(self.ids[name])
        if dies is not None:
            raise CrashError
        do(box_rows.box_up, box, name, {"pid": self.count})
        self.told_up.add(box)
        seat = self._seat(name, box)
        await seat.take(of_turn=None)
        self.seats[name] = seat

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 3), dies=st.booleans(), sends=st.booleans())
    def lines_are_put(self, name: str, count: int, dies: bool, sends: bool) -> None:
        """Lines for an engine, sent at once or later."""
        seat = self.seats.get(name)
        if seat is None or seat.station.over.is_set():
            return
        self.dies = dies and sends
        self._run(self._put(seat, count, sends))

    async def _put(self, seat: EngineSeat, count: int, sends: bool) -> None:
        known = self.put.setdefault(seat.program, [])
        for _ in range(count):
            self.count += 1
            line = f"line {self.count}"
            known.append(line)
            try:
                await self.parts.store.write_when_possible(program_rows.put_line, seat.program, line)
            except CrashError:
                if not self.rows(f"SELECT 1 FROM outbox WHERE line = '{line}'"):
                    known.remove(line)
                raise
        if sends:
            await seat.send()
            self._nothing_is_unsent(seat)

    def _nothing_is_unsent(self, seat: EngineSeat) -> None:
        taken = [line.decode().rstrip("\n") for line in self._program(seat).lines]
        mine = [line for line in taken if line.startswith("line ")]
        assert mine == self.put.get(seat.program, []), "what was decided is not what boxd took (D-44)"

    def _program(self, seat: EngineSeat) -> Program:
        return self.world[seat.station.box].programs[seat.program]

    @rule(name=st.sampled_from(NAMES))
    def turn_ends(self, name: str) -> None:
        """What boxd has taken is forgotten; engine and box may idle from now on."""
        seat = self.seats.get(name)
        if seat is None:
            return
        at = Micros(self.clock.now() + IDLE)

        def op(c: Any) -> None:
            program_rows.forget_lines(c, seat.program, seat.sent + 1)
            program_rows.set_program_wake(c, seat.program, at)
            box_rows.set_box_wake(c, seat.station.box, at)

        try:
            self.write(op)
        except CrashError:
            pass

    @rule()
    def idle_ones_end(self) -> None:
        """As the turn loop does it."""
        engines, idle = self.read(box_rows.due_idle, HOST)
        at = self.clock.now()
        due = {row[0] for row in self.rows(f"SELECT id FROM boxes WHERE state <> 'gone' AND wake_at <= {at}")}
        assert {box.id for box in idle} == due, "who has idled too long is decided wrongly"
        for program in engines:
            try:
                self.write(program_rows.end_program, program.id)
            except CrashError:
                return
            self.seats.pop(self._name(program.agent_id), None)
            box = self.world.get(program.box)
            if box is not None:
                box.programs.pop(program.id, None)
        for row in idle:
            if not self._box_ends(row.agent, row.id, "idle"):
                return

    @rule(name=st.sampled_from(NAMES), told=st.booleans(), idle=st.booleans())
    def box_dies(self, name: str, told: bool, idle: bool) -> None:
        """A box ends by itself; the daemon notices, or not before its next start."""
        if idle:
            self.turn_ends(name)
        seat = self.seats.get(name)
        if seat is None:
            return
        if told:
            self._box_ends(name, seat.station.box, "its init ended")
        else:
            self.world.pop(seat.station.box, None)
            self.restart()

    def _box_ends(self, name: str, box: BoxId, why: str) -> bool:
        self.world.pop(box, None)
        self.seats.pop(name, None)
        try:
            self.write(box_rows.box_gone, box, name, why)
        except CrashError:
            return False
        return True

    @rule(name=st.sampled_from(NAMES))
    def engine_sits_again(self, name: str) -> None:
        """The next turn finds a warm engine, or starts one in a warm box."""
        live = {row.agent: row.id for row in self.read(box_rows.live_boxes, HOST) if row.id in self.world}
        if name not in live:
            return
        before = self.read(program_rows.live_program, live[name])
        seat = self._seat(name, live[name])
        if self._run(seat.take(of_turn=None)):
            self.seats[name] = seat
            assert before is None or before.id == seat.program, "a warm engine was not used"
            self._run(self._send(seat))

    async def _send(self, seat: EngineSeat) -> None:
        await seat.send()
        self._nothing_is_unsent(seat)

    @rule(name=st.sampled_from(NAMES), role=st.sampled_from(["worker", "manager"]))
    def agent_changes(self, name: str, role: str) -> None:
        """A warm engine of something else than the agent is now must not go on (`made_of`)."""
        seat = self.seats.get(name)
        if seat is None or seat.station.over.is_set():
            return
        agent = replace(seat.agent, playbook=None if role == "worker" else "another")
        changed = EngineSeat(self.parts, agent, seat.station)
        old = seat.program
        if self._run(changed.take(of_turn=None)):
            same = seat.agent.playbook == agent.playbook
            assert (changed.program == old) == same, "an engine goes on as what the agent is no more"
            if not same:
                assert old not in self.world[seat.station.box].programs, "the old engine is left in the box"
            back = EngineSeat(self.parts, seat.agent, seat.station)
            if self._run(back.take(of_turn=None)):
                self.seats[name] = back

    @rule(name=st.sampled_from(NAMES), where=st.sampled_from([None, "before", "after"]))
    def session_is_gone(self, name: str, where: str | None) -> None:
        """A new program without a session takes the engine's place (D-26)."""
        self.turn_ends(name)
        seat = self.seats.get(name)
        if seat is None or seat.station.over.is_set():
            return
        self.bench.fault = where or self.bench.fault
        old = seat.program
        if self._run(seat.renew()):
            assert seat.program != old
            assert seat.row is not None
            assert seat.row.session is None

    @rule()
    def restarts(self) -> None:
        self.restart()

    # ---- what must always hold --------------------------------------------------------------------------------------

    def _name(self, agent: AgentId) -> str:
        return next(name for name, id_ in self.ids.items() if id_ == agent)

    @invariant()
    def rows_know_the_world(self) -> None:
        """LE-22, I-8: every box is known to a row that is not gone; at most one an agent."""
        live = {
            row[0]: (row[1], row[2]) for row in self.rows("SELECT id, agent_id, state FROM boxes WHERE state <> 'gone'")
        }
        for box in self.world:
            assert box in live, f"{box} runs and its row says gone"
        agents = [agent for agent, _ in live.values()]
        assert len(agents) == len(set(agents)), "two boxes of one agent"
        for box, (_, state) in live.items():
            assert state == "up", f"{box} is {state} for good"
            assert box in self.world, f"{box} is said to be up and does not run"
        for row in self.rows("SELECT id, wake_at FROM boxes WHERE state = 'gone' AND wake_at IS NOT NULL"):
            raise AssertionError(f"{row[0]} is gone and waits (I-9)")

    @invariant()
    def programs_follow_their_boxes(self) -> None:
        for program, state, box, box_state, next_seq in self.rows(
            "SELECT p.id, p.state, b.id, b.state, p.next_seq FROM programs p JOIN boxes b ON b.id = p.box_id"
        ):
            kept = [row[0] for row in self.rows(f"SELECT seq FROM outbox WHERE program_id = '{program}' ORDER BY seq")]
            if state == "ended":
                assert not kept, "lines of an ended program are kept"
                there = BoxId(box) in self.world and ProgramId(program) in self.world[BoxId(box)].programs
                assert not there, "a program runs whose row has ended"
                continue
            assert box_state != "gone", "a program outlives its box"
            assert kept == list(range(next_seq - len(kept), next_seq)), "a gap in the outbox (D-44)"
            world = self.world[BoxId(box)].programs.get(ProgramId(program))
            taken = len(world.lines) if world is not None else 0
            assert taken >= next_seq - 1 - len(kept), "a line was forgotten that boxd has not taken (D-44)"
            assert taken <= next_seq - 1, "boxd took a line that no row has"

    @invariant()
    def events_fold_to_boxes(self) -> None:
        """I-6."""
        states: dict[str, str] = {}
        for event in self.told("box."):
            assert states.get(event.subject or "") != "gone", "a box that is gone came again"
            states[event.subject or ""] = event.kind.removeprefix("box.")
        assert states == dict(self.rows("SELECT id, state FROM boxes")), "events and boxes differ (I-6)"
