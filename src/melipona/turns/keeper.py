"""Acting on wishes and watching: stops, destroys and purges what was asked for, notices crashes, measures disk.

The verbs (`agents/service.py`) only write rows: a wish and an operation in flight. This loop finds those rows, acts,
and ends them; a restarted daemon finds the same rows and goes on. Nothing here decides who may ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog
from anyio.abc import TaskGroup
from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.agents.model import Agent
from melipona.agents.service import Agents
from melipona.agents.watch import BoxFacts, Seen, tick
from melipona.boxes.driver import BoxState
from melipona.boxes.folders import Folders
from melipona.clock import Clock, later
from melipona.errors import BoxError, BoxLost, MeliponaError, WorldFailed
from melipona.faults import fault
from melipona.ids import AgentId, BoxId
from melipona.operations import store as operation_rows
from melipona.operations.model import Operation
from melipona.settings import Settings
from melipona.store.engine import Event, Store
from melipona.turns import store as turn_rows
from melipona.turns.disk import measure
from melipona.turns.loop import Turns
from melipona.turns.model import BOX_FROZEN, Ending
from melipona.turns.station import Station, Stations

log = structlog.get_logger("keeper")

PINGS = 2
"""A box that leaves so many pings in a row without an answer is frozen."""

DISK_LIMIT = "disk_limit"

AGAIN = timedelta(seconds=10)
"""When an operation that failed is tried again."""


class Keeper:
    """Keeps boxes and folders as the rows wish."""

    def __init__(
        self,
        store: Store,
        agents: Agents,
        stations: Stations,
        turns: Turns,
        folders: Folders,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store, self._agents, self._stations, self._turns = store, agents, stations, turns
        self._folders, self._settings, self._clock = folders, settings, clock
        self._wake = asyncio.Event()
        self._acting: set[str] = set()
        self._asking: set[BoxId] = set()
        self._acts: dict[str, Callable[[Agent], Awaitable[None]]] = {
            "stopping": self._stop,
            "restarting": self._stop,
            "destroying": self._stop,
            "purging": self._purge,
        }
        store.subscribe(self._on_events)

    async def run(self, tasks: TaskGroup) -> None:
        """Act on operations until cancelled, and measure disk beside it."""
        tasks.start_soon(self._sweep_disks, name="disk sweep")
        tasks.start_soon(self._sweep_trash, name="trash sweep")
        tasks.start_soon(self._watch, tasks, name="watch")
        while True:
            self._wake.clear()
            for operation in await self._store.read(operation_rows.running):
                due = operation.wake_at is None or operation.wake_at <= self._clock.now()
                if due and operation.id not in self._acting and operation.kind in self._acts:
                    self._acting.add(operation.id)
                    tasks.start_soon(self._act, operation, name=f"{operation.kind} {operation.agent_id}")
            try:
                async with asyncio.timeout(5):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _on_events(self, events: Sequence[Event]) -> None:
        if any(event.kind == "operation.started" for event in events):
            self._wake.set()

    # ---- operations ------------------------------------------------------------------------------------------------

    async def _act(self, operation: Operation) -> None:
        try:
            await fault("turns.operation.before_act")
            agent = await self._store.read(agent_rows.by_id, operation.agent_id or AgentId(""))
            if agent is not None:
                await self._acts[operation.kind](agent)
            await fault("turns.operation.after_act")
            await self._store.reserved.write(self._agents.finished, operation)
        except MeliponaError as error:
            log.warning("operation failed, it is tried again", kind=operation.kind, error=error.message)
            until = later(self._clock.now(), AGAIN)
            await self._store.write_when_possible(operation_rows.postpone, operation.id, until, error.message)
        finally:
            self._acting.discard(operation.id)
            self._wake.set()

    async def _stop(self, agent: Agent) -> None:
        await self._turns.end_now(agent.id)
        async with self._stations.lock(agent.id):  # a box that is being taken over is held when that is done,
            station = self._stations.get(agent.id)
        await self._turns.end_now(agent.id)  # and its turn runs on
        if station is not None:
            await self._stations.stop(station, "stopped")

    async def _purge(self, agent: Agent) -> None:
        await self._stop(agent)
        await fault("turns.purge.before_remove")
        await asyncio.to_thread(self._folders.purge_agent, agent.id, agent.name)
        await fault("turns.purge.after_remove")

    # ---- watching --------------------------------------------------------------------------------------------------

    async def crashed(self, agent_id: AgentId, why: str) -> None:
        """A box ended by itself: its turn ends as lost (the runner sees it), the agent is reported and backs off."""
        await self._store.write_when_possible(self._agents.box_crashed, agent_id, why)

    async def _watch(self, tasks: TaskGroup) -> None:
        """The backstop of the guards: every tick each held box is looked at (CW-1, CW-3, CW-6)."""
        seen = Seen()
        while True:
            self._ask_all(tasks)
            facts = [await self._look(station) for station in self._stations.all()]
            seen, crashes = tick(seen, facts)
            for crash in crashes:
                station = self._stations.get(crash.agent)
                if station is not None and station.box == crash.box:
                    await self._stations.lost(station, "gone")
                    await self.crashed(crash.agent, "its box is gone")
            await asyncio.sleep(self._settings.watch.every)

    def _ask_all(self, tasks: TaskGroup) -> None:
        """Ask every box whether it is there: a frozen one looks alive from outside (SECURITY.md 3.5)."""
        for station in self._stations.all() if self._settings.watch.ping else ():
            if station.box not in self._asking:
                self._asking.add(station.box)
                tasks.start_soon(self._ask, station, name=f"ping {station.name}")

    async def _ask(self, station: Station) -> None:
        within = timedelta(seconds=self._settings.watch.ping)
        try:
            for _ in range(PINGS):
                try:
                    await station.link.ping(within)
                    return
                except BoxLost:
                    if station.over.is_set() or station.stopping or station.link.failure is not None:
                        return
                except BoxError:
                    return  # it broke the protocol, or speaks a newer one: the guard's and the adoption's business
            if await self._stations.state(station) is BoxState.RUNNING:
                await self._end_frozen(station)
        finally:
            self._asking.discard(station.box)

    async def _end_frozen(self, station: Station) -> None:
        """A box that neither answers nor can be ended (a frozen control group holds its death back) is let go of: the
        kernel ends it as soon as it thaws."""
        why = f"it did not answer {PINGS} times within {self._settings.watch.ping:g} s"
        log.warning("a box is frozen", agent=station.name, box=station.box)
        station.stopping = True  # before the turn's end: the next turn gets another box
        turn = await self._store.read(turn_rows.open_turn_of, station.agent_id)
        await self._turns.end_now(station.agent_id, replace(BOX_FROZEN, note=f"the box is frozen: {why}"))
        try:
            await self._stations.stop(station, "frozen", grace=timedelta(0))
        except BoxError as error:
            log.warning("a frozen box could not be ended", agent=station.name, error=error.message)
            await self._stations.lost(station, "frozen")
        if turn is None:  # else the turn's end has told of the crash
            await self.crashed(station.agent_id, f"its box was frozen: {why}")

    async def _look(self, station: Station) -> BoxFacts:
        """What one tick finds out about a box."""
        state = await self._stations.state(station)
        alive = None if state is BoxState.UNKNOWN else state is BoxState.RUNNING
        return BoxFacts(station.agent_id, station.box, "up", alive, in_flight=station.stopping)

    async def _sweep_trash(self) -> None:
        """Try again what could not be removed; the next start would too."""
        told = ""
        while True:
            await asyncio.sleep(self._settings.boxes.disk_sweep)
            try:
                await asyncio.to_thread(self._folders.empty_trash)
                told = ""
            except WorldFailed as error:
                if error.message != told:
                    log.warning("what was removed earlier is still there", error=error.message)
                told = error.message

    async def _sweep_disks(self) -> None:
        while True:
            await asyncio.sleep(self._settings.boxes.disk_sweep)
            for station in self._stations.all():
                await self._measure(station)

    async def _measure(self, station: Station) -> None:
        folders = [
            self._folders.home(station.agent_id),
            self._folders.work(station.agent_id),
            self._folders.state(station.name),
        ]
        use = await asyncio.to_thread(measure, folders)
        over = use.over(self._settings.boxes.disk_bytes, self._settings.boxes.inodes)
        if over is None or station.over.is_set():
            return
        await self._turns.end_now(station.agent_id, Ending("failed", DISK_LIMIT, over, failed=True, trouble=DISK_LIMIT))
        await self._store.write_when_possible(_too_big, station.agent_id, over)
        try:
            await self._stations.stop(station, over)
        except BoxError as error:
            log.warning("a box could not be ended", agent=station.name, error=error.message)


def _too_big(c: Connection, agent: AgentId, over: str) -> None:
    agent_rows.set_trouble(c, agent, DISK_LIMIT, over, until=None)
