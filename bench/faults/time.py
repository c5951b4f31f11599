"""Wall clocks that jump by seconds, hours and years, in a running daemon and while none runs; size = jumps.

Before each jump every agent gets a message that is answered at once, after a back-off, after a rate limit, or by a turn
that the jump hits. All must be handled within `SECONDS` whatever the clock says (I-9), each by as few turns as its kind
needs (no storm). `recovery` is how long that took after each jump. The steady clock is the machine's own.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from bench.faults import checker
from bench.faults.campaign import CampaignResult
from melipona.testing import invariants
from melipona.testing.hive import HiveProcess
from melipona.testing.invariants import Expect, Finding, Promise
from melipona.testing.jumping_daemon import WallClock
from melipona.testing.leftovers import leftovers
from melipona.testing.turn_logs import check_logs

QUICK, FULL = 4, 200
AGENTS = ("ana", "ben", "cleo")
SECONDS = 60.0
ATTEMPTS = 8
MOST_TURNS = 3
"""Turns of one message: one that fails, one that a jump ends, one that succeeds."""
YEAR = timedelta(days=365)
JUMPS = (
    *(sign * step for sign in (1, -1) for step in (timedelta(seconds=30), timedelta(hours=1), YEAR)),
    timedelta(days=49, hours=17),
)
KINDS = ("flaky", "limited", "long", "plain")
PLAYBOOK = """
[[rule]]
body = "flaky"
maybe_seen = false
steps = [{ fail = "not the first time" }]
[[rule]]
body = "limited"
maybe_seen = false
steps = [{ fail = "slow down", outcome = "rate_limited", retry_after = 1 }]
[[rule]]
body = "long"
steps = [{ wait = 1 }, { send = "done" }]
[[rule]]
steps = [{ send = "done" }]
"""
CONFIG = f"""
[boxes]
orphan_busy = 300
orphan_idle = 300
[mail]
attempts = {ATTEMPTS}
backoff = [1.0]
sends_per_minute = 0
[budgets]
turns_per_hour = 0
"""
CHECKED = (*checker.STORE_ALONE, "I-11", "I-12", "storm", *checker.NOTHING_LEFT)


def run(seed: int, size: int, folder: Path) -> CampaignResult:
    """Let the clock jump `size` times."""
    clock = WallClock(folder / "ahead")
    hive = HiveProcess(folder / "hive", config=CONFIG, program=clock.program)
    campaign = _Run(hive, clock, random.Random(seed))
    try:
        hive.start()
        for name in AGENTS:
            hive.agent(name, playbook=PLAYBOOK)
        for _ in range(size):
            campaign.one()
    finally:
        hive.close()
    expect = Expect(settled=True, attempts=ATTEMPTS, now=clock.now())
    found = [*campaign.findings, *invariants.check(hive.data, campaign.promises, expect=expect)]
    found += [*check_logs(hive.data), *leftovers(hive.data)]
    return CampaignResult(
        campaign="time",
        seed=seed,
        size=size,
        operations=len(campaign.promises),
        faults=campaign.faults,
        acknowledged=len(campaign.promises),
        lost=sum(1 for finding in found if finding.invariant in checker.LOST),
        duplicated=sum(1 for finding in found if finding.invariant in checker.TWICE),
        checked=CHECKED,
        violations=checker.violations(found),
        recovery=campaign.recovery,
        worst_seed=seed,
        notes=("the daemon's wall clock is moved; the machine's clocks are not, and no machine is put to sleep",),
        numbers={"turns": campaign.turns, "jumps_seen": campaign.seen},
    )


class _Run:
    """One hive and what was done to it."""

    def __init__(self, hive: HiveProcess, clock: WallClock, chance: random.Random) -> None:
        self.hive, self.clock, self.chance = hive, clock, chance
        self.faults: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.promises: list[Promise] = []
        self.recovery: list[float] = []
        self.turns = self.seen = 0

    def one(self) -> None:
        """Messages, a jump, and all of them handled."""
        how = self.chance.choice(("running", "running", "stopped", "killed"))
        by = self.chance.choice(JUMPS)
        sent = [self._send(name) for name in AGENTS]
        if self.chance.random() < 0.5:
            self.hive.wait_for(
                "turn.started", lambda event: event["data"]["cause"]["messages"][0] in sent, within=SECONDS
            )
        if how != "running":
            self.hive.kill() if how == "killed" else self.hive.stop()
        self.clock.jump(by)
        began = time.monotonic()
        if how != "running":
            self.hive.start()
        self.faults[f"{'back' if by < timedelta() else 'ahead'}, {how}"] += 1
        for number in sent:
            self._handled(number)
        self.recovery.append(time.monotonic() - began)
        self.seen = sum(event["kind"] == "clock.jumped" for event in self.hive.seen)

    def _send(self, name: str) -> int:
        kind = self.chance.choice(KINDS)
        number = self.hive.send(name, f"{kind} {len(self.promises)}")
        self.promises.append(Promise("ok", "send", id=number, to=name))
        return number

    def _handled(self, number: int) -> None:
        try:
            self.hive.wait_for("message.handled", lambda event: event["subject"] == f"m{number}", within=SECONDS)
        except AssertionError:
            self.findings.append(Finding("I-9", f"m{number}", f"it was not handled within {SECONDS:g} s of a jump"))
        turns = self.hive.message(number)["attempts"]
        self.turns += turns
        if turns > MOST_TURNS:
            self.findings.append(Finding("storm", f"m{number}", f"it was handed to {turns} turns"))
