"""The writer: the one thread that changes the database, and its only checkpointer.

It drains its queue, runs each operation in a savepoint (only when the batch holds more than one) and commits the batch
once: group commit without a batch window. An operation that fails does not fail its neighbours; a commit that fails
fails all of them. Nothing that happens here may leave a caller waiting, so every path ends in an outcome for each job.

When it is not known whether a commit happened (an I/O error at commit or at a checkpoint) the writer is `dead`: it
answers everything with that and touches the database no more (SECURITY.md section 6.2).
"""

from __future__ import annotations

import asyncio
import copy
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from melipona.clock import Clock, Micros
from melipona.errors import Bug, OutcomeUnknown, StoreError
from melipona.faults import commit_point, fault_here, watched
from melipona.store.sqlite import PRAGMAS, close_core, driver_of, open_core, translated

BATCH = 512
"""Operations in one commit at most."""
IDLE = 5.0
"""Seconds without work after which the WAL is folded into the database and cut."""
FOLD_PAGES = 1000
"""Pages of the WAL after which it is folded in while work goes on."""
FOLD_FEWEST, FOLD_MOST = 16, 2000
"""Operations between two foldings, whatever is known of their size."""
OPTIMIZE = 3600.0
"""Seconds between two `PRAGMA optimize`, at idle."""


@dataclass(frozen=True, slots=True)
class Event:
    """A committed event. `data` is JSON text, encoded once."""

    id: int
    at: Micros
    kind: str
    agent: str | None
    subject: str | None
    principal: str
    request_id: str | None
    data: str
    person: str | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """The person on whose request something is done, and how they came in; None and None when nobody asked."""

    person: str | None = None
    via: str | None = None


NOBODY = Actor()


@dataclass(slots=True)
class Job:
    """An operation on its way: what to run, whom to tell."""

    op: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    request_id: str | None
    actor: Actor
    named: Callable[..., Any]
    """The function that `op` calls: it names the fault points of the commit."""


@dataclass(slots=True)
class Outcome:
    """What became of a job; `events` only when it was committed."""

    job: Job
    value: Any = None
    error: BaseException | None = None
    events: Sequence[Event] = ()


def now(c: Connection) -> Micros:
    """The time of the transaction that `c` is in."""
    return c.info["now"]


