"""What a box says on its control socket reaches the daemon's client as valid data or ends the link (T8)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melipona.boxes.connection import BoxdConnection, Disconnected
from melipona.boxes.link import Exit, Gap, Output
from melipona.boxes.wire import frame
from melipona.errors import BoxProtocolError, MeliponaError
from melipona.ids import ProgramId

from .fuzz import frames

pytestmark = pytest.mark.threat("T8")

SECOND = 1.0


class Pipe(asyncio.Transport):
    """The other end of a connection, played by a test."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """What the daemon asks is not looked at."""

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


_numbers = st.one_of(st.integers(-2, 300), st.sampled_from([1 << 20, 1 << 62, 1 << 63, -(1 << 70)]))
_heads = st.one_of(
    st.sampled_from(frames.HEADS),
    st.fixed_dictionaries(
        {"ev": st.sampled_from(["reply", "out", "gap", "exit", "hello", "x"])},
        optional={
            "re": _numbers,
            "fol": _numbers,
            "at": _numbers,
            "code": st.one_of(_numbers, st.text(max_size=3)),
            "error": st.text(max_size=5),
            "program": st.one_of(st.none(), st.just(frames.PROGRAM), st.just({**frames.PROGRAM, "pid": -1})),
        },
    ),
)
_sent = st.lists(st.one_of(st.tuples(_heads, st.binary(max_size=60)), st.binary(max_size=30)), min_size=1, max_size=8)


@given(_sent, st.integers(1, 60))
@settings(max_examples=250, deadline=None)
def test_t08_forged_frames_give_the_client_valid_data_or_an_error_within_a_second(said: list[Any], size: int) -> None:
    """T8: through the connection itself: calls end, followers get what follows, a violation closes, nothing hangs."""
    data = frame(cast("Any", frames.HELLO))
    for item in said:
        data += item if isinstance(item, bytes) else frames.framed(json.dumps(item[0]).encode(), item[1])
    began = time.process_time()
    asyncio.run(asyncio.wait_for(_spoken(data, size), 30))
    assert time.process_time() - began < SECOND


async def _spoken(data: bytes, size: int) -> None:
    violations: list[BoxProtocolError] = []
    pipe = Pipe()
    connection = BoxdConnection(lambda *_: None, lambda _: None, violations.append)
    connection.connection_made(pipe)
    connection.data_received(data[:8])
    connection.data_received(data[8 : len(frame(cast("Any", frames.HELLO)))])
    asks = [
        asyncio.ensure_future(connection.call({"op": "start", "id": "p"})),
        asyncio.ensure_future(connection.call({"op": "ping"})),
        asyncio.ensure_future(_followed(connection)),
    ]
    await asyncio.sleep(0)
    rest = data[len(frame(cast("Any", frames.HELLO))) :]
    for at in range(0, len(rest), size):
        connection.data_received(rest[at : at + size])
        await asyncio.sleep(0)
    connection.connection_lost(None)
    for ask in asks:
        try:
            await ask
        except (MeliponaError, Disconnected):
            pass
    assert pipe.aborted or not violations


async def _followed(connection: BoxdConnection) -> None:
    feed = await connection.follow(ProgramId("p"), 100)
    at = 100
    while (item := await feed.next()) is not None:
        assert isinstance(item, Output | Gap | Exit)
        assert item.offset >= at if isinstance(item, Gap) else item.offset == at
        at = item.offset + (len(item.data) if isinstance(item, Output) else 0)
        if isinstance(item, Exit):
            return


@pytest.mark.parametrize("number", range(len(frames.seeds())))
def test_t08_the_fuzz_targets_own_beginnings_are_judged_as_they_should_be(number: int) -> None:
    """The target that CI fuzzes for a minute holds on its seeds, also where atheris cannot be had."""
    frames.target(frames.seeds()[number])


async def _flooded(frames_: list[bytes]) -> tuple[int, list[BoxProtocolError]]:
    """What waits of a follower from 100 on after these frames that nobody takes, and the violations."""
    violations: list[BoxProtocolError] = []
    connection = BoxdConnection(lambda *_: None, lambda _: None, violations.append)
    connection.connection_made(Pipe())
    connection.data_received(frame(cast("Any", frames.HELLO)))
    asking = asyncio.ensure_future(connection.follow(ProgramId("p"), 100))
    await asyncio.sleep(0)
    connection.data_received(frame({"ev": "reply", "re": 2}))
    feed = await asking
    connection.data_received(b"".join(frames_))
    waiting = len(feed._items)  # pyright: ignore[reportPrivateUsage]
    taken = bytearray()
    connection.connection_lost(None)
    while isinstance(item := await feed.next(), Output):
        taken += item.data
    assert bytes(taken) == b"x" * len(taken)
    return waiting, violations


def test_t08_output_that_comes_byte_by_byte_waits_in_few_pieces() -> None:
    """T8: a window of a mebibyte in frames of one byte held 150 MB of the daemon's memory."""
    one = [frame({"ev": "out", "fol": 1, "at": 100 + n}, b"x") for n in range(60_000)]
    waiting, violations = asyncio.run(_flooded(one))
    assert violations == []
    assert waiting <= 5


def test_t08_gaps_without_end_close_the_link_or_leave_the_last() -> None:
    """T8: gaps cost no credit, so a box could send them for ever."""
    in_a_row = [frame({"ev": "gap", "fol": 1, "at": 101 + n}) for n in range(10_000)]
    assert asyncio.run(_flooded(in_a_row)) == (1, [])
    between = [
        part
        for n in range(5000)
        for part in (
            frame({"ev": "out", "fol": 1, "at": 100 + 2 * n}, b"x"),
            frame({"ev": "gap", "fol": 1, "at": 102 + 2 * n}),
        )
    ]
    waiting, violations = asyncio.run(_flooded(between))
    assert len(violations) == 1
    assert waiting < 200
