"""Faults of processes: limits hit, floods, stopped engines, frozen boxes, half frames, restarts; size = faults.

One hive with small limits and shortened times. Each fault hits one agent in the middle of a turn, while a neighbour
answers: the turn must end with the reason of that fault, its message must come back flagged and be handled by a later
turn, and the neighbour's median latency is measured with and without faults. Every second fault is a `kill -9` of the
daemon and its restart while three agents work: `numbers` tells within how many seconds all boxes were connected again.
"""

from __future__ import annotations

import json
import random
import shlex
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.faults import checker
from bench.faults.campaign import CampaignResult
from melipona.testing import box_faults, invariants
from melipona.testing.greedy import DISK, FLOODS, FORKS, GREEDY, INODES
from melipona.testing.hive import HiveProcess
from melipona.testing.invariants import Expect, Finding, Promise
from melipona.testing.leftovers import leftovers
from melipona.testing.neighbours import Neighbour
from melipona.testing.turn_logs import check_logs

QUICK, FULL = 8, 200
VICTIMS = ("ana", "ben", "cleo")
CAP, ATTEMPTS = 6, 8
RESTART_EVERY = 2
RECONNECT_SECONDS = 2.0
SECONDS = 120.0
MIB = 1 << 20
CONFIG = f"""
[boxes]
orphan_busy = 300
orphan_idle = 300
memory_bytes = {400 * MIB}
processes = 48
open_files = 128
file_size_bytes = {24 * MIB}
tmp_bytes = {8 * MIB}
disk_bytes = {48 * MIB}
inodes = 2000
disk_sweep = 0.3
[mail]
attempts = {ATTEMPTS}
backoff = [0.05]
sends_per_minute = 0
thread_hops = 0
thread_per_minute = 0
[budgets]
turns_per_hour = 0
[watch]
every = 0.2
ping = 3
restarts = 1000000
backoff = [0.05]
[turns]
cap = {CAP}
total = 100
silence = 2
interrupt_grace = 0.5
output_bytes = {12 * MIB}
"""
CHECKED = (*checker.STORE_ALONE, *checker.NOTHING_LEFT, "fault reason", "neighbour")
CLEAN = "rm -rf /ws/* /tmp/* 2>/dev/null; true"


@dataclass(frozen=True, slots=True)
class Fault:
    """`step` is what the agent plays; `from_outside` is done once it plays. The turn must end with one of `reasons`.

    `start`: a person has to start the agent afterwards, when its workspace is cleaned.
    """

    step: str
    reasons: tuple[str, ...]
    from_outside: str = ""
    start: bool = False


def _runs(code: str) -> str:
    return f"{{ shell = {json.dumps(f'python3 -c {shlex.quote(code)}')}, timeout = 90 }}"


WAITS, HOLDS = "{ wait = 90 }", '{ hold = "/ws/go", timeout = 90 }'
KINDS: dict[str, Fault] = {
    **{reason: Fault(_runs(code), (reason,)) for reason, code in GREEDY.items()},
    **{
        f"flood of {kind}": Fault(f"{{ shell = {json.dumps(command)}, timeout = 90 }}", ("output_limit",))
        for kind, command in FLOODS.items()
    },
    "disk full": Fault(_runs(DISK), ("disk_limit",), start=True),
    "inodes used up": Fault(_runs(INODES), ("disk_limit",), start=True),
    "forks without end": Fault(_runs(FORKS), ("interrupted",), "interrupt"),
    "engine stopped": Fault(WAITS, ("time_silence",), "stop engine"),
    "engine deaf to an interrupt": Fault(HOLDS, ("interrupted",), "stop engine, interrupt"),
    "pipes closed": Fault('{ say = "close the pipes" }', ("time_silence",)),
    "box stopped": Fault(HOLDS, ("box_frozen",), "stop box"),
    "control group frozen": Fault(HOLDS, ("box_frozen",), "freeze"),
    "half a frame": Fault(HOLDS, ("box_frozen",), "half"),
}


