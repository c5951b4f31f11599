"""Fifty playbook agents in a ring that pass two thousand messages on, eight turns at a time, in real boxes.

Nothing may be lost. A hop is from a message's arrival in the store to the lease of the turn that it begins; with more
messages under way than slots some wait for a slot.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import FREE, Hive, cpu_seconds, running
from bench.rounds import Contender, Run

CAP = 8
ROUNDS = QUICK_ROUNDS = 1
FIGURES = (
    Figure("lost", "count"),
    Figure("failed_turns", "count"),
    Figure("messages", "count"),
    Figure("hop_p50", "ms"),
    Figure("hop_p99", "ms"),
    Figure("turns_per_second", "/s"),
    Figure("daemon_cpu_per_message", "ms"),
)
PLAYBOOK = """
[[rule]]
name = "pass it on"
nth = [{times}]
steps = [{{ send = "{{body}}", to = "{to}" }}]

[[rule]]
name = "enough"
steps = [{{ say = "enough" }}]
"""
CONFIG = FREE.replace("[mail]", f"[turns]\ncap = {CAP}\n[mail]")
PATIENCE = 240.0


def _round(hive: Hive, name: str, agents: int, laps: int) -> Values:
    """A new ring: a message to every so manieth agent, each passed on until its readers have had enough."""
    names = [f"{name}-{number}" for number in range(agents)]
    times = ", ".join(map(str, range(1, laps + 1)))
    for number, agent in enumerate(names):
        hive.agent(agent, playbook=PLAYBOOK.format(times=times, to=names[(number + 1) % agents]))
    cpu, began = cpu_seconds(hive.pid), time.perf_counter()
    for agent in names[:: max(1, agents // CAP)]:
        hive.send(agent, "round and round")
    hive.wait(lambda: not _open(hive), "the end of the ring", PATIENCE)
    seconds, used = time.perf_counter() - began, cpu_seconds(hive.pid) - cpu
    pattern = f"{name}-%"
    states = hive.rows("SELECT state, count(*) FROM messages WHERE recipient LIKE ? GROUP BY state", pattern)
    failed = hive.rows("SELECT count(*) FROM turns WHERE agent LIKE ? AND result <> 'ok'", pattern)
    waits = hive.rows(
        "SELECT (l.at - s.at) / 1000.0 FROM events s JOIN events l ON l.subject = s.subject AND l.kind = "
        "'message.leased' WHERE s.kind = 'message.sent' AND s.agent LIKE ?",
        pattern,
    )
    sent = sum(count for _, count in states)
    for agent in names:
        hive.client.post(f"/agents/{agent}/stop")
    hops = [float(wait) for (wait,) in waits]
    return {
        "lost": sum(count for state, count in states if state != 2),
        "failed_turns": failed[0][0],
        "messages": sent,
        "hop_p50": percentile(hops, 50),
        "hop_p99": percentile(hops, 99),
        "turns_per_second": sent / seconds,
        "daemon_cpu_per_message": used / sent * 1000,
    }


def _open(hive: Hive) -> bool:
    """Whether anything waits or runs."""
    time.sleep(0.05)
    return bool(
        hive.rows("SELECT 1 FROM messages WHERE state IN (0, 1) AND agent_id IS NOT NULL LIMIT 1")
        or hive.rows("SELECT 1 FROM turns WHERE state <> 'ended' LIMIT 1")
    )


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """One hive."""
    agents, laps = run.size(50, 8, 2), run.size(40, 8, 2)
    with running(run.folder / "hive", config=CONFIG) as hive:
        yield {OURS: lambda: _round(hive, "ring", agents, laps)}
