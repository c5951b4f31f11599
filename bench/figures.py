"""From the values of each round to figures: spreads, ratios to the floor, goals, and the JSON document.

The ratio of a figure is the median of the rounds' ratios and not the ratio of two medians: a round on a busy machine
slows floor and product together, and dividing across rounds would compare a quiet one with a busy one.
"""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

Json = dict[str, Any]
Values = Mapping[str, float]
"""What one contender measured in one round, by the figures' names."""

OURS = "ours"
NOISY = 1.0
"""A floor whose rounds vary by more than its median: the run proves nothing about this figure."""
FAILS_AT = 1.5
"""How far beyond its goal a ratio must be before CI fails."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is measured: its unit, and the contender whose value of the same name is its floor."""

    name: str
    unit: str
    floor: str | None = None
    of: str = OURS
    """The contender that is judged, where a benchmark has several of ours."""
    peers: tuple[str, ...] = ()
    optional: bool = False
    """Only measured where the machine has what it needs."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure has to reach; every limit that is given holds. `plus` is allowed on top of the floor's multiple."""

    max_ratio: float | None = None
    min_ratio: float | None = None
    max_abs: float | None = None
    min_abs: float | None = None
    plus: float = 0.0
    ci_max_ratio: float | None = None
    """Where CI fails instead, for a goal that is known to be missed: docs/performance.md says what forbids it."""
    max_peer_ratio: Mapping[str, float] = field(default_factory=dict[str, float])

    def as_json(self) -> Json:
        """The limits that are given."""
        found = {n: getattr(self, n) for n in ("max_ratio", "min_ratio", "max_abs", "min_abs")}
        given: Json = {name: value for name, value in found.items() if value is not None}
        if self.plus:
            given["plus"] = self.plus
        if self.max_peer_ratio:
            given["max_peer_ratio"] = dict(self.max_peer_ratio)
        return given

    def text(self, unit: str) -> str:
        """The limits as people read them."""
        parts: list[str] = []
        if self.max_ratio is not None:
            parts.append(f"<= {self.max_ratio:g} x" + (f" + {number(self.plus)} {unit}" if self.plus else ""))
        if self.min_ratio is not None:
            parts.append(f">= {self.min_ratio:g} x")
        if self.max_abs is not None:
            parts.append(f"<= {number(self.max_abs)} {unit}")
        if self.min_abs is not None:
            parts.append(f">= {number(self.min_abs)} {unit}")
        parts += [f"<= {limit:g} x {peer}" for peer, limit in self.max_peer_ratio.items()]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and the ends of what the rounds gave."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def as_json(self) -> Json:
        """Rounded to four significant digits."""
        return {"median": _round(self.median), "min": _round(self.min), "max": _round(self.max)}


