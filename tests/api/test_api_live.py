"""A follower's bytes go past its task where the connection takes them, and never out of order (rule 12)."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melipona.api.live import Client
from melipona.principals import OperatorPrincipal

STEPS = ("give", "pause", "resume", "turn", "sent")


class Wire:
    """A connection that can be paused, and what was written to it."""

    def __init__(self) -> None:
        self.paused = False
        self.open = asyncio.Event()
        self.open.set()
        self.bytes: list[bytes] = []
        self.direct = 0

    def write(self, data: bytes) -> bool:
        if self.paused:
            return False
        self.direct += 1
        self.bytes.append(data)
        return True

    async def send(self, data: bytes) -> None:
        """As the server's `send`: waits until the connection takes more, then writes."""
        await self.open.wait()
        self.bytes.append(data)


async def _walk(steps: list[str]) -> None:
    wire = Wire()
    client = Client(OperatorPrincipal("test"), anyio.CancelScope())
    client.give(1, b"1,")  # it is in the snapshot that came before
    client.flow(wire.write, 1)

    async def pump() -> None:
        while True:
            data = await client.taken(1)
            if data:
                await wire.send(data)

    task = asyncio.create_task(pump())
    number = 1
    for step in [*steps, "resume", *["turn"] * 8]:
        match step:
            case "give":
                number += 1
                client.give(number, b"%d," % number)
            case "pause":
                wire.paused = True
                wire.open.clear()
            case "resume":
                wire.paused = False
                wire.open.set()
            case _:
                await asyncio.sleep(0)
    task.cancel()
    assert b"".join(wire.bytes) == b"".join(b"%d," % each for each in range(2, number + 1))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=40))
def test_whatever_the_connection_takes_when_each_event_is_written_once_in_order(steps: list[str]) -> None:
    asyncio.run(_walk(steps))


@pytest.mark.anyio
async def test_a_burst_is_one_write_and_wakes_no_task() -> None:
    wire = Wire()
    client = Client(OperatorPrincipal("test"), anyio.CancelScope())
    client.flow(wire.write, 0)
    for number in range(1, 101):
        client.give(number, b"x")
    await asyncio.sleep(0)
    assert wire.bytes == [b"x" * 100]


@pytest.mark.anyio
async def test_a_follower_that_was_closed_gets_nothing_more() -> None:
    """T39: a login that was revoked hears no later event, also if it was on its way."""
    wire = Wire()
    client = Client(OperatorPrincipal("test"), anyio.CancelScope())
    client.flow(wire.write, 0)
    client.give(1, b"x")
    client.close()
    client.give(2, b"y")
    await asyncio.sleep(0)
    assert wire.bytes == []
