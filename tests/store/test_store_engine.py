"""One writer, group commit, readers that cannot write, events with their change: the promises of the store."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, func, insert, literal, select, text, update

from melipona.clock import ManualClock
from melipona.errors import Bug, Refused, StoreError, StoreFull, StoreUnusable
from melipona.store import events
from melipona.store import writer as writing
from melipona.store.engine import Event, Store, now, request_id
from melipona.store.hot import Hot
from melipona.store.schema import events as events_table
from melipona.store.schema import meta
from melipona.store.sqlite import PRAGMAS, READER, WRITER

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "mel.db", ManualClock())
    yield opened
    await opened.close()


def put(c: Connection, key: str, value: str = "") -> str:
    c.execute(insert(meta).values(key=key, value=value))
    events.record(c, "meta.put", subject=key)
    return key


def put_and_fail(c: Connection, key: str, error: BaseException) -> None:
    put(c, key)
    raise error


def keys(c: Connection) -> set[str]:
    return set(c.execute(select(meta.c.key).where(meta.c.key.not_in(("store_id", "created_at")))).scalars())


def subjects(c: Connection) -> list[str]:
    return list(c.execute(select(events_table.c.subject).order_by(events_table.c.id)).scalars())


class Statements:
    """What the writer's connection executes."""

    def __init__(self, store: Store) -> None:
        self.seen: list[str] = []
        self._store = store

    async def __aenter__(self) -> list[str]:
        await self._store.write(lambda c: self._trace(c, self.seen.append))
        self.seen.clear()
        return self.seen

    async def __aexit__(self, *_: object) -> None:
        await self._store.write(lambda c: self._trace(c, None))

    def _trace(self, c: Connection, callback: Any) -> None:
        driver: Any = c.connection.driver_connection
        driver.set_trace_callback(callback)


async def held(store: Store) -> asyncio.Task[None]:
    """Keep the writer busy until the returned task's event is set, so that the next writes form one batch."""
    import threading

    go, began = threading.Event(), threading.Event()

    def wait(c: Connection) -> None:
        began.set()
        assert go.wait(20)

    task = asyncio.create_task(store.write(wait))
    await asyncio.to_thread(began.wait)
    asyncio.get_running_loop().call_later(0.05, go.set)
    return task


async def batch(store: Store, *jobs: Any) -> list[Any]:
    """Have these coroutines of `write` in one batch."""
    first = await held(store)
    found = await asyncio.gather(*jobs, return_exceptions=True)
    await first
    return found


# ---- group commit ---------------------------------------------------------------------------------------------------


async def test_operations_that_wait_are_committed_together(store: Store) -> None:
    """PERFORMANCE.md rule 3: batch = whatever is queued, one commit."""
    async with Statements(store) as seen:
        await batch(store, *(store.write(put, f"k{number}") for number in range(20)))
        commits = seen.count("COMMIT")
    assert commits == 2, "one for the operation that held the writer, one for the twenty"
    assert len(await store.read(keys)) == 20


async def test_a_lone_operation_takes_no_savepoint(store: Store) -> None:
    """PERFORMANCE.md rule 4."""
    async with Statements(store) as seen:
        await store.write(put, "a")
        assert not [line for line in seen if line.startswith("SAVEPOINT")]
        seen.clear()
        await batch(store, store.write(put, "b"), store.write(put, "c"))
        assert len([line for line in seen if line.startswith("SAVEPOINT")]) == 2


async def test_a_failing_operation_leaves_its_neighbours_alone(store: Store) -> None:
    """SECURITY.md 6.2: an operation that fails must not fail its neighbours."""
    told: list[str | None] = []
    store.subscribe(lambda news: told.extend(event.subject for event in news))
    found = await batch(
        store,
        store.write(put, "a"),
        store.write(put_and_fail, "b", Refused("no")),
        store.write(put, "a"),
        store.write(put_and_fail, "c", ValueError("mine")),
        store.write(put, "d"),
    )
    assert found[0] == "a"
    assert isinstance(found[1], Refused)
    assert isinstance(found[2], StoreError), "a second row with this key"
    assert isinstance(found[3], ValueError)
    assert found[4] == "d"
    assert await store.read(keys) == {"a", "d"}
    assert await store.read(subjects) == ["a", "d"] == told


