"""Slots of running turns: given back while a turn waits in `receive`, and taken again before any new turn (D-19)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection

from melipona.ids import AgentName
from melipona.store.engine import now
from melipona.testing.rooms import OPERATOR, HeldTurn, Rooms, temporary_rooms
from melipona.turns import store as rows
from melipona.turns.model import Cause, OpenTurn, TurnState
from melipona.turns.slots import Slots

pytestmark = pytest.mark.anyio
ENDED = {"result": "ok", "reason": None}


async def begun(rooms: Rooms, name: str) -> HeldTurn:
    agent = await rooms.agent(name)
    await rooms.send(OPERATOR, name, "hello")
    return await rooms.begin(agent)


async def state(rooms: Rooms, turn: HeldTurn) -> TurnState | None:
    found = await rooms.store.read(rows.open_turn_of, turn.agent.id)
    return None if found is None else found.state


async def test_a_parked_turn_holds_no_slot_and_comes_back_before_new_turns(tmp_path: Path) -> None:
    """D-19: with one slot: ana waits, ben runs; ana's news comes, so she is first when ben ends, and knows it."""
    async with temporary_rooms(tmp_path) as rooms:
        slots = Slots(rooms.store, 1, rooms.epoch)
        ana = await begun(rooms, "ana")
        back = asyncio.Event()

        async def receive() -> bool:
            async with slots.parked(ana.agent.id, 60) as park:
                news = await park.changed()
            back.set()
            return news

        call = asyncio.create_task(receive())
        async with asyncio.timeout(10):
            while await state(rooms, ana) is not TurnState.WAITING:
                await asyncio.sleep(0)
            assert await rooms.store.read(rows.running) == 0
            ben = await begun(rooms, "ben")
            await rooms.send(OPERATOR, "ana", "news")
            while not slots.wanting:
                await asyncio.sleep(0)
            assert slots.wanting == {ana.agent.id}
            assert slots.wanted_back == 1, "the loop opens no new turn while a parked one wants its slot"
            assert not back.is_set(), "the call answers only with a slot"
            assert await state(rooms, ana) is TurnState.WAITING
            await rooms.store.write(rows.end_turn, ben.id, rooms.epoch, ENDED)
            assert await call
        assert await state(rooms, ana) is TurnState.RUNNING
        assert slots.wanted_back == 0


async def test_turns_that_come_back_do_so_in_the_order_of_their_news(tmp_path: Path) -> None:
    """D-19: first in the queue is who had news first."""
    async with temporary_rooms(tmp_path) as rooms:
        slots = Slots(rooms.store, 1, rooms.epoch)
        turns = {name: await begun(rooms, name) for name in ("ana", "ben")}
        came: list[str] = []

        async def receive(name: str) -> None:
            async with slots.parked(turns[name].agent.id, 60) as park:
                await park.changed()
            came.append(name)

        async with asyncio.timeout(10):
            calls = [asyncio.create_task(receive(name)) for name in turns]
            while await rooms.store.read(rows.running):
                await asyncio.sleep(0)
            busy = await begun(rooms, "busy")
            for number, name in enumerate(("ben", "ana"), 1):
                await rooms.send(OPERATOR, name, "news")
                while slots.wanted_back < number:
                    await asyncio.sleep(0)
            await rooms.store.write(rows.end_turn, busy.id, rooms.epoch, ENDED)
            while came != ["ben"]:
                await asyncio.sleep(0)
            assert await state(rooms, turns["ana"]) is TurnState.WAITING
            await rooms.store.write(rows.end_turn, turns["ben"].id, rooms.epoch, ENDED)
            await asyncio.gather(*calls)
        assert came == ["ben", "ana"]


async def test_a_call_whose_turn_has_ended_takes_no_slot(tmp_path: Path) -> None:
    """An interrupt or a stop ends a parked turn; its call must not hang."""
    async with temporary_rooms(tmp_path) as rooms:
        slots = Slots(rooms.store, 1, rooms.epoch)
        ana = await begun(rooms, "ana")
        async with asyncio.timeout(10):
            async with slots.parked(ana.agent.id, 0.05) as park:
                await rooms.store.write(rows.end_turn, ana.id, rooms.epoch, ENDED)
                assert not await park.changed()
        assert slots.wanted_back == 0
        assert await rooms.store.read(rows.running) == 0


async def test_a_turn_that_was_just_opened_is_known_as_its_row_says(tmp_path: Path) -> None:
    """A runner is made of what was written, without a look at it: nothing of the row may be missing or different."""
    async with temporary_rooms(tmp_path) as rooms:
        ana = await rooms.agent("ana")

        def opened(c: Connection) -> tuple[OpenTurn, OpenTurn | None]:
            name, cause = AgentName(ana.name), Cause("broadcast", [], ["ben"])
            due = rows.DueAgent(ana.id, name, now(c))
            turn = rows.open_turn(c, due, epoch=rooms.epoch, host="here")
            rows.set_cause(c, turn, name, cause)
            return rows.as_begun(c, turn, due, epoch=rooms.epoch, cause=cause), rows.open_turn_of(c, ana.id)

        made, read = await rooms.store.write(opened)
        assert made == read