class Writer:
    """Owns the writing connection. `settled` is called in its thread with the outcomes of each batch, in order."""

    def __init__(
        self, path: Path, clock: Clock, settled: Callable[[Sequence[Outcome]], None], *, idle: float = IDLE
    ) -> None:
        self._path, self._clock, self._settled, self._idle = path, clock, settled, idle
        self.dead: StoreError | None = None
        """Why no more work is taken."""
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._optimized_at = clock.monotonic()
        self._fold = _Folding()
        self._c = open_core(path, reader=False)
        self._driver = driver_of(self._c)
        self._info = self._c.info
        self._thread = threading.Thread(target=self._run, name="store-write", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job; its outcome comes by `settled`."""
        self._queue.put(job)

    @property
    def queued(self) -> int:
        """How many jobs wait."""
        return self._queue.qsize()

    @property
    def driver(self) -> sqlite3.Connection:
        """The writing connection."""
        return self._driver

    def end(self) -> None:
        """Finish what is queued, fold the WAL into the database and close the connection. Blocks."""
        self._queue.put(None)
        self._thread.join()
        if self.dead is None:
            self._tidy(optimize=True)
        close_core(self._c)

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        jobs: list[Job | None] = []
        while None not in jobs:
            jobs = self._next(tidied=not jobs)
            work = [job for job in jobs if job is not None]
            if work:
                self._settled(self._safely(work))
                if self._fold.due(len(work)) and self.dead is None:
                    self._fold_in()

    def _next(self, *, tidied: bool) -> list[Job | None]:
        """Everything that is queued, at least one; after a while without any, tidy up once."""
        jobs: list[Job | None] = []
        try:
            jobs.append(self._queue.get(timeout=None if tidied else self._idle))
        except queue.Empty:
            self._at_idle()
            jobs.append(self._queue.get())
        try:
            while len(jobs) < BATCH and jobs[-1] is not None:
                jobs.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return jobs

    def _safely(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        if self.dead is not None:
            return _all_failed(jobs, self.dead)
        try:
            return self._batch(jobs)
        except Exception as error:
            self.dead = OutcomeUnknown(
                f"{self._path}: the writer failed unexpectedly ({type(error).__name__}: {error})",
                remedy="the daemon starts again by itself; look the change up before you repeat it",
            )
            self.dead.__cause__ = error
            return _all_failed(jobs, self.dead)

    def _batch(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        driver = self._driver
        outcomes: list[Outcome] = []
        try:
            driver.execute("BEGIN IMMEDIATE")
            for job in jobs:
                outcomes.append(self._one(job, alone=len(jobs) == 1))
                if not driver.in_transaction:  # SQLite itself rolled everything back (disk full, out of memory)
                    return _rolled_back(jobs, outcomes, self._path)
            if len(outcomes) == 1 and outcomes[0].error is not None:
                driver.execute("ROLLBACK")
                return outcomes
        except sqlite3.Error as error:
            return self._undone(jobs, translated(error, self._path))
        try:
            _pass(outcomes, "before_commit")
            driver.execute("COMMIT")
            _pass(outcomes, "after_commit")
        except sqlite3.Error as error:
            return self._undone(jobs, translated(error, self._path, committing=True))
        return outcomes

    def _one(self, job: Job, *, alone: bool) -> Outcome:
        driver = self._driver
        events: list[Event] = []
        self._info.update(now=self._clock.now(), events=events, request_id=job.request_id, actor=job.actor)
        if not alone:
            driver.execute("SAVEPOINT o")
        outcome = Outcome(job)
        try:
            outcome.value = job.op(self._c)
            outcome.events = events
        except (sqlite3.Error, DBAPIError) as error:
            outcome.error = translated(error, self._path)
            outcome.error.__cause__ = error
        except BaseException as error:
            outcome.error = error
            if not isinstance(error, Exception) or isinstance(error, StopIteration):  # no future may carry these
                outcome.error = Bug(f"an operation of the store raised {error!r}")
        if not alone and driver.in_transaction:
            if outcome.error is not None:
                driver.execute("ROLLBACK TO o")
            driver.execute("RELEASE o")
        return outcome

    def _undone(self, jobs: Sequence[Job], failure: StoreError) -> Sequence[Outcome]:
        """The whole batch failed. An unknown outcome, or a rollback that fails, is the end."""
        if isinstance(failure, OutcomeUnknown):
            self.dead = failure
        elif self._driver.in_transaction:
            try:
                self._driver.execute("ROLLBACK")
            except sqlite3.Error as error:
                self.dead = failure = translated(error, self._path, committing=True, always=True)
        return _all_failed(jobs, failure)

    # ---- when nothing is to do --------------------------------------------------------------------------------------

    def _at_idle(self) -> None:
        if self.dead is None:
            due = self._clock.monotonic() - self._optimized_at >= OPTIMIZE
            self._tidy(optimize=due)
            if self.dead is not None:
                self._settled(())

    def _tidy(self, *, optimize: bool) -> None:
        """Fold the WAL into the database and cut it, waiting for no reader."""
        try:
            if optimize:
                self._optimized_at = self._clock.monotonic()
                self._driver.execute("PRAGMA optimize")
            self._driver.execute("PRAGMA busy_timeout=0")
            self._checkpoint("TRUNCATE")
        except sqlite3.Error as error:
            self._not_folded(error)
        finally:
            self._driver.execute(f"PRAGMA busy_timeout={PRAGMAS['busy_timeout']}")

    def _fold_in(self) -> None:
        """Fold the WAL in between two batches, as far as readers let it. Those who waited were told before."""
        try:
            self._checkpoint("PASSIVE")
        except sqlite3.Error as error:
            self._not_folded(error)
        if self.dead is not None:
            self._settled(())

    def _checkpoint(self, mode: str) -> None:
        fault_here("store.checkpoint.before_commit")
        _, pages, folded = self._driver.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        self._fold.done(pages, folded)
        fault_here("store.checkpoint.after_commit")

    def _not_folded(self, error: sqlite3.Error) -> None:
        """A failed fsync of a checkpoint is as bad as one of a commit. On a full disk the WAL keeps what it holds."""
        failure = translated(error, self._path, committing=True)
        if isinstance(failure, OutcomeUnknown):
            self.dead = failure


class _Folding:
    """When the WAL is due to be folded in: from how many pages an operation took so far (the WAL's file never shrinks
    while work goes on, so its size does not tell)."""

    def __init__(self) -> None:
        self._operations = 0
        self._pages = 0
        self._wait = 100

    def due(self, operations: int) -> bool:
        """Count operations that were committed; whether the WAL is likely to hold `FOLD_PAGES`."""
        self._operations += operations
        return self._operations >= self._wait

    def done(self, pages: int, folded: int) -> None:
        """A checkpoint found `pages` in the WAL and has folded `folded` in; when all are, the next commit begins anew.
        Both are -1 for a WAL that could not be looked at."""
        grown = pages - self._pages if pages >= self._pages else pages
        if self._operations and grown > 0:
            each = grown / self._operations
            self._wait = round(min(max(FOLD_PAGES / each, FOLD_FEWEST), FOLD_MOST))
        self._operations = 0
        self._pages = 0 if folded == pages else max(pages, 0)


def again(error: StoreError) -> StoreError:
    """The same error for one more caller: one object raised in many tasks would grow a traceback for each."""
    fresh = copy.copy(error)
    fresh.__cause__ = error.__cause__
    return fresh


def _pass(outcomes: Sequence[Outcome], when: str) -> None:
    """Pass the fault points of a commit, one for each operation that is in it."""
    if watched():
        for outcome in outcomes:
            if outcome.error is None:
                commit_point(outcome.job.named, when)


def _all_failed(jobs: Sequence[Job], error: StoreError) -> list[Outcome]:
    return [Outcome(job, error=again(error)) for job in jobs]


def _rolled_back(jobs: Sequence[Job], outcomes: Sequence[Outcome], path: Path) -> list[Outcome]:
    """The last operation that ran made SQLite undo the batch: it gets its own error, the others are told why."""
    culprit = outcomes[-1]
    shared = culprit.error
    if not isinstance(shared, StoreError):
        shared = StoreError(f"{path}: a transaction was undone as a whole", remedy="repeat the change")
    failed = _all_failed(jobs, shared)
    if culprit.error is not None:
        failed[len(outcomes) - 1].error = culprit.error
    return failed
