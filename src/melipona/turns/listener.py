"""Listening to an engine during one turn: output by offset, lines to events, events to the turn's log.

A turn that is adopted begins with what its log holds, and reads on from the log's last offset.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from melipona.agents import store as agent_rows
from melipona.boxes.link import Exit, Gap, Output
from melipona.engines.engine import Demand, EngineEvent, PermissionRequest, Result, SessionStarted
from melipona.errors import BoxLost
from melipona.faults import fault
from melipona.turns.lines import Lines, TooMuchOutput, well_formed
from melipona.turns.log import TurnLog, log_path, read_log
from melipona.turns.model import NAME_MOST, OpenTurn, Progress
from melipona.turns.pace import Pace
from melipona.turns.seat import EngineSeat

NOT_ALLOWED = "this tool is not allowed for this agent"
LINE_COUNTS = 256
"""Bytes that a line counts for at least: a megabyte may hold half a million of them (T7)."""
SESSIONS_MOST = 100
"""Sessions of one turn that are remembered."""
ANSWERS_MOST, ANSWER_MOST = 1000, 64 << 10
"""Demands of an engine that are answered in one turn, and characters of an answer."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The engine program ended without (another) result."""

    code: int
    stderr: str


@dataclass(slots=True)
class TurnListener:
    """Hears one turn's engine. `heard_at` is when it last said anything, by the monotonic clock."""

    turn: OpenTurn
    seat: EngineSeat
    progress: Progress = field(default_factory=Progress)
    offset: int = 0
    heard_at: float = 0.0
    _log: TurnLog | None = None
    _session: str | None = None
    _sessions: int = 0
    _answers: int = 0
    _heard: int = 0
    """Bytes of the engine's output in this turn, as they count."""

    @property
    def log(self) -> TurnLog:
        assert self._log is not None
        return self._log

    async def open(self, *, adopted: bool) -> None:
        """Open the turn's log, and take over what it holds of an adopted turn."""
        p, program = self.seat.p, self.seat.program
        path = log_path(p.turns_folder, self.turn.id)
        known = await asyncio.to_thread(self._take_over, path, program) if adopted else None
        self._log = TurnLog(path, p.clock, limit_bytes=p.settings.turns.log_bytes, on_growth=self._grew)
        if known is not None:
            self.offset = known
        else:
            self.begin()

    def _take_over(self, path: Path, program: str) -> int | None:
        """Take what the log holds, a line at a time; where the program's output was read to. Runs in a thread."""
        offset = None
        for line in read_log(path):
            if line.event is not None:
                self.progress.take(line.event)
            if line.program == program:
                self._heard += line.offset - offset if offset is not None else 0
                offset = line.offset
        return offset

    def begin(self) -> None:
        """Listen to the seat's program from where its output ends now."""
        self.offset = self.seat.offset
        self.log.start(self.offset, self.seat.program)

    def _grew(self) -> None:
        self.seat.p.grew(self.turn.id)

    def close(self) -> None:
        """Write the rest of the log."""
        if self._log is not None:
            self._log.close()

    @property
    def session_was_lost(self) -> bool:
        """Whether the last that the turn's log tells is that the session to resume does not exist (D-26)."""
        results = self.progress.results
        return bool(results) and results[-1].outcome == "no_session"

    def unanswered(self, compacted: int) -> Result | None:
        """A result that the log of an adopted turn holds and that nobody acted on yet."""
        results = self.progress.results
        if not results:
            return None
        if results[-1].outcome == "no_session":
            return results[-1] if self.seat.program == self.turn.program else None
        finished = [result for result in results if result.outcome != "no_session"]
        return finished[-1] if len(finished) > compacted else None

    async def until_result(self) -> Result | Ended:
        """Read the engine until it gives a result or ends.

        Raises:
            BoxLost: the box went away. BoxProtocolError: what came is no protocol.
            LineTooLong, TooMuchOutput: what came is more than may come.
        """
        pace = Pace(self.seat.p.clock)
        decoder, lines, link = self.seat.driver.decoder(), Lines(self.offset), self.seat.held().link
        async with aclosing(link.follow(self.seat.program, self.offset)) as pieces:
            async for piece in pieces:
                match piece:
                    case Output(data=data):
                        result = None
                        pace.begin()
                        for line, after in lines.feed(data):
                            for event in decoder.feed(well_formed(line)):
                                result = await self._take(after, event) or result
                            self._count(after - self.offset)
                            self.offset = after
                            await pace.breathe()
                        if result is None:
                            await self.log.written.wait()  # on a full disk the engine waits (D-15)
                        await fault("turns.spool.before_acknowledge")
                        await link.acknowledge(self.seat.program, self.offset)
                        await fault("turns.spool.after_acknowledge")
                        if result is not None:
                            return result
                    case Gap(offset=offset):
                        lines = Lines(offset)
                    case Exit(code=code, stderr=stderr):
                        return Ended(code, stderr.decode(errors="replace"))
        raise BoxLost(f'box of "{self.turn.agent}": the engine\'s output ended without its end')

    def _count(self, length: int) -> None:
        """Count a line: short ones for more than their length, because reading them costs as much."""
        self._heard += max(length, LINE_COUNTS)
        limit = self.seat.p.settings.turns.output_bytes
        if limit and self._heard > limit:
            raise TooMuchOutput(f"the engine wrote more than {limit >> 20} MiB in one turn (turns.output_bytes)")

    async def _take(self, after: int, event: EngineEvent) -> Result | None:
        seat = self.seat
        self.heard_at = seat.p.clock.monotonic()
        self.progress.take(event)
        self.log.add(after, event)
        match event:
            case SessionStarted(session=session):
                await self._session_is(session)
            case Demand(line=line):
                await self._answer(line)
            case PermissionRequest(request=request):
                await self._answer(seat.driver.permission_line(request, allow=False, message=NOT_ALLOWED))
            case Result():
                return event
            case _:
                pass
        return None

    async def _session_is(self, session: str) -> None:
        """Remember the engine's session. A box may tell any number of them, and each is a change of the store (T6)."""
        known = self._session or self.seat.agent.session
        if session != known and len(session) <= NAME_MOST and self._sessions < SESSIONS_MOST:
            self._session, self._sessions = session, self._sessions + 1
            await self.seat.p.store.write_when_possible(agent_rows.set_session, self.seat.agent.id, session)

    async def _answer(self, line: str | None) -> None:
        """Answer the engine. A line is a row until the turn ends: what asks too often or at length is not answered."""
        if line is not None and len(line) <= ANSWER_MOST and self._answers < ANSWERS_MOST:
            self._answers += 1
            await self.seat.put(line)
