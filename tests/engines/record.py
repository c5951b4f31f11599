"""Record what the real command line says, shortened, for the decoder's contract tests.

    python tests/engines/record.py        # rewrites tests/engines/recorded/*.jsonl

Run it with a new version of the command line and look at the difference.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from melipona.engines.claude import ClaudeEngineDriver, managed_settings
from melipona.engines.engine import Answered, Prompt, Result, TextDelta, ToolCall
from melipona.testing.engine_rig import EngineRig, RunningEngine, until
from melipona.testing.gate_stub import GateStub, gate_stub
from melipona.testing.mini_box import mini_box_argv

RECORDED = Path(__file__).parent / "recorded"
LONGEST_TEXT, LONGEST_LIST = 300, 6
_KEPT_LISTS = ("tools", "content")


def steps(*found: dict[str, object]) -> Prompt:
    """A prompt that the model stub plays."""
    return Prompt(f"STEPS: {json.dumps(found)}")


async def good_turn(engine: RunningEngine, rig: EngineRig) -> None:
    call = {"tool": "send", "input": {"to": "operator", "body": "hi"}}
    shell = {"tool": "Bash", "input": {"command": "echo out; exit 3"}}
    await engine.turn(steps(call, shell, {"text": "all done"}))


async def broken_stream(engine: RunningEngine, rig: EngineRig) -> None:
    await engine.turn(steps({"cut": True}, {"text": "whole"}))


async def rate_limit(engine: RunningEngine, rig: EngineRig) -> None:
    await engine.turn(steps({"status": 429, "retry_after": 1}, {"text": "on"}))
    await engine.turn(steps({"status": 429, "retry_after": 3600, "times": 20}))


async def login(engine: RunningEngine, rig: EngineRig) -> None:
    await engine.turn(steps({"status": 401, "times": 20}))


async def overloaded(engine: RunningEngine, rig: EngineRig) -> None:
    await engine.turn(steps({"status": 529, "times": 20}))


async def too_long(engine: RunningEngine, rig: EngineRig) -> None:
    message = "prompt is too long: 210000 tokens > 200000 maximum"
    await engine.turn(steps({"status": 400, "message": message, "times": 20}))


async def interrupted(engine: RunningEngine, rig: EngineRig) -> None:
    await engine.prompt(steps({"slow": 60}))
    await engine.wait(TextDelta, 2)
    await engine.write(rig.driver.interrupt_line("stop-1"))
    await engine.wait(Result)
    await engine.prompt(steps({"tool": "Bash", "input": {"command": "touch begun; while true; do :; done"}}))
    await engine.wait(ToolCall)
    await until((rig.work / "begun").exists)
    await engine.write(rig.driver.interrupt_line("stop-2"))
    await engine.wait(Result, 2)


async def controls(engine: RunningEngine, rig: EngineRig) -> None:
    await engine.turn(steps({"text": "one"}))
    await engine.write(rig.driver.set_model_line("model-1", "claude-haiku-4-5"))
    await engine.write(rig.driver.context_line("context-1"))
    await engine.wait(Answered, 3)
    await engine.turn(steps({"text": "two"}))
    await engine.write(rig.driver.compact_line())
    await engine.wait(Result, 3)


async def no_session(engine: RunningEngine, rig: EngineRig) -> None:
    await engine.wait(Result)


Scenario = Callable[[RunningEngine, EngineRig], Awaitable[None]]
SCENARIOS: tuple[Scenario, ...] = (
    good_turn,
    broken_stream,
    rate_limit,
    login,
    overloaded,
    too_long,
    interrupted,
    controls,
    no_session,
)


def shortened(value: object, key: str = "") -> object:
    """`value` with long texts cut and long lists ended early; what the decoder reads is short anyway."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
    if isinstance(value, dict):
        return {name: shortened(one, str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [shortened(one) for one in (value if key in _KEPT_LISTS else value[:LONGEST_LIST])]
    return value


def rig_in(folder: Path, gate: GateStub) -> EngineRig:
    """A rig of the real command line in a folder."""
    home, work, settings = folder / "home", folder / "work", folder / "settings.json"
    home.mkdir()
    work.mkdir()
    settings.write_text(json.dumps(managed_settings(gate.address)))
    driver = ClaudeEngineDriver(gate=gate.address, settings=settings)
    wrap = mini_box_argv(home=home, work=work, mounts=driver.mounts())
    return EngineRig(driver, NoScript(), gate, home, work, wrap=wrap, model="sonnet")


class NoScript:
    """The scenarios write their own prompts."""

    def say(self, text: str) -> Prompt:
        return Prompt(text)

    def shell(self, command: str) -> Prompt:
        return Prompt(command)

    def send(self, to: str, body: str) -> Prompt:
        return Prompt(f"{to} {body}")

    def stream(self, seconds: int) -> Prompt:
        return Prompt(str(seconds))

    def fail(self) -> Prompt:
        return Prompt("")


async def main() -> None:
    RECORDED.mkdir(exist_ok=True)
    for scenario in SCENARIOS:
        name = scenario.__name__
        with tempfile.TemporaryDirectory() as folder:
            async with gate_stub() as gate:
                rig = rig_in(Path(folder), gate)
                session = rig.lost_session if name == "no_session" else None
                async with rig.started(session) as engine:
                    await scenario(engine, rig)
                lines = [json.dumps(shortened(json.loads(line)), ensure_ascii=False) for line in engine.lines]
        (RECORDED / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        print(name, len(lines), "lines")


if __name__ == "__main__":
    anyio.run(main)
