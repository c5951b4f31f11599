"""A neighbour: an agent of the same hive that answers while another one misbehaves, and how long its answers take.

T6 promises that one box at its limits does not slow the others: the neighbour's latency is measured in the same run
before and during the fault, so that the machine's speed and load cancel out as far as they do not change.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from melipona.testing.hive import HiveProcess

SLACK = 0.5
"""Seconds that do not count: what one hiccup of a loaded machine takes."""


@dataclass(slots=True)
class Neighbour:
    """The agent `name` of a hive, and its latencies in seconds from `send` to handled."""

    hive: HiveProcess
    name: str = "neighbour"
    usual: list[float] = field(default_factory=list[float])
    during: list[float] = field(default_factory=list[float])

    def settle(self, rounds: int = 8) -> None:
        """Make the agent, warm it up, and measure how long it usually takes."""
        self.hive.agent(self.name)
        self._round()
        self.usual += [self._round() for _ in range(rounds)]

    def rest(self, rounds: int = 2) -> None:
        """Measure again how long it usually takes, while nothing goes wrong: a machine's load changes."""
        self.usual += [self._round() for _ in range(rounds)]

    def meanwhile(self) -> Neighbour:
        """The same agent before what goes wrong now: its usual latency is what it has been of late."""
        self.rest(3)
        return Neighbour(self.hive, self.name, usual=self.usual[-8:])

    def answer(self, rounds: int = 1) -> None:
        """Measure while something else goes wrong."""
        self.during += [self._round() for _ in range(rounds)]

    @property
    def ratio(self) -> float:
        """Median latency during the fault over the usual median; `SLACK` does not count."""
        return max(0.0, statistics.median(self.during) - SLACK) / statistics.median(self.usual)

    def _round(self) -> float:
        began = time.monotonic()
        message = self.hive.send(self.name, "hello")
        self.hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
        return time.monotonic() - began
