"""Seals over the events: a hash chain that shows whether somebody changed, removed or added one (D-32).

A seal covers the events after the previous seal's last one, up to its own last one. Its hash is over the previous hash
and the canonical rows, so a change anywhere breaks every later seal, and whoever keeps a head (a backup prints it) can
tell whether the chain still holds it. Events newer than the last seal are not covered yet: 1,000 events or a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text

from melipona.clock import Micros
from melipona.errors import StoreError
from melipona.store.engine import Event, Store
from melipona.store.engine import now as time_of
from melipona.store.hot import Hot
from melipona.store.schema import event_seals, events

MOST = 1_000
"""Events in one seal at most."""
WITHIN = 1.0
"""Seconds after which an event is sealed though fewer came."""
AGAIN = 30.0
"""Seconds until sealing is tried again after the store refused."""

_columns = (
    events.c.id,
    events.c.at,
    events.c.kind,
    events.c.agent,
    events.c.subject,
    events.c.principal,
    events.c.request_id,
    events.c.data,
    events.c.person,
    events.c.via,
)
PLAIN = 8
"""Columns of an event that no person asked for; it is sealed as events were before those two columns came."""
_seal_columns = (
    event_seals.c.last,
    event_seals.c.first,
    event_seals.c.count,
    event_seals.c.sealed_at,
    event_seals.c.hash,
    event_seals.c.pruned,
)


def unsealed() -> Any:
    """Selects the events after the last that is sealed."""
    query = select(*_columns).where(events.c.id > bindparam("p_last"))
    return query.order_by(events.c.id).limit(bindparam("p_most"))


_next = Hot(unsealed())
_upto = Hot(
    select(*_columns)
    .where(events.c.id > bindparam("p_after"), events.c.id <= bindparam("p_last"))
    .order_by(events.c.id)
    .limit(bindparam("p_most"))
)
_newest = Hot(select(event_seals.c.last, event_seals.c.hash).order_by(event_seals.c.last.desc()).limit(1))
_add = Hot(
    insert(event_seals).values(
        {name: bindparam(f"p_{name}") for name in ("last", "first", "count", "sealed_at", "hash", "pruned")}
    )
)


@dataclass(frozen=True, slots=True)
class Seal:
    """One row of `event_seals`."""

    last: int
    first: int
    count: int
    sealed_at: Micros
    hash: str
    pruned: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found. `count` sealed events were checked; `unsealed` newer ones are not covered yet.

    `first_bad` is the number from which on the events cannot be trusted, `problem` says why.
    """

    ok: bool
    first_bad: int | None
    head: str
    count: int
    unsealed: int = 0
    pruned: int = 0
    problem: str | None = None


def head(c: Connection) -> str:
    """The newest seal's hash, empty before the first seal."""
    row = _newest.one(c)
    return "" if row is None else str(row[1])


def seal(c: Connection, now: Micros, *, most: int = MOST) -> bool:
    """Seal the oldest events that are not, at most `most`. True when there may be more."""
    newest = _newest.one(c)
    last, previous = (0, "") if newest is None else (int(newest[0]), str(newest[1]))
    rows = _next.all(c, p_last=last, p_most=most)
    if not rows:
        return False
    first, last = int(rows[0][0]), int(rows[-1][0])
    digest = _digest(previous, first, last, now, rows)
    _add.run(c, p_last=last, p_first=first, p_count=len(rows), p_sealed_at=now, p_hash=digest, p_pruned=0)
    return len(rows) == most


def verify(c: Connection, *, known_head: str | None = None) -> Verification:
    """Recompute the whole chain. With `known_head` the chain must still contain that head (from a backup, say)."""
    found = _Check()
    for each in _seals(c):
        problem = found.take(c, each)
        if problem is not None:
            return found.bad(problem, each.first)
    unsealed, newest = _tail(c, found.last)
    problem = _cut_off(c, max(found.last, newest))
    if problem is None and known_head and known_head not in found.heads:
        problem = "the chain does not hold the head that is known from elsewhere"
        return found.bad(problem, found.first, unsealed)
    if problem is not None:
        return found.bad(problem, max(found.last, newest) + 1, unsealed)
    return Verification(True, None, found.head, found.count, unsealed, found.pruned)


