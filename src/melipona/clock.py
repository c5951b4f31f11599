"""Injected time. Rows hold UTC microseconds; timers in the process are monotonic.

Nothing else in Melipona reads a clock, so that a test can set one.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import NewType, Protocol

Micros = NewType("Micros", int)
"""Microseconds since 1970-01-01T00:00:00Z, the only form of time in rows."""


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> Micros:
        """The wall clock, for rows and display; it may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only go forward, for time-outs in the process."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> Micros:
        return Micros(time.time_ns() // 1000)

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that a test moves by hand."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = micros(start)
        self._mono = 1000.0

    def now(self) -> Micros:
        return self._now

    def monotonic(self) -> float:
        return self._mono

    def advance(self, by: timedelta) -> None:
        """Move both clocks forward."""
        self._now = Micros(self._now + int(by / timedelta(microseconds=1)))
        self._mono += by.total_seconds()

    def jump_wall(self, by: timedelta) -> None:
        """Move the wall clock alone, as an administrator or NTP would."""
        self._now = Micros(self._now + int(by / timedelta(microseconds=1)))


def micros(at: datetime) -> Micros:
    """`at`, which must be aware, in microseconds."""
    return Micros(int((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)))


def later(at: Micros, by: timedelta) -> Micros:
    """The moment `by` after `at`."""
    return Micros(at + int(by / timedelta(microseconds=1)))


def rfc3339(at: int) -> str:
    """RFC 3339 in UTC with `Z` and microseconds, as `--json` and the API print it (D-38)."""
    seconds, rest = divmod(at, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:06d}Z"


def rfc3339_or_none(at: int | None) -> str | None:
    """`rfc3339`, passing None on."""
    return None if at is None else rfc3339(at)
