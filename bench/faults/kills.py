"""Random kills under load: the daemon, boxd, the engine, the whole box, at any moment; size = kills.

A real hive with playbook agents in real boxes, clients that send all the time over kept connections, a client that
folds the events, a stub of the model's API. SIGKILL hits at random times. Then everything is let go quiet and brought
down, and the checkers look at the store, the turns' logs, what each sender was promised and what is left on the
machine. A run of more than CI's is made of parts, each a hive of its own whose result is kept, so that a run that was
cut goes on; there further clients make a mass of mail.

A daemon is forked off a process that has imported what it needs, and killed by SIGKILL like any other; one start of
`COLD` is from nothing, and its time is told apart.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import secrets
import shutil
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.faults import checker, victims
from bench.faults.campaign import CampaignResult, combined
from bench.faults.keeping import commit
from bench.faults.load import PLAYBOOK, Load, quiet, workers_log
from bench.faults.victims import Box
from melipona.testing.folding import FoldingClient
from melipona.testing.forked_daemons import DaemonForks
from melipona.testing.hive import HiveProcess
from melipona.testing.invariants import Expect, Finding
from melipona.testing.model_stub import ModelStub

QUICK, FULL = 300, 10_000
PART = 400
AGENTS = ("ana", "ben", "cleo", "dora", "emil", "fay")
MORE_AGENTS = tuple(f"{name}{n}" for n in range(1, 5) for name in AGENTS)
"""By hand: each is killed less often, so that a turn with a mass of mail has a chance (mail that failed twice goes
alone, D-18), and a message to all is many."""
CAP, ATTEMPTS = 4, 6
KINDS = {"engine": 9, "boxd": 5, "box": 3, "daemon": 4, "daemon and box": 1}
"""What is killed, and how often. With the last, a box dies while no daemon is there to see it."""
GAP = 0.2
"""Seconds from one kill to the next, at most."""
COLD = 20
JOBS = 2
"""Parts that run at the same time."""
QUIET_SECONDS = 600.0
NOBODY_SECONDS = 60.0
CONFIG = f"""
[mail]
attempts = {ATTEMPTS}
backoff = [0.05]
thread_hops = 0
thread_per_minute = 0
sends_per_minute = 0
[turns]
cap = {CAP}
[watch]
restarts = 1000000
backoff = [0.05]
[budgets]
hive_usd_per_day = 0
turns_per_hour = 0
[boxes]
orphan_busy = 120
orphan_idle = 120
"""
CHECKED = (*checker.STORE_ALONE, "I-10", "I-11", "I-12", "I-19", *checker.NOTHING_LEFT)
RECOVERED_SECONDS = 120.0
"""I-11 is broken when a hive needs longer; how long it took is measured."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, `at` in UTC microseconds. `turn` was open in the box; `seconds` passed until a daemon was ready."""

    kind: str
    at: int
    agent: str | None = None
    turn: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard a part works: further clients that make a mass of mail, how much may wait, how often is compared."""

    agents: Sequence[str] = AGENTS
    bulk: int = 0
    backlog: int = 600
    compare_every: int = 200
    hang_up: int = 400


CALM = Pace()
HARD = Pace(MORE_AGENTS, bulk=2, backlog=6000, compare_every=2000, hang_up=4000)


def run(seed: int, size: int, folder: Path, *, seconds: float | None = None) -> CampaignResult:
    """Kill `size` times; with `seconds` no part is begun after that time, and the result is of those that were."""
    if size <= QUICK:
        return part(seed, size, folder, CALM)
    sizes = [PART] * (size // PART) + ([size % PART] if size % PART else [])
    results = list(_parts(seed, sizes, folder, None if seconds is None else time.monotonic() + seconds))
    return combined(results, seed=seed, size=sum(result.size for result in results))


def _parts(seed: int, sizes: Sequence[int], folder: Path, until: float | None) -> Iterator[CampaignResult]:
    """The results of all parts, `JOBS` of which run at the same time; those of earlier runs are taken as they are."""
    waiting: list[tuple[int, int, Path, int]] = []
    for number, kills in enumerate(sizes):
        place = folder / f"part-{number:03d}"
        kept = place / "result.json"
        if kept.exists():
            yield CampaignResult(**json.loads(kept.read_text()))
        else:
            waiting.append((seed + number, kills, place, len(sizes)))
    running: set[Future[CampaignResult]] = set()
    with ProcessPoolExecutor(JOBS, multiprocessing.get_context("spawn")) as pool:
        while True:
            while waiting and len(running) < JOBS and (until is None or time.monotonic() < until):
                running.add(pool.submit(_one_part, *waiting.pop(0)))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _one_part(seed: int, size: int, folder: Path, parts: int) -> CampaignResult:
    """Run a part and keep its result in its folder."""
    shutil.rmtree(folder, ignore_errors=True)  # what a run that was cut has left of this part
    (folder / "run").mkdir(parents=True)
    began = time.monotonic()
    result = part(seed, size, folder / "run", HARD)
    (folder / "result.json").write_text(json.dumps(asdict(result)))
    verdict = "ok" if result.ok else f"BROKEN: {result.violations}"
    took = time.monotonic() - began
    if result.ok:
        shutil.rmtree(folder / "run")
    print(f"{folder.name} of {parts}, seed {seed}: {took:.0f} s, {result.acknowledged} promised, {verdict}", flush=True)
    return result


def part(seed: int, size: int, folder: Path, pace: Pace) -> CampaignResult:
    """One hive, `size` kills."""
    with DaemonForks() as forks, _hive(folder, forks) as (hive, stub):
        for name in pace.agents:
            hive.agent(name, playbook=PLAYBOOK)
        load = Load(hive.data, pace.agents, seed, folder / "workers", backlog=pace.backlog, bulk=pace.bulk)
        folding = FoldingClient(hive.client, seed, compare_every=pace.compare_every, hang_up=pace.hang_up)
        killer = Killer(hive, seed, GAP)
        began = time.monotonic()
        try:
            for number in range(1, size + 1):
                killer.kill()
                if number % 100 == 0:
                    took = time.monotonic() - began
                    print(f"  {number} kills, {load.acknowledged} promised, {took:.0f} s", file=sys.stderr, flush=True)
        finally:
            load.stop()
        took = time.monotonic() - began
        quiet_began = time.monotonic()
        stuck: list[Finding] = []
        try:
            parked = quiet(hive.data, QUIET_SECONDS, hive.client)
        except TimeoutError as error:
            parked, stuck = [], [Finding("I-9", "hive", f"it did not become quiet: {error}")]
        quiet_took = time.monotonic() - quiet_began
        folded = folding.finish()
    findings = [*stuck, *folded, *checker.money(hive.data, stub)]
    expect = Expect(settled=not stuck, cap=CAP, attempts=ATTEMPTS)
    findings += checker.of_load(hive.data, folder / "workers", hive.ids, expect=expect, secrets=[stub.key])
    recovery = [*(kill.seconds for kill in killer.kills if kill.seconds is not None), *given_back(hive, killer.kills)]
    findings += [Finding("I-11", "hive", f"{s:.1f} s until it worked again") for s in recovery if s > RECOVERED_SECONDS]
    return _result(
        seed,
        size,
        hive,
        folder,
        findings,
        killer.kills,
        recovery,
        numbers={
            "kill_seconds": round(took, 1),
            "quiet_seconds": round(quiet_took, 1),
            "cold_starts": len(killer.cold),
            "cold_start_seconds": round(sum(killer.cold), 1),
            "parked": len(parked),
            "snapshots_compared": folding.compared,
            "events_folded": folding.events,
            "streams_hung_up": folding.hung_up,
            "model_calls": len(stub.messages),
        },
    )


@contextmanager
def _hive(folder: Path, forks: DaemonForks) -> Generator[tuple[HiveProcess, ModelStub]]:
    stub = ModelStub(key=f"sk-ant-canary-{secrets.token_hex(16)}")
    env = {"ANTHROPIC_BASE_URL": stub.url, "ANTHROPIC_API_KEY": stub.key}
    hive = HiveProcess(folder / "hive", config=CONFIG, env=env, follow=False, forks=forks)
    try:
        hive.start()
        try:
            yield hive, stub
        finally:
            hive.close()
    finally:
        stub.close()


def _result(
    seed: int,
    size: int,
    hive: HiveProcess,
    folder: Path,
    findings: Sequence[Finding],
    kills: Sequence[Kill],
    recovery: Sequence[float],
    numbers: dict[str, float],
) -> CampaignResult:
    lines = list(workers_log(folder / "workers"))
    by_agents = list(checker.promises(folder / "workers", hive.data, hive.ids))
    broken = checker.violations(findings)
    turns = _one(hive.data, "SELECT count(*) FROM turns")
    return CampaignResult(
        campaign="kills",
        seed=seed,
        size=size,
        operations=len(lines) + sum(1 for promise in by_agents if promise.sender != "operator"),
        faults=dict(Counter(kill.kind for kill in kills)),
        acknowledged=len({promise.id for promise in by_agents if promise.outcome == "ok"}),
        lost=sum(1 for finding in findings if finding.invariant in checker.LOST),
        duplicated=sum(1 for finding in findings if finding.invariant in checker.TWICE),
        unknown=sum(1 for line in lines if line["outcome"] == "unknown"),
        checked=CHECKED,
        violations=broken,
        recovery=recovery,
        worst_seed=seed,
        notes=[f"{size} kills at commit {commit()}, a load of {os.getloadavg()[2]:.0f} on {os.cpu_count()} cores"],
        numbers={**numbers, "turns": turns, "messages": _one(hive.data, "SELECT count(*) FROM messages")},
    )


class Killer:
    """Kills one thing after the other."""

    def __init__(self, hive: HiveProcess, seed: int, gap: float) -> None:
        self._hive, self._random, self._gap = hive, random.Random(seed), gap
        self._id = hive.store_id()
        self.kills: list[Kill] = []
        self.cold: list[float] = []
        """Seconds of starts from nothing."""

    def kill(self) -> None:
        """Wait a random while, then kill something; a daemon is started again at once."""
        time.sleep(self._random.uniform(0, self._gap))
        kind = self._random.choices(list(KINDS), weights=list(KINDS.values()))[0]
        if kind.startswith("daemon"):
            self._daemon(kind)
        else:
            self._in_box(kind)

    def _daemon(self, kind: str) -> None:
        at, began = _now(), time.monotonic()
        self._hive.kill()
        if kind != "daemon":
            for box in self._some(victims.boxes(self._id)):
                victims.kill(box.everything)
        cold = self._random.random() < 1 / COLD
        self._hive.start(cold=cold)
        self.kills.append(Kill(kind, at, seconds=time.monotonic() - began))
        if cold:
            self.cold.append(time.monotonic() - began)

    def _some(self, boxes: list[Box]) -> list[Box]:
        return [self._random.choice(boxes)] if boxes else []

    def _in_box(self, kind: str) -> None:
        """Kill in one box; when none is there, wait for one: the load starts them."""
        end = time.monotonic() + NOBODY_SECONDS
        while time.monotonic() < end:
            boxes = [box for box in victims.boxes(self._id) if box.engines or kind != "engine"]
            if boxes:
                box = self._random.choice(boxes)
                agent, turn = self._at_work(box)
                at = _now()
                pids = {"engine": box.engines, "boxd": (box.init,), "box": box.everything}[kind]
                if victims.kill(pids):
                    self.kills.append(Kill(kind, at, agent, turn))
                    return
            time.sleep(0.02)
        raise AssertionError(f"for {NOBODY_SECONDS:g} s there was no {kind} to kill")

    def _at_work(self, box: Box) -> tuple[str | None, int | None]:
        """Whose box it is, and the turn that runs in it."""
        query = (
            "SELECT t.agent, t.id FROM turns t JOIN boxes b ON b.agent_id = t.agent_id"
            " WHERE t.state <> 'ended' AND b.id = ?"
        )
        with closing(sqlite3.connect(f"file:{self._hive.data / 'mel.db'}?mode=ro", uri=True, timeout=10)) as c:
            row = c.execute(query, (box.id,)).fetchone()
        return (None, None) if row is None else (str(row[0]), int(row[1]))


def given_back(hive: HiveProcess, kills: Sequence[Kill]) -> Generator[float]:
    """Seconds from a kill in a box until the turn that died of it had ended and its mail was given back.

    A turn that outlives a kill (its engine was not prompted yet and is started anew) counts from the last one; one
    whose daemon was killed too counts from when the next was ready, which is a recovery of its own.
    """
    last = {kill.turn: kill.at for kill in kills if kill.turn is not None}
    ready = [kill.at + round(kill.seconds * 1_000_000) for kill in kills if kill.seconds is not None]
    with closing(sqlite3.connect(f"file:{hive.data / 'mel.db'}?mode=ro", uri=True)) as c:
        for turn, at in last.items():
            row = c.execute("SELECT ended_at, result FROM turns WHERE id = ?", (turn,)).fetchone()
            if row is not None and row[0] is not None and row[1] != "ok" and row[0] >= at:
                since = max([at, *(moment for moment in ready if moment <= row[0])])
                yield (row[0] - since) / 1_000_000


def _one(data: Path, query: str) -> Any:
    with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True)) as c:
        return c.execute(query).fetchone()[0]


def _now() -> int:
    return time.time_ns() // 1000