async def test_a_failing_lone_operation_stores_nothing(store: Store) -> None:
    with pytest.raises(Refused):
        await store.write(put_and_fail, "b", Refused("no"))
    assert await store.read(keys) == set()
    assert await store.write(put, "b") == "b"


@pytest.mark.parametrize("error", [StopIteration(1), KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(3)])
async def test_no_odd_exception_leaves_a_caller_waiting(store: Store, error: BaseException) -> None:
    """A future cannot carry every exception, and none may end the loop; neighbours are answered."""
    async with asyncio.timeout(20):
        found = await batch(store, store.write(put_and_fail, "b", error), store.write(put, "z"))
    assert isinstance(found[0], Bug)
    assert await store.read(keys) == {"z"}


async def test_a_statement_left_open_fails_but_does_not_end_the_writer(store: Store) -> None:
    """A cursor of INSERT ... RETURNING that is kept open cannot be released: everybody is answered all the same."""
    kept: list[Any] = []

    def leak(c: Connection) -> None:
        driver: Any = c.connection.driver_connection
        statement = "INSERT INTO meta VALUES ('l1', ''), ('l2', '') RETURNING key"
        cursor = driver.execute(statement)
        kept.append((cursor, cursor.fetchone()))

    async with asyncio.timeout(20):
        found = await batch(store, store.write(put, "a"), store.write(leak), store.write(put, "b"))
    kept.clear()
    gc.collect()
    stored = await store.read(keys)
    answered = {value for value in found if isinstance(value, str)}
    assert answered <= stored
    assert all(isinstance(value, StoreError) or value is None or isinstance(value, str) for value in found)
    assert await store.write(put, "later") == "later"


async def test_each_waiter_gets_an_error_of_its_own(store: Store) -> None:
    """One exception raised in many tasks would grow a traceback for each of them."""

    def too_much(c: Connection) -> None:
        c.exec_driver_sql("ROLLBACK")
        raise sqlite3.OperationalError("gone")

    found = await batch(store, store.write(put, "a"), store.write(too_much), store.write(put, "b"))
    assert all(isinstance(error, StoreError) for error in found)
    assert len({id(error) for error in found}) == 3
    assert await store.read(keys) == set()
    assert await store.write(put, "c") == "c"


async def test_a_burst_of_ten_thousand_is_answered_in_order(store: Store) -> None:
    """Nothing is lost or mixed up; events are numbered in the order of the changes."""
    told: list[int] = []
    store.subscribe(lambda news: told.extend(event.id for event in news))
    found = await asyncio.gather(*(store.write(put, f"k{number}") for number in range(10_000)))
    assert found == [f"k{number}" for number in range(10_000)]
    assert await store.read(subjects) == found
    assert told == list(range(1, 10_001))


