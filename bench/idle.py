"""Ten thousand agents that do nothing: memory and processor time beside a daemon that has none, and what they cause."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager

from bench.figures import OURS, Figure, Values
from bench.hive import ROOT, Hive, cpu_seconds, memory_mib, running
from bench.rounds import Contender, Run
from melipona.testing.filled_store import fill

EMPTY, IMPORTS = "0 agents", "its libraries alone"
LIBRARIES = "import melipona.daemon, mcp.server.lowlevel.server, mcp.server.streamable_http_manager"
ROUNDS, QUICK_ROUNDS = 3, 1
FIGURES = (
    Figure("rss", "MiB", IMPORTS),
    Figure("each", "KiB"),
    Figure("cpu", "%", EMPTY),
    Figure("commits", "count", EMPTY),
    Figure("model_requests", "count"),
)


class Watched:
    """A hive that is left alone."""

    def __init__(self, hive: Hive, agents: int) -> None:
        self.hive, self.agents = hive, agents

    def look(self, seconds: float) -> Values:
        """What it uses in that time."""
        with closing(sqlite3.connect(f"file:{self.hive.data / 'mel.db'}?mode=ro", uri=True)) as c:
            version = _version(c)
            cpu, began = cpu_seconds(self.hive.pid), time.perf_counter()
            commits = 0
            while (passed := time.perf_counter() - began) < seconds:
                time.sleep(0.1)
                if (now := _version(c)) != version:
                    version, commits = now, commits + 1
            used = cpu_seconds(self.hive.pid) - cpu
            [(requests,)] = c.execute("SELECT count(*) FROM spend").fetchall()
        rss = memory_mib(self.hive.pid)
        return {"rss": rss, "cpu": used / passed * 100, "commits": commits, "model_requests": requests}


def _version(c: sqlite3.Connection) -> int:
    """Changes with every commit of another connection."""
    return int(c.execute("PRAGMA data_version").fetchone()[0])


def _settled(hive: Hive) -> None:
    """Wait until what a start leaves to do is done: the imports after `ready`, and the first tidying of the store."""
    before = -1.0
    while (now := cpu_seconds(hive.pid)) != before:
        before = now
        time.sleep(0.5)


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """Two daemons at once, left alone one after the other."""
    agents, seconds = run.size(10_000, 10_000, 100), run.size(2, 1, 1)
    data = run.folder / "many"
    without = run.folder / "none"
    for folder, count in ((data, agents), (without, 0)):
        folder.mkdir(mode=0o700)
        fill(folder / "mel.db", agents=count, messages=0)
    with running(without) as none, running(data) as many:
        for hive in (none, many):
            _settled(hive)
        watched = Watched(many, agents)
        empty = Watched(none, 0)
        libraries = {"rss": _imported_mib()}
        yield {
            IMPORTS: lambda: libraries,
            EMPTY: lambda: empty.look(seconds),
            OURS: lambda: _with_each(watched.look(seconds), memory_mib(none.pid), agents),
        }


def _imported_mib() -> float:
    """Memory of a process that has imported what the daemon needs and does nothing."""
    code = f"{LIBRARIES}\nprint(flush=True)\ninput()"
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        rss = memory_mib(process.pid)
        process.kill()
    return rss


def _with_each(values: Values, without: float, agents: int) -> Values:
    return {**values, "each": max(0.0, values["rss"] - without) * 1024 / agents}
