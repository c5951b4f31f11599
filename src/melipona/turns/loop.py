"""The turn loop: reads who is due, opens turns up to the cap, runs them, and stops what has idled too long.

State lives in rows; notifications only wake the loop, and the earliest `wake_at` of any row bounds its sleep. At most
one turn of an agent runs, which the database enforces. An idle agent costs rows and no process.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from anyio.abc import TaskGroup
from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.agents.model import Agent
from melipona.budgets.service import Budgets
from melipona.clock import Micros, later
from melipona.errors import BoxError, Conflict, NotFound
from melipona.faults import fault
from melipona.ids import AgentId, AgentName, TurnId
from melipona.mail.model import Message
from melipona.principals import Principal
from melipona.store.engine import Event
from melipona.turns import box_rows, control_rows, program_rows
from melipona.turns import store as rows
from melipona.turns.model import COMPACT, STOPPED, Cause, Ending, OpenTurn
from melipona.turns.parts import RunnerParts
from melipona.turns.runner import TurnRunner
from melipona.turns.slots import Slots
from melipona.turns.station import Station

log = structlog.get_logger("turns")

SAFETY_POLL = 5.0
SHORTEST = 0.02
"""Seconds that the loop sleeps at least: what is due and cannot be done yet must not keep the daemon busy."""
AGAIN = timedelta(seconds=10)
"""When the end of an idle box that failed is tried again."""
NO_KEY = "no_key"
WAKES = (
    "message.sent",
    "message.given_back",
    "message.retried",
    "agent.",
    "operation.",
    "turn.ended",
    "turn.waiting",
    "box.gone",
    "budget.",
    "disk.",
)


def slot_cap(configured: int) -> int:
    """Turns that run at once: as configured, else cores x 2."""
    return configured or 2 * (os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at the rows gave: turns that it opened, engines whose session was ended, what has idled too long,
    and when to look again."""

    admitted: Sequence[Admitted]
    replaced: Sequence[control_rows.Replaced]
    engines: Sequence[program_rows.Program]
    boxes: Sequence[box_rows.BoxRow]
    next_wake: Micros | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A turn that was opened, with its agent and leased mail."""

    turn: OpenTurn
    agent: Agent
    mail: Sequence[Message]


class Turns:
    """Runs the hive's turns."""

    def __init__(self, parts: RunnerParts, slots: Slots, budgets: Budgets, *, host: str) -> None:
        self._p = parts
        self._slots = slots
        self._budgets = budgets
        self._host = host
        self._ready = False
        self._committed: deque[TurnRunner] = deque()
        self._news = asyncio.Event()
        """Set when there are any: only a task can start others."""
        self._opened: dict[int, TurnRunner] = {}
        """Runners of turns that a sender's transaction has opened and that is not known to be committed yet."""
        self._runners: dict[AgentId, TurnRunner] = {}
        self._over: dict[AgentId, asyncio.Event] = {}
        self._wake = slots.freed
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._admission = asyncio.Lock()
        """Held from the transaction that opens turns until each has its runner."""
        self._followers: dict[int, set[asyncio.Event]] = {}
        parts.store.subscribe(self._on_events)
        parts.mail.arrived = self.open_at_once

    @property
    def slots(self) -> Slots:
        return self._slots

    async def run(self, tasks: TaskGroup) -> None:
        """Admit turns until cancelled. Runners live in `tasks`."""
        tasks.start_soon(self._run_committed, tasks, name="turns of senders")
        self._loop, self._ready = asyncio.get_running_loop(), True
        while True:
            self._wake.clear()
            looked: Looked | None = None
            if not self._stopping:
                async with self._admission:
                    looked = await self._p.store.write_when_possible(self._admit)
                    for admitted in looked.admitted:
                        await fault("turns.turn.before_begin")
                        self.begin(tasks, admitted, adopted=False)
                        await fault("turns.turn.after_begin")
                await self._stop_idle(looked)
            await self._sleep(None if looked is None else looked.next_wake)

    def begin(self, tasks: TaskGroup, admitted: Admitted, *, adopted: bool) -> None:
        """Run a turn whose rows are stored: a new one, or one of a daemon that is gone."""
        runner = TurnRunner(self._p, admitted.turn, admitted.agent, admitted.mail, adopted=adopted)
        self._note(runner)
        tasks.start_soon(self._run_one, runner, name=f"turn t{runner.turn.id}")

    def _note(self, runner: TurnRunner) -> None:
        self._runners[runner.agent.id] = runner
        self._over[runner.agent.id] = asyncio.Event()

    async def _run_committed(self, tasks: TaskGroup) -> None:
        """Run the turns that senders' transactions have opened, each as soon as that is committed."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._committed:
                runner = self._committed.popleft()
                await fault("turns.senders_turn.before_begin")
                tasks.start_soon(self._run_one, runner, name=f"turn t{runner.turn.id}")
                await fault("turns.senders_turn.after_begin")

    def quiesce(self) -> None:
        """Open no more turns: the daemon is about to end."""
        self._stopping = True

    async def _run_one(self, runner: TurnRunner) -> None:
        agent = runner.agent.id
        try:
            ending = await runner.run()
            log.info("turn ended", turn=runner.turn.id, agent=runner.agent.name, result=ending.result)
        finally:
            self._runners.pop(agent, None)
            self._over.pop(agent).set()
            self._wake.set()
            self.grew(runner.turn.id)

    # ---- what others may ask -------------------------------------------------------------------------------------

    async def interrupt(self, by: Principal, name: AgentName) -> TurnId:
        """Interrupt the running turn of an agent.

        Raises:
            NotFound: no such agent. Conflict: no turn of it runs.
        """
        agent = await self._p.store.read(agent_rows.by_name, name)
        if agent is None:
            raise NotFound(f'no agent "{name}"', remedy="`mel agent list` shows the names")
        runner = self._runners.get(agent.id)
        if runner is None:
            raise Conflict(f'agent "{name}" runs no turn', remedy=f"`mel why {name}` says what it waits for")
        await runner.interrupt(by.name)
        return runner.turn.id

    async def end_now(self, agent: AgentId, ending: Ending = STOPPED) -> None:
        """End the agent's turn at once (its box is about to be stopped) and wait until that is written."""
        runner, over = self._runners.get(agent), self._over.get(agent)
        if runner is not None and over is not None:
            runner.stop(ending)
            await over.wait()

    async def end_all(self, ending: Ending = STOPPED) -> None:
        """End every turn at once, also those that wait for their box to start, and open no more."""
        self.quiesce()
        async with self._admission:  # what was being opened has its runner now
            await self._p.store.write_when_possible(rows.running)  # and so has what a sender opened before this
            agents = list(self._runners)
        await asyncio.gather(*(self.end_now(agent, ending) for agent in agents))

    def look(self) -> None:
        """Look at the rows now: something is due that no event tells of."""
        self._wake.set()

    def tool_in_flight(self, agent: AgentId) -> str | None:
        """The tool that the agent's engine said it began and has not ended."""
        runner = self._runners.get(agent)
        return next(reversed(runner.progress.in_flight.values()), None) if runner is not None else None

    # ---- followers of logs ---------------------------------------------------------------------------------------

    async def log_grew(self, turn: int, within: float) -> bool:
        """Wait until a turn's log has grown, or the turn ended; False when the time is up."""
        news = asyncio.Event()
        self._followers.setdefault(turn, set()).add(news)
        try:
            async with asyncio.timeout(within):
                await news.wait()
            return True
        except TimeoutError:
            return False
        finally:
            waiting = self._followers[turn]
            waiting.discard(news)
            if not waiting:
                del self._followers[turn]

    def grew(self, turn: int) -> None:
        """A turn's log has grown."""
        for news in self._followers.get(turn, ()):
            news.set()

    # ---- admission -----------------------------------------------------------------------------------------------

    def open_at_once(self, c: Connection, agent_id: AgentId) -> None:
        """In the transaction of a message's sender: if its recipient is idle and a slot is free, its turn is opened,
        and prompted if its engine is kept, by the same commit (PERFORMANCE.md 11, rule 7). It begins after that."""
        if not self._ready or self._stopping or agent_id in self._runners or self._free(c) <= 0:
            return
        due, agent = rows.due_one(c, agent_id), agent_rows.by_id(c, agent_id)
        one = self._open(c, agent, due) if agent is not None and due is not None else None
        if one is not None:
            runner = TurnRunner(self._p, one.turn, one.agent, one.mail)
            if runner.prompt_at_once(c) and self._loop is not None:
                self._loop.call_soon_threadsafe(runner.ask_early)
            self._opened[one.turn.id] = runner

    def _free(self, c: Connection) -> int:
        if not self._p.store.has_room:
            return 0
        return self._slots.cap - rows.running(c) - self._slots.wanted_back

    def _admit(self, c: Connection) -> Looked:
        """Open turns for the longest waiting agents, as many as there are free slots; what persons ask of an agent
        between its turns comes before its mail."""
        replaced = control_rows.renew_due(c, self._untouched)
        free = self._free(c)
        admitted = self._open_compactions(c, free) if free > 0 else []
        if free > len(admitted):
            admitted += self._open_due(c, free - len(admitted))
        engines, boxes = box_rows.due_idle(c, self._host)
        return Looked(admitted, replaced, engines, boxes, rows.next_wake(c))

    def _untouched(self, agent: AgentId) -> bool:
        """Whether no turn of the agent is being ended and its box is not being started or taken over."""
        return agent not in self._runners and not self._p.stations.lock(agent).locked()

    def _open_compactions(self, c: Connection, free: int) -> list[Admitted]:
        admitted: list[Admitted] = []
        for asked in control_rows.due_compactions(c, free):
            agent = agent_rows.by_id(c, asked.agent_id)
            if agent is None or agent.id in self._runners or not self._may_run(c, agent):
                continue
            who = rows.DueAgent(agent.id, agent.name, asked.since)
            turn = rows.open_turn(c, who, epoch=self._p.epoch, host=self._host, for_mail=False)
            rows.set_cause(c, turn, agent.name, Cause(COMPACT, [], [], asked.by, asked.operation))
            opened = rows.open_turn_of(c, agent.id)
            assert opened is not None
            admitted.append(Admitted(opened, agent, ()))
        return admitted

    def _open_due(self, c: Connection, free: int) -> list[Admitted]:
        admitted: list[Admitted] = []
        for due in rows.due(c, free):
            agent = agent_rows.by_id(c, due.id)
            if agent is None or agent.id in self._runners:
                continue
            one = self._open(c, agent, due)
            if one is not None:
                self._opened.pop(one.turn.id, None)  # a number that a sender's transaction had and was undone
                admitted.append(one)
        return admitted

    def _may_run(self, c: Connection, agent: Agent) -> bool:
        """Whether there are a key and money for a turn of the agent; if not, that is its trouble now."""
        if self._p.engines[agent.engine].needs_model_key and not self._p.has_key:
            agent_rows.set_trouble(c, agent.id, NO_KEY, "there is no key for the model API")
            return False
        blocked = self._budgets.may_run(c, agent.id)
        if blocked is not None:
            agent_rows.set_trouble(c, agent.id, blocked.reason, blocked.detail, until=blocked.until)
        return blocked is None

    def _open(self, c: Connection, agent: Agent, due: rows.DueAgent) -> Admitted | None:
        if not self._may_run(c, agent):
            return None
        turn = rows.open_turn(c, due, epoch=self._p.epoch, host=self._host)
        mail = self._p.mail.lease(c, agent.id, turn, 1)
        if not mail:
            raise AssertionError(f"agent {agent.name} was due but had nothing to lease")
        cause = cause_of(mail)
        rows.set_cause(c, turn, agent.name, cause)
        return Admitted(rows.as_begun(c, turn, due, epoch=self._p.epoch, cause=cause), agent, mail)

    # ---- idleness and sleep ----------------------------------------------------------------------------------------

    async def _stop_idle(self, looked: Looked) -> None:
        """Stop engines, then boxes, whose idle time is over (D-25: that changes no wish)."""
        for old in looked.replaced:
            await self._end_replaced(old)
        for program in looked.engines:
            station = self._p.stations.get(program.agent_id)
            try:
                # The row first, as in `EngineSeat`; and none of an engine that a sender has prompted meanwhile.
                ended = await self._p.store.write_when_possible(program_rows.end_idle, program.id)
                if ended and station is not None:
                    await self._p.stations.end_engine(station, program.id)
            except BoxError as error:
                log.warning("an idle engine could not be stopped", agent=program.agent_id, error=error.message)
        for box in looked.boxes:
            station = self._p.stations.get(box.agent_id)
            if station is None:  # it is still being taken over, or could neither be reached nor ended
                await self._p.store.write_when_possible(box_rows.set_box_wake, box.id, self._again())
            elif box.agent_id not in self._runners:
                await self._stop_box(station)

    async def _end_replaced(self, old: control_rows.Replaced) -> None:
        """End the engine whose session a person has ended. A daemon that dies before this finds a program that no row
        names, and ends it."""
        station = self._p.stations.get(old.agent_id)
        if station is None:
            return
        try:
            await fault("turns.renewal.before_end")
            await self._p.stations.end_engine(station, old.program)
            await fault("turns.renewal.after_end")
        except (BoxError, NotFound) as error:
            log.warning("an engine of an ended session could not be stopped", agent=old.agent_id, error=error.message)

    async def _stop_box(self, station: Station) -> None:
        """Stop a box, unless its agent has been given a turn. One that begins meanwhile waits, for a new box."""
        lock = self._p.stations.lock(station.agent_id)
        if lock.locked():
            await self._p.store.write_when_possible(box_rows.set_box_wake, station.box, self._again())
            return
        async with lock:
            if not await self._p.store.write_when_possible(box_rows.let_go_idle, station.box):
                return
            try:
                await self._p.stations.stop(station, "idle")
            except BoxError as error:
                log.warning("an idle box could not be stopped", agent=station.name, error=error.message)
                await self._p.store.write_when_possible(box_rows.set_box_wake, station.box, self._again())

    def _again(self) -> Micros:
        return later(self._p.clock.now(), AGAIN)

    async def _sleep(self, at: Micros | None) -> None:
        left = SAFETY_POLL if at is None else (at - self._p.clock.now()) / 1_000_000
        try:
            async with asyncio.timeout(min(max(left, SHORTEST), SAFETY_POLL)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _on_events(self, events: Sequence[Event]) -> None:
        begun = {event.agent for event in events if event.kind == "turn.started" and self._begin_opened(event)}
        if any(
            event.kind.startswith(WAKES) and not (event.kind == "message.sent" and event.agent in begun)
            for event in events
        ):
            self._wake.set()

    def _begin_opened(self, event: Event) -> bool:
        """Begin the turn if a sender's transaction opened it; it is committed now."""
        runner = self._opened.pop(int((event.subject or "t0")[1:]), None)
        if runner is None:
            return False
        self._note(runner)
        self._committed.append(runner)
        self._news.set()
        return True


def cause_of(mail: Sequence[Message]) -> Cause:
    """What woke a turn, from the mail it begins with."""
    kinds = {message.kind.value for message in mail}
    kind = "kick" if kinds == {"kick"} else "broadcast" if kinds == {"broadcast"} else "mail"
    return Cause(kind, [message.id for message in mail], list(dict.fromkeys(message.sender for message in mail)))
