"""Twenty agents on the real Claude Code command line, four turns at a time, beside the bare command line run the same
way.

Each agent gets two messages, so that it has one cold and one warm turn; by hand each of twenty programs in a bare bwrap
is prompted twice, four at a time. Both talk to the same kind of stub on loopback: this is what the hive itself costs.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from bench.figures import OURS, Figure, Values
from bench.hive import FREE, Hive, running
from bench.rounds import Contender, Run, Unable
from bench.turn import KEY, STEPS, ByHand, has_claude
from melipona.engines.engine import Prompt
from melipona.testing.engine_rig import EngineRig
from melipona.testing.gate_stub import gate_stub
from melipona.testing.model_stub import ModelStub

BARE = "claude by hand"
CAP, TURNS = 4, 2
LOOK = 0.05
"""Seconds between two looks at the hive: others wait for the slot of an agent that has no message yet."""
ROUNDS = QUICK_ROUNDS = 1
FIGURES = (Figure("turns_per_minute", "/min", BARE), Figure("failed_turns", "count"))
CONFIG = FREE.replace("[mail]", f"[turns]\ncap = {CAP}\n[mail]")


class Bare(ByHand):
    """As many programs as there are agents, each for two turns, four at a time."""

    def __init__(self, folder: Path, portal: BlockingPortal, agents: int) -> None:
        super().__init__(folder, portal)
        self._agents, self._round = agents, 0

    def swarm(self) -> Values:
        """A round."""
        self._round += 1
        return self.portal.call(self._swarm)

    async def _swarm(self) -> Values:
        slots = anyio.Semaphore(CAP)
        began = time.perf_counter()
        async with gate_stub() as gate, anyio.create_task_group() as tasks:
            for number in range(self._agents):
                rig = self.rig("claude", self.folder / f"bare{self._round}-{number}", gate)

                tasks.start_soon(_turns, rig, slots)
        return {"turns_per_minute": self._agents * TURNS / (time.perf_counter() - began) * 60}


async def _turns(rig: EngineRig, slots: anyio.Semaphore) -> None:
    async with slots, rig.started() as engine:
        for _ in range(TURNS):
            await engine.turn(Prompt(f"please {STEPS}"))


def _hive(hive: Hive, name: str, agents: int) -> Values:
    names = [f"{name}-{number}" for number in range(agents)]
    for agent in names:
        hive.agent(agent, engine="claude", model="sonnet")
    began = time.perf_counter()
    sent = dict.fromkeys(names, 0)
    hive.wait(lambda: _all_ended(hive, name, sent), "the turns of claude", 240, every=LOOK)
    seconds = time.perf_counter() - began
    failed = hive.rows("SELECT count(*) FROM turns WHERE agent LIKE ? AND result <> 'ok'", f"{name}-%")
    for agent in names:
        hive.client.post(f"/agents/{agent}/stop")
    return {"turns_per_minute": agents * TURNS / seconds * 60, "failed_turns": failed[0][0]}


def _all_ended(hive: Hive, name: str, sent: dict[str, int]) -> bool:
    """Whether every agent has had its turns; one that is done is sent the next, or both would be one turn's."""
    query = "SELECT agent, count(*) FROM turns WHERE agent LIKE ? AND state = 'ended' GROUP BY agent"
    ended = dict(hive.rows(query, f"{name}-%"))
    for agent, count in sent.items():
        if count < TURNS and ended.get(agent, 0) == count:
            hive.send(agent, f"please {STEPS}")
            sent[agent] += 1
    return all(ended.get(agent, 0) >= TURNS for agent in sent)


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """One hive before the stub."""
    if not has_claude():
        raise Unable("the Claude Code command line is not installed")
    agents = run.size(20, 3, 1)
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        stub = ModelStub(key=KEY)
        stack.callback(stub.close)
        env = {"ANTHROPIC_BASE_URL": stub.url, "ANTHROPIC_API_KEY": KEY}
        hive = stack.enter_context(running(run.folder / "hive", config=CONFIG, env=env))
        bare = Bare(run.folder, portal, agents)
        _hive(hive, "first", 1)  # the first box of a daemon waits for a library of a second to be loaded
        yield {BARE: bare.swarm, OURS: lambda: _hive(hive, "swarm", agents)}
