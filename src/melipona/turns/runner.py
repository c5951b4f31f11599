"""Running one turn: box and engine up, prompt in, events out, end.

A runner acts on rows that were written before: the turn and its leased mail are stored when it is made, every line for
the engine is in the outbox before it is sent. So a new runner, of a restarted daemon, does exactly what the old one
would have done next (`adopted`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection

from melipona.agents.model import Agent
from melipona.errors import AskedWrongly, BoxError, BoxLost, BoxProtocolError, EngineError, StoreError
from melipona.faults import fault
from melipona.mail import store as mail_rows
from melipona.mail.model import Message
from melipona.turns import box_rows, program_rows
from melipona.turns import store as rows
from melipona.turns.closing import BOX_FAILED, Closing
from melipona.turns.limit_hits import blamed_on_limit
from melipona.turns.lines import LineTooLong, TooMuchOutput
from melipona.turns.listener import Ended, TurnListener
from melipona.turns.log import log_name
from melipona.turns.model import (
    COMPACT,
    ENGINE_GONE,
    OUTPUT_LIMIT,
    STOPPED,
    Ending,
    NextStep,
    OpenTurn,
    Progress,
    ending_of,
    ending_of_compaction,
    ending_of_exit,
    next_step,
    timed_out,
    unforeseen,
)
from melipona.turns.parts import RunnerParts
from melipona.turns.prompt import WokenBy, wake_prompt
from melipona.turns.seat import EngineSeat
from melipona.turns.station import Station

log = structlog.get_logger("turns")

INTERRUPTED = Ending("interrupted", hold=True)
LOOK_SECONDS = 5.0
SETTLE_LOOKS, SETTLE_SECONDS = 40, 0.025


@dataclass(slots=True)
class TurnRunner:
    """Runs one open turn to its end. `mail` is what it leases."""

    p: RunnerParts
    turn: OpenTurn
    agent: Agent
    mail: Sequence[Message] = ()
    adopted: bool = False
    session_lost: bool = False
    _compacted: int = 0
    _hits: Mapping[str, int] = field(default_factory=dict[str, int])
    """How often the box had run into its limits when the turn began."""
    _began: float = 0.0
    _station: Station | None = None
    _seat: EngineSeat | None = None
    _listener: TurnListener | None = None
    _conversation: asyncio.Task[Ending] | None = None
    _nudge: asyncio.Event = field(default_factory=asyncio.Event)
    _planned: Ending | None = None
    """How the turn ends if the engine stops as it was asked to."""
    _kill_at: float | None = None
    _killed: bool = False
    _stopped: Ending | None = None
    _early: EngineSeat | None = None
    """The seat of a kept engine whose prompt is stored since the turn was opened."""

    @property
    def progress(self) -> Progress:
        """What the engine has said so far."""
        return self._listener.progress if self._listener is not None else Progress()

    async def run(self) -> Ending:
        """Run the turn and write its end. Whatever fails ends this turn only; what the store raises is raised."""
        passed = max(0, self.p.clock.now() - self.turn.started_at) / 1_000_000
        self._began = self.p.clock.monotonic() - passed
        self._compacted = self.turn.compacted
        try:
            ending = await self._until_ended()
        finally:
            if self._early is not None:
                self._early.forget_answer()
            if self._listener is not None:
                self._listener.close()
        await self._end(ending)
        return ending

    def prompt_at_once(self, c: Connection) -> bool:
        """Store the prompt in the transaction that opens the turn, if the agent's engine is kept and goes on with it.

        Should the engine be gone when the turn begins, it is prompted like any other.
        """
        station = self.p.stations.get(self.agent.id)
        if station is None or station.stopping or not station.link.connected:
            return False
        seat = EngineSeat(self.p, self.agent, station)
        row = program_rows.live_program(c, station.box)
        if row is not None and seat.goes_on_with(row):
            self._store_prompt(c, seat)
            self._early = seat
        return self._early is not None

    def ask_early(self) -> None:
        """Ask boxd how the kept engine is, while the transaction that prompts it becomes durable."""
        if self._early is not None:
            self._early.ask_early()

    # ---- what others may ask -------------------------------------------------------------------------------------

    async def interrupt(self, by: str) -> None:
        """A person wants the turn to stop; it ends as interrupted, by force after the grace (D-18)."""
        await self.p.store.reserved.write(self._ask_interrupt, by)
        await self._end_soon(INTERRUPTED)

    def stop(self, ending: Ending = STOPPED) -> None:
        """The agent is being stopped: end the turn at once; the box goes down anyway."""
        self._stopped = ending
        if self._conversation is not None:
            self._conversation.cancel()

    # ---- the whole turn ------------------------------------------------------------------------------------------

    async def _until_ended(self) -> Ending:
        if self._stopped is not None:
            return self._stopped
        self._conversation = asyncio.create_task(self._converse())
        watch = asyncio.create_task(self._watch())
        try:
            return await self._conversation
        except asyncio.CancelledError:
            if self._stopped is not None and self._conversation.cancelled():
                return self._stopped
            raise
        finally:
            for task in (watch, self._conversation):
                task.cancel()
            await asyncio.gather(watch, self._conversation, return_exceptions=True)

    async def _converse(self) -> Ending:
        try:
            await fault("turns.turn.before_box")
            self._station = await self.p.stations.up(self.agent)
            await fault("turns.turn.after_box")
            if self.turn.interrupt_by is not None and self.turn.program is None:
                return INTERRUPTED
            self._hits = {} if self.adopted else self.p.stations.limit_hits(self._station)
            seat, listener = await self._sit(self._station)
            if self._lost_its_program(seat) and not self.session_lost:
                return ENGINE_GONE
            return await self._talk(seat, listener)
        except LineTooLong:
            await self._kill()
            return OUTPUT_LIMIT
        except TooMuchOutput as error:
            await self._kill()
            return Ending("failed", error.code, error.message, failed=True)
        except BoxProtocolError as error:
            await self._end_box(error.code)  # the daemon goes on (T8)
            return Ending("failed", error.code, error.message, failed=True)
        except BoxLost as error:
            return Ending("lost", "box_gone", error.message, failed=True)
        except BoxError as error:
            return Ending("failed", BOX_FAILED, str(error), trouble=BOX_FAILED)
        except EngineError as error:
            return Ending("failed", error.code, str(error), trouble=error.code)
        except StoreError:
            raise
        except Exception as error:
            log.exception("a turn met a bug", turn=self.turn.id, agent=self.agent.name)
            await self._kill()
            return unforeseen(error)

    async def _sit(self, station: Station) -> tuple[EngineSeat, TurnListener]:
        """Engine up, log open, prompt stored."""
        early = self._early
        seat = early if early is not None and early.station is station else EngineSeat(self.p, self.agent, station)
        prompted = await seat.take(of_turn=self.turn.program if self.adopted else None)
        listener = TurnListener(self.turn, seat, heard_at=self.p.clock.monotonic())
        await listener.open(adopted=self.adopted)
        self._seat, self._listener = seat, listener
        if self._lost_its_program(seat):
            self.session_lost = listener.session_was_lost
        if prompted:
            self._note_prompt(listener)
        elif self.turn.prompt_seq is None or self.session_lost:
            await self._put_prompt(seat, listener)
        if self._planned is not None:
            await self.p.store.write_when_possible(seat.put_interrupt)
        if self._planned is not None or self.turn.interrupt_by is not None:
            await self._end_soon(self._planned or INTERRUPTED)
        return seat, listener

    def _lost_its_program(self, seat: EngineSeat) -> bool:
        """Whether the daemon before had ended the program of this turn: nobody waits for an answer of its own."""
        return self.adopted and self.turn.program not in (None, seat.program)

    async def _talk(self, seat: EngineSeat, listener: TurnListener) -> Ending:
        """Send what is due and listen, until a result is final."""
        while True:
            await fault("turns.lines.before_send")
            await seat.send()
            await fault("turns.lines.after_send")
            known = listener.unanswered(self._compacted) if self.adopted else None
            result = known or await listener.until_result()
            if isinstance(result, Ended):
                await seat.ended()
                return self._planned or ending_of_exit(result.code, result.stderr)
            can_compact = seat.driver.compact_line() is not None
            can_compact = can_compact and not self.turn.compacts
            match NextStep.END if self._planned else next_step(result, self._compacted, can_compact=can_compact):
                case NextStep.COMPACT:
                    await self._continue(seat, seat.driver.compact_line() or "", compacted=1)
                case NextStep.ASK_AGAIN:
                    await self._continue(seat, self._prompt_line(seat), compacted=2)
                case NextStep.NEW_SESSION:
                    self.session_lost = True
                    await seat.renew()
                    listener.begin()
                    await self._put_prompt(seat, listener)
                case NextStep.END:
                    if self._planned is not None and result.outcome != "ok":
                        return self._planned
                    if self.adopted and self._planned is None and result.outcome == "interrupted":
                        return self._limit_before()
                    ended = ending_of_compaction if self.turn.compacts else ending_of
                    return ended(result, listener.progress, self.p.settings.turns)

    async def _put_prompt(self, seat: EngineSeat, listener: TurnListener) -> None:
        await self.p.store.write_when_possible(self._store_prompt, seat)
        self._note_prompt(listener)

    def _note_prompt(self, listener: TurnListener) -> None:
        kind = COMPACT if self.turn.compacts else "prompt"
        listener.log.note(listener.offset, kind, messages=[message.id for message in self.mail])

    def _prompt_line(self, seat: EngineSeat, still_waiting: int = 0) -> str:
        if self.turn.compacts:
            return seat.driver.compact_line() or ""
        woken = [_woken(message) for message in self.mail]
        prompt = wake_prompt(self.agent.name, woken, still_waiting=still_waiting, session_lost=self.session_lost)
        return seat.driver.prompt_line(prompt)

    async def _continue(self, seat: EngineSeat, line: str, *, compacted: int) -> None:
        await self.p.store.write_when_possible(self._store_phase, seat, line, compacted)
        self._compacted = compacted

    # ---- time, interrupts ------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Interrupt at the limits of time, kill after the grace."""
        while True:
            try:
                async with asyncio.timeout(max(0.01, self._next_look() - self.p.clock.monotonic())):
                    await self._nudge.wait()
                self._nudge.clear()
            except TimeoutError:
                try:
                    await self._enforce(self.p.clock.monotonic())
                except (BoxError, AskedWrongly):
                    self._nudge.clear()  # the conversation finds out by itself that box or program is gone

    def _limits(self) -> list[tuple[float, Ending]]:
        """When which limit of time is passed."""
        limits, found = self.p.settings.turns, list[tuple[float, Ending]]()
        if self._planned is not None:
            return found
        if limits.total:
            found.append((self._began + limits.total, timed_out("total", limits.total)))
        if limits.silence and self._listener is not None and not self.progress.in_flight:
            found.append((self._listener.heard_at + limits.silence, timed_out("silence", limits.silence)))
        return found

    def _limit_before(self) -> Ending:
        """The daemon before interrupted the turn at a limit and died: no person asked for it, its mail is not held."""
        limits = self.p.settings.turns
        if limits.total and self.p.clock.monotonic() >= self._began + limits.total:
            return timed_out("total", limits.total)
        return timed_out("silence", limits.silence)

    def _next_look(self) -> float:
        if self._kill_at is not None and not self._killed:
            return self._kill_at
        return min([self.p.clock.monotonic() + LOOK_SECONDS, *(at for at, _ in self._limits())])

    async def _enforce(self, at: float) -> None:
        if self._kill_at is not None:
            if at >= self._kill_at and not self._killed:
                self._killed = True
                await self._kill()
            return
        for limit, ending in self._limits():
            if at >= limit:
                if self._seat is not None:
                    await self.p.store.write_when_possible(self._seat.put_interrupt)
                await self._end_soon(ending)
                return

    async def _end_soon(self, ending: Ending) -> None:
        """The interrupt is stored: send it, and let the grace run. Without an engine the turn just ends; an adopted
        one's engine is at work already, and is interrupted when it is in hand: the next turn must not hear of this."""
        self._planned = self._planned or ending
        if self._seat is None:
            if not self.adopted or self.turn.program is None:
                self.stop(self._planned)
            return
        self._kill_at = self.p.clock.monotonic() + self.p.settings.turns.interrupt_grace
        self._nudge.set()
        await fault("turns.interrupt.before_send")
        await self._seat.interrupt()
        await fault("turns.interrupt.after_send")

    async def _end_box(self, why: str) -> None:
        if self._station is None:
            return
        try:
            await self.p.stations.stop(self._station, why)
        except BoxError as error:
            log.warning("a box could not be ended", agent=self.agent.name, error=error.message)

    async def _kill(self) -> None:
        if self._seat is not None:
            await self._seat.kill()

    # ---- the end ---------------------------------------------------------------------------------------------------

    async def _end(self, ending: Ending) -> None:
        if not ending.good and self._station is not None:
            hits = self.p.stations.limit_hits(self._station)
            ending = blamed_on_limit(ending, self._hits, hits, self.p.settings.boxes)
        await fault("turns.turn.before_end")
        seat = self._seat
        closing = Closing(
            self.p,
            self.turn,
            self.agent,
            self.progress,
            duration_seconds=self.p.clock.monotonic() - self._began,
            model=None if seat is None else seat.model,
            program=None if seat is None else seat.program,
            sent=0 if seat is None else seat.sent,
            box=None if self._station is None else self._station.box,
        )
        if await self._close(closing, ending) and self._killed and seat is not None:
            try:
                await seat.ended()
            except (BoxError, AskedWrongly):
                pass  # the box went with it
        await fault("turns.turn.after_end")

    async def _close(self, closing: Closing, ending: Ending) -> bool:
        """Write the end. The gate settles a model call just after its last byte: it is given a moment, so that the row
        has the cost."""
        for _ in range(SETTLE_LOOKS):
            written = await self.p.store.write_when_possible(closing.store_when_settled, ending)
            if written is not None:
                return written
            await asyncio.sleep(SETTLE_SECONDS)
        return await self.p.store.write_when_possible(closing.store, ending)

    # ---- transactions ----------------------------------------------------------------------------------------------

    def _ask_interrupt(self, c: Connection, by: str) -> None:
        rows.ask_interrupt(c, self.turn.id, by, self.agent.name)
        if self._seat is not None:
            self._seat.put_interrupt(c)

    def _store_prompt(self, c: Connection, seat: EngineSeat) -> None:
        seq = seat.put_prompt(c, self._prompt_line(seat, mail_rows.waiting(c, self.agent.id)))
        box_rows.set_box_wake(c, seat.station.box, None)
        path = f"{self.p.turns_folder.name}/{log_name(self.turn.id)}"
        rows.set_prompt(c, self.turn.id, self.p.epoch, program=seat.program, seq=seq, model=seat.model, log_path=path)

    def _store_phase(self, c: Connection, seat: EngineSeat, line: str, compacted: int) -> None:
        program_rows.put_line(c, seat.program, line)
        rows.change_turn(c, self.turn.id, self.p.epoch, compacted=compacted)


def _woken(message: Message) -> WokenBy:
    return WokenBy(
        id=message.id,
        sender=message.sender,
        body=message.body,
        kind=message.kind,
        sent_at=message.sent_at,
        maybe_seen=message.maybe_seen,
        attempts=message.attempts,
        thread=message.thread,
        reply_to=message.reply_to,
        body_path=message.body_path,
    )
