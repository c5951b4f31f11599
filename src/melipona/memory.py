"""The daemon's memory: garbage is found soon, and what a hive no longer needs goes back to the machine (I-20).

Requests and turns leave circles of objects behind, some 25 KB a turn with their buffers, which only a collection
finds. It looks at few objects at a time, so that the loop never stops for long (rule 15), and once more when the hive
comes to rest: then free pages, which the allocator keeps for itself between two busy times, are given back as well, and
those of the database, of which each connection keeps up to 16 MB.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Sequence

from melipona.store.engine import Event, Store

YOUNG = 5_000
"""Objects after which those that are new are looked at: a third of a millisecond, some fifty turns."""
MIDDLE, OLD = 20, 50
REST_SECONDS = 1.0
"""Without an event, the hive rests."""


def collect_early() -> None:
    """Have garbage found while it is little."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def keep_for_good() -> None:
    """What is loaded by now stays: no collection looks at it again. Its own garbage goes first."""
    gc.collect()
    gc.freeze()


async def give_back_at_rest(store: Store) -> None:
    """Tidy up each time the hive has come to rest, until cancelled. Nothing runs while nothing happens."""
    busy = asyncio.Event()

    def happened(events: Sequence[Event]) -> None:
        if events:
            busy.set()

    end = store.subscribe(happened)
    try:
        while True:
            await busy.wait()
            while busy.is_set():
                busy.clear()
                await asyncio.sleep(REST_SECONDS)
            gc.collect(1)
            await asyncio.to_thread(_give_back, store)
    finally:
        end()


def _give_back(store: Store) -> None:
    """Pages of the database and free pages go back to the machine, the latter where the C library can (glibc)."""
    store.shrink()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
