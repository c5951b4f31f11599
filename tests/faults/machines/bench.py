"""The stores that the machines play on, and crashes before and after commits.

`MemoryBench` is SQLite in memory, one connection, for many short histories. `FileBench` is the product's own store on a
file, with its writer thread. Both run the product's operations, begin from a copy of the same migrated database, and
fulfil what services ask of a store, so that PostgreSQL can stand beside them.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from melipona.clock import ManualClock
from melipona.store.engine import Store
from melipona.store.migrate import ensure_schema
from melipona.store.writer import Event


class CrashError(Exception):
    """The daemon died; whether its last transaction was stored is unknown to the caller."""


Image = bytes
Prepare = Callable[["MemoryBench"], None]


@cache
def empty_image() -> Image:
    """A migrated database without rows, as bytes."""
    with tempfile.TemporaryDirectory(prefix="machines-") as folder:
        path = Path(folder) / "hive.db"
        ensure_schema(path, ManualClock())
        return without_wal(path)


def without_wal(path: Path) -> Image:
    """The database at `path` as bytes that SQLite opens in memory: its header does not ask for a WAL."""
    driver = sqlite3.connect(path)
    driver.execute("PRAGMA journal_mode=delete").fetchall()
    driver.close()
    return path.read_bytes()


class MemoryBench:
    """A store in memory. `fault` is where the next write crashes: `before` its commit or `after` it."""

    _compiled: ClassVar[dict[Any, Any]] = {}

    def __init__(self, image: Image | None = None) -> None:
        self.clock = ManualClock()
        self.fault: str | None = None
        self.path = Path("memory")
        self.has_room = True
        self._subscribers: list[Callable[[Sequence[Event]], None]] = []
        self.driver = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self.driver.deserialize(empty_image() if image is None else image)
        self.driver.execute("PRAGMA foreign_keys=1")
        self.driver.execute("PRAGMA recursive_triggers=1")
        engine = create_engine("sqlite://", creator=lambda: self.driver, poolclass=StaticPool)
        self._c = engine.connect().execution_options(compiled_cache=self._compiled)

    def close(self) -> None:
        """Forget everything."""
        self._c.close()
        self.driver.close()

    def image(self) -> Image:
        """The database as bytes."""
        return self.driver.serialize()

    # ---- what services ask of a store -------------------------------------------------------------------------------

    def subscribe(self, callback: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        """As `Store.subscribe`; a crash tells nobody."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    @property
    def reserved(self) -> MemoryBench:
        """As `Store.reserved`: there is always room."""
        return self

    def forget_subscribers(self) -> None:
        """The daemon is gone, and all that it was."""
        self._subscribers.clear()

    async def write(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """As `Store.write`."""
        return self.do(op, *args, **kw)

    async def write_when_possible(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """As `Store.write_when_possible`."""
        return self.do(op, *args, **kw)

    async def read(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """As `Store.read`."""
        return self.look(op, *args, **kw)

    # ---- the same without an event loop -----------------------------------------------------------------------------

    def do(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """One transaction, which may crash.

        Raises:
            CrashError: the daemon died before or after the commit, as `fault` said; whatever `op` raises.
        """
        where, self.fault = self.fault, None
        told: list[Event] = []
        before = self._newest()
        self._c.info.update(now=self.clock.now(), events=told, request_id=None)
        self.driver.execute("BEGIN IMMEDIATE")
        try:
            value = op(self._c, *args, **kw)
            if where == "before":
                raise CrashError  # noqa: TRY301 (it is the daemon that dies here)
        except BaseException:
            if self.driver.in_transaction:
                self.driver.execute("ROLLBACK")
            assert self._newest() == before, "an event was stored without its change"
            raise
        assert self.driver.in_transaction, "an operation ended its transaction by itself"
        self.driver.execute("COMMIT")
        assert [event.id for event in told] == self._numbers(before), "stored events are not those that were told"
        if where == "after":
            raise CrashError
        for callback in self._subscribers:
            callback(told)
        return value

    def look(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """A read; it may change nothing."""
        self._c.info.update(now=self.clock.now(), events=[], request_id=None)
        self.driver.execute("PRAGMA query_only=1")
        try:
            return op(self._c, *args, **kw)
        finally:
            self.driver.execute("PRAGMA query_only=0")

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine that waits for nothing but this store."""
        try:
            work.send(None)
        except StopIteration as done:
            return done.value
        finally:
            work.close()
        raise AssertionError("it waits for something else than the store")

    def _newest(self) -> int:
        return int(self.driver.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])

    def _numbers(self, after: int) -> list[int]:
        return [row[0] for row in self.driver.execute("SELECT id FROM events WHERE id > ? ORDER BY id", (after,))]


class FileBench(MemoryBench):
    """The product's own store on a file, with the same words."""

    def __init__(self, image: Image | None = None) -> None:
        self.clock = ManualClock()
        self.fault = None
        self.has_room = True
        self._folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.path = self._folder / "hive.db"
        self.path.write_bytes(empty_image() if image is None else image)
        self._runner = asyncio.Runner()
        self.store: Store = self._runner.run(Store.open(self.path, self.clock, force_place=True))

    def close(self) -> None:
        self._runner.run(self.store.close())
        self._runner.close()
        shutil.rmtree(self._folder)

    def do(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        where, self.fault = self.fault, None

        def crashing(c: Connection) -> Any:
            value = op(c, *args, **kw)
            if where == "before":
                raise CrashError
            return value

        value = self._runner.run(self.store.write(crashing))
        if where == "after":
            raise CrashError
        return value

    def subscribe(self, callback: Callable[[Sequence[Event]], None]) -> Callable[[], None]:
        return self.store.subscribe(callback)

    def forget_subscribers(self) -> None:
        self.store._subscribers.clear()

    def look(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        return self._runner.run(self.store.read(op, *args, **kw))


BENCHES: dict[str, type[MemoryBench]] = {"memory": MemoryBench, "file": FileBench}

_images: dict[object, Image] = {}


def prepared(key: object, prepare: Prepare) -> Image:
    """The database that `prepare` makes of an empty one; made once a process."""
    if key not in _images:
        bench = MemoryBench()
        prepare(bench)
        _images[key] = bench.image()
        bench.close()
    return _images[key]


@cache
def scratch() -> Path:
    """A folder that is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="machines-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
