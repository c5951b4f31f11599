"""Which boxes have crashed, and what follows: pure decisions over the facts of a tick (CW-1, CW-3, CW-7).

A crash is a box that its row calls up, that is gone, with no operation in flight for its agent. Inspecting boxes and
acting is the daemon's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from melipona.clock import Micros, later
from melipona.ids import AgentId, BoxId
from melipona.settings import WatchSettings


@dataclass(frozen=True, slots=True)
class BoxFacts:
    """One box that is not `gone` by its row. `alive` None: it cannot be told, which is no evidence of a crash."""

    agent: AgentId
    box: BoxId
    row: str
    alive: bool | None
    in_flight: bool
    wanted: bool = True
    """The agent's wish is `running`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What earlier ticks have reported or seeded."""

    seeded: bool = False
    dead: frozenset[BoxId] = field(default_factory=frozenset[BoxId])


def is_crash(facts: BoxFacts) -> bool:
    """Whether this box ended by itself (CW-7, invariant 32)."""
    return facts.row == "up" and facts.alive is False and not facts.in_flight and facts.wanted


def tick(seen: Seen, facts: Iterable[BoxFacts]) -> tuple[Seen, list[BoxFacts]]:
    """Judge one tick: what to remember, and the crashes that are new.

    The first tick only seeds: what was dead before is the business of the start, not a crash (CW-3, invariant 33).
    """
    crashed = [box for box in facts if is_crash(box)]
    news = [box for box in crashed if seen.seeded and box.box not in seen.dead]
    return Seen(True, frozenset(box.box for box in crashed)), news


@dataclass(frozen=True, slots=True)
class RestartAt:
    """The agent may run turns again at `at`."""

    at: Micros


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It crashed too often in a row: a person must act."""


def after_crash(crashes: int, settings: WatchSettings, now: Micros) -> RestartAt | GiveUp:
    """What follows the crash that is number `crashes` since the last good turn."""
    if crashes > settings.restarts:
        return GiveUp()
    if not settings.backoff:
        return RestartAt(now)
    wait = settings.backoff[min(crashes, len(settings.backoff)) - 1]
    return RestartAt(later(now, timedelta(seconds=wait)))
