"""Engines that are kept between turns, bounded by what they hold in memory (PERFORMANCE.md 11, rule 20).

A kept engine answers a message twenty times sooner than one that has to start, and holds 150 to 210 MiB. Past the bound
those that have idled longest are due to be stopped at once, in the way of any whose idle time is over. Nothing runs
here while no turn ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from melipona.ids import AgentId, ProgramId
from melipona.store.engine import Event, Store, now
from melipona.turns import box_rows, program_rows
from melipona.turns.program_rows import Program
from melipona.turns.station import Stations

PAUSE = 1.0
"""Seconds between two looks at most; each reads /proc once."""
PROC = Path("/proc")


def machine_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def too_many(idle: Sequence[Program], held: Mapping[AgentId, int], most: int) -> list[Program]:
    """Of idle engines, the longest idle first, those to stop so that the rest holds at most so many bytes."""
    excess = sum(held.get(program.agent_id, 0) for program in idle) - most
    stopped: list[Program] = []
    for program in idle:
        if excess <= 0:
            break
        stopped.append(program)
        excess -= held.get(program.agent_id, 0)
    return stopped


def held_bytes(inits: Mapping[AgentId, int], proc: Path = PROC) -> dict[AgentId, int]:
    """Resident memory of the processes below each box's init, the init included. Blocks for some milliseconds."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)], resident[int(entry.name)] = int(fields[1]), int(fields[21])
    page = os.sysconf("SC_PAGE_SIZE")
    owners = {pid: agent for agent, pid in inits.items()}
    held = dict.fromkeys(inits, 0)
    for pid, pages in resident.items():
        owner = _owner(pid, parents, owners)
        if owner is not None:
            held[owner] += pages * page
    return held


def _owner(pid: int, parents: Mapping[int, int], owners: Mapping[int, AgentId]) -> AgentId | None:
    """The agent in whose box a process runs."""
    for _ in range(len(parents)):  # pids are used again while we read: there may be a circle
        if pid in owners or pid not in parents:
            return owners.get(pid)
        pid = parents[pid]
    return None


class KeptEngines:
    """Looks after the bound. `most_bytes` 0 means a quarter of the machine's memory; `look` wakes who stops engines."""

    def __init__(
        self, store: Store, stations: Stations, *, host: str, most_bytes: int, look: Callable[[], None]
    ) -> None:
        self._store, self._stations, self._host, self._look = store, stations, host, look
        self._most = most_bytes or machine_bytes() // 4
        self._ended = asyncio.Event()
        store.subscribe(self._on_events)

    async def run(self) -> None:
        """Look whenever turns have ended, until cancelled."""
        while True:
            await self._ended.wait()
            self._ended.clear()
            await self._bound()
            await asyncio.sleep(PAUSE)

    async def _bound(self) -> None:
        idle = await self._store.read(box_rows.idle_programs, self._host)
        inits = self._inits({program.agent_id for program in idle})
        if not inits:
            return
        held = await asyncio.to_thread(held_bytes, inits)
        stopped = too_many([program for program in idle if program.agent_id in inits], held, self._most)
        if stopped:
            await self._store.write_when_possible(_due_now, [program.id for program in stopped])
            self._look()

    def _inits(self, agents: Collection[AgentId]) -> dict[AgentId, int]:
        """The inits of boxes of this daemon."""
        stations = (self._stations.get(agent) for agent in agents)
        held = [station for station in stations if station is not None and station.ref is not None]
        return {s.agent_id: int(s.ref.handle["pid"]) for s in held if s.ref is not None and "pid" in s.ref.handle}

    def _on_events(self, events: Sequence[Event]) -> None:
        if any(event.kind == "turn.ended" for event in events):
            self._ended.set()


def _due_now(c: Connection, programs: Iterable[ProgramId]) -> None:
    """Their idle time is over. One that was given a turn meanwhile has none that runs, and goes on."""
    for program in programs:
        program_rows.end_idle_time(c, program, now(c))
