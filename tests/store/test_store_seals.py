"""The chain of seals shows every change to the events (D-32)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete

from melipona.clock import ManualClock, Micros
from melipona.errors import StoreError
from melipona.store import events as log
from melipona.store.engine import Store, now
from melipona.store.retention import delete_events
from melipona.store.schema import events
from melipona.store.seals import Sealer, Verification, head, seal, verify
from melipona.testing.store import temporary_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with temporary_store(tmp_path, ManualClock()) as opened:
        yield opened


def record(c: Connection, count: int, word: str = "x") -> None:
    for number in range(count):
        log.record(c, "test.made", agent="ana", data={"n": number, "word": word})


def seal_all(c: Connection, most: int = 10) -> None:
    while seal(c, now(c), most=most):
        pass


async def sealed(store: Store, count: int = 35) -> None:
    await store.write(record, count)
    await store.write(seal_all)


def tamper(store: Store, *statements: str) -> None:
    """As somebody would who has the file: triggers dropped."""
    with sqlite3.connect(store.path) as c:
        c.execute("DROP TRIGGER IF EXISTS events_no_update")
        c.execute("DROP TRIGGER IF EXISTS events_sealed_delete")
        for statement in statements:
            c.execute(statement)
    c.close()


async def test_an_untouched_chain_verifies(store: Store) -> None:
    """D-32: `mel events --verify`."""
    assert await store.read(verify) == Verification(True, None, "", 0)
    await sealed(store)
    await store.write(record, 3)
    found = await store.read(verify)
    assert (found.ok, found.count, found.unsealed, found.first_bad) == (True, 35, 3, None)
    assert found.head == await store.read(head) != ""


async def test_a_seal_never_covers_more_than_its_limit(store: Store) -> None:
    """D-32: every 1,000 events."""
    await store.write(record, 25)
    assert await store.write(lambda c: seal(c, now(c), most=10))
    assert await store.write(lambda c: seal(c, now(c), most=10))
    assert not await store.write(lambda c: seal(c, now(c), most=10))
    assert not await store.write(lambda c: seal(c, now(c), most=10))
    assert (await store.read(verify)).count == 25


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE events SET data='{}' WHERE id=15", 11),
        ("UPDATE events SET principal='operator' WHERE id=1", 1),
        ("UPDATE events SET at=at+1 WHERE id=35", 31),
        ("DELETE FROM events WHERE id=15", 11),
        ("DELETE FROM events WHERE id<=10", 1),
        ("DELETE FROM events WHERE id=35", 31),
        ("UPDATE events SET agent=NULL WHERE id=20", 11),
        ("UPDATE event_seals SET hash='00' WHERE last=10", 1),
        ("UPDATE event_seals SET sealed_at=1 WHERE last=20", 11),
        ("DELETE FROM event_seals WHERE last=20", 21),
        ("UPDATE event_seals SET pruned=1 WHERE last=20", 11),
        ("UPDATE event_seals SET pruned=1 WHERE last=10", 1),
    ],
)
async def test_a_change_with_the_triggers_dropped_is_found(store: Store, statement: str, first_bad: int) -> None:
    """SECURITY.md section 7 line 27: the events are sealed in a hash chain."""
    await sealed(store)
    tamper(store, statement)
    found = await store.read(verify)
    assert not found.ok
    assert found.problem
    assert found.first_bad == first_bad


async def test_an_event_put_between_is_found(store: Store) -> None:
    """A row added within a sealed run."""
    await sealed(store, 20)
    tamper(
        store,
        "UPDATE events SET id=100 WHERE id=7",
        "INSERT INTO events(id, at, kind, principal, data) VALUES (7, 1, 'a.b', 'operator', '{}')",
    )
    assert (await store.read(verify)).first_bad == 1


async def test_a_cut_off_end_is_found(store: Store) -> None:
    """Removing the newest events together with their seals."""
    await sealed(store)
    known = await store.read(head)
    tamper(store, "DELETE FROM events WHERE id>30", "DELETE FROM event_seals WHERE last>30")
    assert (await store.read(verify)).problem == "the newest events were removed"
    tamper(store, "UPDATE sqlite_sequence SET seq=30 WHERE name='events'")
    assert (await store.read(verify)).ok, "only a head kept elsewhere can show this"
    assert not (await store.read(lambda c: verify(c, known_head=known))).ok


async def test_a_head_that_was_kept_stays_in_the_chain(store: Store) -> None:
    """Backup prints the head."""
    await sealed(store, 20)
    known = await store.read(head)
    await sealed(store, 20)
    assert (await store.read(lambda c: verify(c, known_head=known))).ok


async def test_events_cannot_be_changed_or_removed_by_statements(store: Store) -> None:
    """D-32: append-only by trigger; REPLACE is a delete too."""
    await sealed(store)
    for statement in (
        "UPDATE events SET data='{}' WHERE id=1",
        "DELETE FROM events WHERE id=35",
        "DELETE FROM events WHERE id=1",
        "INSERT OR REPLACE INTO events(id, at, kind, principal, data) VALUES (1, 1, 'a.b', 'x', '{}')",
    ):
        with pytest.raises(StoreError):
            await store.write(lambda c, text=statement: c.exec_driver_sql(text))
    assert (await store.read(verify)).ok


async def test_only_whole_sealed_prefixes_go_and_their_seals_stay(store: Store) -> None:
    """D-32: retention."""
    clock = store.clock
    assert isinstance(clock, ManualClock)
    await sealed(store, 20)
    clock.advance(timedelta(days=2))
    await sealed(store, 15)
    before = Micros(clock.now() - 1)
    deleted = [await store.write(delete_events, before) for _ in range(4)]
    assert deleted == [10, 10, 0, 0]
    found = await store.read(verify)
    assert (found.ok, found.pruned, found.count) == (True, 20, 15)
    with pytest.raises(StoreError):
        await store.write(lambda c: c.execute(delete(events).where(events.c.id == 21)))
    clock.advance(timedelta(days=2))
    for expected in (10, 0):
        assert await store.write(delete_events, clock.now()) == expected
    assert await store.read(log.last_number) == 35, "the newest seal keeps its events, so numbers go on"


async def test_pruned_events_that_come_back_are_found(store: Store) -> None:
    await sealed(store, 20)
    assert isinstance(store.clock, ManualClock)
    store.clock.advance(timedelta(days=1))
    assert await store.write(delete_events, store.clock.now()) == 10
    tamper(store, "INSERT INTO events(id, at, kind, principal, data) VALUES (7, 1, 'a.b', 'operator', '{}')")
    assert (await store.read(verify)).first_bad == 1


async def wait_until(store: Store, wanted: Any, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not wanted(await store.read(verify)):
            await asyncio.sleep(0.01)


async def test_the_sealer_seals_as_events_come_and_rests_otherwise(store: Store) -> None:
    """D-32: every 1,000 events or 1 s; no work while nothing happens."""
    await store.write(record, 5)
    sealer = Sealer(store, most=10, within=0.05)
    task = asyncio.create_task(sealer.run())
    await wait_until(store, lambda found: found.count == 5)
    await store.write(record, 42)
    await wait_until(store, lambda found: found.count == 47)
    calls: list[int] = []
    original = store.write

    async def counted(*args: Any) -> Any:
        calls.append(1)
        return await original(*args)

    store.write = counted  # type: ignore[method-assign]
    await asyncio.sleep(0.2)
    assert not calls, "nothing is written while no event comes"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_full_run_is_sealed_without_waiting(store: Store) -> None:
    """1,000 events do not wait for the second."""
    sealer = Sealer(store, most=10, within=3600)
    task = asyncio.create_task(sealer.run())
    await asyncio.sleep(0)
    await store.write(record, 3)
    await store.write(record, 20)
    await wait_until(store, lambda found: found.count == 23)
    await store.write(record, 3)
    await sealer.finish()
    assert (await store.read(verify)).unsealed == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_sealer_tries_again_after_a_refusal(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """I-17: it goes on by itself when the cause is gone."""
    from melipona.store import seals

    original, failures = seals.seal, [StoreError("full"), StoreError("full")]

    def flaky(c: Connection, at: Micros, *, most: int = 0) -> bool:
        if failures:
            raise failures.pop()
        return original(c, at, most=most)

    monkeypatch.setattr(seals, "seal", flaky)
    await store.write(record, 5)
    task = asyncio.create_task(Sealer(store, within=0.01, again=0.01).run())
    await wait_until(store, lambda found: found.count == 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
