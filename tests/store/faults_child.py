"""Programs that the fault tests run in processes of their own: `python faults_child.py STORY DATABASE [MORE]`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from melipona.clock import SystemClock
from melipona.errors import OutcomeUnknown, StoreFull, StoreUnusable
from melipona.store import events
from melipona.store.engine import Store
from melipona.store.schema import meta


def put(c: Connection, key: str, value: str = "") -> str:
    c.execute(insert(meta).values(key=key, value=value))
    events.record(c, "meta.put", subject=key)
    return key


def keys(c: Connection) -> list[str]:
    query = select(meta.c.key).where(meta.c.key.not_in(("store_id", "created_at")))
    return sorted(c.execute(query).scalars())


async def failing_fsync(path: Path) -> None:
    """An fsync fails at commit: everybody is told that the outcome is unknown, nothing more is taken."""
    store = await Store.open(path, SystemClock())
    control = Path(os.environ["FAILING_DISK"])
    await store.write(put, "acknowledged")
    published: list[Any] = []
    store.subscribe(published.extend)
    control.write_text("fsync")
    found = await asyncio.gather(*(store.write(put, f"k{n}") for n in range(20)), return_exceptions=True)
    assert all(isinstance(each, OutcomeUnknown) for each in found), found
    assert len({id(each) for each in found}) == len(found)
    async with asyncio.timeout(5):
        await store.broken.wait()
    control.unlink()
    assert not published, "nothing that may not have happened is told"
    for use in (store.write(put, "late"), store.read(keys)):
        with pytest.raises(OutcomeUnknown, match=r"mel\.db") as caught:
            await use
        assert caught.value.remedy
    await store.close()
    print("told", flush=True)
    os._exit(75)


async def failing_checkpoint(path: Path) -> None:
    """An fsync fails while the WAL is folded in at idle: the store is given up too."""
    store = await Store.open(path, SystemClock(), idle=0.3)
    await store.write(put, "acknowledged")
    Path(os.environ["FAILING_DISK"]).write_text("fsync")
    async with asyncio.timeout(20):
        await store.broken.wait()
    print("told", flush=True)
    os._exit(75)


async def failing_folding(path: Path) -> None:
    """An fsync of the database fails while the WAL is folded in between commits, which themselves succeed."""
    store = await Store.open(path, SystemClock(), idle=600)
    await store.write(put, "acknowledged")
    Path(os.environ["FAILING_DISK"]).write_text("fsync mel.db")
    number = 0
    while not store.broken.is_set():
        number += 1
        assert number < 5000, "nobody has seen that the database could not be synced"
        try:
            await store.write(put, f"k{number}", "x" * 2000)
        except OutcomeUnknown:
            break
    await store.broken.wait()
    print("told", flush=True)
    os._exit(75)


async def full_disk(path: Path) -> None:
    """Writes fail for want of space, reads go on; with space again so do writes."""
    store = await Store.open(path, SystemClock())
    control = Path(os.environ["FAILING_DISK"])
    await store.write(put, "before")
    control.write_text("write")
    for n in range(3):
        found = await asyncio.gather(*(store.write(put, f"{n}-{m}") for m in range(5)), return_exceptions=True)
        assert all(isinstance(each, StoreFull) for each in found), found
        assert await store.read(keys) == ["before"]
    control.unlink()
    assert await store.write(put, "after") == "after"
    assert not store.broken.is_set()
    assert await store.read(keys) == ["after", "before"]
    await store.close()
    print("told", flush=True)


async def read_only(path: Path) -> None:
    """The folder cannot be written by this user."""
    import melipona.store.migrate  # noqa: F401  (while the clone, which may lie below /root, can be read)

    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    with pytest.raises(StoreUnusable, match=str(path.parent)) as caught:
        await Store.open(path, SystemClock())
    assert caught.value.remedy
    print("told", flush=True)


async def power(path: Path) -> None:
    """Writes for a while, with checkpoints at idle and in between; prints each key and how far the record had come."""
    record = os.environ["POWER_LOG"]
    for life in range(3):
        store = await Store.open(path, SystemClock(), idle=0.02)
        for batch in range(30):
            keys = [f"{life}-{batch}-{n}" for n in range(1 + batch % 9)]
            await asyncio.gather(*(store.write(put, key, "x" * 3000) for key in keys))
            told = os.stat(record).st_size
            for key in keys:
                print(key, told, flush=True)
            if batch % 7 == 0:
                await asyncio.sleep(0.05)
        if life < 2:
            await store.close()
    os._exit(0)


async def power_unsynced(path: Path) -> None:
    """The same by a store that does not sync."""
    from melipona.store.sqlite import PRAGMAS

    PRAGMAS["synchronous"] = 0
    await power(path)


async def load(path: Path) -> None:
    """Writes for ever and prints each acknowledged key in batches, until it is killed."""
    store = await Store.open(path, SystemClock())
    number = 0
    life = os.getpid()

    async def produce(lane: int) -> None:
        nonlocal number
        while True:
            number += 1
            key = await store.write(put, f"{life}-{lane}-{number}", "x" * 200)
            print(key, flush=True)

    await asyncio.gather(*(produce(lane) for lane in range(32)))


STORIES: dict[str, Callable[[Path], Awaitable[None]]] = {
    "failing_fsync": failing_fsync,
    "failing_checkpoint": failing_checkpoint,
    "failing_folding": failing_folding,
    "full_disk": full_disk,
    "read_only": read_only,
    "load": load,
    "power": power,
    "power_unsynced": power_unsynced,
}

if __name__ == "__main__":
    asyncio.run(STORIES[sys.argv[1]](Path(sys.argv[2])))  # type: ignore[arg-type]