class _Check:
    """Where the recomputation stands."""

    def __init__(self) -> None:
        self.head, self.last, self.first, self.count, self.pruned = "", 0, 0, 0, 0
        self.heads: set[str] = set()

    def take(self, c: Connection, each: Seal) -> str | None:
        """Check the next seal; what is wrong with it, if anything."""
        if each.pruned:
            if self.count:
                return "events in the middle were removed"
            if _upto.one(c, p_after=self.last, p_last=each.last, p_most=1):
                return "events that were removed by age are there again"
            self.pruned += each.count
        else:
            rows = _upto.all(c, p_after=self.last, p_last=each.last, p_most=each.count + 1)
            if len(rows) != each.count:
                return f"there are {'more' if len(rows) > each.count else 'fewer'} events than were sealed"
            if _digest(self.head, each.first, each.last, each.sealed_at, rows) != each.hash:
                return "an event or its seal was changed"
            self.count += each.count
        self.first = self.first or each.first
        self.head, self.last = each.hash, each.last
        self.heads.add(each.hash)
        return None

    def bad(self, problem: str, number: int, unsealed: int = 0) -> Verification:
        return Verification(False, number, self.head, self.count, unsealed, self.pruned, problem)


def _seals(c: Connection) -> Iterator[Seal]:
    last = -1
    while True:
        query = select(*_seal_columns).where(event_seals.c.last > last).order_by(event_seals.c.last).limit(MOST)
        page = c.execute(query).all()
        for row in page:
            yield Seal(*row)
        if len(page) < MOST:
            return
        last = page[-1].last


def _tail(c: Connection, last: int) -> tuple[int, int]:
    row = c.execute(select(func.count(), func.coalesce(func.max(events.c.id), 0)).where(events.c.id > last)).one()
    return int(row[0]), int(row[1])


def _cut_off(c: Connection, newest: int) -> str | None:
    """SQLite remembers the highest number it ever gave: a missing end of the table shows."""
    if c.dialect.name != "sqlite":
        return None
    given = c.execute(text("SELECT seq FROM sqlite_sequence WHERE name = 'events'")).scalar_one_or_none()
    return "the newest events were removed" if given is not None and int(given) > newest else None


def _digest(previous: str, first: int, last: int, sealed_at: int, rows: Sequence[Sequence[Any]]) -> str:
    digest = hashlib.sha256(_line([previous, first, last, len(rows), sealed_at]))
    for row in rows:
        digest.update(_line(row if any(row[PLAIN:]) else row[:PLAIN]))
    return digest.hexdigest()


def _line(values: Sequence[Any]) -> bytes:
    """Canonical: no two different rows give the same bytes."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


class Sealer:
    """Seals as events come. Nothing runs while none do."""

    def __init__(self, store: Store, *, most: int = MOST, within: float = WITHIN, again: float = AGAIN) -> None:
        self._store, self._most, self._within, self._again = store, most, within, again
        self._pending = 0
        self._some, self._full = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Seal until cancelled; begins with what an earlier life left."""
        unsubscribe = self._store.subscribe(self._on_events)
        self._some.set()
        self._full.set()
        try:
            while not self._store.broken.is_set():
                await self._some.wait()
                await self._wait(self._full, self._within)
                await self._seal_or_pause()
        finally:
            unsubscribe()

    async def finish(self) -> None:
        """Seal all there is, as the last act before the store closes."""
        while await self._store.reserved.write(self._seal_some):
            pass

    def _on_events(self, news: Sequence[Event]) -> None:
        self._pending += len(news)
        self._some.set()
        if self._pending >= self._most:
            self._full.set()

    async def _seal_or_pause(self) -> None:
        self._pending = 0
        self._some.clear()
        self._full.clear()
        try:
            await self.finish()
        except StoreError:
            self._some.set()
            await self._wait(self._store.broken, self._again)

    def _seal_some(self, c: Connection) -> bool:
        return seal(c, time_of(c), most=self._most)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
