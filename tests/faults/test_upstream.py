"""A model service that refuses, hangs, breaks off, talks nonsense or drips: what becomes of turns, mail and money.

Campaign F of SECURITY.md 6.3; D-18, D-30, I-14, LE-2: trouble of the service is no failure of the mail, no call is made
without a cause, what cannot be known is paid at most, and who has no trouble does not notice.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from melipona.testing.claude_hive import ClaudeHive, running_claude_hive, script, send
from melipona.testing.hive import QUICK, HiveProcess, Json
from melipona.testing.model_stub import ModelStub

pytestmark = pytest.mark.boxes
ASKS = """
[[rule]]
match = 'ask: (?s:(.*))'
steps = [{ model = "{match.1}", into = "answer", timeout = %g }, { send = "it said {answer.text}" }]
[[rule]]
steps = [{ send = "here" }]
"""
WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """What the service does to one agent, how its first turn ends, and what its calls are settled as."""

    steps: tuple[Json, ...]
    result: str
    reason: str | None = None
    spent: tuple[tuple[str, bool], ...] = (("settled", False),)
    """State of each call, and whether it was settled for the most that it can have cost."""
    timeout: float = 20
    again: bool = False
    """It goes on by itself within the test."""


USAGE = {"input_tokens": 40, "output_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
FINE = {"text": "well", "usage": USAGE}
PAID, AT_MOST, FREE = ("settled", False), ("settled", True), ("released", False)
CASES = {
    "fine": Case((FINE,), "ok"),
    "rate-limited": Case(
        ({"status": 429, "retry_after": 1, "ever": True}, FINE),
        "rate_limited",
        "rate_limited",
        (FREE, PAID),
        again=True,
    ),
    "overloaded": Case(({"status": 529},), "failed", "upstream", (FREE,)),
    "broken": Case(({"status": 500},), "failed", "upstream", (FREE,)),
    "hangs-before-headers": Case(({"hang": 0.5},), "failed", "upstream", (AT_MOST,)),
    "hangs-after-headers": Case(({"stall": 0.5}, FINE), "ok", None, (AT_MOST, PAID)),
    "hangs-for-good": Case(({"stall": 30},), "failed", "upstream", (AT_MOST,), timeout=1.5),
    "cut": Case(({"cut": True, "usage": USAGE}, FINE), "ok", None, (AT_MOST, PAID)),
    "cut-always": Case(({"cut": True, "times": 9, "usage": USAGE},), "failed", "upstream", (AT_MOST, AT_MOST, AT_MOST)),
    "nonsense-stream": Case(({"garbage": "sse"}, FINE), "ok", None, (AT_MOST, PAID)),
    "nonsense-json": Case(({"garbage": "json"}, FINE), "ok", None, (AT_MOST, PAID)),
    "nonsense-html": Case(({"garbage": "html"}, FINE), "ok", None, (AT_MOST, PAID)),
    "drips": Case(({"trickle": 2000, **FINE},), "ok"),
    "a-byte-a-second": Case(({"trickle": 1, **FINE},), "failed", "upstream", (AT_MOST,), timeout=2.5),
}


class Upstream:
    """A hive of playbook agents before a stub of the service."""

    def __init__(self, folder: Path) -> None:
        self.stub = ModelStub(key=f"sk-ant-canary-{secrets.token_hex(8)}")
        env = {"ANTHROPIC_BASE_URL": self.stub.url, "ANTHROPIC_API_KEY": self.stub.key}
        self.hive = HiveProcess(
            folder / "hive", config=f"{QUICK}\n[turns]\ncap = 32\n[mail]\nbody_bytes = 65536\n", env=env
        )
        self.hive.start()
        self.sent: dict[str, int] = {}

    def begin(self, name: str, case: Case) -> None:
        """An agent asks the model, which plays the case."""
        self.hive.agent(name, playbook=ASKS % case.timeout)
        self.sent[name] = self.hive.send(name, f"ask: {name} STEPS:{json.dumps(case.steps)}")

    def ended(self, name: str, count: int = 1) -> Json:
        """The agent's `count`-th turn, once it has ended."""
        event = self.hive.wait_for("turn.ended", lambda e: e["agent"] == name, within=WITHIN, count=count)
        return self.hive.client.get(f"/turns/{event['data']['id']}")

    def spends(self, name: str) -> list[tuple[str, bool, int, int]]:
        """State, estimated, cost and what was set aside of the agent's calls, oldest first."""
        columns, who = "state, estimated, cost_micro_usd, reserved_micro_usd", self.hive.ids[name]
        found = self.hive._rows(f"SELECT {columns} FROM spend WHERE agent_id = '{who}' ORDER BY id")
        return [(row[0], bool(row[1]), row[2], row[3]) for row in found]

    def asked(self, name: str) -> int:
        """How many model calls of the agent the service took."""
        return sum(f"{name} STEPS" in request["text"] for request in self.stub.messages)

    def close(self) -> None:
        try:
            self.hive.close()
        finally:
            self.stub.close()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Generator[Upstream]:
    """All cases at once, in one hive: each is also what happens beside the others."""
    made = Upstream(tmp_path_factory.mktemp("upstream"))
    try:
        made.hive.agent("bystander", playbook=ASKS % 20)
        for name, case in CASES.items():
            made.begin(name, case)
        made.sent["bystander"] = made.hive.send("bystander", "hello")
        yield made
    finally:
        made.close()


