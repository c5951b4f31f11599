"""The contract of links, and of what a daemon relies on in drivers, over real boxes and over those of simulations.

A suite's tests subclass `LinkSuite` and give `make_place`. The engine in a box answers each prompt with a line for each
of its messages and a result, and ends with its input.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import anyio
import pytest

from melipona.boxes.driver import BoxDriver, BoxRef, BoxState
from melipona.boxes.link import Exit, Hello, Output, ProgramSpec
from melipona.boxes.link_unix import BoxLink
from melipona.errors import BoxError, BoxLost, BoxProtocolError, Conflict, NotFound
from melipona.ids import BoxId, ProgramId
from melipona.testing.fake_boxes import FakeLink

P = ProgramId("p")
WITHIN = timedelta(seconds=20)


class Place(Protocol):
    """One box and the daemon's end of it."""

    driver: BoxDriver
    ref: BoxRef
    sockets_root: Path

    @property
    def link(self) -> BoxLink | FakeLink:
        """The present daemon's."""
        ...

    def engine(self, program: ProgramId) -> ProgramSpec:
        """The engine's program."""
        ...

    async def next_daemon(self) -> Hello:
        """Another daemon takes the box over: `link` is its own."""
        ...


class LinkSuite(ABC):
    """What every place keeps."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    def make_place(self, data: Path) -> AbstractAsyncContextManager[Place]:
        """A box that runs, with its link ready; it ends with the block."""

    @pytest.fixture
    async def place(self, tmp_path: Path) -> AsyncGenerator[Place]:
        with anyio.fail_after(60):
            async with self.make_place(tmp_path) as place:
                yield place

    async def test_a_program_that_was_started_is_known_again(self, place: Place) -> None:
        """D-14: started twice, it runs once."""
        first = await place.link.start(place.engine(P))
        assert (first.id, first.offset, first.next_seq, first.exit) == (P, 0, 1, None)
        await place.link.write(P, 1, prompt(1))
        said = await answered(place)
        again = await place.link.start(place.engine(P))
        assert (again.pid, again.offset, again.next_seq, again.exit) == (first.pid, len(said), 2, None)

    async def test_a_line_that_was_seen_changes_nothing_and_one_left_out_is_refused(self, place: Place) -> None:
        """D-44."""
        await place.link.start(place.engine(P))
        with pytest.raises(Conflict):
            await place.link.write(P, 2, prompt(2))
        for _ in range(3):
            await place.link.write(P, 1, prompt(1))
        await place.link.end_input(P)
        said = await whole(place)
        assert [line["type"] for line in said].count("result") == 1
        assert {"type": "text", "text": "begin 1"}.items() <= said[0].items()

    async def test_output_comes_from_any_offset_and_its_exit_last(self, place: Place) -> None:
        """D-15."""
        await place.link.start(place.engine(P))
        await place.link.write(P, 1, prompt(1, 2))
        said = await answered(place)
        await place.link.end_input(P)
        for offset in (0, 1, len(said) - 1, len(said)):
            data, end = await heard(place, offset)
            assert data == said[offset:]
            assert (end.code, end.offset) == (0, len(said))

    async def test_a_reader_waits_for_what_is_said_later(self, place: Place) -> None:
        await place.link.start(place.engine(P))
        found, said = list[bytes](), b""

        async def read() -> None:
            data, _ = await heard(place, 0)
            found.append(data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await place.link.write(P, 1, prompt(1))
            said = await answered(place)
            await place.link.end_input(P)
        assert found == [said]

    async def test_a_signal_ends_a_program_and_one_that_has_ended_takes_it(self, place: Place) -> None:
        await place.link.start(place.engine(P))
        await place.link.signal(P, 15)
        _, end = await heard(place, 0)
        assert end.code == -15
        await place.link.signal(P, 15)

    async def test_lines_for_a_program_that_has_ended_are_taken_and_lost(self, place: Place) -> None:
        """D-44: the outbox is sent whole, to programs that have just ended too."""
        await place.link.start(place.engine(P))
        await place.link.end_input(P)
        await heard(place, 0)
        await place.link.write(P, 1, prompt(1))
        await place.link.end_input(P)
        info = await place.link.start(place.engine(P))
        assert (info.next_seq, info.offset, info.exit) == (2, 0, 0)

    async def test_a_program_that_nobody_started_is_not_found(self, place: Place) -> None:
        with pytest.raises(NotFound):
            await place.link.write(P, 1, prompt(1))
        with pytest.raises(NotFound):
            await heard(place, 0)
        with pytest.raises(NotFound):
            await place.link.signal(P, 15)
        with pytest.raises(NotFound):
            await place.link.end_input(P)
        await place.link.forget(P)

    async def test_a_forgotten_program_may_be_started_anew(self, place: Place) -> None:
        await place.link.start(place.engine(P))
        await place.link.write(P, 1, prompt(1))
        await answered(place)
        await place.link.forget(P)
        info = await place.link.start(place.engine(P))
        assert (info.offset, info.next_seq, info.exit) == (0, 1, None)

    async def test_an_offset_beyond_the_output_is_a_breach(self, place: Place) -> None:
        await place.link.start(place.engine(P))
        with pytest.raises(BoxProtocolError):
            await heard(place, 5)

    async def test_the_next_daemon_hears_where_each_program_stands(self, place: Place) -> None:
        """D-14: and programs go on in between."""
        await place.link.start(place.engine(P))
        await place.link.write(P, 1, prompt(1))
        said = await answered(place)
        hello = await place.next_daemon()
        assert [(p.id, p.offset, p.next_seq, p.exit) for p in hello.programs] == [(P, len(said), 2, None)]
        await place.link.write(P, 1, prompt(1))
        await place.link.write(P, 2, prompt(2))
        assert (await answered(place, results=2)).startswith(said)
        await place.link.forget(P)
        assert list((await place.next_daemon()).programs) == []

    async def test_a_box_that_was_stopped_is_gone_with_its_programs(self, place: Place) -> None:
        await place.link.start(place.engine(P))
        assert await place.driver.inspect(place.ref) is BoxState.RUNNING
        assert place.link.connected
        for _ in range(2):
            await place.driver.stop(place.ref, grace=timedelta(seconds=0))
        assert await place.driver.inspect(place.ref) is BoxState.GONE
        await place.link.wait_disconnected()
        place.link.fail(BoxLost("it was stopped"))
        assert not place.link.connected
        for call in (place.link.start(place.engine(P)), place.link.write(P, 1, prompt(1)), heard(place, 0)):
            with pytest.raises(BoxError, match="it was stopped"):
                await call

    async def test_a_reader_of_a_box_that_was_found_gone_is_told(self, place: Place) -> None:
        """A dead turn is given back in seconds."""
        await place.link.start(place.engine(P))
        failed: list[BoxError] = []

        async def read() -> None:
            try:
                await heard(place, 0)
            except BoxError as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await place.driver.stop(place.ref, grace=timedelta(seconds=0))
            await place.link.wait_disconnected()
            place.link.fail(BoxLost("it was found gone"))
        assert [str(error) for error in failed] == ["it was found gone"]

    async def test_a_sweep_ends_the_boxes_that_no_row_names(self, place: Place) -> None:
        assert await place.driver.sweep(place.sockets_root, {place.ref.id}) == []
        assert await place.driver.inspect(place.ref) is BoxState.RUNNING
        assert len(await place.driver.sweep(place.sockets_root, {BoxId("another")})) == 1
        assert await place.driver.inspect(place.ref) is BoxState.GONE


def prompt(*messages: int) -> bytes:
    """A line that gives an engine messages."""
    return json.dumps({"type": "prompt", "messages": [{"id": number} for number in messages]}).encode() + b"\n"


async def heard(place: Place, offset: int) -> tuple[bytes, Exit]:
    """All output from `offset` on, which comes without a hole, and how the program ended."""
    data = b""
    async with aclosing(place.link.follow(P, offset)) as following:
        async for item in following:
            if isinstance(item, Exit):
                return data, item
            assert isinstance(item, Output)
            assert item.offset == offset + len(data)
            data += item.data
    raise EOFError("no exit came")


async def answered(place: Place, *, results: int = 1) -> bytes:
    """The output up to so many results."""
    data = b""
    async with aclosing(place.link.follow(P, 0)) as following:
        async for item in following:
            assert isinstance(item, Output)
            data += item.data
            if data.count(b'"result"') == results and data.endswith(b"\n"):
                return data
    raise EOFError("the program ended")


async def whole(place: Place) -> list[dict[str, object]]:
    """What a program said until its end."""
    data, _ = await heard(place, 0)
    return [json.loads(line) for line in data.splitlines()]
