"""The plug-in of `melipona.faults`: counts and records the points that a run passes, and does what it was told at one.

It is installed by tests' own entry points only (`crash_rig.py`, which forks daemons, and whoever calls `installed`).

| kind | what happens at the point |
|---|---|
| crash | the process ends |
| exception | it raises |
| delay | it takes longer |
| hang | it takes for ever, and all else goes on; a process that has set `patience` is killed after that time |
| cancel | the task is cancelled, as by a client that hangs up |
| enospc, eio | the disk is full, or fails |
| short | the next write of this thread takes half of its bytes |
| duplicate | the next call to a box arrives twice |
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from melipona import faults
from melipona.boxes.connection import BoxdConnection

CRASHED = 70
"""Exit code of a process that the plug-in ended."""
COMMITS = (".before_commit", ".after_commit")

Kind = Literal["crash", "exception", "delay", "hang", "cancel", "enospc", "eio", "short", "duplicate"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ON_A_DISK = ("_write", "_append", "_replace", "_rename", "_unlink", "_copy", "_sync", "_make", "_commit")
WRITES = (".before_write", ".before_append")
TWICE = ("link.start.before_call", "link.write.before_call", "link.end.before_call", "link.signal.before_call")
"""Calls that a link repeats itself, on its next connection, when it does not know what became of them."""
BY_A_CLIENT = ("api.", "gate.tool.", "gate.stream.", "gate.answer.")
"""Points of tasks that end when a client hangs up."""


ALWAYS: tuple[Kind, ...] = ("delay", "hang")


def kinds_at(point: str) -> tuple[Kind, ...]:
    """What else than a crash can happen at a point in truth."""
    kinds: list[Kind] = []
    kinds.extend(ALWAYS)
    if point.startswith(BY_A_CLIENT):
        kinds.append("cancel")
    if point.endswith(ON_A_DISK) and ".before_" in point:
        kinds.extend(("enospc", "eio"))
    if point.endswith(WRITES):
        kinds.append("short")
    if point in TWICE:
        kinds.append("duplicate")
    if not point.endswith(COMMITS):
        kinds.append("exception")
    return tuple(kinds)


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
        known: dict[str, Kind] = {one: one for one in KINDS}
        return cls(point, int(nth), known[kind])


class FaultPlugin:
    """Fulfils `wishes`; with `record` each passed point's name is appended to that file, a line each.

    `patience` is how long a process that hangs is left alone, in seconds: then it kills itself, as whoever watches over
    it would.
    """

    def __init__(self, wishes: Sequence[Wish] = (), record: Path | None = None, patience: float | None = None) -> None:
        self.passed = Counter[str]()
        self.done: list[Wish] = []
        """Wishes that came true."""
        self._patience = patience
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
            self._lose_patience()
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
            self._lose_patience()
            threading.Event().wait()
        else:
            _do(wish)

    def _passing(self, name: str) -> Wish | None:
        with self._lock:
            self.passed[name] += 1
            if self._record is not None:
                os.write(self._record, f"{name}\n".encode())
            wish = self._wishes.get((name, self.passed[name]))
            if wish is not None:
                self.done.append(wish)
            return wish

    def _lose_patience(self) -> None:
        if self._patience is not None:
            threading.Timer(self._patience, os.kill, (os.getpid(), signal.SIGKILL)).start()


def _do(wish: Wish) -> None:
    if wish.kind == "crash":
        os._exit(CRASHED)
    if wish.kind in ("enospc", "eio"):
        raise _io_error(wish)
    if wish.kind == "short":
        _write_half()
    elif wish.kind == "duplicate":
        _call_twice()
    else:
        raise InjectedError(f"injected at {wish.point}")


def _write_half() -> None:
    """The next write of this thread takes half of what it is given, as the system may at any time."""
    real, thread = os.write, threading.get_ident()

    def write(fd: int, data: Any, /) -> int:
        if threading.get_ident() != thread or len(data) < 2:
            return real(fd, data)
        os.write = real
        return real(fd, bytes(data)[: len(data) // 2])

    os.write = write


def _call_twice() -> None:
    """The next call to a box arrives twice; its second answer counts."""
    real = BoxdConnection.call

    async def call(self: BoxdConnection, head: dict[str, Any], blob: bytes = b"") -> Any:
        BoxdConnection.call = real
        await real(self, head, blob)
        return await real(self, head, blob)

    BoxdConnection.call = call


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
