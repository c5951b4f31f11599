"""The small parent that `mel up --detach` leaves: it starts the daemon again when that ends abnormally (D-2).

A crash, a signal, exit codes 74 and 75 are abnormal; 0 and a usage error are not. Between starts it waits longer each
time; after five abnormal ends in ten minutes it gives up and says so in the log, but not when a full, read-only or
failing disk was the cause (74, 75): then it tries again every half minute until the disk works. A first start that
fails is not repeated: the person who asked for it is there to read why. SIGTERM goes on to the daemon, which leaves the
boxes running. A lock is held, so that `mel down` knows when this has gone.

It is not `process.py`'s business: it is no part of the daemon, must stay small, and has the standard library only.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

BACK_OFF = (0.2, 1.0, 3.0, 10.0)
"""Seconds before the second, third, ... start."""
MOST_ENDS = 5
WITHIN_SECONDS = 600.0
FIRST_SECONDS = 30.0
"""An exit with 1 this soon after the very first start is the daemon saying why it cannot."""
CANNOT_NOW, UNKNOWN_OUTCOME = 74, 75
"""The daemon's exit codes for a disk that is full, read-only or failing: it goes on when the cause is gone (I-17)."""
DISK_SECONDS = 30.0
"""The longest wait between two starts on such a disk."""
NORMAL = frozenset({0, 2})
"""Exit codes after which nothing is started again: the orderly end, and a usage error, which would only come again."""
LOCK = "supervisor.lock"
LOG_BYTES = 16 << 20


class Supervisor:
    """Runs one program again and again."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False

    def end(self, number: int, _: FrameType | None) -> None:
        """Pass the signal on and start nothing again."""
        self._ending = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def run(self) -> int:
        """Until the program ends normally, is told to end, or has failed too often; its last exit code."""
        ends: deque[float] = deque()
        on_disk = 0
        begun = time.monotonic()
        while True:
            started = time.monotonic()
            code = self._once()
            if self._ending or code in NORMAL:
                return max(code, 0)
            if code in (1, CANNOT_NOW) and not ends and not on_disk and time.monotonic() - begun < FIRST_SECONDS:
                return code
            if code in (CANNOT_NOW, UNKNOWN_OUTCOME):
                on_disk = on_disk + 1 if time.monotonic() - started < 2 * DISK_SECONDS else 1
                wait = min(
                    BACK_OFF[min(on_disk, len(BACK_OFF)) - 1] * (3 if on_disk > len(BACK_OFF) else 1), DISK_SECONDS
                )
                _say(f"the daemon ended with {_named(code)}: the disk; it is started again in {wait:g} s")
                self._rest(wait)
                if self._ending:
                    return 0
                continue
            ends.append(time.monotonic())
            while ends and ends[0] < time.monotonic() - WITHIN_SECONDS:
                ends.popleft()
            if len(ends) >= MOST_ENDS:
                _say(
                    f"the daemon ended {MOST_ENDS} times within {WITHIN_SECONDS / 60:.0f} min; it is not started again"
                )
                return 1
            wait = BACK_OFF[min(len(ends) - 1, len(BACK_OFF) - 1)]
            _say(f"the daemon ended with {_named(code)}; it is started again in {wait:g} s")
            self._rest(wait)
            if self._ending:
                return 0

    def _once(self) -> int:
        self._child = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, close_fds=True)
        if self._ending:
            self._child.terminate()
        return self._child.wait()

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._ending and time.monotonic() < end:
            time.sleep(0.05)


def start(data: Path, config: Path | None, host: str | None = None) -> subprocess.Popen[bytes]:
    """Start a supervisor in a session of its own, with the daemon's log as its output."""
    _set_aside(data / "daemon.log")
    log = os.open(data / "daemon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    argv = [sys.executable, "-m", "melipona.cli.supervise", str(data), str(config or ""), host or ""]
    try:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
    finally:
        os.close(log)


def _set_aside(log: Path) -> None:
    """Begin a new log when the old one has grown large; one old one is kept."""
    try:
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
    except FileNotFoundError:
        pass


def running(data: Path) -> int | None:
    """The pid of the hive's supervisor, None when there is none."""
    try:
        lock = os.open(data / "run" / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(lock, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(lock)
    return None


def daemon_argv(data: Path, config: Path | None, host: str | None = None) -> list[str]:
    """How the daemon is started."""
    extra = (["--config", str(config)] if config else []) + (["--host", host] if host else [])
    return [sys.executable, "-m", "melipona.daemon", "--data", str(data), *extra]


def main() -> None:
    """`python -m melipona.cli.supervise DATA [CONFIG [HOST]]`; what is empty is not given."""
    data = Path(sys.argv[1])
    given = [*sys.argv[2:], "", ""]
    config, host = Path(given[0]) if given[0] else None, given[1] or None
    (data / "run").mkdir(mode=0o700, exist_ok=True)
    lock = os.open(data / "run" / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("there is a supervisor already")
        sys.exit(0)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    supervisor = Supervisor(daemon_argv(data, config, host))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.exit(supervisor.run())


def _say(text: str) -> None:
    try:
        os.write(2, f"supervisor: {text}\n".encode())
    except OSError:  # the log lies on the disk that is full
        return


def _named(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


if __name__ == "__main__":
    main()
