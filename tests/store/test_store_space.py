"""Room on the disk: levels, the ballast, the read-only mode and its end; checks of the database; torn files (I-17)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from melipona.clock import ManualClock
from melipona.errors import StoreError, StoreFull, StoreUnusable
from melipona.settings import StoreSettings
from melipona.store import events
from melipona.store.check import WEEK, Checks, due, quick_check
from melipona.store.disk import DiskWatch
from melipona.store.engine import Store
from melipona.store.epochs import begin_epoch, end_epoch
from melipona.store.space import BALLAST, Level, Space, floor_of, level_of, short_of_room

from .faults_child import keys, put

pytestmark = pytest.mark.anyio

MIB = 1 << 20
SETTINGS = StoreSettings(ballast_bytes=8 * MIB, floor_bytes=20 * MIB, floor_percent=0)


class Disk:
    """A disk whose free space the test chooses; the ballast takes part of it."""

    def __init__(self, data: Path) -> None:
        self.data, self.free = data, 1000 * MIB

    def measure(self, folder: Path) -> tuple[int, int]:
        assert folder == self.data
        taken = 8 * MIB if (self.data / BALLAST).exists() else 0
        return max(0, self.free - taken), 2000 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
def space(disk: Disk) -> Space:
    made = Space(disk.data, SETTINGS, measure=disk.measure)
    assert made.begin() is Level.OK
    return made


@pytest.fixture
async def store(tmp_path: Path, space: Space) -> AsyncIterator[Store]:
    made = await Store.open(tmp_path / "mel.db", ManualClock(), space=space)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("percent", "size", "wanted"),
    [(5, 2048, 2048), (5, 4096, 3000), (0, 1000, 1000), (5, 0, 3000), (0, 0, 0)],
)
async def test_the_floor_is_the_smaller_of_the_limits_that_are_set(percent: float, size: int, wanted: int) -> None:
    assert floor_of(StoreSettings(floor_percent=percent, floor_bytes=size), 60_000) == wanted


async def test_levels_do_not_flutter() -> None:
    """Low ends a tenth above the floor, full ends above the floor."""
    assert level_of(100, 100, 10, Level.OK) is Level.OK
    assert level_of(99, 100, 10, Level.OK) is Level.LOW
    assert level_of(105, 100, 10, Level.LOW) is Level.LOW
    assert level_of(111, 100, 10, Level.LOW) is Level.OK
    assert level_of(9, 100, 10, Level.OK) is Level.FULL
    assert level_of(99, 100, 10, Level.FULL) is Level.FULL
    assert level_of(115, 100, 10, Level.FULL) is Level.OK


async def test_the_ballast_takes_real_room_and_is_private(space: Space) -> None:
    ballast = space.data / BALLAST
    assert ballast.stat().st_blocks * 512 >= 8 * MIB
    assert ballast.stat().st_mode & 0o777 == 0o600
    ballast.write_bytes(b"cut short")
    assert space.make_ballast()
    assert ballast.stat().st_blocks * 512 >= 8 * MIB


async def test_a_full_disk_refuses_what_is_new_and_lets_the_rest_use_the_ballast(store: Store, space: Space) -> None:
    """Section 7 line 31: read-only with a clear notice; what ends things may write."""
    await store.write(put, "before")
    space.filled()
    assert not (space.data / BALLAST).exists()
    for _ in range(3):
        with pytest.raises(StoreFull, match="only reads") as refused:
            await store.write(put, "new")
        assert "destroy NAME --purge" in refused.value.remedy
    assert await store.reserved.write(put, "an end") == "an end"
    assert await store.write_when_possible(put, "a turn's end") == "a turn's end"
    assert await store.read(keys) == ["a turn's end", "an end", "before"]
    assert not store.has_room
    assert "full" in short_of_room(space)


async def test_the_mode_begins_with_the_first_write_that_finds_no_room(store: Store, space: Space) -> None:
    """Also when statvfs still shows some: a quota, or blocks kept for root."""

    def limit(c: Connection) -> None:
        pages = c.exec_driver_sql("PRAGMA page_count").scalar_one()
        c.exec_driver_sql(f"PRAGMA max_page_count={pages}").all()

    await store.write(limit)
    with pytest.raises(StoreFull, match="only reads"):
        await store.write(put, "big", "x" * 500_000)
    assert space.full


async def test_the_watch_tells_what_changed_and_leaves_the_mode_by_itself(
    store: Store, space: Space, disk: Disk
) -> None:
    """I-17: goes on by itself when the cause is gone, and only then."""
    notices: list[str] = []
    watch = DiskWatch(store, space, lambda c, text: notices.append(text))
    await watch.look()
    assert await told(store) == []
    disk.free = 27 * MIB  # 19 with the ballast
    await watch.look()
    assert (space.level, await told(store)) == (Level.LOW, ["disk.low"])
    disk.free = 9 * MIB
    await watch.look()
    assert (space.level, await told(store)) == (Level.FULL, ["disk.low", "disk.full"])
    with pytest.raises(StoreFull):
        await store.write(put, "refused")
    disk.free = 27 * MIB  # above the floor, but not with the ballast back in place
    await watch.look()
    assert space.full
    disk.free = 100 * MIB
    await watch.look()
    assert (space.level, await told(store)) == (Level.OK, ["disk.low", "disk.full", "disk.ok"])
    assert (space.data / BALLAST).stat().st_size == 8 * MIB
    assert notices == [
        "The disk was full and there is room again: the hive goes on. Nothing that was acknowledged is lost; "
        "1 changes were refused meanwhile."
    ]
    assert await store.write(put, "new") == "new"


async def told(store: Store) -> list[str]:
    return [event.kind for event in await store.read(events.after, 0) if event.kind.startswith("disk.")]


async def test_a_start_on_a_full_disk_lets_the_ballast_go_first(disk: Disk) -> None:
    first = Space(disk.data, SETTINGS, measure=disk.measure)
    first.begin()
    disk.free = 9 * MIB
    second = Space(disk.data, SETTINGS, measure=disk.measure)
    assert second.begin() is Level.FULL
    assert not (disk.data / BALLAST).exists()


async def test_no_waiting_for_room_once_the_daemon_ends(store: Store) -> None:
    """`mel down` does not hang on a full disk."""

    def full(_: Connection) -> None:
        raise StoreFull("no room")

    waiting = asyncio.create_task(store.write_when_possible(full))
    await asyncio.sleep(0)
    assert not waiting.done()
    store.stop_waiting()
    async with asyncio.timeout(20):
        with pytest.raises(StoreFull):
            await waiting


async def test_reads_of_many_short_statements_are_stopped_too(store: Store) -> None:
    """SECURITY.md 6.2: reader age limit 30 s. No single statement is long enough for the limit of a statement."""
    clock = store.clock
    assert isinstance(clock, ManualClock)
    begun, over = threading.Event(), threading.Event()

    def look(c: Connection) -> None:
        while not over.is_set():
            c.exec_driver_sql(
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n LIMIT 5000) SELECT 1 FROM n"
            )
            begun.set()

    reading = asyncio.create_task(store.read(look))
    await asyncio.to_thread(begun.wait, 20)
    clock.advance(timedelta(seconds=31))
    assert store.oldest_read() > 30
    try:
        async with asyncio.timeout(30):
            while not reading.done():
                store.stop_old_reads()
                await asyncio.sleep(0)
        with pytest.raises(StoreError):
            await reading
    finally:
        over.set()
    assert store.oldest_read() == 0


# ---- checks ---------------------------------------------------------------------------------------------------------


async def test_a_check_is_due_after_an_unclean_end_and_weekly(store: Store) -> None:
    """SECURITY.md 6.2; a check that a crash cut off is made up for."""
    clock = store.clock
    assert isinstance(clock, ManualClock)
    checks = Checks(store, lambda c, text: None)
    life = {"host": "h", "pid": 1, "version": "1"}
    await store.write(begin_epoch, **life)
    assert await store.read(due) is None
    clock.advance(timedelta(minutes=1))
    epoch = await store.write(begin_epoch, **life)
    assert await store.read(due) == "unclean_end"
    clock.advance(timedelta(seconds=1))
    found = await checks.check_if_due()
    assert found is not None
    assert found.result == "ok"
    assert await store.read(due) is None
    await store.write(end_epoch, epoch, why="stopped")
    await store.write(begin_epoch, **life)
    assert await checks.check_if_due() is None
    clock.advance(WEEK)
    assert await store.read(due) == "weekly"
    assert await checks.check_if_due() is not None
    assert [event.kind for event in await store.read(events.after, 0)].count("store.checked") == 2


async def test_a_torn_page_is_found_and_told(tmp_path: Path, store: Store) -> None:
    """The last page of the database half written by a disk that lies: the check says so, the operator is told."""
    await asyncio.gather(*(store.write(put, f"k{number:04}", "x" * 900) for number in range(300)))
    await store.close()
    path = tmp_path / "mel.db"
    with closing(sqlite3.connect(path)) as c:
        page, pages = (c.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count"))
    with path.open("r+b") as file:
        file.seek((pages - 1) * page + 8)
        file.write(b"\xa5" * (page // 2))
    assert quick_check(path).result == "damaged"
    again = await Store.open(path, ManualClock())
    try:
        await again.write(begin_epoch, host="h", pid=1, version="1")
        await again.write(begin_epoch, host="h", pid=1, version="1")
        notices: list[str] = []
        found = await Checks(again, lambda c, text: notices.append(text)).check_if_due()
        assert found is not None
        assert (found.result, len(notices)) == ("damaged", 1)
        assert "mel backup" in notices[0]
    finally:
        await again.close()


async def test_a_check_is_bounded(tmp_path: Path, store: Store) -> None:
    """A large database on a slow disk: the check's snapshot must not keep the WAL growing for ever."""
    await asyncio.gather(*(store.write(put, f"k{number:04}", "x" * 4000) for number in range(200)))
    stop = threading.Event()
    stop.set()
    assert quick_check(tmp_path / "mel.db", stop).result == "cut"
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnusable):
        quick_check(tmp_path / "folder")


