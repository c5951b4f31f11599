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


def test_new_objects_are_looked_at_before_they_are_many() -> None:
    was = gc.get_threshold()
    try:
        memory.collect_early()
        assert gc.get_threshold()[0] <= 5000
    finally:
        gc.set_threshold(*was)
