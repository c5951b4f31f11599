"""A swarm of agents comes, works and goes, again and again; nothing in the daemon may grow with it; size = turns.

Each wave makes agents, has them run turns, and purges them. After the first waves, which fill caches and pools (each
statement is compiled once, by the connection that first needs it), the daemon's memory, descriptors, threads and tasks
and the hive's files are counted, and again `size` turns later (I-20), both times when it has come to rest. Rows, events
and logs of turns are history and are meant to grow.
"""

from __future__ import annotations

import os
import random
import socket
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.faults import checker
from bench.faults.campaign import CampaignResult
from bench.faults.load import PLAYBOOK, quiet
from melipona.testing import invariants
from melipona.testing.hive import HiveProcess
from melipona.testing.invariants import Expect, Finding
from melipona.testing.leftovers import leftovers

QUICK, FULL = 120, 1000
NAMES = ("ana", "ben", "cleo", "dora")
ROUNDS = 5
"""Turns of each agent in a wave."""
WARM = 5
"""Waves before the first count: a hundred turns."""
PERCENT = {"rss": 5.0}
QUICK_PERCENT = 25.0
"""What memory may grow by in a run of less than `FULL` turns: too few for the allocator's noise to be small."""
POOLS = 4
"""Threads and descriptors of pools that are opened on demand."""
SECONDS = 120.0
CONFIG = """
[boxes]
idle = 0.2
orphan_busy = 60
orphan_idle = 60
[turns]
engine_idle = 0.1
cap = 4
[budgets]
turns_per_hour = 0
"""
CHECKED = (*checker.STORE_ALONE, "I-20", *checker.NOTHING_LEFT)


@dataclass(frozen=True, slots=True)
class Use:
    """What a daemon uses at rest. `rss` in KiB; `files` are those that do not belong to history."""

    rss: int
    descriptors: int
    threads: int
    tasks: int
    files: int


def run(seed: int, size: int, folder: Path) -> CampaignResult:
    """`size` turns, in waves."""
    chance = random.Random(seed)
    hive = HiveProcess(folder / "hive", config=CONFIG, follow=False)
    sent = 0
    try:
        hive.start()
        for _ in range(WARM):
            _wave(hive, chance)
        before = _use(hive)
        while sent < size:
            sent += _wave(hive, chance)
        after = _use(hive)
    finally:
        hive.close()
    percent = 100 * (after.rss - before.rss) / before.rss
    findings = [
        *_grown(before, after, percent, size),
        *invariants.check(hive.data, expect=Expect(settled=True)),
        *leftovers(hive.data),
    ]
    return CampaignResult(
        campaign="swarm",
        seed=seed,
        size=size,
        operations=sent,
        faults={"agents made and purged": (sent // ROUNDS)},
        acknowledged=sent,
        checked=CHECKED,
        violations=checker.violations(findings),
        worst_seed=seed,
        notes=[f"counted first after {WARM * ROUNDS * len(NAMES)} turns, when caches are filled, and again at rest"],
        numbers={
            "turns": sent,
            "rss_percent": round(percent, 2),
            "rss_kib": after.rss,
            "descriptors": after.descriptors,
            "descriptors_grown": after.descriptors - before.descriptors,
            "threads_grown": after.threads - before.threads,
            "tasks_grown": after.tasks - before.tasks,
            "files_grown": after.files - before.files,
        },
    )


def _wave(hive: HiveProcess, chance: random.Random) -> int:
    """Agents come, run their turns one after the other, and are purged. How many messages were sent."""
    for name in NAMES:
        hive.agent(name, playbook=PLAYBOOK)
    for number in range(ROUNDS):
        for name in chance.sample(NAMES, len(NAMES)):
            hive.client.post_keyed("/messages", {"to": name, "body": f"note {number}"})
        quiet(hive.data, SECONDS, hive.client)
    for name in NAMES:
        hive.client.post(f"/agents/{name}/destroy")
        _until_idle(hive)
        hive.client.post(f"/agents/{name}/purge")
    _until_idle(hive)
    return ROUNDS * len(NAMES)


def _until_idle(hive: HiveProcess) -> None:
    """Wait until no operation is in flight and no box is up."""
    end = time.monotonic() + SECONDS
    query = (
        "SELECT (SELECT count(*) FROM operations WHERE state = 'running')"
        " + (SELECT count(*) FROM boxes b JOIN agents a ON a.id = b.agent_id"
        " WHERE b.state <> 'gone' AND a.wish <> 'running')"
    )
    while time.monotonic() < end:
        with closing(sqlite3.connect(f"file:{hive.data / 'mel.db'}?mode=ro", uri=True, timeout=10)) as c:
            if not c.execute(query).fetchone()[0]:
                return
        time.sleep(0.02)
    raise TimeoutError("operations are still in flight")


def _use(hive: HiveProcess) -> Use:
    """What the daemon uses, once its loop is as quiet as it gets: the least of several looks."""
    looks = [_look(hive) for _ in range(10)]
    return Use(*(min(getattr(look, field) for look in looks) for field in Use.__slots__))


def _look(hive: HiveProcess) -> Use:
    time.sleep(0.3)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{hive.pid}/status").read_text().splitlines())
    return Use(
        rss=int(status["VmRSS"].split()[0]),
        descriptors=len(list(Path(f"/proc/{hive.pid}/fd").iterdir())),
        threads=int(status["Threads"]),
        tasks=_tasks(hive.data),
        files=sum(
            1 for path in hive.data.rglob("*") if path.relative_to(hive.data).parts[0] not in ("turns", "mel.db-wal")
        ),
    )


def _tasks(data: Path) -> int:
    """The tasks of the daemon's loop, by its metrics."""
    folder = os.open(data / "run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(f"/proc/self/fd/{folder}/mel.sock")
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            with sock.makefile("rb") as answer:
                text = answer.read().decode()
    finally:
        os.close(folder)
    told = [line for line in text.splitlines() if line.startswith("melipona_loop_tasks ")]
    if not told:
        raise AssertionError(f"the metrics tell no tasks: {text[:300]}")
    return int(float(told[0].split()[1]))


def _grown(before: Use, after: Use, percent: float, size: int) -> list[Finding]:
    most = PERCENT["rss"] if size >= FULL else QUICK_PERCENT
    found = [] if percent <= most else [Finding("I-20", "memory", f"{percent:.1f} % more, {most:g} % is allowed")]
    for what, allowed in (("descriptors", POOLS), ("threads", POOLS), ("tasks", 0), ("files", 0)):
        was, now = getattr(before, what), getattr(after, what)
        if now > was + allowed:
            found.append(Finding("I-20", what, f"{was} before, {now} after"))
    return found
