"""The same with a thousand and a million messages: starting, looking at an inbox, sending, the page's snapshot."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import Hive, memory_mib
from bench.rounds import Contender, Run
from melipona.testing.filled_store import fill

SMALL = "10 agents, 1,000 messages"
ROUNDS, QUICK_ROUNDS = 3, 1
FIGURES = (
    Figure("ready", "ms", SMALL),
    Figure("inbox_p50", "us", SMALL),
    Figure("send_p50", "us", SMALL),
    Figure("snapshot", "us", SMALL),
    Figure("rss", "MiB", SMALL),
)


class Connection(http.client.HTTPConnection):
    """A connection to the operator's socket that is kept."""

    def __init__(self, data: Path) -> None:
        super().__init__("localhost")
        self._path = str(data / "run" / "mel.sock")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> float:
        """One request; how many seconds it took.

        Raises:
            RuntimeError: it was refused.
        """
        text = None if body is None else json.dumps(body)
        began = time.perf_counter()
        self.request(method, f"/api/v1{path}", text, {"content-type": "application/json", **(headers or {})})
        answer = self.getresponse()
        data = answer.read()
        taken = time.perf_counter() - began
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data.decode()[:500]}")
        return taken


def _measure(hive: Hive, count: int) -> Values:
    """Start it, ask, and stop it."""
    ready = hive.start()
    try:
        connection = Connection(hive.data)
        asked = {
            "inbox_p50": lambda: connection.ask("GET", "/messages?agent=agent-00007&limit=50"),
            "send_p50": lambda: connection.ask(
                "POST",
                "/messages",
                {"to": "agent-00007", "body": "x" * 200},
                {"idempotency-key": secrets.token_hex(8)},
            ),
            "snapshot": lambda: connection.ask("GET", "/state"),
        }
        values: dict[str, float] = {"ready": ready * 1000}
        for name, ask in asked.items():
            taken = [ask() for _ in range(1 if name == "snapshot" else count)]
            values[name] = percentile(taken, 50) * 1e6
        connection.close()
        return values | {"rss": memory_mib(hive.pid)}
    finally:
        hive.stop()


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """Two stores. All agents are stopped: what is sent waits, and no turn disturbs."""
    many, messages = run.size(10_000, 10_000, 100), run.size(1_000_000, 20_000, 1000)
    count = run.size(100, 40, 3)
    hives: dict[str, Hive] = {}
    with ExitStack() as stack:
        for name, agents, rows in (("small", 10, 1000), ("large", many, messages)):
            data = run.folder / name
            data.mkdir(mode=0o700)
            run.say(f"scale: writing a store of {agents:,} agents and {rows:,} messages")
            fill(data / "mel.db", agents=agents, messages=rows, wish="stopped")
            hives[name] = Hive(data)
            stack.callback(hives[name].down)
        yield {
            SMALL: lambda: _measure(hives["small"], count),
            OURS: lambda: _measure(hives["large"], count),
        }
