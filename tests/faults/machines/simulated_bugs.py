"""Which seeded bugs the simulation of hives finds: `python -m tests.faults.machines.simulated_bugs NAME...`"""

from __future__ import annotations

import logging
import sys

import structlog

from melipona.testing.simulation import play

from .bugs import BUGS
from .seeded import seeded

SEEDS = range(1, 7)


def found(name: str) -> str | None:
    """What the first history that notices says of the bug."""
    [bug] = [bug for bug in BUGS if bug.name == name]
    with seeded(bug):
        for seed in SEEDS:
            findings, _ = play(seed)
            if findings:
                return f"seed {seed}: {findings[0]}"
    return None


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for asked in sys.argv[1:]:
        print(f"{asked} = {found(asked)}", flush=True)