def playbook() -> str:
    """Breaks as the message says when it is new, and goes on when it comes again."""
    rules = ['[[rule]]\nfrom = "system"\nsteps = [{ say = "seen" }]']
    for kind, fault in KINDS.items():
        steps = f'[{{ shell = "touch /ws/ready-{{id}}" }}, {fault.step}, {HOLDS}]'
        rules.append(f"[[rule]]\nmatch = '^{kind}$'\nmaybe_seen = false\nsteps = {steps}")
    rules.append(f"[[rule]]\nmatch = '^hold$'\nsteps = [{HOLDS}]")
    rules.append(f'[[rule]]\nsteps = [{{ shell = "{CLEAN}" }}, {{ send = "done {{id}}" }}]')
    return "\n\n".join(rules)


@dataclass(slots=True)
class Run:
    """One run: the hive, what was promised, what was found."""

    hive: HiveProcess
    random: random.Random
    neighbour: Neighbour
    kinds: Sequence[str]
    faults: Counter[str] = field(default_factory=Counter[str])
    promises: list[Promise] = field(default_factory=list[Promise])
    findings: list[Finding] = field(default_factory=list[Finding])
    recovery: list[float] = field(default_factory=list[float])
    reconnected: list[float] = field(default_factory=list[float])
    slowest: dict[str, float] = field(default_factory=dict[str, float])

    def send(self, agent: str, body: str) -> int:
        """Send to an agent; what was promised is noted."""
        identifier = self.hive.send(agent, body)
        self.promises.append(Promise("ok", "send", id=identifier, to=agent, body=body))
        return identifier

    def fault(self) -> None:
        """One fault of a random kind in a random agent's turn."""
        kind, agent = self.random.choice(self.kinds), self.random.choice(VICTIMS)
        self.neighbour.rest(3)
        fault = KINDS[kind]
        self.faults[kind] += 1
        since, began = len(self.hive.seen), time.monotonic()
        message = self.send(agent, kind)
        with ExitStack() as thaw:
            if fault.from_outside:
                box_faults.until((self.hive.work(agent) / f"ready-{message}").exists, SECONDS)
                self._act(fault.from_outside, agent, thaw)
            self._neighbour(kind)
            event = self._next("turn.ended", agent, since)
            how = event["data"]["reason"] or event["data"]["result"]
            if how not in fault.reasons:
                said = f"its turn ended with {how}, not {' or '.join(fault.reasons)}"
                self.findings.append(Finding("fault reason", f"{kind}, m{message}", said))
            self._help(agent, fault, since)
            self._next("message.handled", agent, since, f"m{message}")
        self.recovery.append(time.monotonic() - began)

    def restart(self) -> None:
        """The daemon dies and is started again while all victims are in a turn (SECURITY.md section 7 line 6)."""
        self.faults["daemon killed"] += 1
        since = len(self.hive.seen)
        for agent in VICTIMS:
            (self.hive.work(agent) / "go").unlink(missing_ok=True)
        held = {agent: self.send(agent, "hold") for agent in VICTIMS}
        for agent in VICTIMS:
            self._next("turn.started", agent, since)
            self._next_tool(agent)
        seconds = box_faults.reconnection(self.hive, VICTIMS)
        self.reconnected.append(seconds)
        for agent, message in held.items():
            (self.hive.work(agent) / "go").touch()
            self._next("message.handled", agent, since, f"m{message}")
            (self.hive.work(agent) / "go").unlink()

    def _next_tool(self, agent: str) -> None:
        """The agent's box is up and its turn at work."""
        box_faults.until(lambda: self.hive.client.get(f"/agents/{agent}")["reason"] is None, SECONDS)

    def _next(self, kind: str, agent: str, since: int, subject: str | None = None) -> box_faults.Json:
        def fits(event: box_faults.Json) -> bool:
            return event["agent"] == agent and subject in (None, event["subject"])

        for event in self.hive.seen[since:]:
            if event["kind"] == kind and fits(event):
                return event
        first = self.hive.seen[since - 1]["id"] if since else 0
        return self.hive.wait_for(kind, lambda e: fits(e) and e["id"] > first, within=SECONDS)

    def _act(self, what: str, agent: str, thaw: ExitStack) -> None:
        init = box_faults.init_of(self.hive, agent)
        acts: dict[str, Callable[[], object]] = {
            "stop engine": lambda: box_faults.stop_engine(init),
            "stop box": lambda: box_faults.stop_all(init),
            "freeze": lambda: thaw.enter_context(box_faults.frozen_group(init)),
            "half": lambda: (self.hive.work(agent) / "half").touch(),
            "interrupt": lambda: self.hive.client.post(f"/agents/{agent}/interrupt"),
        }
        for act in what.split(", "):
            acts[act]()

    def _help(self, agent: str, fault: Fault, since: int) -> None:
        """What a person would do, where one is asked."""
        work = self.hive.work(agent)
        (work / "half").unlink(missing_ok=True)
        if "interrupted" in fault.reasons:
            self.hive.client.post(f"/agents/{agent}/resume")
        if fault.start:
            self._next("box.gone", agent, since)
            for path in work.iterdir():
                path.unlink()
            self.hive.client.post(f"/agents/{agent}/start")

    def _neighbour(self, kind: str) -> None:
        before = len(self.neighbour.during)
        self.neighbour.answer(3)
        took = statistics.median(self.neighbour.during[before:])
        self.slowest[kind] = max(took, self.slowest.get(kind, 0.0))


