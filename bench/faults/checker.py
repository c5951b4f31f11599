"""What is looked at after a campaign: the checkers of `melipona.testing`, put together."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from bench.faults.load import given_unflagged, promises, unfinished
from melipona.testing import invariants
from melipona.testing.invariants import Expect, Finding
from melipona.testing.leftovers import leftovers
from melipona.testing.model_script import USAGE
from melipona.testing.model_stub import ModelStub
from melipona.testing.turn_logs import check_logs

LOST = ("I-1",)
TWICE = ("I-2", "I-3")
STORE_ALONE = ("I-1", "I-2", "I-3", "I-4", "I-5", "I-6", "I-7", "I-8", "I-9", "I-14", "I-17")
"""What `invariants` looks at."""
NOTHING_LEFT = tuple(f"orphan {what}" for what in ("process", "mount", "socket", "cgroup", "lease", "folder"))
MOST = 20
"""Sentences that are kept of one kind."""


def violations(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """Findings by what they break; of many, the first and their number."""
    found: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        found[finding.invariant].append(f"{finding.subject}: {finding.what}")
    return {
        name: cases if len(cases) <= MOST else [*cases[:MOST], f"and {len(cases) - MOST} more"]
        for name, cases in found.items()
    }


def of_load(
    data: Path, folder: Path, agents: Mapping[str, str], *, expect: Expect, secrets: Collection[str] = ()
) -> list[Finding]:
    """Everything that store, logs of turns and logs of promises tell about a hive under `load`, which is down."""
    return [
        *invariants.check(data, promises(folder, data, agents), expect=expect, secrets=secrets),
        *given_unflagged(data, agents),
        *check_logs(data),
        *unfinished(data),
        *never_over(data, expect.cap),
        *leftovers(data),
    ]


def never_over(data: Path, cap: int | None) -> Generator[Finding]:
    """I-7 over the whole history: one open turn an agent, `cap` running turns, at every event."""
    running: dict[int, str] = {}
    opened: dict[str, int] = {}
    with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True)) as c:
        query = "SELECT id, kind, agent, data FROM events WHERE kind GLOB 'turn.*' ORDER BY id"
        for number, kind, agent, raw in c.execute(query):
            turn = json.loads(raw)["id"]
            if kind == "turn.started":
                if agent in opened:
                    yield Finding("I-7", f"t{turn}", f"event {number}: t{opened[agent]} of {agent} is still open")
                opened[agent] = turn
            if kind in ("turn.started", "turn.running", "turn.adopted"):
                running[turn] = agent
                if kind != "turn.adopted" and cap is not None and len(running) > cap:
                    yield Finding("I-7", f"t{turn}", f"event {number}: {len(running)} turns run, the cap is {cap}")
            elif kind in ("turn.waiting", "turn.ended"):
                running.pop(turn, None)
            if kind == "turn.ended":
                opened.pop(agent, None)


def money(data: Path, stub: ModelStub) -> Generator[Finding]:
    """I-14 against the provider's own log: each request has its row, a row that is sure of its usage has the right one.

    A call whose answer a dead daemon took with it is settled in full, so the sum is never below what was used.
    """
    with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True)) as c:
        rows = c.execute(
            "SELECT id, estimated, cost_micro_usd, input_tokens, output_tokens FROM spend WHERE state = 'settled'"
        ).fetchall()
    sure = [row for row in rows if not row[1]]
    for identifier, _, cost, *tokens in sure:
        if tokens != [USAGE["input_tokens"], USAGE["output_tokens"]] or cost != sure[0][2]:
            yield Finding("I-14", str(identifier), f"{tokens} tokens and {cost} micro-USD are counted")
    asked = len(stub.messages)
    if asked > len(rows):
        yield Finding("I-14", "spend", f"the provider answered {asked} requests, {len(rows)} are counted")
    if sure and sum(row[2] for row in rows) < asked * sure[0][2]:
        yield Finding("I-14", "spend", f"less is counted than {asked} requests cost")
