"""Stations: the boxes this daemon holds, each with its sockets and its link. A cache of rows and processes.

Intent is recorded before a thing is made: the box's row before the box, the program's row before the program. What a
crash leaves behind is found again by `adopt.py`. Only the box's own end ends its station; a daemon that stops closes
its sockets and leaves the boxes running.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from weakref import WeakValueDictionary

import structlog
from anyio.abc import TaskGroup

from melipona.agents.model import Agent
from melipona.boxes.driver import BoxDriver, BoxLimits, BoxRef, BoxSpec, BoxState, Mount
from melipona.boxes.folders import Folders
from melipona.boxes.link import Exit, ProgramSpec
from melipona.boxes.link_unix import BoxLink
from melipona.boxes.sockets import listen_unix
from melipona.clock import Clock
from melipona.errors import BoxError, BoxLost, BoxProtocolError, BoxStartFailed, MeliponaError, WorldFailed
from melipona.faults import fault
from melipona.finishing import to_the_end
from melipona.ids import AgentId, AgentName, BoxId, ProgramId, new_id
from melipona.principals import AgentPrincipal
from melipona.settings import BoxSettings
from melipona.store.engine import Store
from melipona.turns import box_rows

log = structlog.get_logger("boxes")

GUARD_SECONDS = 0.2
"""How often a box whose boxd is not connected is looked at."""

ENGINE_END_SECONDS = 5.0


class Closer(Protocol):
    """Something that can be closed."""

    async def aclose(self) -> None: ...


Crashed = Callable[[AgentId, str], Awaitable[None]]
"""Told when a box ended by itself, with the reason."""

ServeGate = Callable[[socket.socket, AgentPrincipal], Awaitable[Closer]]
"""Serves a box's gate on its own listening socket: the socket is the identity."""


@dataclass(slots=True)
class Station:
    """One box that this daemon holds."""

    agent_id: AgentId
    name: AgentName
    box: BoxId
    link: BoxLink
    gate: Closer
    ref: BoxRef | None = None
    program: ProgramSpec | None = None
    """The engine's program, as it was last asked for."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the box is known to be gone."""
    why: str = ""
    stopping: bool = False
    """We are ending it: its end is no crash."""


@dataclass(frozen=True, slots=True)
class StationParts:
    """What stations are made of."""

    store: Store
    driver: BoxDriver
    folders: Folders
    settings: BoxSettings
    clock: Clock
    host: str
    serve_gate: ServeGate
    mounts: Callable[[Agent], Sequence[Mount]]
    crashed: Crashed


