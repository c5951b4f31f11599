"""The daemon as a process: one a data folder, known to systemd, on the fastest loop there is."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from melipona.errors import Conflict
from melipona.memory import collect_early

log = structlog.get_logger("daemon")

SWITCH_SECONDS = 0.001
"""The loop's thread and the writer's hand over sooner (PERFORMANCE.md section 11, rule 9)."""


def hold_data(data: Path) -> int:
    """Make the data folder and take its lock: one daemon a folder. The descriptor is inherited by nobody.

    Raises:
        Conflict: another daemon holds it.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(data / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise Conflict(f"another daemon runs the hive in {data}", remedy="`mel status` shows it") from error
    return lock


def no_core() -> None:
    """A crash leaves no image of our memory on the disk: keys are in it (T37). What we start inherits it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def notify(state: str) -> None:
    """Tell systemd, if it asked to be told (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            log.warning("systemd could not be told", error=str(error))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it can be had: 20 to 40 % less for a hop (rule 10)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def tune() -> None:
    """Settings of the interpreter for a process that lives long (rules 9 and 15)."""
    sys.setswitchinterval(SWITCH_SECONDS)
    collect_early()
