"""The keeper's watch: the backstop that notices what nobody told (CW-1, CW-3, CW-6, CW-7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from melipona.boxes.driver import BoxState
from melipona.errors import BoxLost
from melipona.ids import AgentName, BoxId
from melipona.settings import BoxSettings, Settings, WatchSettings
from melipona.store.engine import Event
from melipona.testing.rooms import OPERATOR, Rooms, temporary_rooms
from melipona.turns.keeper import Keeper
from melipona.turns.model import STOPPED, Ending

pytestmark = pytest.mark.anyio
SETTINGS = Settings(watch=WatchSettings(every=0.01, ping=0), boxes=BoxSettings(disk_sweep=0.01, disk_bytes=1))


class Boxes:
    """Boxes whose state a test chooses, in place of `Stations`."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms, self.found, self.looks = rooms, BoxState.RUNNING, 0
        self.held: list[Any] = []
        self.stopped: list[str] = []
        self.stop_fails = False

    async def add(self, name: str) -> None:
        agent = await self.rooms.agent(name)
        self.rooms.folders.make_agent(agent.id, AgentName(agent.name))
        over = asyncio.Event()
        self.held.append(
            SimpleNamespace(
                agent_id=agent.id, name=agent.name, box=BoxId(f"box-{name}"), stopping=False, over=over, link=Link()
            )
        )

    def all(self) -> list[Any]:
        return list(self.held)

    def lock(self, agent: str) -> asyncio.Lock:
        return asyncio.Lock()

    def get(self, agent: str) -> Any:
        return next((one for one in self.held if one.agent_id == agent), None)

    async def state(self, station: Any) -> BoxState:
        self.looks += 1
        return self.found

    async def lost(self, station: Any, why: str) -> None:
        station.over.set()
        self.held.remove(station)

    async def stop(self, station: Any, why: str, **_: Any) -> None:
        self.stopped.append(why)
        if self.stop_fails:
            raise BoxLost("cannot be told")
        await self.lost(station, why)


class Turns:
    def __init__(self) -> None:
        self.ended: list[Ending] = []

    async def end_now(self, agent: str, ending: Ending = STOPPED) -> None:
        self.ended.append(ending)


@asynccontextmanager
async def watched(folder: Path, settings: Settings = SETTINGS) -> AsyncGenerator[tuple[Rooms, Boxes, Turns]]:
    async with temporary_rooms(folder) as rooms, anyio.create_task_group() as tasks:
        boxes, turns = Boxes(rooms), Turns()
        parts = (rooms.store, rooms.agents, cast("Any", boxes), cast("Any", turns), rooms.folders, settings)
        keeper = Keeper(*parts, rooms.clock)
        await boxes.add("ana")
        tasks.start_soon(keeper.run, tasks)
        yield rooms, boxes, turns
        tasks.cancel_scope.cancel()


async def looks(boxes: Boxes, more: int) -> None:
    wanted = boxes.looks + more
    async with asyncio.timeout(10):
        while boxes.looks < wanted:
            await asyncio.sleep(0.005)


async def told(rooms: Rooms, kind: str, within: float = 10) -> list[Event]:
    async with asyncio.timeout(within):
        while not (found := await rooms.told(kind)):
            await asyncio.sleep(0.005)
    return found


NO_DISK = Settings(watch=WatchSettings(every=0.01))


async def test_a_box_that_vanished_unseen_is_found_by_the_next_tick_and_told_once(tmp_path: Path) -> None:
    """CW-1, CW-6, CW-7: without any word of its link; the operator is told, the agent backs off."""
    async with watched(tmp_path, NO_DISK) as (rooms, boxes, _):
        await looks(boxes, 3)
        assert await rooms.told("agent.crashed") == []
        boxes.found = BoxState.GONE
        assert [event.agent for event in await told(rooms, "agent.crashed")] == ["ana"]
        assert boxes.held == []
        assert (await rooms.look("ana")).trouble == "crashed"
        assert [event.kind for event in await rooms.told("message.sent")] == ["message.sent"]


async def test_what_was_dead_at_the_first_tick_and_what_cannot_be_told_is_no_crash(tmp_path: Path) -> None:
    """CW-3, invariant 33: the first tick seeds; an unknown state is no evidence."""
    async with watched(tmp_path, NO_DISK) as (rooms, boxes, _):
        boxes.found = BoxState.UNKNOWN
        await looks(boxes, 4)
        assert await rooms.told("agent.crashed") == []
        assert len(boxes.held) == 1


async def test_a_box_that_somebody_stops_is_no_crash(tmp_path: Path) -> None:
    """CW-7, invariant 32: neither a stop under way nor an operation in flight is one."""
    async with watched(tmp_path, NO_DISK) as (rooms, boxes, _):
        await looks(boxes, 1)
        boxes.held[0].stopping = True
        boxes.found = BoxState.GONE
        await looks(boxes, 3)
        assert await rooms.told("agent.crashed") == []
        boxes.held.clear()
        boxes.found = BoxState.RUNNING
        await boxes.add("ben")
        await looks(boxes, 2)
        await rooms.agents.stop(OPERATOR, "ben")
        await told(rooms, "operation.ended")
        assert await rooms.told("agent.crashed") == []


@pytest.mark.parametrize("fails", [False, True])
async def test_too_much_disk_ends_turn_and_box_and_asks_a_person(tmp_path: Path, fails: bool) -> None:
    """D-26, T6: also when the box cannot be ended, which is told and ends nothing else."""
    async with watched(tmp_path) as (rooms, boxes, turns):
        boxes.stop_fails = fails
        (rooms.folders.work(boxes.held[0].agent_id) / "big").write_bytes(b"x" * 10_000)
        await told(rooms, "agent.trouble")
        async with asyncio.timeout(10):
            while not boxes.stopped:
                await asyncio.sleep(0.005)
        assert (await rooms.look("ana")).trouble == "disk_limit"
        assert {(ending.result, ending.reason) for ending in turns.ended} == {("failed", "disk_limit")}
        if fails:
            await looks(boxes, 3)


class Link:
    """A link whose boxd answers pings or does not."""

    failure = None

    def __init__(self) -> None:
        self.answers, self.asked = True, 0

    async def ping(self, within: timedelta) -> float:
        self.asked += 1
        if not self.answers:
            raise BoxLost(f"no answer within {within}")
        return 0.0


@pytest.mark.parametrize("fails", [False, True])
async def test_a_box_that_answers_no_ping_is_frozen_and_ended(tmp_path: Path, fails: bool) -> None:
    """SECURITY.md 3.5: it looks alive from outside; told as a crash, also when it cannot be ended."""
    settings = Settings(watch=WatchSettings(every=0.01, ping=1))
    async with watched(tmp_path, settings) as (rooms, boxes, turns):
        link = boxes.held[0].link
        async with asyncio.timeout(10):
            while link.asked < 5:
                await asyncio.sleep(0.005)
        assert not boxes.stopped
        boxes.stop_fails = fails
        link.answers = False
        await told(rooms, "agent.crashed")
        assert boxes.stopped == ["frozen"]
        assert boxes.held == []
        assert [(ending.result, ending.reason) for ending in turns.ended] == [("lost", "box_frozen")]
        assert (await rooms.look("ana")).trouble == "crashed"
