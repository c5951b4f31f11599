"""How numbers and times read: 38 s, 4 min, 2 h 10 min, 12.4 k, $3.20."""

from __future__ import annotations

from datetime import UTC, datetime

from melipona.clock import Clock, SystemClock


def ago(at: str | None, clock: Clock | None = None) -> str:
    """How long ago a time of the API is; empty for none."""
    if at is None:
        return ""
    return duration(((clock or SystemClock()).now() - _micros(at)) / 1_000_000)


def ahead(at: str | None, clock: Clock | None = None) -> str:
    """How far away a time of the API is; empty for none or past."""
    if at is None:
        return ""
    seconds = (_micros(at) - (clock or SystemClock()).now()) / 1_000_000
    return duration(seconds) if seconds > 0 else ""


def duration(seconds: float) -> str:
    """A length of time in one or two units."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours} h" if hours < 48 else f"{hours // 24} d"


def clock_time(at: str) -> str:
    """The local time of day of a time of the API."""
    return _local(at).strftime("%H:%M:%S")


def day(at: str) -> str:
    """The local day of a time of the API: 2026-11-30."""
    return _local(at).strftime("%Y-%m-%d")


def today(clock: Clock | None = None) -> str:
    """The local day that it is."""
    return datetime.fromtimestamp((clock or SystemClock()).now() / 1_000_000, UTC).astimezone().strftime("%Y-%m-%d")


def moment(at: str, clock: Clock | None = None) -> str:
    """The local time of day of a time of the API, with the day when it is not today's."""
    return clock_time(at) if day(at) == today(clock) else f"{day(at)} {clock_time(at)}"


def money(usd: float | None) -> str:
    """US dollars with two digits, more only for what is below a cent."""
    if usd is None:
        return ""
    return f"${usd:.2f}" if usd == 0 or usd >= 0.01 else f"${usd:.4f}"


def amount(number: int | None) -> str:
    """A large number: 950, 12.4 k, 3.1 M."""
    if number is None:
        return ""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f} k" if number < 1_000_000 else f"{number / 1_000_000:.1f} M"


def _local(at: str) -> datetime:
    return datetime.fromtimestamp(_micros(at) / 1_000_000, UTC).astimezone()


def _micros(at: str) -> int:
    moment = datetime.fromisoformat(at)
    return int(moment.timestamp() * 1_000_000)
