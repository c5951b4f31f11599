"""The plug-in of `melipona.faults`: counts and records the points that a run passes, and does what it was told at one.

It is installed by tests' own entry points only (`crash_rig.py`, which forks daemons, and whoever calls `installed`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from melipona import faults

CRASHED = 70
"""Exit code of a process that the plug-in ended."""
COMMITS = (".before_commit", ".after_commit")

Kind = Literal["crash", "exception", "delay", "hang", "cancel", "enospc", "eio"]


class InjectedError(Exception):
    """What a point raises that was told to."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall happen when `point` is passed for the `nth` time; `seconds` of a delay."""

    point: str
    nth: int = 1
    kind: Kind = "crash"
    seconds: float = 0.05

    def __str__(self) -> str:
        return f"{self.kind}:{self.point}:{self.nth}"

    @classmethod
    def parse(cls, text: str) -> Wish:
        """What `str` made."""
        kind, point, nth = text.split(":")
        wishes: dict[str, Kind] = {k: k for k in ("crash", "exception", "delay", "hang", "cancel", "enospc", "eio")}
        return cls(point, int(nth), wishes[kind])


class FaultPlugin:
    """Fulfils `wishes`; with `record` each passed point's name is appended to that file, a line each."""

    def __init__(self, wishes: Sequence[Wish] = (), record: Path | None = None) -> None:
        self.passed = Counter[str]()
        self._wishes = {(wish.point, wish.nth): wish for wish in wishes}
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._record = None if record is None else os.open(record, flags, 0o600)

    async def at(self, name: str) -> None:
        """A point on the event loop."""
        wish = self._passing(name)
        if wish is None:
            return
        if wish.kind == "delay":
            await asyncio.sleep(wish.seconds)
        elif wish.kind == "hang":
            await asyncio.Event().wait()
        elif wish.kind == "cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        else:
            _do(wish)

    def here(self, name: str) -> None:
        """A point in a thread, or where nothing can be awaited."""
        wish = self._passing(name)
        if wish is None:
            return
        if wish.kind == "delay":
            time.sleep(wish.seconds)
        elif wish.kind == "hang":
            threading.Event().wait()
        else:
            _do(wish)

    def _passing(self, name: str) -> Wish | None:
        with self._lock:
            self.passed[name] += 1
            if self._record is not None:
                os.write(self._record, f"{name}\n".encode())
            return self._wishes.get((name, self.passed[name]))


def _do(wish: Wish) -> None:
    if wish.kind == "crash":
        os._exit(CRASHED)
    if wish.kind in ("enospc", "eio"):
        raise _io_error(wish)
    raise InjectedError(f"injected at {wish.point}")


def _io_error(wish: Wish) -> Exception:
    """A failing disk as the place knows it: SQLite's error at a commit, the system's elsewhere."""
    full = wish.kind == "enospc"
    if not wish.point.endswith(COMMITS):
        number = errno.ENOSPC if full else errno.EIO
        return OSError(number, os.strerror(number))
    error = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
    error.sqlite_errorname = "SQLITE_FULL" if full else "SQLITE_IOERR_FSYNC"
    return error


@contextmanager
def installed(*wishes: Wish) -> Generator[FaultPlugin]:
    """A plug-in in this process until the block ends."""
    plugin = FaultPlugin(wishes)
    faults.install(plugin)
    try:
        yield plugin
    finally:
        faults.install(None)
