"""How far the machines go: `ci` (bounded in time, the same histories each time), `nightly`, `release`.

    MEL_HYPOTHESIS=nightly python -m pytest tests/faults/machines
    python -m pytest tests/faults/machines --hypothesis-profile=nightly
    MEL_SEED=7 ...                      # other histories; a failure prints the seed that replays it

The seed of `ci` is fixed, so that a commit that breaks nothing is not failed by luck; the longer profiles draw one.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

CHUNK = 25
"""Examples between two looks at the time; a slow machine has fewer (`chunk`)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Histories of one machine, steps of each, and seconds after which no more are begun (None: no bound)."""

    examples: int
    steps: int
    seconds: float | None


REACHES = {
    "ci": Reach(200, 50, 4.0),
    "nightly": Reach(20_000, 200, None),
    "release": Reach(200_000, 200, None),
}


def register() -> None:
    """Make the profiles known to Hypothesis, and load the one that `MEL_HYPOTHESIS` names."""
    for name, reach in REACHES.items():
        settings.register_profile(
            name,
            max_examples=reach.examples,
            stateful_step_count=reach.steps,
            deadline=None,
            print_blob=True,
            database=None,
            derandomize=name == "ci",
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        )
    wanted = os.environ.get("MEL_HYPOTHESIS")
    if wanted is not None:
        settings.load_profile(wanted)


def chosen() -> Reach:
    """The reach of the profile that is loaded; of any other than ours, that of `ci`."""
    name = settings.get_current_profile_name()
    return REACHES.get(name, REACHES["ci"])


def base_seed() -> int:
    """`MEL_SEED`, else the fixed one of `ci`, else a drawn one."""
    told = os.environ.get("MEL_SEED")
    if told is not None:
        return int(told)
    return 1 if chosen() == REACHES["ci"] else random.SystemRandom().randrange(1 << 30)


class Broken(AssertionError):
    """A machine found a history that breaks something; the message has it, and what replays it."""


def play(
    machine: type[RuleBasedStateMachine],
    reach: Reach,
    seed: int,
    *,
    shrink: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Play histories of `machine` until the reach is used up; how many.

    Raises:
        Broken: one of them broke something.
    """
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    began, played = clock(), 0
    while played < reach.examples and (reach.seconds is None or clock() - began < reach.seconds):
        count = min(getattr(machine, "chunk", CHUNK), reach.examples - played)
        _once(machine, _settings(count, reach.steps, phases), seed + played)
        played += count
    return played


def _settings(count: int, steps: int, phases: list[Phase]) -> settings:
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )


def _once(machine: type[RuleBasedStateMachine], how: settings, seed: int) -> None:
    seeded: Any = type(machine.__name__, (machine,), {"_hypothesis_internal_use_seed": seed})
    try:
        run_state_machine_as_test(seeded, settings=how)
    except Exception as failure:
        first: BaseException = failure
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        notes = "\n".join(getattr(first, "__notes__", ()))
        text = f"{machine.__name__}: {type(first).__name__}: {first}\n{notes}\nreplay: MEL_SEED={seed}"
        raise Broken(text) from first
