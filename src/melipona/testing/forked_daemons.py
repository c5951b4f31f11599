"""Daemons that are forked off a process which has imported everything: there again within milliseconds.

    with DaemonForks() as forks: HiveProcess(folder, forks=forks)

What runs is the real daemon in a process of its own, with its own session, descriptors, environment and log, that can
be killed like any other; only the interpreter's start and the imports are saved. The forking process has one thread and
one end of a socket pair: a line of JSON in for each daemon, a line out when it is forked and one when it has ended.
Whoever uses it may have threads. When it goes, its daemons are killed.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]
LATER = (
    "alembic.command",
    "alembic.config",
    "httpx2",
    "mcp.server.streamable_http_manager",
    "uvicorn",
    "uvloop",
)
"""What a daemon imports after its start: once here, not in each that is forked."""


class ForkedDaemon:
    """A daemon that was forked; like a `Popen` as far as tests of hives need one."""

    def __init__(self, forks: DaemonForks, pid: int) -> None:
        self._forks, self.pid = forks, pid

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._forks.ended(self.pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code."""
        code = self._forks.ended(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired("daemon", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class DaemonForks:
    """The process that forks daemons."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "melipona.testing.forked_daemons", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._socket, self._file = mine, mine.makefile("r")
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        self._rest = b""
        self._read(60.0)  # it says that it is ready

    def start(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> ForkedDaemon:
        """Fork a daemon with these arguments. `env` is its whole environment, `log` gets what it writes."""
        with self._lock:
            self._socket.sendall(json.dumps({"argv": list(argv), "env": dict(env), "log": str(log)}).encode() + b"\n")
            while (line := self._read(60.0)) is not None:
                if "pid" in line:
                    return ForkedDaemon(self, int(line["pid"]))
        raise AssertionError("the process that forks daemons is gone")

    def ended(self, pid: int, within: float | None) -> int | None:
        """The exit code of a daemon, when it has ended or ends in time."""
        end = None if within is None else time.monotonic() + within
        with self._lock:
            while pid not in self._codes:
                left = None if end is None else max(0.0, end - time.monotonic())
                if self._read(left) is None:
                    return None
            return self._codes[pid]

    def _read(self, within: float | None) -> Json | None:
        """The next line, if one comes in time; ends of daemons are noted."""
        while b"\n" not in self._rest:
            if not select.select([self._socket], [], [], within)[0]:
                return None
            more = self._socket.recv(65536)
            if not more:
                raise AssertionError("the process that forks daemons is gone")
            self._rest += more
        raw, _, self._rest = self._rest.partition(b"\n")
        line: Json = json.loads(raw)
        if "ended" in line:
            self._codes[int(line["ended"])] = int(line["code"])
        return line

    def close(self) -> None:
        """End it, and with it whatever still runs."""
        self._file.close()
        self._socket.close()
        self._process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def imported() -> None:
    """Import all that a daemon imports in its life."""
    import importlib

    importlib.import_module("melipona.daemon")
    for name in LATER:
        importlib.import_module(name)


def be_a_program(log: Path, env: Mapping[str, str] | None = None) -> None:
    """Make a forked process look like a program that was just started: session, descriptors, signals, environment."""
    with suppress(PermissionError):
        os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.closerange(3, max(out, 3) + 32)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if env is not None:
        os.environ.clear()
        os.environ.update(env)


def _fork(order: Json) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        be_a_program(Path(order["log"]), order["env"])
        gc.unfreeze()
        from melipona import daemon

        code = daemon.main(order["argv"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _reaped() -> list[Json]:
    """The daemons that have ended."""
    found: list[Json] = []
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            found.append({"ended": pid, "code": os.waitstatus_to_exitcode(status)})
    return found


def _serve(channel: socket.socket) -> None:
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who uses us decides when it is over
    imported()
    gc.collect()
    gc.freeze()
    _say(channel, {"ready": True})
    running: set[int] = set()
    rest = b""
    while True:
        ready = select.select([channel, reader], [], [])[0]
        if reader in ready:
            with suppress(BlockingIOError):
                reader.recv(4096)
        for line in _reaped():
            running.discard(int(line["ended"]))
            _say(channel, line)
        if channel not in ready:
            continue
        more = channel.recv(65536)
        if not more:
            break
        *orders, rest = (rest + more).split(b"\n")
        for order in orders:
            pid = _fork(json.loads(order))
            running.add(pid)
            _say(channel, {"pid": pid})
    for pid in running:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _say(channel: socket.socket, line: Json) -> None:
    with suppress(BrokenPipeError):
        channel.sendall(json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
