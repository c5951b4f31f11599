"""Running benchmarks: what one is, and its contenders interleaved round by round."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TextIO

from bench.figures import Figure, Goal, Outcome, Values, outcome

Contender = Callable[[], Values]
"""Measures once and gives its values by the figures' names."""


class Unable(Exception):
    """This machine cannot run the benchmark; the text says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked for. `folder` is a new, empty folder on the disk of the data folder."""

    folder: Path
    rounds: int = 5
    quick: bool = False
    peers: bool = False
    tiny: bool = False
    """As small as works: for tests of the benchmarks themselves, where no figure is looked at."""
    out: TextIO = field(default=sys.stderr)
    began: float = field(default_factory=time.perf_counter)

    def size(self, full: int, quick: int, tiny: int) -> int:
        """How many of something to do."""
        return tiny if self.tiny else quick if self.quick else full

    def say(self, text: str) -> None:
        """Tell of progress."""
        print(f"[{time.perf_counter() - self.began:6.1f} s] {text}", file=self.out, flush=True)


class Benchmark(Protocol):
    """A module `bench/<name>.py`: its first docstring line says what it measures.

    `ROUNDS` and `QUICK_ROUNDS`, where they are given, are the most rounds that it runs: for what takes long.
    """

    FIGURES: Sequence[Figure]
    __doc__: str | None

    @staticmethod
    def contenders(run: Run) -> AbstractContextManager[Mapping[str, Contender]]:
        """Set up; every contender by its name, `ours` among them; the context's end cleans up.

        Raises:
            Unable: this machine cannot run it.
        """
        ...


def measure(name: str, benchmark: Benchmark, run: Run, goals: Mapping[tuple[str, str], Goal]) -> list[Outcome]:
    """Every figure of one benchmark."""
    run.say(f"{name}: getting ready")
    rounds: list[dict[str, Values]] = []
    with benchmark.contenders(run) as contenders:
        for number in range(run.rounds):
            values: dict[str, Values] = {}
            for contender in _order(list(contenders), number):
                run.say(f"{name}: round {number + 1}/{run.rounds}, {contender}")
                values[contender] = contenders[contender]()
            rounds.append(values)
    found = [outcome(name, figure, rounds, goals.get((name, figure.name))) for figure in benchmark.FIGURES]
    return [one for one in found if one is not None]


def _order(names: list[str], number: int) -> list[str]:
    """Every other round goes backwards, so that a machine that slows down or warms up favours nobody."""
    return names if number % 2 == 0 else names[::-1]