def test_others_do_not_notice(upstream: Upstream) -> None:
    """Who asks no model, and who is answered well, beside all that."""
    assert upstream.ended("bystander")["result"] == "ok"
    assert upstream.ended("fine")["result"] == "ok"
    assert upstream.hive.answers("bystander", "fine") in (["here", "it said well"], ["it said well", "here"])


@pytest.mark.parametrize("name", CASES)
def test_a_turn_ends_as_the_trouble_says_and_its_mail_is_not_to_blame(upstream: Upstream, name: str) -> None:
    """D-18: trouble of the service counts towards no parking."""
    case = CASES[name]
    turn = upstream.ended(name)
    assert (turn["result"], turn["reason"]) == (case.result, case.reason), turn
    if case.again:
        turn = upstream.ended(name, 2)
        assert turn["result"] == "ok", turn
    message = upstream.hive.message(upstream.sent[name])
    good = case.result == "ok" or case.again
    assert message["state"] == ("handled" if good else "waiting")
    assert message["failures"] == 0
    assert upstream.hive.answers(name) == (["it said well"] if good else [])
    if not good:
        agent = upstream.hive.client.get(f"/agents/{name}")
        assert (agent["state"], agent["reason"]) == ("waiting", "upstream"), "it says what it waits for"
        assert agent["until"] is not None


@pytest.mark.parametrize("name", CASES)
def test_each_call_is_paid_for_what_is_known_of_it(upstream: Upstream, name: str) -> None:
    """I-14, D-30: refused calls are free, whole ones cost their usage, broken ones the most that they can have cost."""
    case = CASES[name]
    turn = upstream.ended(name, 2 if case.again else 1)
    found = upstream.spends(name)
    assert tuple((state, estimated) for state, estimated, *_ in found) == case.spent, found
    for state, estimated, cost, reserved in found:
        assert cost <= reserved, "more was paid than was set aside"
        assert (cost > 0) == (state == "settled")
        assert estimated or state == "released" or cost == found[-1][2], "a whole call costs its usage"
    assert turn["cost_usd"] is None or turn["cost_usd"] <= sum(row[2] for row in found) / 1e6 + 1e-9
    assert upstream.asked(name) == len(found), "each call that the service took has its row, and no other has one"


def test_no_model_call_is_without_a_cause(upstream: Upstream) -> None:
    """Every call belongs to a turn, and every turn names the mail that woke it."""
    for name, case in CASES.items():
        upstream.ended(name, 2 if case.again else 1)
    orphans = upstream.hive._rows("SELECT id FROM spend WHERE turn IS NULL")
    assert orphans == []
    assert upstream.hive._rows("SELECT id FROM spend WHERE state = 'reserved'") == []


# ---- the real engine ------------------------------------------------------------------------------------------------

CLAUDE: Mapping[str, tuple[Json, ...]] = {
    "cut": ({"cut": True},),
    "stalled": ({"stall": 0.5},),
    "nonsense": ({"garbage": "sse"},),
    "dripping": ({"trickle": 3000, "text": "slowly"},),
}


@pytest.fixture(scope="module")
def claude(tmp_path_factory: pytest.TempPathFactory) -> Generator[ClaudeHive]:
    with running_claude_hive(tmp_path_factory.mktemp("claude"), config="[budgets]\nturns_per_hour = 2\n") as hive:
        for name, steps in CLAUDE.items():
            hive.claude(name)
            last: tuple[Json, ...] = () if name == "dripping" else (send(f"{name}: after all"), {"text": "bye"})
            hive.send(name, script(*steps, *last))
        yield hive


@pytest.mark.claude
@pytest.mark.parametrize("name", CLAUDE)
def test_the_real_engine_comes_through(claude: ClaudeHive, name: str) -> None:
    """Its own retries; the gate tells it the truth, and every call that broke off is paid at most."""
    event = claude.wait_for("turn.ended", lambda e: e["agent"] == name, within=120)
    turn: dict[str, Any] = claude.client.get(f"/turns/{event['data']['id']}")
    assert turn["result"] == "ok", (turn, claude.log_of(turn["id"], "result"))
    query = f"SELECT state, estimated FROM spend WHERE agent_id = '{claude.ids[name]}' ORDER BY id"
    found = claude._rows(query)
    if name == "dripping":
        assert found == [("settled", 0)]
        return
    assert claude.answers(name) == [f"{name}: after all"]
    assert found[0] == ("settled", 1), "what broke off is paid for the most that it can have cost"
    assert set(found[1:]) == {("settled", 0)}
