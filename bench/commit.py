"""A change with its event, made durable by `store.write`: one producer's latency, rates of 1, 16 and 256 producers.

The floor is the same way through asyncio and a writer's thread, with a page for each operation (64 at most) and one
`fdatasync` for a batch: no database. The bare `fdatasync` without a thread is beside it.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, bindparam, insert

from bench.brokers import NATS, REDIS, Broker, installed, start
from bench.figures import OURS, Figure, Values, percentile
from bench.rounds import Contender, Run
from melipona.clock import SystemClock
from melipona.daemon_process import loop_factory
from melipona.store import events
from melipona.store.engine import Store, now
from melipona.store.hot import Hot
from melipona.store.migrate import ensure_schema
from melipona.store.schema import messages
from melipona.store.sqlite import connect

THREAD, BARE, SQLITE = "thread + fdatasync", "fdatasync", "the same rows by bare SQLite"
FIGURES = (
    Figure("p50_1", "us", THREAD, peers=(REDIS, NATS)),
    Figure("p99_1", "us", THREAD, peers=(REDIS, NATS)),
    Figure("rate_1", "/s", THREAD, peers=(REDIS, NATS)),
    Figure("rate_16", "/s", THREAD, peers=(REDIS, NATS)),
    Figure("rate_256", "/s", THREAD, peers=(REDIS, NATS)),
    Figure("cpu_us_256", "us", THREAD),
    Figure("sync_p50", "us", BARE),
    Figure("rows_256", "/s", SQLITE),
)
PRODUCERS = (1, 16, 256)
BODY = "x" * 440
PAGE, PAGES = 4096, 1024
ROWS = (
    ("messages", ("sender", "recipient", "body", "body_bytes", "kind", "origin", "sent_at", "entered_at")),
    ("events", ("at", "kind", "agent", "subject", "principal", "data")),
)

_insert = Hot(
    insert(messages).values(
        sender="operator", recipient="ana", body=BODY, body_bytes=len(BODY), kind="mail", origin="[]",
        sent_at=bindparam("p_at"), entered_at=bindparam("p_at"),
    )
)  # fmt: skip


def change(c: Connection) -> int:
    """A message and its event, as sending one writes them, without the rules of who may."""
    number = _insert.insert(c, p_at=now(c))
    events.record(c, "message.sent", agent="ana", subject=f"m{number}", by="operator", data={"id": number})
    return number


class SyncThread:
    """A thread that makes batches durable with nothing but a page for each operation and one `fdatasync`."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        self._page = os.urandom(PAGE)
        os.pwrite(self._fd, os.urandom(PAGE * PAGES), 0)
        os.fsync(self._fd)
        self._at = 0
        self._queue: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def write(self) -> None:
        """One operation, durable when this returns."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(future)
        await future

    def sync(self, pages: int) -> None:
        """Write so many pages and make them durable, on the calling thread."""
        if self._at + pages > PAGES:
            self._at = 0
        os.pwrite(self._fd, self._page * pages, self._at * PAGE)
        os.fdatasync(self._fd)
        self._at += pages

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        os.close(self._fd)

    def _run(self) -> None:
        while True:
            futures = [self._queue.get()]
            while len(futures) < 512 and futures[-1] is not None:
                try:
                    futures.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            if futures[-1] is None:
                return
            self.sync(min(len(futures), 64))
            self._loop.call_soon_threadsafe(_settle, futures)


def _settle(futures: list[asyncio.Future[None] | None]) -> None:
    for future in futures:
        if future is not None:
            future.set_result(None)


async def produce(
    write: Callable[[], Awaitable[object]], producers: int, count: int
) -> tuple[list[float], float, float]:
    """`count` writes by so many producers at once: the seconds of each, of all, and of the processor."""
    taken: list[float] = []
    left = iter(range(count))

    async def producer() -> None:
        for _ in left:
            began = time.perf_counter()
            await write()
            taken.append(time.perf_counter() - began)

    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(producer() for _ in range(producers)))
    return taken, time.perf_counter() - began, time.process_time() - cpu


async def _measure(write: Callable[[], Awaitable[object]], count: int) -> Values:
    values: dict[str, float] = {}
    await produce(write, 1, max(20, count // 10))  # whoever came before has left the processor's caches his own
    for producers in PRODUCERS:
        writes = count if producers == 1 else max(count, 4 * producers)
        taken, whole, cpu = await produce(write, producers, writes)
        values[f"rate_{producers}"] = writes / whole
        if producers == 1:
            values |= {"p50_1": percentile(taken, 50) * 1e6, "p99_1": percentile(taken, 99) * 1e6}
            values["sync_p50"] = values["p50_1"]
        if producers == 256:
            values |= {"cpu_us_256": cpu / writes * 1e6, "rows_256": writes / whole}
    return values


def _rows(path: Path, count: int) -> Values:
    """Messages and events of the same schema in batches of 256 on this thread, with nothing around the statements."""
    c = connect(path, reader=False)
    try:
        sql = [
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})" for table, names in ROWS
        ]
        batches = max(2, count // 32)
        began = time.perf_counter()
        for _ in range(batches):
            c.execute("BEGIN IMMEDIATE")
            for number in range(256):
                c.execute(sql[0], ("operator", "ana", BODY, len(BODY), "mail", "[]", number, number))
                c.execute(sql[1], (number, "message.sent", "ana", "m1", "operator", '{"id":1}'))
            c.execute("COMMIT")
        return {"rows_256": batches * 256 / (time.perf_counter() - began)}
    finally:
        c.close()


def _bare(floor: SyncThread, count: int) -> Values:
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        floor.sync(1)
        taken.append(time.perf_counter() - began)
    return {"sync_p50": percentile(taken, 50) * 1e6}


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """A store on a loop of the product's kind and the floor's thread on asyncio's own, for all rounds."""
    count = run.size(400, 120, 20)
    with (
        ExitStack() as stack,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
        asyncio.Runner() as plain,
        asyncio.Runner(loop_factory=loop_factory()) as theirs,
    ):
        store = runner.run(Store.open(run.folder / "mel.db", SystemClock(), force_place=True))
        floor = plain.run(_floor(run.folder / "floor"))
        peers: dict[str, Broker] = {}
        try:
            for name in installed() if run.peers else []:
                peers[name] = theirs.run(start(name, run.folder / f"peer{len(peers)}", stack))
            runner.run(_measure(lambda: store.write(change), count // 2))  # the file grows, statements are compiled
            beside = run.folder / "beside.db"
            ensure_schema(beside, SystemClock())
            yield {
                SQLITE: lambda: _rows(beside, count),
                BARE: lambda: _bare(floor, count),
                **{name: partial(_peer, theirs, peer, count) for name, peer in peers.items()},
                THREAD: lambda: plain.run(_measure(floor.write, count)),
                OURS: lambda: runner.run(_measure(lambda: store.write(change), count)),
            }
        finally:
            for peer in peers.values():
                theirs.run(peer.close())
            floor.close()
            runner.run(store.close())


def _peer(runner: asyncio.Runner, peer: Broker, count: int) -> Values:
    return runner.run(_measure(peer.write, count))


async def _floor(path: Path) -> SyncThread:
    return SyncThread(path)
