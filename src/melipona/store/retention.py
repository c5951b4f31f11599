"""What goes by age: handled mail, recorded answers of calls, logs of turns, old spending, ended logins, sealed events.

Every step is a small transaction, so that mail goes on between them. Events go only in whole sealed runs from the
oldest on, and their seals stay (D-32). The figures of turns stay for ever, their logs do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from sqlalchemy import ColumnElement, Connection, Table, delete, func, or_, select, update

from melipona.clock import Micros, later
from melipona.errors import StoreError
from melipona.faults import fault_here
from melipona.settings import Settings
from melipona.store.engine import Store
from melipona.store.jumps import SteadyTime, known_at
from melipona.store.schema import (
    api_tokens,
    calls,
    event_seals,
    events,
    login_challenges,
    login_links,
    sessions,
    spend,
    turns,
)

STEP = 500
"""Rows of one transaction."""
EVERY = timedelta(hours=6)
CALLS = timedelta(days=7)
"""Recorded answers serve repeated calls (D-23), which come within minutes."""
SPEND = timedelta(days=400)
LOGINS = timedelta(days=30)
"""Ended sessions, tokens and links stay this long for whoever asks who was in. Their events stay as events do."""
CHALLENGES = timedelta(days=1)
"""A challenge is good for minutes; that it was answered must be known for as long as it could be brought again."""


class CleansMail(Protocol):
    """Deletes mail that was handled long before `at`; returns how many messages."""

    async def clean_up(self, at: Micros) -> int: ...


class Retention:
    """Removes what is old, at the start and every few hours."""

    def __init__(self, store: Store, mail: CleansMail, settings: Settings, data: Path) -> None:
        self._store, self._mail, self._settings, self._data = store, mail, settings, data
        self._time: SteadyTime | None = None

    async def run(self) -> None:
        """Clean up until cancelled. A store that refuses is tried again the next time."""
        while not self._store.broken.is_set():
            try:
                await self.clean_up()
            except StoreError:
                pass
            await asyncio.sleep(EVERY.total_seconds())

    async def clean_up(self) -> dict[str, int]:
        """Remove what is old now; how many of what."""
        if self._time is None:
            self._time = SteadyTime(self._store.clock, await self._store.read(known_at))
        at = self._time.now()
        turns_days, events_days = self._settings.turns.log_days, self._settings.events.keep_days
        return {
            "messages": await self._mail.clean_up(at),
            "calls": await self._all(delete_calls, at, CALLS),
            "spend": await self._all(delete_spend, at, SPEND),
            "sessions": await self._all(delete_sessions, at, LOGINS),
            "tokens": await self._all(delete_tokens, at, LOGINS),
            "login_links": await self._all(delete_links, at, LOGINS),
            "challenges": await self._all(delete_challenges, at, CHALLENGES),
            "turn_logs": await self._turn_logs(at, timedelta(days=turns_days)) if turns_days else 0,
            "events": await self._all(delete_events, at, timedelta(days=events_days)) if events_days else 0,
        }

    async def _all(self, step: Callable[[Connection, Micros], int], at: Micros, age: timedelta) -> int:
        before = later(at, -age)
        return await _until_none(lambda: self._store.reserved.write(step, before))

    async def _turn_logs(self, at: Micros, age: timedelta) -> int:
        before = later(at, -age)
        removed = 0
        while found := await self._store.read(old_logs, before):
            # First the files: a crash in between finds a row whose file is gone, and only forgets it.
            removed += await asyncio.to_thread(remove_logs, self._data, [path for _, path in found])
            await self._store.reserved.write(forget_logs, [turn for turn, _ in found])
        return removed


async def _until_none(step: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while deleted := await step():
        total += deleted
    return total


def delete_calls(c: Connection, before: Micros) -> int:
    """Delete some of the answers recorded before `before`; 0 when none is left."""
    old = select(calls.c.key).where(calls.c.at < before).limit(STEP)
    return c.execute(delete(calls).where(calls.c.key.in_(old))).rowcount


def delete_spend(c: Connection, before: Micros) -> int:
    """Delete some of the settled spending from before `before`; 0 when none is left. The ids follow the time."""
    first = select(spend.c.id, spend.c.at, spend.c.state).order_by(spend.c.id).limit(STEP)
    old = [row.id for row in c.execute(first) if row.at < before and row.state != "reserved"]
    return c.execute(delete(spend).where(spend.c.id.in_(old))).rowcount if old else 0


def delete_sessions(c: Connection, before: Micros) -> int:
    """Delete some of the sessions that ended before `before`, by their time, by rest or by being revoked."""
    s = sessions.c
    return _delete_some(c, sessions, s.id_hash, or_(s.ends_at < before, s.idle_ends_at < before, s.revoked_at < before))


def delete_tokens(c: Connection, before: Micros) -> int:
    """Delete some of the API tokens that ended or were revoked before `before`."""
    t = api_tokens.c
    return _delete_some(c, api_tokens, t.id, or_(t.ends_at < before, t.revoked_at < before))


def delete_links(c: Connection, before: Micros) -> int:
    """Delete some of the login links that ended or were used before `before`."""
    links = login_links.c
    return _delete_some(c, login_links, links.token_hash, or_(links.ends_at < before, links.used_at < before))


def delete_challenges(c: Connection, before: Micros) -> int:
    """Delete some of the challenges of logins that ended before `before`, answered or not."""
    return _delete_some(c, login_challenges, login_challenges.c.id_hash, login_challenges.c.ends_at < before)


def _delete_some(c: Connection, table: Table, key: ColumnElement[str], over: ColumnElement[bool]) -> int:
    return c.execute(delete(table).where(key.in_(select(key).where(over).limit(STEP)))).rowcount


def delete_events(c: Connection, before: Micros) -> int:
    """Delete the events of the oldest seal that still has any, if it was made before `before`. The newest stays."""
    s = event_seals.c
    first = select(func.min(events.c.id)).scalar_subquery()
    found = c.execute(select(s.last, s.first, s.sealed_at).where(s.last >= first).order_by(s.last).limit(2)).all()
    if len(found) < 2 or found[0].sealed_at >= before:
        return 0
    seal = found[0]
    c.execute(update(event_seals).where(s.last == seal.last).values(pruned=1))
    return c.execute(delete(events).where(events.c.id.between(seal.first, seal.last))).rowcount


def old_logs(c: Connection, before: Micros) -> list[tuple[int, str]]:
    """Some turns that ended before `before` and have a log: id and path. The ids follow the time."""
    query = (
        select(turns.c.id, turns.c.log_path)
        .where(turns.c.log_path.is_not(None), turns.c.state == "ended", turns.c.ended_at < before)
        .order_by(turns.c.id)
        .limit(STEP)
    )
    return [(row.id, row.log_path) for row in c.execute(query)]


def forget_logs(c: Connection, ids: list[int]) -> None:
    """These turns have no log any more."""
    c.execute(update(turns).where(turns.c.id.in_(ids)).values(log_path=None))


def remove_logs(data: Path, paths: list[str]) -> int:
    """Remove files below `DATA/turns`, the only place where logs lie; how many there were."""
    removed = 0
    for path in paths:
        file = data / path
        if file.parent.parent == data / "turns" and ".." not in file.parts:
            removed += file.is_file()
            fault_here("store.turn_log.before_unlink")
            file.unlink(missing_ok=True)
            fault_here("store.turn_log.after_unlink")
    return removed