# ---- what is found at the next start --------------------------------------------------------------------------------


async def test_a_torn_end_of_the_wal_is_cut_off(tmp_path: Path, store: Store) -> None:
    """What a power loss leaves after the last synced commit is no part of the database."""
    for number in range(20):
        await store.write(put, f"k{number}")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("mel.db", "mel.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    with (copy / "mel.db-wal").open("ab") as file:
        file.write(b"\x5a" * 3000)
    again = await Store.open(copy / "mel.db", ManualClock())
    try:
        assert len(await again.read(keys)) == 20
        assert quick_check(copy / "mel.db").result == "ok"
    finally:
        await again.close()


async def test_a_wal_that_was_deleted_while_down_leaves_a_whole_older_database(tmp_path: Path, store: Store) -> None:
    """What was folded in is there, and no change without its event; the rest went with the file that somebody
    deleted, which no program can bring back. An orderly end leaves no WAL to delete."""
    await store.write(put, "folded")
    await store.write(lambda c: None)
    with closing(sqlite3.connect(tmp_path / "mel.db")) as c:
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    await store.write(put, "in the log")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "mel.db").write_bytes((tmp_path / "mel.db").read_bytes())
    again = await Store.open(copy / "mel.db", ManualClock())
    try:
        assert await again.read(keys) == ["folded"]
        assert quick_check(copy / "mel.db").result == "ok"
        assert {e.subject for e in await again.read(events.after, 0)} == {"folded"}
    finally:
        await again.close()
    await store.close()
    assert not (tmp_path / "mel.db-wal").exists()
