"""Know a box's init again, signal it and nothing else, wait for its end (D-11, T47).

A process is known by pid, start time, PID namespace and the machine's boot; all must match. Signals go through a pidfd
that was opened *before* the match was made, so a pid that changes hands in between is never signalled.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio import fail_after, move_on_after, wait_readable

from melipona.faults import fault

KILL_SECONDS = 10.0
"""How long a kill may take until the box counts as lost."""

_PROC = Path("/proc")
_START_FIELD = 19  # field 22 of `stat`, counted after the name
_GONE_STATES = ("Z", "X", "x")


@dataclass(frozen=True, slots=True)
class Init:
    """The init of a box, as the host sees it."""

    pid: int
    start: int
    """Clock ticks after boot (field 22 of /proc/PID/stat)."""
    ns: int
    """Inode of its PID namespace."""
    boot: str

    def as_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "start": self.start, "ns": self.ns, "boot": self.boot}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Init:
        """Raises `ValueError`, `KeyError` or `TypeError` when `value` is not what `as_json` makes."""
        return Init(int(value["pid"]), int(value["start"]), int(value["ns"]), str(value["boot"]))


def read_init(pid: int) -> Init:
    """What is needed to know process `pid` again.

    Raises:
        OSError: it does not exist, or its namespace cannot be read.
    """
    start = start_time(pid)
    if start is None:
        raise ProcessLookupError(f"no process {pid}")
    return Init(pid, start, (_PROC / str(pid) / "ns/pid").stat().st_ino, boot_id())


def boot_id() -> str:
    """Differs after each boot, when pids and start times begin anew."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Start time of a process, None when there is none or only its corpse.

    A PID namespace's init becomes a corpse only after all its processes are gone.

    Raises:
        OSError: /proc cannot be read.
    """
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in _GONE_STATES else int(fields[_START_FIELD])


def is_same(init: Init) -> bool:
    """Whether `init` still exists and is the same process.

    Raises:
        OSError: that cannot be told now.
    """
    if init.boot != boot_id() or start_time(init.pid) != init.start:
        return False
    try:
        return read_init(init.pid) == init
    except (FileNotFoundError, ProcessLookupError):
        return False


def open_same(init: Init) -> int | None:
    """A pidfd of `init`, or None when it is gone (also when its pid belongs to somebody else now).

    Raises:
        OSError: that cannot be told now.
    """
    try:
        fd = os.pidfd_open(init.pid)
    except ProcessLookupError:
        return None
    try:
        same = is_same(init)
    except OSError:
        os.close(fd)
        raise
    if same:
        return fd
    os.close(fd)
    return None


def open_monitor(init: Init) -> int | None:
    """A pidfd of the bwrap that waits outside for the end of `init`; None when it was killed."""
    pid = parent_of(init.pid)
    if pid is None or not command_line(pid)[:1] or Path(command_line(pid)[0]).name != "bwrap":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


async def wait_gone(pidfd: int | None, seconds: float) -> None:
    """Wait at most so long for a process to end, and close its descriptor."""
    if pidfd is not None:
        try:
            with move_on_after(seconds):
                await wait_readable(pidfd)
        finally:
            os.close(pidfd)


async def end_box(pidfd: int, grace: float) -> None:
    """Ask boxd, which asks all programs (SIGTERM); kill after `grace` seconds; return once the box is gone.

    Raises:
        TimeoutError: it is still there long after it was killed.
    """
    await fault("boxes.end.before_signal")
    if grace > 0:
        _send(pidfd, signal.SIGTERM)
        with move_on_after(grace):
            await wait_readable(pidfd)
            await fault("boxes.end.after_signal")
            return
    _send(pidfd, signal.SIGKILL)
    with fail_after(KILL_SECONDS):
        await wait_readable(pidfd)
    await fault("boxes.end.after_kill")


def _send(pidfd: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def is_namespace_init(pid: int) -> bool:
    """Whether the process is pid 1 of a PID namespace of its own."""
    for line in _status(pid):
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False


def uid_of(pid: int) -> int | None:
    """Real uid of a process, None when it is gone."""
    for line in _status(pid):
        if line.startswith("Uid:"):
            return int(line.split()[1])
    return None


def parent_of(pid: int) -> int | None:
    """Pid of a process's parent, None when it is gone."""
    for line in _status(pid):
        if line.startswith("PPid:"):
            return int(line.split()[1])
    return None


def command_line(pid: int) -> list[str]:
    """Arguments of a process, empty when it is gone."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in raw.rstrip(b"\0").split(b"\0")] if raw else []


def all_pids() -> list[int]:
    """Every process this one can see."""
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]


def _status(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "status").read_text(errors="replace").splitlines()
    except OSError:
        return []