def run(seed: int, size: int, folder: Path) -> CampaignResult:
    """Inject `size` faults."""
    inside = box_faults.broken_inside(folder)
    hive = HiveProcess(folder / "hive", config=CONFIG, program=("-c", box_faults.BROKEN_BOXES, str(inside)))
    hive.start()
    began = time.monotonic()
    try:
        neighbour = Neighbour(hive)
        neighbour.settle(20)
        kinds, notes = _kinds(hive)
        run = Run(hive, random.Random(seed), neighbour, kinds)
        for agent in VICTIMS:
            hive.agent(agent, playbook=playbook())
        for number in range(1, size + 1):
            run.restart() if number % RESTART_EVERY == 0 else run.fault()
        took = time.monotonic() - began
    finally:
        hive.close()
    expect = Expect(settled=True, cap=CAP, attempts=ATTEMPTS)
    run.findings += [*invariants.check(hive.data, run.promises, expect=expect), *check_logs(hive.data)]
    run.findings += leftovers(hive.data)
    if neighbour.ratio >= 2:
        run.findings.append(Finding("neighbour", neighbour.name, f"{neighbour.ratio:.1f} times its usual latency"))
    return _result(seed, size, run, notes, took)


def _kinds(hive: HiveProcess) -> tuple[list[str], list[str]]:
    """The faults that can be had here, and why others cannot."""
    limits = {limit["name"]: limit for limit in hive.client.get("/agents/neighbour")["limits"]}
    without: dict[str, str] = {}
    if not limits["memory_bytes"]["binds"]:
        without["out_of_memory"] = str(limits["memory_bytes"]["how"])
    if (why := box_faults.no_freezer()) is not None:
        without["control group frozen"] = why
    return [kind for kind in KINDS if kind not in without], [
        f"not here: {kind} ({why})" for kind, why in without.items()
    ]


def _result(seed: int, size: int, run: Run, notes: Sequence[str], took: float) -> CampaignResult:
    usual, during = statistics.median(run.neighbour.usual), statistics.median(run.neighbour.during or [0.0])
    late = [seconds for seconds in run.reconnected if seconds > RECONNECT_SECONDS]
    worst = max(run.slowest, key=lambda kind: run.slowest[kind], default="")
    notes = [*notes, f"the neighbour's slowest median was {run.slowest.get(worst, 0.0) * 1000:.0f} ms, during: {worst}"]
    return CampaignResult(
        campaign="processes",
        seed=seed,
        size=size,
        operations=len(run.promises),
        faults=run.faults,
        acknowledged=len(run.promises),
        lost=sum(1 for finding in run.findings if finding.invariant in checker.LOST),
        duplicated=sum(1 for finding in run.findings if finding.invariant in checker.TWICE),
        checked=CHECKED,
        violations=checker.violations(run.findings),
        recovery=run.recovery,
        worst_seed=seed,
        notes=notes,
        numbers={
            "seconds": round(took, 1),
            "neighbour_usual_ms": round(usual * 1000, 1),
            "neighbour_during_ms": round(during * 1000, 1),
            "restarts": len(run.reconnected),
            "all_boxes_connected_within_s": round(max(run.reconnected, default=0.0), 3),
            "connected_later_than_2_s": len(late),
        },
    )
