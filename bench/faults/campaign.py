"""What a campaign is, and what it leaves: the contract between those who break things and the page of results.

A campaign is a module in `bench/faults/` named in `CAMPAIGNS`, with:

    QUICK: int                     # the size that CI runs
    FULL: int                      # the size by hand
    def run(seed: int, size: int, folder: Path) -> CampaignResult

The first line of its docstring says what it breaks. `size` is its own unit (kills, faults, pairs), documented there.
`run` does everything below `folder` (which exists and is empty, or holds an earlier part of the same run), leaves no
process, mount, socket or cgroup behind, takes every random decision from `random.Random(seed)`, and *returns* broken
invariants instead of raising; it raises only when it could not do its work at all. The same seed and size make the same
decisions, so that `python -m bench.faults NAME --seed N --size M` replays it.
"""

from __future__ import annotations

import importlib
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

CAMPAIGNS = ("kills", "swarm", "processes", "time", "upstream", "storage", "upgrade", "pairs", "restarts")
"""Modules of this package that are campaigns, in the order of the page."""

Violations = Mapping[str, Sequence[str]]
"""What was broken, by invariant (`"I-1"`) or kind of leftover (`"orphan process"`): one sentence a case."""


@dataclass(frozen=True, slots=True)
class CampaignResult:
    """What one run of a campaign did and found.

    `operations` were attempted; of those `acknowledged` were promised, `unknown` got no answer. `faults` is how often
    each kind of fault was injected. `lost` are acknowledged effects that are gone, `duplicated` effects that happened
    twice without a flag. `checked` names every invariant that was looked at, broken or not; `violations` those broken.
    `recovery` are the seconds from each fault until the hive worked again. `worst_seed` is the seed of the part that
    broke something, else the one that recovered slowest. `notes` state what the numbers do not (a bound, a limit of the
    machine); `numbers` are further figures by name.
    """

    campaign: str
    seed: int
    size: int
    operations: int
    faults: Mapping[str, int]
    acknowledged: int
    lost: int = 0
    duplicated: int = 0
    unknown: int = 0
    checked: Sequence[str] = ()
    violations: Violations = field(default_factory=dict[str, Sequence[str]])
    recovery: Sequence[float] = ()
    worst_seed: int | None = None
    notes: Sequence[str] = ()
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def ok(self) -> bool:
        """Whether nothing that was checked is broken."""
        return not self.lost and not self.duplicated and not any(self.violations.values())

    @property
    def command(self) -> str:
        """What replays this run."""
        return f"python -m bench.faults {self.campaign} --seed {self.seed} --size {self.size}"

    def as_json(self) -> dict[str, Any]:
        """The run as it is kept in `bench/results/faults/`; recoveries as their percentiles."""
        return {
            "campaign": self.campaign,
            "seed": self.seed,
            "size": self.size,
            "command": self.command,
            "operations": self.operations,
            "faults": dict(sorted(self.faults.items())),
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "unknown": self.unknown,
            "checked": sorted(set(self.checked) | set(self.violations), key=_by_number),
            "violations": {name: list(cases) for name, cases in sorted(self.violations.items()) if cases},
            "recovery_seconds": percentiles(self.recovery),
            "worst_seed": self.worst_seed,
            "notes": list(self.notes),
            "numbers": dict(self.numbers),
        }


class Campaign(Protocol):
    """A module that is a campaign."""

    QUICK: int
    FULL: int
    __doc__: str | None

    def run(self, seed: int, size: int, folder: Path) -> CampaignResult:
        """Break things `size` times, as `seed` says, and check."""
        ...


def campaign(name: str) -> Campaign:
    """The campaign of that name.

    Raises:
        KeyError: there is none.
    """
    if name not in CAMPAIGNS:
        raise KeyError(f"no campaign {name!r}; there are {', '.join(CAMPAIGNS)}")
    return cast("Campaign", importlib.import_module(f"bench.faults.{name}"))


def combined(parts: Sequence[CampaignResult], *, seed: int, size: int) -> CampaignResult:
    """Several runs of one campaign as one. The worst seed is that of a part that broke something, else the slowest."""
    first = parts[0]
    broken = [part for part in parts if not part.ok]
    slowest = max(parts, key=lambda part: max(part.recovery, default=0.0))
    faults: Counter[str] = Counter()
    violations: dict[str, list[str]] = {}
    numbers: Counter[str] = Counter()
    for part in parts:
        faults.update(part.faults)
        numbers.update(part.numbers)
        for name, cases in part.violations.items():
            violations.setdefault(name, []).extend(cases)
    return replace(
        first,
        seed=seed,
        size=size,
        operations=sum(part.operations for part in parts),
        faults=dict(faults),
        acknowledged=sum(part.acknowledged for part in parts),
        lost=sum(part.lost for part in parts),
        duplicated=sum(part.duplicated for part in parts),
        unknown=sum(part.unknown for part in parts),
        checked=sorted({name for part in parts for name in part.checked}, key=_by_number),
        violations=violations,
        recovery=[seconds for part in parts for seconds in part.recovery],
        worst_seed=(broken[0] if broken else slowest).seed,
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
        numbers=dict(numbers),
    )


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """p50, p99 and the longest of some durations, in seconds; None without any."""
    if not seconds:
        return None
    cuts = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 99
    return {
        "count": len(seconds),
        "p50": round(cuts[49], 3),
        "p99": round(cuts[98], 3),
        "max": round(max(seconds), 3),
    }


def _by_number(name: str) -> tuple[str, int, str]:
    kind, _, number = name.partition("-")
    return (kind, int(number), "") if number.isdigit() else ("~", 0, name)
