"""A wall clock that jumps: waits in rows stay bounded, and nothing is taken for old that may be new (T45, D-16, I-17).

Rows hold wall time, for people and for other daemons. When the clock goes back, a wait that was set before would last
until the clock has caught up, be it a year: so all waits and the lives of logins go back with it (`shift_waits`), by a
running daemon as soon as it sees that (`ClockWatch`), and at a daemon's start by what its elders' last event tells. A
clock that goes forward ends waits early, once each, which is harmless; what is deleted by age is not, so that has a
time of its own (`SteadyTime`).
"""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy import Connection, delete, insert, select, update

from melipona.clock import Clock, Micros
from melipona.store import events
from melipona.store.engine import Store, now
from melipona.store.schema import (
    agents,
    api_tokens,
    boxes,
    login_challenges,
    login_links,
    messages,
    meta,
    operations,
    programs,
    sessions,
    turns,
)
from melipona.store.schema import events as event_rows

log = structlog.get_logger("clock")

LOOK_SECONDS = 2.0
TOLERANCE = 1_000_000
"""Microseconds. Less is the drift of clocks, which only makes a wait that much longer."""
FORWARD = 60_000_000
"""Microseconds. A jump forward by more is told; it is what a machine that slept looks like, too."""
KNOWN_AT = "known_at"
_WAITING = (agents, messages, operations, boxes, programs, turns)
_LOGINS = (
    (sessions, ("created_at", "seen_at", "ends_at", "idle_ends_at", "verified_at")),
    (login_links, ("created_at", "ends_at")),
    (login_challenges, ("created_at", "ends_at")),
    (api_tokens, ("created_at", "ends_at", "last_used_at")),
)


def shift_waits(c: Connection, by: int) -> None:
    """The clock was moved by that many microseconds: move what waits for a time, and logins, with it, and say so."""
    for table in _WAITING:
        c.execute(update(table).where(table.c.wake_at.is_not(None)).values(wake_at=table.c.wake_at + by))
    for table, columns in _LOGINS:
        c.execute(update(table).values({name: table.c[name] + by for name in columns}))
    record_jump(c, by)


def record_jump(c: Connection, by: int) -> None:
    """The wall clock was moved."""
    events.record(c, "clock.jumped", data={"seconds": round(by / 1_000_000, 1)})


def meet_clock(c: Connection, newest: Micros | None) -> None:
    """A daemon begins, and `newest` is when the last event before it was recorded: what no later clock can deny."""
    at = now(c)
    if newest is None:
        return
    c.execute(delete(meta).where(meta.c.key == KNOWN_AT))
    c.execute(insert(meta).values(key=KNOWN_AT, value=str(newest)))
    if newest > at + TOLERANCE:
        shift_waits(c, at - newest)


def newest_event_at(c: Connection) -> Micros | None:
    """When the newest event was recorded."""
    found = c.execute(select(event_rows.c.at).order_by(event_rows.c.id.desc()).limit(1)).scalar_one_or_none()
    return None if found is None else Micros(found)


class ClockWatch:
    """Compares the wall clock with the one that only goes forward, every few seconds."""

    def __init__(self, store: Store) -> None:
        self._store, self._clock = store, store.clock
        self._wall, self._steady = self._clock.now(), self._clock.monotonic()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> int:
        """Look once; by how many microseconds the wall clock has jumped."""
        wall, steady = self._clock.now(), self._clock.monotonic()
        jumped = wall - self._wall - round((steady - self._steady) * 1_000_000)
        self._wall, self._steady = wall, steady
        if jumped < -TOLERANCE:
            log.warning("the clock went back", seconds=-jumped / 1_000_000)
            await self._store.write_when_possible(shift_waits, jumped)
        elif jumped > FORWARD:
            log.warning("the clock went forward, or the machine slept", seconds=jumped / 1_000_000)
            await self._store.write_when_possible(record_jump, jumped)
        return jumped


class SteadyTime:
    """The time for what cannot be undone: never ahead of what events from before this daemon and its own running tell.

    A clock that jumps forward, or was wrong when the machine started, makes nothing old. The price: what became old
    while no daemon ran goes a daemon later.
    """

    def __init__(self, clock: Clock, known_at: Micros | None) -> None:
        self._clock = clock
        wall = clock.now()
        self._base = wall if known_at is None else Micros(min(wall, known_at))
        self._began = clock.monotonic()

    def now(self) -> Micros:
        """Microseconds since 1970, as `Clock.now`."""
        passed = round((self._clock.monotonic() - self._began) * 1_000_000)
        return Micros(min(self._clock.now(), self._base + passed))


def known_at(c: Connection) -> Micros | None:
    """When the last event before this daemon was recorded; None in the first."""
    found = c.execute(select(meta.c.value).where(meta.c.key == KNOWN_AT)).scalar_one_or_none()
    return None if found is None else Micros(int(found))