async def test_a_cancelled_caller_does_not_undo_its_operation(store: Store) -> None:
    """Documented: the change and its event stand."""
    told: list[str | None] = []
    store.subscribe(lambda news: told.extend(event.subject for event in news))
    first = await held(store)
    task = asyncio.create_task(store.write(put, "a"))
    other = asyncio.create_task(store.write(put, "b"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.gather(first, other)
    assert await store.read(keys) == {"a", "b"}
    assert told == ["a", "b"]


# ---- events ---------------------------------------------------------------------------------------------------------


async def test_an_event_has_the_change_s_time_request_and_number(store: Store) -> None:
    """D-41, OP-8: the event number is the row id."""
    told: list[Event] = []
    store.subscribe(told.extend)
    token = request_id.set("r1")
    number = await store.write(lambda c: events.record(c, "a.b", agent="ana", subject="m1", by="ben", data={"ü": 1}))
    request_id.reset(token)
    assert told == [Event(number, store.clock.now(), "a.b", "ana", "m1", "ben", "r1", '{"ü":1}')]
    assert await store.read(events.after, 0) == told
    assert await store.read(events.last_number) == number


async def test_a_lone_surrogate_does_not_fail_a_change(store: Store) -> None:
    """Hostile JSON can hold one; text that SQLite cannot store must not end a turn."""
    await store.write(lambda c: events.record(c, "a.b", data={"text": "x\ud800yü"}))
    (event,) = await store.read(events.after, 0)
    assert event.data == '{"text":"x?yü"}'


async def test_a_failing_subscriber_keeps_no_other_from_its_events(store: Store) -> None:
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))
    told: list[Event] = []

    def broken(_: Sequence[Event]) -> None:
        raise ValueError("mine")

    store.subscribe(broken)
    end = store.subscribe(told.extend)
    await store.write(put, "a")
    assert [type(problem) for problem in problems] == [ValueError]
    assert len(told) == 1
    end()
    end()
    await store.write(put, "b")
    assert len(told) == 1


async def test_event_numbers_are_never_used_again(tmp_path: Path) -> None:
    """OP-8: monotonic across restarts, also when the newest were rolled back."""
    first = await Store.open(tmp_path / "mel.db", ManualClock())
    await first.write(put, "a")
    with pytest.raises(Refused):
        await first.write(put_and_fail, "b", Refused("no"))
    await first.close()
    second = await Store.open(tmp_path / "mel.db", ManualClock())
    await second.write(put, "c")
    assert [event.id for event in await second.read(events.after, 0)] == [1, 2]
    await second.close()


async def test_pages_of_events_are_narrowed(store: Store) -> None:
    def fill(c: Connection) -> None:
        for kind in ("turn.started", "turn.ended", "turning.x", "mail_.x"):
            for agent in ("ana", "ben"):
                events.record(c, kind, agent=agent)

    await store.write(fill)
    assert len(await store.read(lambda c: events.after(c, 0, kind="turn."))) == 4
    assert len(await store.read(lambda c: events.before(c, None, kind="turn.ended", agent="ana"))) == 1
    assert [event.id for event in await store.read(lambda c: events.before(c, 3))] == [2, 1]
    assert len(await store.read(lambda c: events.after(c, 6, limit=1))) == 1


# ---- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["INSERT INTO meta VALUES ('a', '')", "CREATE TABLE t(x)", "DROP TABLE meta"])
async def test_a_reading_operation_cannot_write(store: Store, statement: str) -> None:
    """SECURITY.md section 7 line 32: readers are `query_only`."""
    with pytest.raises(Bug):
        await store.read(lambda c: c.exec_driver_sql(statement))
    assert await store.read(keys) == set()


async def test_a_read_sees_one_moment(store: Store) -> None:
    """A snapshot: what is committed meanwhile is not seen."""
    import threading

    first, go = threading.Event(), threading.Event()

    def look(c: Connection) -> tuple[set[str], set[str]]:
        before = keys(c)
        first.set()
        assert go.wait(20)
        return before, keys(c)

    task = asyncio.create_task(store.read(look))
    await asyncio.to_thread(first.wait)
    await store.write(put, "a")
    go.set()
    assert await task == (set(), set())
    assert await store.read(keys) == {"a"}


async def test_a_read_that_takes_too_long_is_stopped(store: Store) -> None:
    """SECURITY.md 6.2: a reader that never ends keeps the WAL growing: age limit 30 s."""
    clock = store.clock
    assert isinstance(clock, ManualClock)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n) SELECT count(*) FROM n"

    def look(c: Connection) -> None:
        clock.advance(timedelta(seconds=31))
        c.exec_driver_sql(endless).all()

    async with asyncio.timeout(60):
        with pytest.raises(StoreError) as caught:
            await store.read(look)
    assert caught.value.code == "read_too_long"
    assert await store.read(keys) == set(), "the reader goes on"


