"""The store: every change is a function of a connection, run as one transaction by `write`; reads go to other threads.

Changes run in the writer's thread (`writer.py`: group commit). An I/O error at commit leaves the outcome unknown: every
waiter is told so and the store takes no further work, because what the same connections show afterwards need not be
what a restart recovers (SECURITY.md section 6.2).

Inside an operation `now(c)` is the transaction's time and `events.record(c, ...)` adds to its events; after the commit
subscribers get the events on the event loop, in order. A cancelled caller does not undo its operation.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from melipona.clock import Clock
from melipona.errors import Bug, StoreFull, StoreUnusable
from melipona.faults import fault
from melipona.store.space import Level, Space
from melipona.store.sqlite import check_place, close_core, driver_of, open_core, translated
from melipona.store.writer import IDLE, NOBODY, Actor, Event, Job, Outcome, Writer, again, now

__all__ = ["NOBODY", "Actor", "Event", "Store", "acting", "now", "request_id"]

P = ParamSpec("P")
T = TypeVar("T")

request_id: ContextVar[str | None] = ContextVar("melipona_request_id", default=None)
"""The request on whose behalf the current task acts; lands in the events it causes."""
acting: ContextVar[Actor] = ContextVar("melipona_acting", default=NOBODY)
"""The person on whose request the current task acts; lands there too."""

log = structlog.get_logger("store")

READERS = 4
FULL_SECONDS = 1.0
"""How often a write that a full disk refused is tried again."""
READ_SECONDS = 30.0
"""A read that takes longer is stopped: its snapshot would keep the WAL growing."""


class Store:
    """One database of one hive. Made by `Store.open`, ended by `close`."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        idle: float = IDLE,
        read_seconds: float = READ_SECONDS,
        space: Space | None = None,
    ) -> None:
        self.path = path
        self.clock = clock
        self._read_seconds = read_seconds
        self._loop = asyncio.get_running_loop()
        self._subscribers: list[Callable[[Sequence[Event]], None]] = []
        self._closing = False
        self._closed: asyncio.Future[None] | None = None
        self.space = space
        """Room on the disk; None where nobody looks after it."""
        self._patient = True
        self.broken = asyncio.Event()
        """Set when the store takes no more work (unknown outcome): the daemon must end with exit code 75."""
        self._writer = Writer(path, clock, self._hand_over, idle=idle)
        self._local = threading.local()
        self._reading: list[Connection] = []
        self._busy: dict[int, tuple[sqlite3.Connection, float]] = {}
        """Reads under way, by thread."""
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")

    @classmethod
    async def open(
        cls, path: Path, clock: Clock, *, force_place: bool = False, idle: float = IDLE, space: Space | None = None
    ) -> Store:
        """Open (creating or migrating) the database at `path`.

        Raises:
            StoreUnusable, StoreFull: it cannot be used, with the remedy.
        """
        from melipona.store.migrate import ensure_schema  # alembic is only imported when there is something to migrate

        check_place(path, force=force_place)
        await fault("store.open.before_schema")
        await asyncio.to_thread(ensure_schema, path, clock)
        await fault("store.open.after_schema")
        return cls(path, clock, idle=idle, space=space)

    # ---- use ------------------------------------------------------------------------------------------------------

    async def write(self, op: Callable[Concatenate[Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        """Run `op` as one transaction and return its value once that is durable.

        Raises:
            whatever `op` raises (nothing was stored), StoreFull (nothing was stored: there is no room, or the hive only
            reads until there is), OutcomeUnknown (it may have been stored; the daemon is about to restart).
        """
        if self.space is None:
            return await self._write(op, *args, **kw)
        if self.space.full:
            raise self.space.refusal()
        try:
            return await self._write(op, *args, **kw)
        except StoreFull as full:  # the first to notice
            raise self.space.refusal() from full

    @property
    def has_room(self) -> bool:
        """Whether new turns may begin: more of the disk is free than the floor."""
        return self.space is None or self.space.level is Level.OK

    @property
    def reserved(self) -> Reserved:
        """For what must go on while the disk is full: it may use the room that the ballast left (I-17)."""
        return Reserved(self)

    async def _write(self, op: Callable[Concatenate[Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        self._check_usable()
        await fault("store.write.before_queue")
        job = Job(lambda c: op(c, *args, **kw), self._loop.create_future(), request_id.get(), acting.get(), op)
        self._writer.put(job)
        value = await job.future
        await fault("store.write.after_told")
        return value

    async def write_when_possible(
        self, op: Callable[Concatenate[Connection, P], T], *args: P.args, **kw: P.kwargs
    ) -> T:
        """`reserved.write`, for the daemon's own loops: while the disk is full it waits and tries again (I-17).

        Raises:
            whatever `op` raises, OutcomeUnknown, StoreFull after `stop_waiting`.
        """
        told = False
        while True:
            try:
                return await self.reserved.write(op, *args, **kw)
            except StoreFull as full:
                if not self._patient:
                    raise
                if not told:
                    log.warning("the disk is full, the hive waits for space", error=full.message)
                told = True
                await asyncio.sleep(FULL_SECONDS)

    def stop_waiting(self) -> None:
        """The daemon ends: `write_when_possible` waits for room no more. What is not written the next daemon finds."""
        self._patient = False

    async def read(self, op: Callable[Concatenate[Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        """Run `op` on a snapshot, in a reader thread. It cannot write (`query_only`).

        Raises:
            whatever `op` raises, StoreError with code `read_too_long` after `READ_SECONDS`.
        """
        self._check_usable()

        def bound(c: Connection) -> T:
            return op(c, *args, **kw)

        return await self._loop.run_in_executor(self._readers, self._read, bound)

    def subscribe(self, callback: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        """Have `callback` called on the loop with the events of each commit, in order. Returns how to end it."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    def gauges(self) -> dict[str, float]:
        """Numbers for `/metrics`: operations that wait, bytes of the WAL."""
        wal = self.path.with_name(self.path.name + "-wal")
        try:
            size = wal.stat().st_size
        except FileNotFoundError:
            size = 0
        found = {"store_queue": self._writer.queued, "store_wal_bytes": size, "store_read_seconds": self.oldest_read()}
        if self.space is not None:
            room = self.space.room()
            found |= {"disk_free_bytes": room.free, "disk_floor_bytes": room.floor, "disk_full": self.space.full}
        return {name: float(value) for name, value in found.items()}

    def shrink(self) -> None:
        """Give back the pages that connections keep in memory; the kernel has them too. In any thread: SQLite lets one
        use a connection after the other, where it was built to."""
        if sqlite3.threadsafety != 3:
            return
        for driver in (self._writer.driver, *(driver_of(c) for c in tuple(self._reading))):
            with suppress(sqlite3.Error):
                driver.execute("PRAGMA shrink_memory")

    def oldest_read(self) -> float:
        """Seconds that the longest of the reads under way has taken."""
        at = self.clock.monotonic()
        return max((at - since for _, since in tuple(self._busy.values())), default=0.0)

    def stop_old_reads(self) -> None:
        """Interrupt reads that take longer than they may, also those of many short statements, which no single
        statement's limit stops."""
        at = self.clock.monotonic()
        for driver, since in tuple(self._busy.values()):
            if at - since > self._read_seconds:
                driver.interrupt()

    async def close(self) -> None:
        """Finish what is queued, checkpoint, and close every connection. May be called again."""
        self._closing = True
        if self._closed is None:
            self._closed = self._loop.run_in_executor(None, self._end)
        await asyncio.shield(self._closed)

    def _check_usable(self) -> None:
        if self._writer.dead is not None:
            raise again(self._writer.dead)
        if self._closing:
            raise StoreUnusable(f"{self.path} is being closed")

    def _end(self) -> None:
        self._readers.shutdown()
        for c in self._reading:
            close_core(c)
        self._writer.end()

    # ---- reading --------------------------------------------------------------------------------------------------

    def _read(self, op: Callable[[Connection], T]) -> T:
        c: Connection | None = getattr(self._local, "c", None)
        if c is None:
            c = self._local.c = self._open_reader()
        c.info["now"] = self.clock.now()
        begun = self.clock.monotonic()
        self._local.until = begun + self._read_seconds
        driver = driver_of(c)
        self._busy[threading.get_ident()] = (driver, begun)
        try:
            driver.execute("BEGIN")
            return op(c)
        except (sqlite3.Error, DBAPIError) as error:
            raw = error.orig if isinstance(error, DBAPIError) else error
            if getattr(raw, "sqlite_errorname", None) == "SQLITE_READONLY":
                raise Bug(f"a reading operation of the store tried to write: {raw}") from error
            raise translated(error, self.path) from error
        finally:
            del self._busy[threading.get_ident()]
            if driver.in_transaction:
                with suppress(sqlite3.Error):
                    driver.execute("ROLLBACK")

    def _open_reader(self) -> Connection:
        c = open_core(self.path, reader=True)
        local, clock = self._local, self.clock
        driver_of(c).set_progress_handler(lambda: clock.monotonic() > local.until, 100_000)
        self._reading.append(c)
        return c

    # ---- on the loop again ----------------------------------------------------------------------------------------

    def _hand_over(self, outcomes: Sequence[Outcome]) -> None:
        if self.space is not None and any(isinstance(outcome.error, StoreFull) for outcome in outcomes):
            self.space.filled()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        if self._writer.dead is not None:
            self.broken.set()
        self._publish([event for outcome in outcomes if outcome.error is None for event in outcome.events])
        for outcome in outcomes:
            if outcome.job.future.done():
                continue
            if outcome.error is not None:
                outcome.job.future.set_exception(outcome.error)
            else:
                outcome.job.future.set_result(outcome.value)

    def _publish(self, events: Sequence[Event]) -> None:
        """Tell the subscribers: before the callers, so that what a message starts does not wait for its sender."""
        if events:
            for subscriber in tuple(self._subscribers):
                self._tell(subscriber, events)

    def _tell(self, subscriber: Callable[[Sequence[Event]], None], events: Sequence[Event]) -> None:
        """One subscriber that fails keeps no other from its events."""
        try:
            subscriber(events)
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "a subscriber of the store failed", "exception": error, "subscriber": subscriber}
            )


class Reserved:
    """Writing also while the disk is full: turns that end, boxes that stop, agents that are removed, logins."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, op: Callable[Concatenate[Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        """`Store.write` that is not refused for want of room, unless the store itself finds none."""
        return await self._store._write(op, *args, **kw)  # pyright: ignore[reportPrivateUsage]
