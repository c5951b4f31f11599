"""Wrong secrets are counted, by address and in all: who tries too many waits (T41). Forgotten when the daemon ends."""

from __future__ import annotations

import ipaddress
from collections import deque

from melipona.clock import Clock
from melipona.errors import LimitReached

SECONDS = 60.0
PER_ADDRESS = 10
OVERALL = 100
ADDRESSES = 1000
"""Most addresses whose failures are remembered; the one that failed longest ago is forgotten first."""


class Throttle:
    """Failures of the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all: deque[float] = deque()
        self._by: dict[str, deque[float]] = {}

    def check(self, address: str | None, *, overall: bool = True) -> None:
        """Let somebody try.

        Raises:
            LimitReached: too many failures, from there or, with `overall`, in all.
        """
        key = _network(address)
        here = _recent(self._by.get(key, deque()), self._clock.monotonic())
        if not here:
            self._by.pop(key, None)
        everywhere = _recent(self._all, self._clock.monotonic())
        if here >= PER_ADDRESS or (overall and everywhere >= OVERALL):
            raise LimitReached("too many wrong logins", remedy="wait a minute, then try again", code="login")

    def failed(self, address: str | None) -> None:
        """Count a wrong secret."""
        at, key = self._clock.monotonic(), _network(address)
        found = self._by.pop(key, deque[float](maxlen=PER_ADDRESS))
        found.append(at)
        self._by[key] = found  # the newest stands last
        self._all.append(at)
        if len(self._all) > OVERALL:
            self._all.popleft()
        if len(self._by) > ADDRESSES:
            del self._by[next(iter(self._by))]


def _recent(failures: deque[float], at: float) -> int:
    while failures and failures[0] < at - SECONDS:
        failures.popleft()
    return len(failures)


def _network(address: str | None) -> str:
    """Whoever has one address of IPv6 has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
