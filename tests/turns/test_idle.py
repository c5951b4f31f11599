"""What is stopped because it idles, and what is not because it has just been given a turn (D-25)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from melipona.clock import later
from melipona.ids import BoxId, ProgramId
from melipona.principals import AgentPrincipal
from melipona.testing.rooms import OPERATOR, Rooms, temporary_rooms
from melipona.turns import box_rows, program_rows

pytestmark = pytest.mark.anyio
BOX, ENGINE = BoxId("box-1"), ProgramId("engine-1")


async def idle_agent(rooms: Rooms) -> AgentPrincipal:
    """An agent whose box and engine are up, and whose idle time is over."""
    ana = await rooms.agent("ana")
    over = rooms.clock.now()

    def op(c: Connection) -> None:
        box_rows.add_box(c, BOX, ana.id, ana.name, driver="x", host="testhost")
        box_rows.box_up(c, BOX, ana.name, {"pid": 1})
        program = program_rows.Program(ENGINE, BOX, ana.id, None, None, None)
        program_rows.add_program(c, program, ["the first line"])
        box_rows.set_box_wake(c, BOX, over)
        program_rows.set_program_wake(c, ENGINE, over)

    await rooms.store.write(op)
    rooms.later(seconds=1)
    return ana


async def test_an_engine_that_a_sender_prompted_meanwhile_is_not_stopped(tmp_path: Path) -> None:
    """Found by `python -m bench.faults swarm --seed 1 --size 1000`: its prompt was deleted, and the turn waited."""
    async with temporary_rooms(tmp_path) as rooms:
        ana = await idle_agent(rooms)
        engines, boxes = await rooms.store.read(box_rows.due_idle, "testhost")
        assert ([engine.id for engine in engines], [box.id for box in boxes]) == ([ENGINE], [BOX])
        await rooms.send(OPERATOR, "ana", "go on")
        await rooms.begin(ana)
        await rooms.store.write(program_rows.put_line, ENGINE, "the prompt")
        assert not await rooms.store.write(program_rows.end_idle, ENGINE)
        assert not await rooms.store.write(box_rows.let_go_idle, BOX)
        lines = await rooms.store.read(program_rows.lines_from, ENGINE, 1)
        assert [line for _, line in lines] == ["the first line", "the prompt"]


async def test_what_idles_still_is_stopped_and_gets_no_prompt_any_more(tmp_path: Path) -> None:
    async with temporary_rooms(tmp_path) as rooms:
        await idle_agent(rooms)
        assert await rooms.store.write(program_rows.end_idle, ENGINE)
        assert await rooms.store.read(program_rows.live_program, BOX) is None
    async with temporary_rooms(tmp_path / "other") as rooms:
        await idle_agent(rooms)
        assert await rooms.store.write(box_rows.let_go_idle, BOX)
        assert await rooms.store.read(program_rows.live_program, BOX) is None


async def test_what_has_been_given_more_time_is_not_stopped(tmp_path: Path) -> None:
    async with temporary_rooms(tmp_path) as rooms:
        await idle_agent(rooms)
        at = later(rooms.clock.now(), timedelta(seconds=5))
        await rooms.store.write(box_rows.set_box_wake, BOX, at)
        await rooms.store.write(program_rows.set_program_wake, ENGINE, at)
        assert not await rooms.store.write(program_rows.end_idle, ENGINE)
        assert not await rooms.store.write(box_rows.let_go_idle, BOX)
