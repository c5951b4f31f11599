"""Watching the disk and the write-ahead log: tells when room gets short, and ends the read-only mode when it is there.

Entering that mode is `space.py`'s and happens at once. Leaving it is decided here, once a second: there must be room
for the ballast and above the floor, and a write must have worked, since a quota or a failing disk may say otherwise
than the file system does. What changes is an event, and mail to the operator when it concerns them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from melipona.errors import OutcomeUnknown, StoreError
from melipona.store import events
from melipona.store.engine import Store
from melipona.store.space import Level, Space

log = structlog.get_logger("disk")

EVERY = 5.0
"""Seconds between two looks; while the disk is full it is `FULL_EVERY`."""
FULL_EVERY = 1.0
LONGEST = 60.0
"""The most that is waited before leaving again, when the disk was full again soon after."""
SOON = 60.0
KINDS = {Level.OK: "disk.ok", Level.LOW: "disk.low", Level.FULL: "disk.full"}
WAL_MOST = 64 << 20
"""Bytes of the write-ahead log that are told: some reader keeps it from being folded in."""


class DiskWatch:
    """Looks after one store's room. `notice` sends the operator a message in the transaction that it is given."""

    def __init__(self, store: Store, space: Space, notice: Callable[[Connection, str], object]) -> None:
        self._store, self._space, self._notice = store, space, notice
        self._told = Level.OK
        self._wake = asyncio.Event()
        self._left_at: float | None = None
        self._pause = FULL_EVERY
        self._wal_told = False
        loop = asyncio.get_running_loop()
        space.on_full = lambda: _wake(loop, self._wake)

    async def run(self) -> None:
        """Watch until cancelled, or until the store is given up."""
        while not self._store.broken.is_set():
            self._wake.clear()
            try:
                await self.look()
            except OutcomeUnknown:
                return
            except StoreError as error:
                log.warning("the disk's state could not be recorded", error=error.message)
            try:
                async with asyncio.timeout(self._pause if self._space.full else EVERY):
                    await self._wake.wait()
            except TimeoutError:
                pass
            if self._space.full and self._told is Level.FULL:
                await asyncio.sleep(self._pause)  # refused writes wake us too

    async def look(self) -> None:
        """One look: record what has changed, and leave the read-only mode when that can be."""
        await self._look_at_wal()
        found = await asyncio.to_thread(self._space.look)
        if self._space.full and self._told is not Level.FULL:
            await self._tell_full()
        elif self._space.full and found is not Level.FULL:
            await self._leave(found)
        elif found is not self._told:
            self._space.over(found)
            await self._store.reserved.write(self._record, found)
            self._told = found

    async def _tell_full(self) -> None:
        room = self._space.room()
        log.error("the disk is full: the hive only reads", free_mib=room.free >> 20, data=str(self._space.data))
        clock = self._store.clock
        again = self._left_at is not None and clock.monotonic() - self._left_at < SOON
        self._pause = min(self._pause * 2, LONGEST) if again else FULL_EVERY
        self._told = Level.FULL
        try:
            await self._store.reserved.write(self._record, Level.FULL)
        except OutcomeUnknown:
            raise
        except StoreError as error:
            log.warning("there is no room even to record it", error=error.message)

    async def _leave(self, found: Level) -> None:
        if not await asyncio.to_thread(self._space.make_ballast):
            return
        refused = self._space.refused
        try:
            await self._store.reserved.write(self._record, found, refused=refused)
        except OutcomeUnknown:
            raise
        except StoreError as error:
            log.warning("there seems to be room, but a write fails", error=error.message)
            self._space.filled()
            return
        self._space.over(found)
        self._told, self._left_at = found, self._store.clock.monotonic()
        log.info("there is room again: the hive goes on", refused=refused)

    def _record(self, c: Connection, level: Level, refused: int | None = None) -> None:
        room = self._space.room()
        data = {"free_bytes": room.free, "floor_bytes": room.floor}
        if refused is not None:
            data["refused"] = refused
            self._notice(
                c,
                "The disk was full and there is room again: the hive goes on. Nothing that was acknowledged is lost; "
                f"{refused} changes were refused meanwhile.",
            )
        events.record(c, KINDS[level], data=data)

    async def _look_at_wal(self) -> None:
        """Some reader that never ends keeps the log growing: old ones are stopped, and a large log is told once."""
        self._store.stop_old_reads()
        size = round(self._store.gauges()["store_wal_bytes"])
        if size > WAL_MOST and not self._wal_told:
            log.warning("the write-ahead log is large", mib=size >> 20)
            await self._store.reserved.write(_record_wal, size)
        self._wal_told = size > WAL_MOST or (self._wal_told and size > WAL_MOST // 2)


def _record_wal(c: Connection, size: int) -> None:
    events.record(c, "store.wal_large", data={"bytes": size})


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:  # the loop is closed: nobody watches any more
        pass
