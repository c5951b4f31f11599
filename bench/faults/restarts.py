"""A daemon with a long life behind it is killed and starts again: how long until it is ready; size = kills.

The store holds 1,000 agents, 500,000 messages, 100,000 turns and a million events. The daemon is killed by SIGKILL at a
random moment after it was ready, while a client sends, and is started from nothing, as `mel up` does. What was promised
is looked up in the end (I-1, I-2).
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.faults.campaign import CampaignResult
from bench.faults.checker import violations
from bench.faults.keeping import commit
from bench.faults.load import Load, workers_log
from melipona.testing.filled_store import fill
from melipona.testing.hive import QUICK as SMALL_BALLAST
from melipona.testing.hive import HiveProcess
from melipona.testing.invariants import Finding

QUICK, FULL = 3, 100
AGENTS, MESSAGES = 1000, 500_000
LONGEST = 5.0
"""Seconds that no start may take on a machine that does nothing else; told, not broken, on a busy one."""
CONFIG = SMALL_BALLAST + "[mail]\nsends_per_minute = 0\n"


def run(seed: int, size: int, folder: Path) -> CampaignResult:
    """Kill and start `size` times."""
    chance = random.Random(seed)
    data = folder / "hive"
    data.mkdir(mode=0o700)
    fill(data / "mel.db", agents=AGENTS, messages=MESSAGES, wish="stopped")
    hive = HiveProcess(data, config=CONFIG, follow=False)
    hive.start()
    names = [f"agent-{number:05d}" for number in range(1, 9)]
    load = Load(data, names, seed, folder / "workers", backlog=10**9, kinds={"note": 1})
    seconds: list[float] = []
    try:
        for _ in range(size):
            time.sleep(chance.uniform(0, 2))
            hive.kill()
            began = time.monotonic()
            hive.start()
            seconds.append(time.monotonic() - began)
    finally:
        load.stop()
        hive.down()
    lines = list(workers_log(folder / "workers"))
    found = _broken(data, lines)
    return CampaignResult(
        campaign="restarts",
        seed=seed,
        size=size,
        operations=len(lines),
        faults={"daemon": size},
        acknowledged=sum(len(line["ids"]) for line in lines),
        lost=sum(finding.invariant == "I-1" for finding in found),
        duplicated=sum(finding.invariant == "I-2" for finding in found),
        unknown=sum(line["outcome"] == "unknown" for line in lines),
        checked=("I-1", "I-2", "I-17"),
        violations=violations(found),
        recovery=seconds,
        notes=[f"at commit {commit()}, a load of {os.getloadavg()[1]:.0f} on {os.cpu_count()} cores"],
        numbers={"agents": AGENTS, "events": 2 * MESSAGES, "longer_than_5_s": sum(s > LONGEST for s in seconds)},
    )


def _broken(data: Path, lines: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Promises that are not there, messages that are there twice, a file that is damaged."""
    found: list[Finding] = []
    with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True)) as c:
        if (said := c.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
            found.append(Finding("I-17", "store", str(said)))
        bodies: Counter[str] = Counter()
        stored: dict[int, str] = {}
        for identifier, body in c.execute("SELECT id, body FROM messages WHERE id > ?", (MESSAGES,)):
            stored[identifier] = body
            bodies[body] += 1
    for line in lines:
        for identifier in line["ids"]:
            if stored.get(identifier) != line["body"]:
                found.append(Finding("I-1", f"m{identifier}", "it was promised and is not there"))
        if bodies[line["body"]] > 1:
            found.append(Finding("I-2", line["key"], "it is there more than once"))
    return found
