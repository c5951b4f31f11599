"""A turn from the mail that causes it: to the engine's first model request and to its end, cold and with a kept engine.

Floors: the same engine by hand, prompted on its stdin, in a bare bwrap (claude) or on the host (playbook), before the
same stub of the Messages API. Claude is measured where its command line is installed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from anyio.from_thread import BlockingPortal, start_blocking_portal

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import FREE, Hive, running
from bench.rounds import Contender, Run
from melipona.engines.claude import ClaudeEngineDriver, find_cli, managed_settings
from melipona.engines.engine import Prompt, PromptMessage
from melipona.engines.playbook import PlaybookEngineDriver, parse_playbook, player_source
from melipona.errors import EngineMissing
from melipona.ids import MessageId
from melipona.testing.engine_rig import EngineRig, Script
from melipona.testing.gate_stub import GateStub, gate_stub
from melipona.testing.mini_box import mini_box_argv
from melipona.testing.model_stub import ModelStub

PLAYBOOK, CLAUDE = "playbook by hand", "claude by hand"
QUICK_ROUNDS = 1
FIGURES = (
    Figure("playbook_cold_result", "ms", PLAYBOOK),
    Figure("playbook_warm_result", "ms", PLAYBOOK),
    Figure("claude_cold_first_request", "ms", CLAUDE, optional=True),
    Figure("claude_cold_result", "ms", CLAUDE, optional=True),
    Figure("claude_warm_first_request", "ms", CLAUDE, optional=True),
    Figure("claude_warm_result", "ms", CLAUDE, optional=True),
)
SAYS = """
[[rule]]
steps = [{ say = "done" }]
"""
STEPS = f"STEPS:{json.dumps([{'text': 'done'}])}"
KEY = "sk-ant-bench"


class NoScript:
    """Benchmarks prompt for themselves."""


def _prompt(body: str) -> Prompt:
    return Prompt(body, [PromptMessage(MessageId(1), "operator", body, "mail", maybe_seen=False)])


def _first_request(stub: ModelStub, before: int, began: float) -> float:
    """Milliseconds from `began`, by the wall clock, to the first request for a message after so many."""
    return (stub.messages[before]["at"] / 1e6 - began) * 1000


class ByHand:
    """Engines started and prompted by this process."""

    def __init__(self, folder: Path, portal: BlockingPortal) -> None:
        self.folder, self.portal, self._number = folder, portal, 0

    def measure(self, name: str, warm: int) -> Values:
        """A round: a new engine, one cold turn and so many warm ones."""
        return self.portal.call(self._measure, name, warm)

    async def _measure(self, name: str, warm: int) -> Values:
        self._number += 1
        folder = self.folder / f"{name}{self._number}"
        async with gate_stub() as gate:
            rig = self.rig(name, folder, gate)
            requests, results = list[float](), list[float]()
            at, began = time.time(), time.perf_counter()
            async with rig.started() as engine:
                for _ in range(warm + 1):
                    before = len(gate.messages)
                    await engine.turn(_prompt(STEPS))
                    results.append((time.perf_counter() - began) * 1000)
                    if name == "claude":
                        requests.append(_first_request(gate, before, at))
                    at, began = time.time(), time.perf_counter()
        return _named(name, requests, results)

    def rig(self, name: str, folder: Path, gate: GateStub) -> EngineRig:
        """An engine in folders of its own."""
        home, work, settings = folder / "home", folder / "work", folder / "managed-settings.json"
        for made in (home, work):
            made.mkdir(parents=True)
        script: Script = NoScript()  # type: ignore[assignment]
        if name == "claude":
            settings.write_text(json.dumps(managed_settings(gate.address)))
            driver = ClaudeEngineDriver(gate=gate.address, settings=settings)
            wrap = mini_box_argv(home=home, work=work, mounts=driver.mounts())
            return EngineRig(driver, script, gate, home, work, wrap=wrap, model="sonnet")
        player = PlaybookEngineDriver(python=sys.executable, player=str(player_source()), gate=gate.address)
        env = {"HOME": str(home), "PATH": os.environ["PATH"]}
        return EngineRig(player, script, gate, home, work, env=env, playbook=parse_playbook(SAYS))


class InHive:
    """Agents of a hive: a new one in each round, so that its box and its engine are cold."""

    def __init__(self, hive: Hive, stub: ModelStub) -> None:
        self._hive, self._stub, self._number = hive, stub, 0

    def measure(self, name: str, warm: int) -> Values:
        """A round."""
        self._number += 1
        agent = f"{name}-{self._number}"
        options = {"playbook": SAYS} if name == "playbook" else {}
        self._hive.agent(agent, engine=name, **options)
        requests, results = list[float](), list[float]()
        for number in range(warm + 1):
            before = len(self._stub.messages)
            at, began = time.time(), time.perf_counter()
            self._hive.send(agent, f"please {STEPS}")
            self._hive.wait(lambda: self._ended(agent) > number, f"the end of a turn of {agent}")  # noqa: B023
            results.append((time.perf_counter() - began) * 1000)
            if name == "claude":
                requests.append(_first_request(self._stub, before, at))
        self._hive.client.post(f"/agents/{agent}/stop")
        return _named(name, requests, results)

    def _ended(self, agent: str) -> int:
        [(count,)] = self._hive.rows("SELECT count(*) FROM turns WHERE agent = ? AND state = 'ended'", agent)
        return int(count)


def _named(name: str, requests: list[float], results: list[float]) -> Values:
    values = {f"{name}_cold_result": results[0], f"{name}_warm_result": percentile(results[1:], 50)}
    if requests:
        values[f"{name}_cold_first_request"] = requests[0]
        values[f"{name}_warm_first_request"] = percentile(requests[1:], 50)
    return values


def has_claude() -> bool:
    """Whether the command line is installed here."""
    try:
        find_cli(os.environ)
    except EngineMissing:
        return False
    return True


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """One hive with real boxes before the stub, and engines by hand before another."""
    warm = run.size(6, 3, 2)
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        stub = ModelStub(key=KEY)
        stack.callback(stub.close)
        env = {"ANTHROPIC_BASE_URL": stub.url, "ANTHROPIC_API_KEY": KEY}
        hive = stack.enter_context(running(run.folder / "hive", config=FREE, env=env))
        hand, ours = ByHand(run.folder, portal), InHive(hive, stub)
        engines = ["playbook", *(["claude"] if has_claude() and not run.tiny else [])]
        ours.measure("playbook", 1)  # trees are laid out, bytecode is written
        names = {"playbook": PLAYBOOK, "claude": CLAUDE}

        def all_of_ours() -> Values:
            return {key: value for engine in engines for key, value in ours.measure(engine, warm).items()}

        yield {
            **{names[engine]: lambda engine=engine: hand.measure(engine, warm) for engine in engines},
            OURS: all_of_ours,
        }