class Stations:
    """All boxes of this daemon, by agent."""

    def __init__(self, parts: StationParts, tasks: TaskGroup) -> None:
        self._p = parts
        self._tasks = tasks
        self._by_agent: dict[AgentId, Station] = {}
        self._locks: WeakValueDictionary[AgentId, asyncio.Lock] = WeakValueDictionary()

    def get(self, agent: AgentId) -> Station | None:
        """The agent's station, if its box is held."""
        return self._by_agent.get(agent)

    def all(self) -> list[Station]:
        return list(self._by_agent.values())

    async def up(self, agent: Agent) -> Station:
        """The agent's box, started if there is none.

        Raises:
            BoxStartFailed: with the reason; nothing is left behind.
            EngineMissing: what the box needs for the engine is not installed.
        """
        async with self.lock(agent.id):
            found = self._by_agent.get(agent.id)
            if found is not None and found.stopping:
                await self._until_over(found)
                found = None
            return found if found is not None else await self._start(agent)

    async def _until_over(self, station: Station) -> None:
        """A box that is being ended serves no other turn: it would be lost, and its mail with another failure."""
        try:
            async with asyncio.timeout(self._p.settings.start):
                await station.over.wait()
        except TimeoutError:
            raise BoxStartFailed(f'the last box of "{station.name}" does not end', remedy="run: mel doctor") from None

    async def open(self, row: box_rows.BoxRow) -> Station:
        """A station for a box that lives already: its sockets are bound anew and boxd dials in by itself."""
        ref = BoxRef(row.id, row.handle or {})
        station = await self._listen(row.agent_id, row.agent, row.id, [])
        station.ref = ref
        self._keep(station)
        return station

    async def stop(self, station: Station, why: str, *, grace: timedelta | None = None) -> None:
        """End the box and everything of it.

        Raises:
            BoxLost: it cannot be told whether the box still runs.
        """
        grace = timedelta(seconds=self._p.settings.stop_grace) if grace is None else grace
        station.stopping = True
        await fault("turns.box.before_stop")
        if station.ref is not None:
            await self._p.driver.stop(station.ref, grace=grace)
        await fault("turns.box.after_stop")
        await self.lost(station, why)

    async def end_engine(self, station: Station, program: ProgramId) -> None:
        """Let an idle engine end by itself (end of input), then make sure that it has."""
        await station.link.end_input(program)
        try:
            async with asyncio.timeout(ENGINE_END_SECONDS), aclosing(station.link.follow(program, 0)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Exit):
                        break
        except TimeoutError:
            pass
        await station.link.forget(program)

    def lock(self, agent: AgentId) -> asyncio.Lock:
        """Held while the agent's box comes up, or is being taken over."""
        return self._locks.setdefault(agent, asyncio.Lock())

    async def lost(self, station: Station, why: str) -> None:
        """The box is gone: write it down and clear up after it. May be repeated."""
        if not station.over.is_set():
            station.why = why
            station.over.set()
            station.link.fail(BoxLost(f'box of "{station.name}": {why}'))
        if self._by_agent.get(station.agent_id) is station:
            del self._by_agent[station.agent_id]
        await self._close(station)
        await self._p.store.write_when_possible(box_rows.box_gone, station.box, station.name, why)
        await self.clear(station.box)

    async def clear(self, box: BoxId) -> None:
        """Remove the folder of a box that is gone; what cannot be removed is told and goes at a later start."""
        try:
            await fault("turns.box_folder.before_remove")
            await asyncio.to_thread(self._p.folders.remove_box, box)
            await fault("turns.box_folder.after_remove")
        except WorldFailed as error:
            log.warning("a box's folder could not be removed", box=box, error=error.message)

    async def state(self, station: Station) -> BoxState:
        """What the driver finds of the box now."""
        if station.ref is None:
            return BoxState.UNKNOWN
        return await self._p.driver.inspect(station.ref)

    async def why_gone(self, station: Station) -> str | None:
        """Why a box ended, if the driver knows."""
        return await self._p.driver.failure(station.ref) if station.ref is not None else None

    def limit_hits(self, station: Station) -> Mapping[str, int]:
        """How often the box has run into limits that the driver counts."""
        return self._p.driver.limit_hits(station.ref) if station.ref is not None else {}

    async def close(self) -> None:
        """Close the sockets; the boxes live on and wait for the next daemon."""
        for station in self.all():
            await self._close(station)
        self._by_agent.clear()

    # ---- starting -------------------------------------------------------------------------------------------------

    async def _start(self, agent: Agent) -> Station:
        box = BoxId(new_id())
        mounts = self._p.mounts(agent)
        driver, store = self._p.driver, self._p.store
        station: Station | None = None
        try:
            # The id is known beforehand: a cancellation while the row is on its way still ends the row.
            await store.write_when_possible(
                box_rows.add_box, box, agent.id, agent.name, driver=driver.name, host=self._p.host
            )
            await asyncio.to_thread(self._p.folders.make_agent, agent.id, agent.name)
            made: list[Station] = []
            try:
                await to_the_end(self._listen(agent.id, agent.name, box, made))
            finally:
                station = made[0] if made else None
            assert station is not None
            await self._start_box(station, self._spec(agent, box, mounts))
            assert station.ref is not None
            await store.write_when_possible(box_rows.box_up, box, agent.name, station.ref.handle)
            await self._dialled(station)
        except BaseException as error:
            await to_the_end(self._undo(station, box, agent.name, error))
            if isinstance(error, MeliponaError) and not isinstance(error, BoxStartFailed):
                raise BoxStartFailed(f'box of "{agent.name}": {error.message}', remedy=error.remedy) from error
            raise
        self._keep(station)
        return station

    async def _dialled(self, station: Station) -> None:
        """Wait until boxd has dialled. A box that ends before that is known at once, not when the time is up."""
        ready = asyncio.ensure_future(station.link.ready(timedelta(seconds=self._p.settings.start)))
        try:
            while not (await asyncio.wait({ready}, timeout=GUARD_SECONDS))[0]:
                if await self.state(station) is BoxState.GONE:
                    why = await self.why_gone(station) or "its init ended"
                    raise BoxStartFailed(f'box of "{station.name}": {why}', remedy="run: mel doctor")
            await ready
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    def _keep(self, station: Station) -> None:
        self._by_agent[station.agent_id] = station
        self._tasks.start_soon(self._guard, station, name=f"box of {station.name}")

    async def _guard(self, station: Station) -> None:
        """Notice at once when the box ends by itself or breaks the protocol."""
        while not station.over.is_set() and not station.stopping:
            await station.link.wait_disconnected()
            if isinstance(station.link.failure, BoxProtocolError):
                await self._end_broken(station)
                return await self._p.crashed(station.agent_id, station.link.failure.message)
            if station.stopping or station.link.failure is not None:
                return None
            if await self.state(station) is BoxState.GONE:
                why = await self.why_gone(station) or "its init ended"
                await self.lost(station, why)
                return await self._p.crashed(station.agent_id, why)
            await asyncio.sleep(GUARD_SECONDS)
        return None

    async def _end_broken(self, station: Station) -> None:
        """End a box that broke the protocol; one that cannot be ended is let go of, and ended by a later daemon."""
        why = "it broke the protocol"
        try:
            await self.stop(station, why, grace=timedelta(0))
        except BoxError as error:
            log.warning("a box could not be ended", agent=station.name, error=error.message)
            await self.lost(station, why)

    async def _start_box(self, station: Station, spec: BoxSpec) -> None:
        """Start the box to its end also when we are cancelled meanwhile: what was started must be known to be ended."""

        async def start() -> None:
            await fault("turns.box.before_start")
            station.ref = await self._p.driver.start(spec)
            await fault("turns.box.after_start")

        await to_the_end(start())

    async def _undo(self, station: Station | None, box: BoxId, name: AgentName, error: BaseException) -> None:
        why = error.message if isinstance(error, MeliponaError) else "start was interrupted"
        if station is None:
            await self._p.store.write_when_possible(box_rows.box_gone, box, name, why)
            await self.clear(box)
            return
        if station.ref is not None:
            try:
                await self._p.driver.stop(station.ref, grace=timedelta(0))
            except BoxError as failure:
                why = f"{why}; {failure.message}"
        await self.lost(station, why)

    async def _listen(self, agent: AgentId, name: AgentName, box: BoxId, made: list[Station]) -> Station:
        """Make a box's folder and sockets; the station is put into `made` too, where a cancelled caller finds it."""
        folder = await asyncio.to_thread(self._p.folders.make_box, box)

        def is_init(pid: int) -> bool:
            ref = made[0].ref if made else None
            return ref is not None and self._p.driver.is_init(ref, pid)

        # The box's uid must be able to connect; as root that is another one than the daemon's.
        owner = self._p.folders.owner
        mode, gid = (0o600, None) if owner.uid == os.geteuid() else (0o660, owner.gid)
        link = BoxLink(folder, is_init, clock=self._p.clock, box=box, mode=mode, gid=gid)
        await self._tasks.start(link.serve)
        try:
            await fault("turns.gate_socket.before_bind")
            sock = listen_unix(folder, "gate.sock", mode=mode, gid=gid)
            await fault("turns.gate_socket.after_bind")
            gate = await self._p.serve_gate(sock, AgentPrincipal(agent, name))
        except BaseException:
            await link.aclose()
            raise
        made.append(Station(agent, name, box, link, gate))
        return made[0]

    async def _close(self, station: Station) -> None:
        await fault("turns.sockets.before_close")
        await station.gate.aclose()
        await station.link.aclose()
        await fault("turns.sockets.after_close")

    def _spec(self, agent: Agent, box: BoxId, mounts: Sequence[Mount]) -> BoxSpec:
        s = self._p.settings
        limits = BoxLimits(
            memory_bytes=s.memory_bytes,
            processes=s.processes,
            open_files=s.open_files,
            file_size_bytes=s.file_size_bytes,
            tmp_bytes=s.tmp_bytes,
        )
        return BoxSpec(
            id=box,
            agent=agent.name,
            folders=self._p.folders.of_box(agent.id, agent.name, box, manager=agent.role == "manager"),
            mounts=mounts,
            limits=limits,
            orphan_busy=timedelta(seconds=s.orphan_busy),
            orphan_idle=timedelta(seconds=s.orphan_idle),
        )
