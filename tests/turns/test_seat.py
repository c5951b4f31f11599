"""What an engine program is started with, and when a warm one can go on (PR-1..PR-4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
from sqlalchemy import select

from melipona.boxes.link import ProgramInfo, ProgramSpec
from melipona.engines.claude import ClaudeEngineDriver
from melipona.errors import BoxLost
from melipona.ids import BoxId
from melipona.settings import HiveSettings, Settings
from melipona.store.schema import programs
from melipona.testing.rooms import OPERATOR, Rooms, temporary_rooms
from melipona.turns import box_rows
from melipona.turns.parts import RunnerParts
from melipona.turns.seat import EngineSeat

pytestmark = pytest.mark.anyio


class Link:
    """Programs by id, as boxd keeps them."""

    def __init__(self) -> None:
        self.started: dict[str, ProgramSpec] = {}
        self.forgotten: list[str] = []
        self.questions = 0
        self.failure: BoxLost | None = None

    async def start(self, program: ProgramSpec) -> ProgramInfo:
        self.questions += 1
        if self.failure is not None:
            raise self.failure
        self.started.setdefault(program.id, program)
        return ProgramInfo(program.id, 7, 0, 1, None)

    async def forget(self, program: str) -> None:
        self.forgotten.append(program)


class Desk:
    """One agent with a box that is up, and seats in it."""

    def __init__(self, rooms: Rooms, engines: Mapping[str, Any]) -> None:
        self.rooms, self.engines, self.link = rooms, engines, Link()

    async def seat(self, settings: Settings) -> EngineSeat:
        """A seat that has taken its program, as a turn does."""
        agent = await self.rooms.look("ana")
        parts = SimpleNamespace(
            store=self.rooms.store, engines=self.engines, settings=settings, playbook=lambda text: {"text": text}
        )
        over = SimpleNamespace(is_set=lambda: False)
        station = SimpleNamespace(box="box-1", link=self.link, over=over, program=None)
        seat = EngineSeat(cast("RunnerParts", parts), agent, cast("Any", station))
        await seat.take(of_turn=None)
        return seat

    def prompt_of(self, seat: EngineSeat) -> str:
        program = self.link.started[seat.program]
        return "\0".join([*program.argv, *program.env.values()])


async def desk(rooms: Rooms) -> Desk:
    ana = await rooms.agent("ana", model="claude-one")
    await rooms.store.write(lambda c: box_rows.add_box(c, "box-1", ana.id, ana.name, driver="x", host="h"))  # type: ignore[arg-type]
    return Desk(rooms, {"playbook": _Teller()})


class _Teller(ClaudeEngineDriver):
    """An engine that is started with its system prompt as an argument."""

    def program(self, launch: Any) -> Any:
        return SimpleNamespace(argv=["engine", launch.system_prompt], env={}, first_lines=())


def told(pronouns: str) -> Settings:
    return Settings(hive=HiveSettings(pronouns=pronouns))


async def test_new_pronouns_are_told_by_the_next_engine_that_starts(tmp_path: Path) -> None:
    """PR-1, PR-3: no approval, no agent named: what mel.toml says when an engine starts."""
    async with temporary_rooms(tmp_path) as rooms:
        one = await desk(rooms)
        first = await one.seat(told("they/them"))
        assert "they/them" in one.prompt_of(first)
        again = await one.seat(told("they/them"))
        assert again.program == first.program, "the warm engine goes on"
        changed = await one.seat(told("she/her, „Ada“ \\ x"))
        assert changed.program != first.program
        assert "she/her, „Ada“ \\ x" in one.prompt_of(changed)
        assert one.link.forgotten == [first.program]


async def test_a_playbook_or_role_that_changed_starts_a_new_engine(tmp_path: Path) -> None:
    """PR-5, D-27: what a program was made of cannot be told to it later."""
    async with temporary_rooms(tmp_path) as rooms:
        one = await desk(rooms)
        first = await one.seat(Settings())
        await rooms.agents.set(OPERATOR, "ana", {"role": "manager"})
        second = await one.seat(Settings())
        assert second.program != first.program
        assert "manager" in one.prompt_of(second)


async def test_no_program_is_written_down_for_a_box_that_is_gone(tmp_path: Path) -> None:
    """I-9, found by `python -m bench.faults kills --seed 3 --size 300`: its row would wait for ever."""
    async with temporary_rooms(tmp_path) as rooms:
        made = await desk(rooms)
        await rooms.store.write(lambda c: box_rows.box_gone(c, BoxId("box-1"), "ana", "killed"))
        with pytest.raises(BoxLost):
            await made.seat(told("she/her"))
        assert await rooms.store.read(lambda c: c.execute(select(programs.c.id)).all()) == []
        assert made.link.started == {}


async def kept(one: Desk) -> EngineSeat:
    """The seat of a turn that a sender's transaction has opened: its engine is kept, and boxd is asked already."""
    first = await one.seat(Settings())
    assert first.row is not None
    one.link.questions = 0
    seat = EngineSeat(first.p, first.agent, first.station)
    assert seat.goes_on_with(first.row)
    seat.ask_early()
    return seat


async def test_what_boxd_was_asked_before_the_commit_is_not_asked_again(tmp_path: Path) -> None:
    """PERFORMANCE.md 11, rule 7: the prompt of a kept engine waits for the disk only."""
    async with temporary_rooms(tmp_path) as rooms:
        one = await desk(rooms)
        seat = await kept(one)
        await anyio.wait_all_tasks_blocked()
        assert one.link.questions == 1
        assert await seat.take(of_turn=None), "it is the one that was looked at"
        assert one.link.questions == 1


async def test_a_box_that_was_lost_before_the_commit_is_lost_to_its_turn(tmp_path: Path) -> None:
    """A failed early question is told to who waits for its answer, and to nobody else."""
    async with temporary_rooms(tmp_path) as rooms:
        one = await desk(rooms)
        first = await one.seat(Settings())
        one.link.failure = BoxLost("the box is gone")
        assert first.row is not None
        seat, unwanted = (EngineSeat(first.p, first.agent, first.station) for _ in range(2))
        for each in (seat, unwanted):
            assert each.goes_on_with(first.row)
            each.ask_early()
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(BoxLost, match="the box is gone"):
            await seat.take(of_turn=None)
        unwanted.forget_answer()
