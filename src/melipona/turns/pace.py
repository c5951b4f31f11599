"""How much of the daemon one engine's output may take (T7): a bucket of seconds of work, refilled slowly.

An engine that says as much as engines do never notices. One that floods is read as slowly as it takes for the daemon to
have most of its time for everybody else; boxd then stops reading it, and it waits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from melipona.clock import Clock

BURST = 0.25
"""Seconds of work that an engine may cause at once."""

SHARE = 0.2
"""Seconds of work a second that it may cause for long."""

SLICE = 0.003
"""Seconds of work after which everybody else has a turn."""


@dataclass(slots=True)
class Pace:
    """The bucket of one turn. Call `breathe` between pieces of work."""

    clock: Clock
    _left: float = BURST
    _since: float = 0.0
    _filled: float = 0.0

    def begin(self) -> None:
        """Work begins now, after waiting for something to do."""
        now = self.clock.monotonic()
        self._left = min(BURST, self._left + (now - self._filled) * SHARE)
        self._since = self._filled = now

    async def breathe(self) -> None:
        """Let others have a turn when it is time, and wait as long as the bucket is overdrawn."""
        now = self.clock.monotonic()
        if now - self._since < SLICE:
            return
        self._left -= now - self._since
        await asyncio.sleep(max(0.0, -self._left / SHARE))
        self.begin()
