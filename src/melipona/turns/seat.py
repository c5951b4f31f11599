"""An agent's engine in its box: found or started, told what the outbox holds, signalled.

The program's row is written before the program is started, and every line before it is sent, so that another daemon
does exactly what this one would have done next.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
from dataclasses import dataclass, field

from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.agents.model import Agent
from melipona.boxes.link import ProgramInfo, ProgramSpec
from melipona.engines.engine import EngineDriver, EngineLaunch
from melipona.errors import BoxError, BoxLost, NotFound
from melipona.faults import fault
from melipona.ids import ProgramId, new_id
from melipona.turns import program_rows
from melipona.turns.parts import RunnerParts
from melipona.turns.prompt import system_prompt
from melipona.turns.station import Station


@dataclass(slots=True)
class EngineSeat:
    """The engine program of one agent for one turn. `take` or `renew` gives it a program."""

    p: RunnerParts
    agent: Agent
    station: Station
    row: program_rows.Program | None = None
    info: ProgramInfo | None = None
    _sent: int = 0
    _known: tuple[int, str] | None = None
    """A line that was just stored, with its number: it need not be read again."""
    _early: program_rows.Program | None = None
    _asked: asyncio.Task[ProgramInfo] | None = None
    """The question to boxd how the program is, if it was put before the turn began."""
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def driver(self) -> EngineDriver:
        return self.p.engines[self.agent.engine]

    @property
    def model(self) -> str | None:
        """The model the agent shall use; None leaves it to the engine."""
        return self.agent.model or self.p.settings.models.anthropic.default or None

    @property
    def program(self) -> ProgramId:
        assert self.row is not None
        return self.row.id

    @property
    def offset(self) -> int:
        """Where the program's output ended when it was last asked."""
        assert self.info is not None
        return self.info.offset

    @property
    def sent(self) -> int:
        """The number of the last line that boxd has taken."""
        return self._sent

    # ---- the program -----------------------------------------------------------------------------------------------

    def goes_on_with(self, row: program_rows.Program) -> bool:
        """Whether a kept program can be prompted as it is, by what its row says; if so the seat is to take it."""
        if row.made_of != self._made_of() or self.model not in (None, row.model):
            return False
        self.row = self._early = row
        return True

    def ask_early(self) -> None:
        """Ask boxd now how the program is that `goes_on_with` has looked at, for `take`: what prompts it
        is being made durable meanwhile. Should that fail, an answer that nobody wants changes nothing."""
        if self._early is not None and self._asked is None and not self.station.over.is_set():
            self._asked = asyncio.create_task(self.station.link.start(self._spec(self._early)))
            self._asked.add_done_callback(_seen)

    def forget_answer(self) -> None:
        """Nobody waits for the answer any more."""
        if self._asked is not None:
            self._asked.cancel()

    async def take(self, *, of_turn: ProgramId | None) -> bool:
        """The running program of the box, else a new one that resumes the agent's session.

        True when it is the one that `goes_on_with` has looked at. `of_turn` is the program of a turn that is adopted:
        it is kept even if it has ended, because its last words are still to be read.
        """
        row = self._early or await self.p.store.read(program_rows.live_program, self.station.box)
        if row is None:
            await self._start(self.agent.session)
            return False
        asked, self._asked = self._asked, None
        info = await (asked or self.held().link.start(self._spec(row)))
        if of_turn == row.id or (self._early is not None and info.exit is None):
            self._sits(row, info)
            return self._early is not None
        if info.exit is None and self._still_right(row):
            self._sits(row, info)
            await self._tell_model()
            return False
        await self._end(row.id)
        await self._start(self.agent.session)
        return False

    async def renew(self) -> None:
        """The session to resume does not exist: a new program without one takes its place (D-26)."""
        old = self.program
        await self.p.store.write_when_possible(self._forget_session, old)
        await self.held().link.forget(old)
        await self._start(None)

    async def ended(self) -> None:
        """The program has ended, or was killed: drop what boxd keeps of it."""
        await self._end(self.program)

    async def _end(self, program: ProgramId) -> None:
        """End a program: its row first. A row that is not ended is started by the next daemon, and boxd, which has
        forgotten it, would begin it anew with the lines that are still kept. What boxd is left with is forgotten by
        the daemon that takes the box over."""
        await self.p.store.write_when_possible(program_rows.end_program, program)
        await self.held().link.forget(program)

    async def kill(self) -> None:
        """Kill the program's group."""
        try:
            await self.station.link.signal(self.program, signal.SIGKILL)
        except (BoxError, NotFound):
            pass  # the program or the box is gone: who listens to it finds out

    def held(self) -> Station:
        """The station, while its box is there.

        Raises:
            BoxLost: it is gone.
        """
        if self.station.over.is_set():
            raise BoxLost(f'box of "{self.agent.name}" is gone: {self.station.why}')
        return self.station

    # ---- lines -----------------------------------------------------------------------------------------------------

    async def send(self) -> None:
        """Send what the outbox holds above what was sent, in order (boxd takes no line out of order)."""
        async with self._sending:
            known, self._known = self._known, None
            following = self._sent + 1
            lines = [known] if known is not None and known[0] == following else None
            for seq, line in lines or await self.p.store.read(program_rows.lines_from, self.program, following):
                await self.held().link.write(self.program, seq, line.encode() + b"\n")
                self._sent = seq

    def put_prompt(self, c: Connection, line: str) -> int:
        """Store a prompt, which is sent next; its number."""
        seq = program_rows.put_line(c, self.program, line, prompts=True)
        self._known = (seq, line)
        return seq

    async def put(self, line: str) -> None:
        """Store a line and send it."""
        await self.p.store.write_when_possible(program_rows.put_line, self.program, line)
        await self.send()

    async def interrupt(self) -> None:
        """Ask the engine to stop its turn; an interrupt that the outbox holds is sent, else it is signalled."""
        if self.driver.interrupt_line("") is None:
            await self.held().link.signal(self.program, signal.SIGINT)
        else:
            await self.send()

    def put_interrupt(self, c: Connection) -> None:
        """Queue the interrupt, for engines that take one as a line."""
        line = self.driver.interrupt_line(new_id())
        if line is not None:
            program_rows.put_line(c, self.program, line)

    # ---- parts -----------------------------------------------------------------------------------------------------

    async def _start(self, session: str | None) -> None:
        identifier, made_of = ProgramId(new_id()), self._made_of()
        row = program_rows.Program(identifier, self.station.box, self.agent.id, self.model, session, None, made_of)
        first = self.driver.program(self._launch(row)).first_lines
        if not await self.p.store.write_when_possible(program_rows.add_program, row, first):
            raise BoxLost(f'box of "{self.agent.name}" is gone')
        await fault("turns.engine.before_start")
        self._known = None
        self._sits(row, await self.held().link.start(self._spec(row)))
        await fault("turns.engine.after_start")

    def _sits(self, row: program_rows.Program, info: ProgramInfo) -> None:
        self.row, self.info, self._sent = row, info, info.next_seq - 1

    def _made_of(self) -> str:
        """What a running program cannot be told later: when it changes, a new one must be started."""
        parts = (self.agent.engine, self.agent.role.value, self.agent.playbook or "", self._advice())
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def _still_right(self, row: program_rows.Program) -> bool:
        """Whether a warm program can go on, or was started for something else."""
        model_changed = self.model is not None and self.model != row.model
        tellable = not model_changed or self.driver.set_model_line("", self.model or "") is not None
        return row.made_of == self._made_of() and tellable

    def _launch(self, row: program_rows.Program) -> EngineLaunch:
        return EngineLaunch(
            agent=self.agent.name,
            role="manager" if self.agent.is_manager else "worker",
            model=row.model,
            session=row.session,
            system_prompt=self._advice(),
            playbook=None if self.agent.playbook is None else self.p.playbook(self.agent.playbook),
        )

    def _advice(self) -> str:
        return system_prompt(self.agent.name, self.agent.role.value, self.p.settings.hive.pronouns)

    def _spec(self, row: program_rows.Program) -> ProgramSpec:
        spec = self.station.program
        if spec is None or spec.id != row.id:
            program = self.driver.program(self._launch(row))
            spec = self.station.program = ProgramSpec(row.id, program.argv, program.env)
        return spec

    async def _tell_model(self) -> None:
        """A warm engine is told about a model that was changed meanwhile."""
        assert self.row is not None
        model = self.model
        line = None if model is None or model == self.row.model else self.driver.set_model_line(new_id(), model)
        if line is not None and model is not None:
            await self.p.store.write_when_possible(self._put_model, self.row, line, model)

    def _put_model(self, c: Connection, row: program_rows.Program, line: str, model: str) -> None:
        program_rows.put_line(c, row.id, line)
        program_rows.change_program_model(c, row, model)

    def _forget_session(self, c: Connection, program: ProgramId) -> None:
        program_rows.end_program(c, program)
        agent_rows.set_session(c, self.agent.id, None)
        agent_rows.record_session_lost(c, self.agent.id, self.agent.name)


def _seen(asked: asyncio.Task[ProgramInfo]) -> None:
    """Its error is of no interest unless `take` waits for it."""
    if not asked.cancelled():
        asked.exception()
