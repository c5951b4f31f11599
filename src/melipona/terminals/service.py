"""Terminals: a shell on a pty in an agent's box, for a person (DB, ASK-22).

While a terminal is open an operation `attached` is in flight for its agent: a turn that runs may finish, no new one
begins, nobody else stops or purges the agent, and everybody sees who is in there. A terminal lives in this daemon's
process: it ends with its shell, when it is closed, when nobody has looked at it for a while, or with the daemon; what
is left in the box then is ended by the next daemon, which finds a program that no row names.

What a terminal shows is the agent's bytes: they are passed on as they are, and the viewer must not obey them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from anyio.abc import TaskGroup
from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.agents.model import Agent, Wish
from melipona.boxes.link import Exit, Gap, Output, ProgramSpec
from melipona.clock import Clock, later
from melipona.engines.base import inside_environment
from melipona.errors import BoxError, Conflict, LimitReached, MeliponaError, NotFound
from melipona.ids import AgentName, ProgramId, new_id
from melipona.operations.service import Operations
from melipona.principals import Principal
from melipona.settings import Settings
from melipona.store.engine import Store
from melipona.turns import box_rows
from melipona.turns.station import Station, Stations
from melipona.turns.status import ATTACHED

log = structlog.get_logger("terminals")

SHELL = ("/bin/bash", "-il")
KEPT = 256 << 10
"""Bytes of output that somebody who comes back finds."""
UNSEEN_SECONDS = 60.0
"""A terminal that nobody looks at is closed after this."""
INPUT_MOST = 64 << 10
"""Bytes of one piece of input."""
OPEN_MOST = 16
"""Terminals of one hive."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Output from absolute `offset` on. An offset above the one that was asked for means that the rest is gone."""

    offset: int
    data: bytes


@dataclass(eq=False)
class Terminal:
    """One open terminal."""

    id: ProgramId
    agent: AgentName
    by: str
    station: Station
    offset: int = 0
    """Absolute offset of the first byte of `kept`."""
    kept: bytearray = field(default_factory=bytearray)
    exit: int | None = None
    over: bool = False
    seen: int = 0
    """How many look at it."""
    end_seen: asyncio.Event = field(default_factory=asyncio.Event)
    next_seq: int = 1
    news: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    typing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, data: bytes) -> None:
        """Keep output and tell those who look."""
        self.kept += data
        surplus = len(self.kept) - KEPT
        if surplus > 0:
            del self.kept[:surplus]
            self.offset += surplus
        self.tell()

    def skip(self, offset: int) -> None:
        """The box had to drop what lies before `offset`."""
        self.kept.clear()
        self.offset = offset

    def tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def output(self, after: int) -> AsyncGenerator[Piece]:
        """Output from `after` on, until the terminal is over."""
        self.seen += 1
        try:
            while True:
                news, end = self.news, self.offset + len(self.kept)
                after = min(max(after, self.offset), end)
                if after < end:
                    data = bytes(self.kept[after - self.offset :])
                    yield Piece(after, data)
                    after += len(data)
                elif self.over:
                    self.end_seen.set()
                    return
                else:
                    await news.wait()
        finally:
            self.seen -= 1
            self.tell()


