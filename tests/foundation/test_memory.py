"""Memory that nobody needs comes back while a hive rests (I-20)."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from melipona import memory
from melipona.clock import SystemClock
from melipona.store import events
from melipona.store.engine import Store

pytestmark = pytest.mark.anyio
SECONDS = 30


class Circle:
    """Garbage that no reference count frees."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "mel.db", SystemClock())
    yield store
    await store.close()


async def test_garbage_of_a_busy_time_is_gone_when_the_hive_has_come_to_rest(store: Store) -> None:
    gc.disable()
    task = asyncio.create_task(memory.give_back_at_rest(store))
    try:
        gone = asyncio.Event()
        watched = weakref.finalize(Circle(), asyncio.get_running_loop().call_soon_threadsafe, gone.set)
        await asyncio.sleep(0)
        await store.write(lambda c: events.record(c, "agent.created", agent="ana"))
        async with asyncio.timeout(SECONDS):
            await gone.wait()
        assert not watched.alive
    finally:
        gc.enable()
        task.cancel()


async def test_a_store_that_shrinks_goes_on_as_before(store: Store) -> None:
    """Pages go, rows do not; also while it is being read and written."""
    for number in range(20):
        writes = [store.write(lambda c: events.record(c, "agent.created", agent="ana")) for _ in range(10)]
        reads = [store.read(events.last_number) for _ in range(4)]
        await asyncio.gather(asyncio.to_thread(store.shrink), *writes, *reads)
        assert await store.read(events.last_number) == 10 * (number + 1)


def test_new_objects_are_looked_at_before_they_are_many() -> None:
    was = gc.get_threshold()
    try:
        memory.collect_early()
        assert gc.get_threshold()[0] <= 5000
    finally:
        gc.set_threshold(*was)
