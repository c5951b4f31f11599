"""A model service that refuses, hangs, breaks off, talks nonsense or drips; size = turns that ask it.

Agents ask a stub of the service that plays a drawn trouble; several at once. Each turn must end as its trouble says
(D-18), its mail be handled or wait without blame, each call be free, paid or paid at most as what is known of it
(I-14), and an agent beside them that asks nothing be answered. `recovery` is how long each turn took.
"""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faults import checker
from bench.faults.campaign import CampaignResult
from melipona.testing import invariants
from melipona.testing.hive import HiveProcess
from melipona.testing.invariants import Expect, Finding, Promise
from melipona.testing.leftovers import leftovers
from melipona.testing.model_stub import ModelStub
from melipona.testing.turn_logs import check_logs

QUICK, FULL = 12, 300
AT_ONCE = 4
SECONDS = 60.0
USAGE = {"input_tokens": 40, "output_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
FINE = {"text": "well", "usage": USAGE}
PLAYBOOK = """
[[rule]]
match = 'ask: (?s:(.*))'
steps = [{ model = "{match.1}", timeout = %g }, { send = "well" }]
[[rule]]
steps = [{ send = "here" }]
"""
CONFIG = """
[boxes]
orphan_busy = 300
orphan_idle = 300
[turns]
cap = 8
rate_limit = 1
[mail]
body_bytes = 65536
sends_per_minute = 0
[budgets]
turns_per_hour = 0
"""
CHECKED = (*checker.STORE_ALONE, "I-12", "I-19", "D-18", "neighbour", *checker.NOTHING_LEFT)
FREE, PAID, AT_MOST = ("released", 0), ("settled", 0), ("settled", 1)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the service does, how the turn must end, and how its calls must be settled."""

    steps: tuple[dict[str, Any], ...]
    ends: tuple[str, str | None]
    settled: tuple[tuple[str, int], ...]
    patience: float = 30
    """Seconds that the agent waits for an answer."""


UPSTREAM = ("failed", "upstream")
OK = ("ok", None)
TROUBLES = {
    "none": Trouble((FINE,), OK, (PAID,)),
    "429": Trouble(({"status": 429, "retry_after": 1, "ever": True}, FINE), ("rate_limited", "rate_limited"), (FREE,)),
    "529": Trouble(({"status": 529},), UPSTREAM, (FREE,)),
    "500": Trouble(({"status": 500},), UPSTREAM, (FREE,)),
    "hang": Trouble(({"hang": 0.3},), UPSTREAM, (AT_MOST,)),
    "hang after headers": Trouble(({"stall": 0.3}, FINE), OK, (AT_MOST, PAID)),
    "hang for good": Trouble(({"stall": 20},), UPSTREAM, (AT_MOST,), 2),
    "cut": Trouble(({"cut": True, "usage": USAGE}, FINE), OK, (AT_MOST, PAID)),
    "nonsense": Trouble(({"garbage": "sse"}, FINE), OK, (AT_MOST, PAID)),
    "half a JSON": Trouble(({"garbage": "json"}, FINE), OK, (AT_MOST, PAID)),
    "drip": Trouble(({"trickle": 2000, **FINE},), OK, (PAID,)),
    "a byte a second": Trouble(({"trickle": 1, **FINE},), UPSTREAM, (AT_MOST,), 3),
}


def run(seed: int, size: int, folder: Path) -> CampaignResult:
    """Ask the service `size` times."""
    chance = random.Random(seed)
    stub = ModelStub(key=f"sk-ant-canary-{secrets.token_hex(8)}")
    env = {"ANTHROPIC_BASE_URL": stub.url, "ANTHROPIC_API_KEY": stub.key}
    hive = HiveProcess(folder / "hive", config=CONFIG, env=env)
    campaign = _Run(hive)
    try:
        hive.start()
        hive.agent("neighbour", playbook=PLAYBOOK % 30)
        while campaign.asked < size:
            campaign.wave([chance.choice(list(TROUBLES)) for _ in range(min(AT_ONCE, size - campaign.asked))])
    finally:
        hive.close()
        stub.close()
    found = [*campaign.findings, *campaign.money()]
    found += invariants.check(hive.data, campaign.promises, expect=Expect(settled=True), secrets=[stub.key])
    found += [*check_logs(hive.data), *leftovers(hive.data)]
    calls = len(stub.messages)
    return CampaignResult(
        campaign="upstream",
        seed=seed,
        size=size,
        operations=len(campaign.promises),
        faults=campaign.faults,
        acknowledged=len(campaign.promises),
        lost=sum(1 for finding in found if finding.invariant in checker.LOST),
        duplicated=sum(1 for finding in found if finding.invariant in checker.TWICE),
        checked=CHECKED,
        violations=checker.violations(found),
        recovery=campaign.took,
        worst_seed=seed,
        numbers={"model_calls": calls},
    )


class _Run:
    """One hive and what its agents asked. Each trouble has an agent of its own, which is destroyed afterwards."""

    def __init__(self, hive: HiveProcess) -> None:
        self.hive, self.asked, self.waves = hive, 0, 0
        self.faults: Counter[str] = Counter()
        self.findings: list[Finding] = []
        self.promises: list[Promise] = []
        self.took: list[float] = []
        self.agents: dict[str, str] = {}

    def wave(self, kinds: list[str]) -> None:
        """Some troubles at once, and the neighbour."""
        self.waves += 1
        began, sent = time.monotonic(), dict[str, tuple[str, int]]()
        for kind in kinds:
            self.asked += 1
            self.faults[kind] += 1
            name = f"a{self.asked}"
            self.hive.agent(name, playbook=PLAYBOOK % TROUBLES[kind].patience)
            self.agents[self.hive.ids[name]] = kind
            steps = [{**step, "of": name} for step in TROUBLES[kind].steps]  # the stub counts equal steps together
            sent[name] = (kind, self._send(name, f"ask: STEPS:{json.dumps(steps)}"))
        beside = self._send("neighbour", "hello")
        self._ended("neighbour", beside, "neighbour", ("ok", None))
        for name, (kind, number) in sent.items():
            self._ended(name, number, "D-18", TROUBLES[kind].ends)
            self.took.append(time.monotonic() - began)
            self.hive.client.post(f"/agents/{name}/destroy")

    def _send(self, name: str, body: str) -> int:
        number = self.hive.send(name, body)
        self.promises.append(Promise("ok", "send", id=number, to=name))
        return number

    def _ended(self, name: str, number: int, rule: str, ends: tuple[str, str | None]) -> None:
        """The first turn of the message has ended as it should, and nobody blames the message."""
        count = self.waves if name == "neighbour" else 1
        try:
            event = self.hive.wait_for("turn.ended", lambda e: e["agent"] == name, within=SECONDS, count=count)
        except AssertionError:
            self.findings.append(Finding(rule, name, f"its turn did not end within {SECONDS:g} s"))
            return
        told = (event["data"]["result"], event["data"]["reason"])
        if told != ends:
            self.findings.append(Finding(rule, name, f"its turn ended as {told}, not as {ends}"))
        if self.hive.message(number)["failures"]:
            self.findings.append(Finding("D-18", f"m{number}", "the service's trouble was counted against it"))

    def money(self) -> list[Finding]:
        """I-14: the rows of each agent's calls, read past the product when all is over."""
        found: list[Finding] = []
        with closing(sqlite3.connect(f"file:{self.hive.data / 'mel.db'}?mode=ro", uri=True)) as c:
            for agent, kind in self.agents.items():
                query = "SELECT state, estimated FROM spend WHERE agent_id = ? ORDER BY id"
                rows = [(row[0], row[1]) for row in c.execute(query, (agent,))]
                wanted = list(TROUBLES[kind].settled)
                if rows[: len(wanted)] != wanted:
                    found.append(Finding("I-14", agent, f"after {kind} its calls are settled as {rows}, not {wanted}"))
        return found
