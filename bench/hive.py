"""A daemon in a process of its own, for benchmarks: nobody follows its events while something is measured."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from melipona.client import Client

ROOT = Path(__file__).resolve().parent.parent
LOOK = 0.002
FREE = """
[mail]
thread_hops = 0
thread_per_minute = 0
sends_per_minute = 0
broadcasts_per_minute = 0
[budgets]
hive_usd_per_day = 0
turns_per_hour = 0
[boxes]
orphan_busy = 60
orphan_idle = 60
"""
"""No limit of how many messages or turns a minute; everything else as it comes."""


class Hive:
    """One hive below `data`. `program` is what Python runs."""

    def __init__(
        self,
        data: Path,
        *,
        config: str = FREE,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "melipona.daemon"),
    ) -> None:
        self.data, self.client = data, Client(data)
        self._config = data.with_name(f"{data.name}.toml")
        self._config.write_text(config)
        self._log = data.with_name(f"{data.name}.log")
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            **(env or {}),
        }
        self._program = program
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """The end of what the daemons of this hive wrote."""
        return self._log.read_text(errors="replace")[-4000:] if self._log.exists() else ""

    def start(self, within: float = 60) -> float:
        """Start a daemon; the seconds until it was ready."""
        argv = [sys.executable, *self._program, "--data", str(self.data), "--config", str(self._config)]
        began = time.perf_counter()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        while not self.client.ready():
            if self.process.poll() is not None or time.perf_counter() - began > within:
                raise RuntimeError(f"the daemon did not become ready:\n{self.log}")
            time.sleep(LOOK)
        return time.perf_counter() - began

    def kill(self) -> None:
        """`kill -9`; its boxes live on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """An orderly end; its boxes live on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def down(self) -> None:
        """End turns, boxes and daemon; nothing that has ended already is missed."""
        if self.process is None:
            return
        if self.process.poll() is None:
            try:
                self.client.post("/stop")
                self.process.wait(60)
            finally:
                self.process.kill()
                self.process.wait()

    def agent(self, name: str, *, playbook: str | None = None, **options: Any) -> str:
        """Make an agent; its id."""
        body = {"name": name, "engine": "playbook", **options} | ({"playbook": playbook} if playbook else {})
        return str(self.client.post("/agents", body)["id"])

    def send(self, to: str, body: str) -> int:
        """Send as the operator; the message's number."""
        return int(self.client.post_keyed("/messages", {"to": to, "body": body})["id"])

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database beside the daemon, which does not notice."""
        with closing(sqlite3.connect(f"file:{self.data / 'mel.db'}?mode=ro", uri=True)) as c:
            return c.execute(query, values).fetchall()

    def wait(self, look: Callable[[], bool], what: str, within: float = 60, *, every: float = LOOK) -> None:
        """Look again and again until it is so. Looking costs processor time, which what is measured may need itself."""
        end = time.perf_counter() + within
        while not look():
            if time.perf_counter() > end or (self.process is not None and self.process.poll() is not None):
                raise RuntimeError(f"waited in vain for {what}:\n{self.log}")
            time.sleep(every)


@contextmanager
def running(data: Path, **options: Any) -> Generator[Hive]:
    """A hive that is ready; it is brought down at the end."""
    hive = Hive(data, **options)
    try:
        hive.start()
        yield hive
    finally:
        hive.down()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, kind: str = "Rss") -> float:
    """Resident memory of a process (`Rss`), or its share of it (`Pss`), in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == kind:
            return int(value.split()[0]) / 1024
    raise RuntimeError(f"process {pid} has no {kind}")