class Terminals:
    """The open terminals of this daemon."""

    def __init__(
        self,
        store: Store,
        operations: Operations,
        stations: Stations,
        settings: Settings,
        clock: Clock,
        tasks: TaskGroup,
    ) -> None:
        self._store, self._operations, self._stations = store, operations, stations
        self._settings, self._clock, self._tasks = settings, clock, tasks
        self._open: dict[ProgramId, Terminal] = {}

    async def open(self, by: Principal, name: str, rows: int, columns: int) -> Terminal:
        """A new terminal in the agent's box, which is started if there is none.

        Raises:
            NotFound: no such agent. LimitReached: there are too many terminals.
            Conflict: it is stopped or gone, or an operation on it is in flight, such as another terminal.
            BoxError: the box does not start or answer.
        """
        if len(self._open) >= OPEN_MOST:
            raise LimitReached(
                f"there are {OPEN_MOST} terminals already", remedy="close one", code="too_many_terminals"
            )
        agent = await self._store.read(_attachable, name)
        opened: asyncio.Future[Terminal] = asyncio.get_running_loop().create_future()
        self._tasks.start_soon(self._run, by, agent, (rows, columns), opened, name=f"terminal of {agent.name}")
        return await asyncio.shield(opened)

    def get(self, identifier: str) -> Terminal:
        """An open terminal, or one whose end has not been seen yet.

        Raises:
            NotFound: there is none of that id.
        """
        found = self._open.get(ProgramId(identifier))
        if found is None:
            raise NotFound("that terminal is closed", remedy="open another one", code="no_terminal")
        return found

    async def type(self, identifier: str, data: bytes) -> None:
        """What a person typed. Pieces arrive in the order of the calls.

        Raises:
            NotFound: it is closed. LimitReached: too much at once. BoxError: the box does not answer.
        """
        terminal = self.get(identifier)
        if len(data) > INPUT_MOST:
            raise LimitReached(f"more than {INPUT_MOST} bytes at once", remedy="send it in parts", code="input_too_big")
        if terminal.over or not data:
            return
        async with terminal.typing:
            seq, terminal.next_seq = terminal.next_seq, terminal.next_seq + 1
            await terminal.station.link.write(terminal.id, seq, data)

    async def resize(self, identifier: str, rows: int, columns: int) -> None:
        """The window has another size; raises as `type`."""
        terminal = self.get(identifier)
        if not terminal.over:
            await terminal.station.link.resize(terminal.id, rows, columns)

    def close(self, identifier: str) -> None:
        """End the shell and everything on its terminal.

        Raises:
            NotFound: it is closed.
        """
        self.get(identifier).closing.set()

    # ---- the life of one -------------------------------------------------------------------------------------------

    async def _run(self, by: Principal, agent: Agent, size: tuple[int, int], opened: asyncio.Future[Terminal]) -> None:
        terminal: Terminal | None = None
        try:
            async with self._operations.hold(ATTACHED, agent.id, by, detail="a person works in its box"):
                try:
                    terminal = await self._begin(by, agent, size)
                    opened.set_result(terminal)
                    await self._until_over(terminal)
                finally:
                    if terminal is not None:
                        await self._end(terminal)
        except MeliponaError as error:
            if opened.done():
                log.warning("a terminal ended", agent=agent.name, error=error.message)
            else:
                opened.set_exception(error)
        finally:
            opened.cancel()

    async def _begin(self, by: Principal, agent: Agent, size: tuple[int, int]) -> Terminal:
        station = await self._stations.up(agent)
        terminal = Terminal(ProgramId(new_id()), agent.name, by.name, station)
        await self._store.write_when_possible(box_rows.set_box_wake, station.box, None)
        environment = inside_environment() | {"TERM": "xterm-256color"}
        spec = ProgramSpec(terminal.id, SHELL, environment, terminal=size, lossless=False)
        self._open[terminal.id] = terminal
        await station.link.start(spec)
        return terminal

    async def _until_over(self, terminal: Terminal) -> None:
        reading = asyncio.create_task(self._read(terminal))
        closing = asyncio.create_task(terminal.closing.wait())
        leaving = asyncio.create_task(_nobody_looks(terminal))
        try:
            done, _ = await asyncio.wait({reading, closing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if reading in done:
                reading.result()
        finally:
            for task in (reading, closing, leaving):
                task.cancel()
            await asyncio.gather(reading, closing, leaving, return_exceptions=True)

    async def _read(self, terminal: Terminal) -> None:
        link = terminal.station.link
        async for piece in link.follow(terminal.id, 0):
            match piece:
                case Output(offset, data):
                    terminal.add(data)
                    await link.acknowledge(terminal.id, offset + len(data))
                case Gap(offset):
                    terminal.skip(offset)
                case Exit(code):
                    terminal.exit = code
                    return

    async def _end(self, terminal: Terminal) -> None:
        terminal.over = True
        terminal.tell()
        if terminal.closing.is_set():
            self._open.pop(terminal.id, None)
        else:
            self._tasks.start_soon(self._let_go, terminal, name=f"last words of a terminal of {terminal.agent}")
        try:
            await terminal.station.link.forget(terminal.id)
        except BoxError as error:
            log.info("a terminal's box is gone", agent=terminal.agent, error=error.message)
        idle = later(self._clock.now(), timedelta(seconds=self._settings.boxes.idle))
        await self._store.write_when_possible(box_rows.set_box_wake, terminal.station.box, idle)

    async def _let_go(self, terminal: Terminal) -> None:
        """Keep what an ended shell said until somebody has seen it."""
        try:
            async with asyncio.timeout(UNSEEN_SECONDS):
                await terminal.end_seen.wait()
        except TimeoutError:
            pass
        self._open.pop(terminal.id, None)


async def _nobody_looks(terminal: Terminal) -> None:
    """Return when nobody has looked for `UNSEEN_SECONDS`."""
    while True:
        news = terminal.news
        if terminal.seen:
            await news.wait()
            continue
        try:
            async with asyncio.timeout(UNSEEN_SECONDS):
                while not terminal.seen:
                    await terminal.news.wait()
        except TimeoutError:
            return


def _attachable(c: Connection, name: str) -> Agent:
    agent = agent_rows.by_name(c, AgentName(name))
    if agent is None or not agent.alive:
        raise NotFound(f'no agent "{name}"', remedy="`mel agent list` shows the names")
    if agent.wish is Wish.STOPPED:
        raise Conflict(f'agent "{name}" is stopped', remedy=f"mel agent start {name}", code="stopped")
    return agent
