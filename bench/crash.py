"""`kill -9` of the daemon at random moments while messages are sent: what was answered, what is found, how long it is
away.

Senders use idempotency keys and send again whatever was not answered, as `mel` does. `tests/faults` and `bench/faults`
kill at every step and engines and boxes too; this is what a reader can run in a minute.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from bench.figures import OURS, Figure, Values
from bench.hive import Hive
from bench.rounds import Contender, Run
from bench.scale import Connection
from melipona.testing.filled_store import fill

CLEAN = "start after an orderly end"
QUICK_ROUNDS = 1
FIGURES = (
    Figure("lost", "count"),
    Figure("doubled", "count"),
    Figure("without_event", "count"),
    Figure("answered", "count"),
    Figure("recovery", "ms", CLEAN),
)
SENDERS = 8


class Load:
    """Senders that go on until they are stopped, through any number of daemons."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive
        self.answered: set[str] = set()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def _send(self, number: int) -> None:
        connection, sent = Connection(self._hive.data), 0
        while not self._over.is_set():
            key = f"{number}-{sent}"
            body = {"to": f"agent-0000{1 + number % SENDERS}", "body": key}
            try:
                connection.ask("POST", "/messages", body, {"idempotency-key": key})
            except (OSError, http.client.HTTPException):
                connection.close()
                self._over.wait(0.02)
                continue
            self.answered.add(key)
            sent += 1
        connection.close()

    def stop(self) -> None:
        """Let each finish what it is at."""
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def _kills(hive: Hive, kills: int, seed: int) -> Values:
    """Start, load, kill and start again so often; then compare what was answered with what is there."""
    chance = random.Random(seed)
    hive.start()
    load = Load(hive)
    recoveries: list[float] = []
    try:
        for _ in range(kills):
            time.sleep(chance.uniform(0.1, 0.6))
            hive.kill()
            recoveries.append(hive.start() * 1000)
    finally:
        load.stop()
        hive.stop()
    found = [row[0] for row in hive.rows("SELECT send_key FROM messages WHERE send_key IS NOT NULL")]
    untold = hive.rows(
        "SELECT count(*) FROM messages m WHERE NOT EXISTS "
        "(SELECT 1 FROM events e WHERE e.kind = 'message.sent' AND e.subject = 'm' || m.id)"
    )
    return {
        "lost": len(load.answered - set(found)),
        "doubled": len(found) - len(set(found)),
        "without_event": untold[0][0],
        "answered": len(load.answered),
        "recovery": sorted(recoveries)[len(recoveries) // 2],
    }


def _clean(hive: Hive) -> Values:
    taken = hive.start() * 1000
    hive.stop()
    return {"recovery": taken}


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """A new store in each round, with eight stopped agents."""
    kills, rounds = run.size(2, 1, 1), 0

    def fresh() -> Hive:
        nonlocal rounds
        rounds += 1
        data = run.folder / f"hive{rounds}"
        data.mkdir(mode=0o700)
        fill(data / "mel.db", agents=SENDERS, messages=0, wish="stopped")
        return Hive(data)

    yield {CLEAN: lambda: _clean(fresh()), OURS: lambda: _kills(fresh(), kills, rounds)}