async def test_errors_of_a_read_reach_the_caller(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.read(lambda c: c.execute(text("SELECT * FROM nothing")))
    with pytest.raises(Refused):
        await store.read(lambda c: put_and_fail_nothing(c))


def put_and_fail_nothing(_: Connection) -> None:
    raise Refused("no")


# ---- connections ----------------------------------------------------------------------------------------------------


def pragmas(c: Connection) -> dict[str, Any]:
    return {name: c.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in {**PRAGMAS, **READER, **WRITER}}


async def test_every_connection_has_its_pragmas(store: Store) -> None:
    """PERFORMANCE.md rule 1, SECURITY.md section 7 line 32."""
    written = await store.write(pragmas)
    assert {name: written[name] for name in PRAGMAS | WRITER} == PRAGMAS | WRITER
    assert written["wal_autocheckpoint"] == 0
    for found in await asyncio.gather(*(store.read(pragmas) for _ in range(8))):
        assert {name: found[name] for name in PRAGMAS | READER} == PRAGMAS | READER


async def test_a_connection_without_its_pragmas_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system where WAL cannot be had must not be used silently."""
    from melipona.store import sqlite

    monkeypatch.setitem(sqlite.PRAGMAS, "journal_mode", "memory_of_fish")
    with pytest.raises(StoreUnusable, match="journal_mode"):
        sqlite.connect(tmp_path / "mel.db", reader=False)


async def test_closing_finishes_what_is_queued(tmp_path: Path) -> None:
    """Nothing that was accepted is dropped; afterwards there is one file without a WAL."""
    store = await Store.open(tmp_path / "mel.db", ManualClock())
    first = await held(store)
    tasks = [asyncio.create_task(store.write(put, f"k{number}")) for number in range(100)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*tasks) == [f"k{number}" for number in range(100)]
    await first
    for use in (store.write(put, "late"), store.read(keys)):
        with pytest.raises(StoreUnusable):
            await use
    await store.close()
    assert not (tmp_path / "mel.db-wal").exists()
    with sqlite3.connect(tmp_path / "mel.db") as c:
        assert c.execute("SELECT count(*) FROM events").fetchone() == (100,)
    c.close()


async def test_the_wal_is_cut_when_nothing_happens(tmp_path: Path) -> None:
    """SECURITY.md 6.2: checkpoint by the writer at idle."""
    store = await Store.open(tmp_path / "mel.db", ManualClock(), idle=0.05)
    await store.write(put, "a")
    async with asyncio.timeout(20):
        while store.gauges()["store_wal_bytes"]:
            await asyncio.sleep(0.01)
    assert await store.write(put, "b") == "b"
    assert store.gauges()["store_wal_bytes"] > 0
    await store.close()


async def test_cutting_the_wal_waits_for_no_reader(tmp_path: Path) -> None:
    """The writer must not stand still behind a reader's snapshot."""
    import threading

    store = await Store.open(tmp_path / "mel.db", ManualClock(), idle=0.01)
    first, go = threading.Event(), threading.Event()

    def look(c: Connection) -> None:
        keys(c)
        first.set()
        assert go.wait(20)

    task = asyncio.create_task(store.read(look))
    await asyncio.to_thread(first.wait)
    await store.write(put, "a")
    await asyncio.sleep(0.1)
    async with asyncio.timeout(3):
        await store.write(put, "b")
    go.set()
    await task
    await store.close()


async def test_optimize_runs_at_idle_once_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PERFORMANCE.md rule 1."""
    seen: list[bool] = []
    original = writing.Writer._tidy  # pyright: ignore[reportPrivateUsage]

    def counted(self: writing.Writer, *, optimize: bool) -> None:
        seen.append(optimize)
        original(self, optimize=optimize)

    monkeypatch.setattr(writing.Writer, "_tidy", counted)
    clock = ManualClock()
    store = await Store.open(tmp_path / "mel.db", clock, idle=0.01)
    async with asyncio.timeout(20):
        for step in range(3):
            await store.write(put, f"{step}")
            while len(seen) <= step:
                await asyncio.sleep(0.01)
            clock.advance(timedelta(minutes=31))
    await store.close()
    assert seen == [False, False, True, True]


# ---- a full disk, as SQLite sees it ---------------------------------------------------------------------------------


def limit_pages(c: Connection, more: int) -> None:
    used = c.exec_driver_sql("PRAGMA page_count").scalar_one()
    c.exec_driver_sql(f"PRAGMA max_page_count={used + more}")


async def test_the_hives_own_loops_wait_for_room_and_then_store_once(store: Store) -> None:
    """I-17: goes on by itself when the cause is gone."""
    await store.write(limit_pages, 1)
    waiting = asyncio.create_task(store.write_when_possible(put, "big", "x" * 100_000))
    with pytest.raises(StoreFull):
        await store.write(put, "other", "x" * 100_000)
    assert not waiting.done()
    for _ in range(100):  # in one batch with the other it fails too, but for once
        with suppress(StoreFull):
            await store.write(limit_pages, 1000)
            break
    async with asyncio.timeout(30):
        await waiting
    assert await store.read(keys) == {"big"}


async def test_a_full_disk_stores_nothing_and_goes_on_when_there_is_room(store: Store) -> None:
    """I-17: a clear error, nothing half-written, resumes alone."""
    await store.write(put, "before")
    await store.write(limit_pages, 1)
    with pytest.raises(StoreFull) as caught:
        await store.write(put, "big", "x" * 100_000)
    assert "mel.db" in str(caught.value)
    assert caught.value.remedy
    found = await batch(store, store.write(put, "a"), store.write(put, "big", "x" * 100_000), store.write(put, "b"))
    stored = await store.read(keys)
    assert {value for value in found if isinstance(value, str)} == stored - {"before"}
    assert [value for value in found if isinstance(value, Exception)]
    assert all(isinstance(value, StoreFull) for value in found if not isinstance(value, str))
    assert await store.read(subjects) == ["before", *[value for value in found if isinstance(value, str)]]
    await store.write(limit_pages, 10_000)
    assert await store.write(put, "big", "x" * 100_000) == "big"
    assert not store.broken.is_set()


# ---- hot statements -------------------------------------------------------------------------------------------------


async def test_hot_statements_take_constants_and_names(store: Store) -> None:
    """A NULL constant is a constant, not a missing parameter."""
    add = Hot(insert(events_table).values(_event(agent=literal(None), subject=bindparam("p_subject"))))
    change = Hot(update(meta).where(meta.c.key == bindparam("p_key")).values(value=bindparam("p_value")))
    look = Hot(select(events_table.c.agent, events_table.c.subject).where(events_table.c.id == bindparam("p_id")))
    count = Hot(select(func.count()).select_from(meta))

    def work(c: Connection) -> None:
        number = add.insert(c, p_subject="m1")
        assert look.one(c, p_id=number) == (None, "m1")
        assert look.all(c, p_id=number) == [(None, "m1")]
        assert look.one(c, p_id=number + 1) is None
        assert count.one(c) == (2,)
        assert change.run(c, p_key="created_at", p_value="1") == 1
        assert change.run(c, p_key="nothing", p_value="1") == 0
        with pytest.raises(KeyError):
            look.one(c, p_other=1)
        assert now(c) == store.clock.now()

    await store.write(work)


def _event(**values: Any) -> dict[str, Any]:
    return {"at": 1, "kind": "a.b", "principal": "x", "data": "{}"} | values