@dataclass(frozen=True, slots=True)
class Peer:
    """Another program's value for the same figure, and ours as a multiple of it."""

    name: str
    value: Spread
    ratio: Spread | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One figure of one run."""

    benchmark: str
    figure: Figure
    ours: Spread
    floor: Spread | None
    ratio: Spread | None
    above: float | None
    """The median of (ours - goal.plus) / floor: what the goal's ratio is compared with."""
    goal: Goal | None
    peers: tuple[Peer, ...]
    rounds: int

    @property
    def noise(self) -> float | None:
        """How much the floor varied: (max - min) / median. None without a floor."""
        if self.floor is None or not self.floor.median:
            return None
        return (self.floor.max - self.floor.min) / self.floor.median

    @property
    def noisy(self) -> bool:
        return self.noise is not None and self.noise > NOISY

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None when there is none, or nothing to compare with."""
        if self.goal is None:
            return None
        verdicts = [_below(self.above, self.goal.max_ratio), _above(self._plain, self.goal.min_ratio)]
        verdicts += [_below(self.ours.median, self.goal.max_abs), _above(self.ours.median, self.goal.min_abs)]
        measured = {peer.name: peer.ratio.median for peer in self.peers if peer.ratio is not None}
        verdicts += [_below(measured.get(name), limit) for name, limit in self.goal.max_peer_ratio.items()]
        judged = [verdict for verdict in verdicts if verdict is not None]
        return all(judged) if judged else None

    @property
    def fails(self) -> bool:
        """Whether CI has to fail: a ratio far beyond its goal in a run that is not noisy (PERFORMANCE.md 12)."""
        if self.goal is None or self.noisy:
            return False
        most, least = self.goal.max_ratio, self.goal.min_ratio
        bound = self.goal.ci_max_ratio or (None if most is None else most * FAILS_AT)
        too_much = bound is not None and self.above is not None and self.above > bound
        too_little = least is not None and self._plain is not None and self._plain < least / FAILS_AT
        return too_much or too_little

    @property
    def _plain(self) -> float | None:
        return None if self.ratio is None else self.ratio.median

    def as_json(self, machine: Json, commit: str) -> Json:
        """The object of the JSON document (PERFORMANCE.md 12)."""
        floor = None if self.floor is None else {"name": self.figure.floor, **self.floor.as_json()}
        peers = [
            {"name": p.name, **p.value.as_json(), "ratio": None if p.ratio is None else p.ratio.as_json()}
            for p in self.peers
        ]
        return {
            "benchmark": self.benchmark,
            "figure": self.figure.name,
            "unit": self.figure.unit,
            "ours": self.ours.as_json(),
            "floor": floor,
            "ratio": None if self.ratio is None else self.ratio.as_json(),
            "goal": None if self.goal is None else self.goal.as_json(),
            "met": self.met,
            "peers": peers,
            "rounds": self.rounds,
            "machine": machine,
            "noise": None if self.noise is None else round(self.noise, 3),
            "commit": commit,
        }


def load_goals() -> dict[tuple[str, str], Goal]:
    """The goals by benchmark and figure, from `goals.toml`."""
    data = tomllib.loads(resources.files("bench").joinpath("goals.toml").read_text(encoding="utf-8"))
    return {(name, figure): Goal(**limits) for name, figures in data.items() for figure, limits in figures.items()}


def outcome(
    benchmark: str, figure: Figure, rounds: Sequence[Mapping[str, Values]], goal: Goal | None
) -> Outcome | None:
    """What the rounds say of a figure; None when nobody of ours measured it in any of them.

    `rounds` has the values of each contender by its name, a mapping for each round.
    """
    mine = [(r[figure.of][figure.name], r) for r in rounds if figure.name in r.get(figure.of, {})]
    if not mine:
        return None
    floors = [(value, _of(r, figure.floor).get(figure.name)) for value, r in mine]
    pairs = [(value, below) for value, below in floors if below is not None]
    plus = 0.0 if goal is None else goal.plus
    above = _ratios([(value - plus, below) for value, below in pairs])
    return Outcome(
        benchmark=benchmark,
        figure=figure,
        ours=Spread.of([value for value, _ in mine]),
        floor=Spread.of([below for _, below in pairs]) if pairs else None,
        ratio=_ratios(pairs),
        above=None if above is None else above.median,
        goal=goal,
        peers=tuple(_peers(figure, mine)),
        rounds=len(mine),
    )


def _of(values: Mapping[str, Values], contender: str | None) -> Values:
    return {} if contender is None else values.get(contender, {})


def _peers(figure: Figure, mine: Sequence[tuple[float, Mapping[str, Values]]]) -> list[Peer]:
    found: list[Peer] = []
    for name in figure.peers:
        pairs = [(value, r[name][figure.name]) for value, r in mine if figure.name in r.get(name, {})]
        if pairs:
            found.append(Peer(name, Spread.of([theirs for _, theirs in pairs]), _ratios(pairs)))
    return found


def _ratios(pairs: Sequence[tuple[float, float]]) -> Spread | None:
    ratios = [value / below for value, below in pairs if below]
    return Spread.of(ratios) if ratios else None


def _below(value: float | None, limit: float | None) -> bool | None:
    return None if value is None or limit is None else value <= limit


def _above(value: float | None, limit: float | None) -> bool | None:
    return None if value is None or limit is None else value >= limit


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of them lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def number(value: float) -> str:
    """A number as tables show it: four significant digits at most, thousands separated."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _round(value: float) -> float:
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))
