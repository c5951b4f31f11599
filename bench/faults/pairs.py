"""Every fault point with every story that passes it, a crash there, one run each; size = pairs.

The work is done by `melipona.testing.crash_pairs`: real daemons that end by `os._exit` at the point, real boxes. Each
story is told once as it is, which says what there is; then the pairs are told in an order that the seed draws, of which
`size` are taken. What was told well is kept in `report.jsonl` in the folder, so that a run that was cut goes on.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from bench.faults.campaign import CampaignResult
from bench.faults.checker import NOTHING_LEFT, STORE_ALONE
from bench.faults.keeping import commit
from melipona.testing.crash_pairs import Pair, Result, pairs_of
from melipona.testing.crash_pairs import run as tell
from melipona.testing.crash_stories import STORIES

QUICK, FULL = 60, 1_000_000
JOBS = 2
CHECKED = (*STORE_ALONE, "I-11", "I-12", *NOTHING_LEFT)


def run(seed: int, size: int, folder: Path, *, seconds: float | None = None) -> CampaignResult:
    """Tell `size` pairs, or all that there are; with `seconds` none is begun after that time."""
    until = None if seconds is None else time.monotonic() + seconds
    report, room = folder / "report.jsonl", folder / "room"
    room.mkdir(exist_ok=True)
    last = {result.pair: result for result in _read(report)}
    kept = {pair: result for pair, result in last.items() if not result.findings}
    told = [kept[name] for name in STORIES if name in kept]
    told += tell([Pair(name) for name in STORIES if name not in kept], room, JOBS, report)
    there = pairs_of(told, most=1)
    random.Random(seed).shuffle(there)
    wanted = there[:size]
    done = [kept[str(pair)] for pair in wanted if str(pair) in kept]
    left = [pair for pair in wanted if str(pair) not in kept]
    told_now = tell([], room, JOBS, report, more=left, until=until)
    again = {result.pair for result in told_now}
    done += told_now
    done += [last[str(pair)] for pair in left if str(pair) in last and str(pair) not in again]
    return _result(seed, told, done, len(there))


def _read(report: Path) -> list[Result]:
    if not report.exists():
        return []
    with report.open() as lines:
        return [Result(**json.loads(line)) for line in lines]


def _result(seed: int, told: Sequence[Result], done: Sequence[Result], there: int) -> CampaignResult:
    failed = {result.pair: result.findings for result in [*told, *done] if result.findings}
    wishes = [wish for result in done if (wish := Pair.parse(result.pair).wish) is not None]
    times = sorted(result.seconds for result in done)
    return CampaignResult(
        campaign="pairs",
        seed=seed,
        size=len(done),
        operations=len(told) + len(done),
        faults={"crash": sum(result.deaths for result in done)},
        acknowledged=sum(result.promised for result in [*told, *done]),
        checked=CHECKED,
        violations={"story": [f"{pair}: {findings[0]}" for pair, findings in failed.items()]} if failed else {},
        notes=[f"at commit {commit()}, a load of {os.getloadavg()[2]:.0f} on {os.cpu_count()} cores"],
        numbers={
            "pairs": there,
            "pairs_told": len(done),
            "points": len({wish.point for wish in wishes}),
            "stories": len(told),
            "seconds_a_pair_p50": round(times[len(times) // 2], 1) if times else 0,
        },
    )
