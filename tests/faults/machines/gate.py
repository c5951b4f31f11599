"""The mutation gate: each seeded bug is found by its machine, with a fixed seed, or the gate fails."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .api import ApiMachine
from .boxes import BoxMachine
from .budgets import BudgetMachine
from .mail import MailMachine
from .operations import OperationMachine
from .profiles import Broken, Reach, play
from .seeded import Bug, seeded
from .turns import TurnMachine
from .wishes import WishMachine

MACHINES = {
    machine.__name__: machine
    for machine in (MailMachine, TurnMachine, OperationMachine, BoxMachine, BudgetMachine, WishMachine, ApiMachine)
}
HUNT = Reach(150, 50, 150.0)
"""Fewer histories than `ci`; the seconds are a last resort, so that what is found does not hang on the machine."""
SEED = 1


@dataclass(frozen=True, slots=True)
class Hunted:
    """What became of a bug. `seconds` is how long the machine took; `how` the first line of what it said."""

    bug: Bug
    found: bool
    seconds: float
    how: str


def hunt(bug: Bug, reach: Reach = HUNT) -> Hunted:
    """Play the bug's machine over the product with the bug in it, until it is found.

    Raises:
        DoesNotApply: the product is not what the bug was written for.
    """
    began = time.monotonic()
    with seeded(bug):
        try:
            play(MACHINES[bug.machine], reach, SEED, shrink=False)
        except Broken as broken:
            return Hunted(bug, True, time.monotonic() - began, str(broken).splitlines()[0])
    return Hunted(bug, False, time.monotonic() - began, "")
