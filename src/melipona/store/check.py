"""Looking whether the database is whole: after a life of the daemon that did not end in order, and weekly.

`PRAGMA quick_check` reads the whole file, so it runs beside the work, in a thread with a connection of its own, some
seconds after the start and never on the way to ready. It is bounded: of a database that takes longer it is told that
nothing wrong was found as far as it was read. Whether a check is due is told by rows alone, so that one which a crash
cut off is made up for by the next life.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import Connection, delete, func, insert, literal_column, select

from melipona.clock import Clock, Micros, SystemClock, later
from melipona.errors import StoreError, StoreUnusable
from melipona.store import events
from melipona.store.engine import Store, now
from melipona.store.schema import epochs, integrity_checks
from melipona.store.sqlite import connect

log = structlog.get_logger("store")

WEEK = timedelta(days=7)
AFTER_START = 5.0
"""Seconds until the first look: boxes are taken over first."""
EVERY = 3600.0
"""Seconds between two looks whether a check is due."""
LONGEST = 300.0
"""Seconds that a check may take: its snapshot keeps the WAL growing."""
KEPT = 50
"""Rows of checks that are kept."""
PROBLEM_MOST = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found: `ok`, `damaged` with the problem, or `cut` when it took too long."""

    result: str
    problem: str | None
    seconds: float


class Checks:
    """Makes the checks that are due. `notice` tells the operator, in the transaction that records what was found."""

    def __init__(
        self, store: Store, notice: Callable[[Connection, str], object], *, first: float = AFTER_START
    ) -> None:
        self._store, self._notice, self._first = store, notice, first

    async def run(self) -> None:
        """Check until cancelled. A store that refuses is looked at again the next time."""
        await asyncio.sleep(self._first)
        while not self._store.broken.is_set():
            try:
                await self.check_if_due()
            except StoreError as error:
                log.warning("the database could not be checked", error=error.message)
            await asyncio.sleep(EVERY)

    async def check_if_due(self) -> Found | None:
        """Check when it is due; what was found."""
        why = await self._store.read(due)
        if why is None:
            return None
        stop = threading.Event()
        try:
            found = await asyncio.to_thread(quick_check, self._store.path, stop)
        finally:
            stop.set()
        if found.result == "damaged":
            log.error("the database is damaged", problem=found.problem)
        await self._store.reserved.write(self._record, why, found)
        return found

    def _record(self, c: Connection, why: str, found: Found) -> None:
        size = self._store.path.stat().st_size
        values = {"result": found.result, "problem": found.problem, "duration_ms": round(found.seconds * 1000)}
        number = c.execute(
            insert(integrity_checks).values(at=now(c), why=why, bytes=size, **values).returning(integrity_checks.c.id)
        ).scalar_one()
        c.execute(delete(integrity_checks).where(integrity_checks.c.id <= number - KEPT))
        events.record(c, "store.checked", data={"why": why, **values})
        if found.result == "damaged":
            self._notice(
                c,
                f"The database {self._store.path} is damaged: {found.problem}. Make a backup now, under a new name "
                "(mel backup FILE), then `mel down`, and restore the newest backup that is whole; the disk may be "
                "failing.",
            )


def due(c: Connection) -> str | None:
    """Why a check is due now, if one is: `unclean_end`, or `weekly`."""
    checked, first = _last_check(c), _first_start(c)
    unclean = c.execute(
        select(func.max(epochs.c.ended_at)).where(epochs.c.ended_why == literal_column("'unclean'"))
    ).scalar_one()
    if unclean is not None and (checked is None or checked < unclean):
        return "unclean_end"
    since = first if checked is None else checked
    return "weekly" if since is not None and later(Micros(since), WEEK) <= now(c) else None


def _last_check(c: Connection) -> int | None:
    return c.execute(select(func.max(integrity_checks.c.at))).scalar_one()


def _first_start(c: Connection) -> int | None:
    return c.execute(select(func.min(epochs.c.started_at))).scalar_one()


def quick_check(
    path: Path, stop: threading.Event | None = None, *, longest: float = LONGEST, clock: Clock | None = None
) -> Found:
    """Read the whole database and say whether it is whole. Blocks; ends early when `stop` is set or time is over.

    Raises:
        StoreUnusable: it cannot be read at all.
    """
    over = stop or threading.Event()
    clock = clock or SystemClock()
    begun = clock.monotonic()
    try:
        with closing(connect(path, reader=True)) as driver:
            driver.set_progress_handler(over.is_set, 1_000)
            alarm = threading.Timer(longest, lambda: (over.set(), driver.interrupt()))  # within one large table too
            alarm.daemon = True
            alarm.start()
            try:
                lines = [str(row[0]) for row in driver.execute("PRAGMA quick_check(20)")]
            finally:
                alarm.cancel()
                alarm.join()  # it must not meet a closed connection
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_INTERRUPT":
            return Found("cut", None, clock.monotonic() - begun)
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return Found("damaged", str(error), clock.monotonic() - begun)
        raise StoreUnusable(f"{path} cannot be read: {error}", remedy="look at the disk") from error
    problem = None if lines == ["ok"] else "; ".join(lines)[:PROBLEM_MOST]
    return Found("ok" if problem is None else "damaged", problem, clock.monotonic() - begun)
