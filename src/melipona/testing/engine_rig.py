"""An engine program as a plain child process with lines in and out, for contract tests of engine drivers."""

from __future__ import annotations

import os
import signal
from asyncio import Task, create_subprocess_exec, create_task, subprocess
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio

from melipona.engines.engine import EngineDriver, EngineEvent, EngineLaunch, EngineProgram, Prompt, Result
from melipona.ids import AgentName
from melipona.testing.gate_stub import GateStub

E = TypeVar("E")
LINE_LIMIT = 64 << 20
PATIENCE = 60.0


class Script(Protocol):
    """How one engine is made to do something: prompts that its stub or its playbook understands."""

    def say(self, text: str) -> Prompt: ...

    def shell(self, command: str) -> Prompt: ...

    def send(self, to: str, body: str) -> Prompt: ...

    def stream(self, seconds: int) -> Prompt: ...

    def fail(self) -> Prompt: ...


class RunningEngine:
    """A started engine program. `events` are all events so far, `lines` the raw lines they came from."""

    def __init__(self, driver: EngineDriver, process: subprocess.Process) -> None:
        self.driver = driver
        self.process = process
        self.lines: list[bytes] = []
        self.events: list[EngineEvent] = []
        self._news = anyio.Event()
        self._reader: Task[None] = create_task(self._read())

    async def write(self, line: str | None) -> None:
        """Write one line to its input."""
        assert line is not None
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()

    async def prompt(self, prompt: Prompt) -> None:
        await self.write(self.driver.prompt_line(prompt))

    async def turn(self, prompt: Prompt) -> Result:
        """Prompt and wait for the turn's result."""
        before = len(self.of(Result))
        await self.prompt(prompt)
        return await self.wait(Result, before + 1)

    def of(self, kind: type[E]) -> list[E]:
        """All events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def wait(self, kind: type[E], count: int = 1, fits: Callable[[E], bool] = lambda _: True) -> E:
        """The `count`th event of a kind that fits, waited for.

        Raises:
            TimeoutError: it did not come.
            EOFError: the program ended without it.
        """
        with anyio.fail_after(PATIENCE):
            while True:
                news = self._news
                found = [event for event in self.of(kind) if fits(event)]
                if len(found) >= count:
                    return found[count - 1]
                if self._reader.done():
                    raise EOFError(f"the engine ended without {count} {kind.__name__}: {self.lines[-3:]}")
                await news.wait()

    async def end(self) -> int:
        """Close its input and wait for its end; the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with anyio.fail_after(PATIENCE):
            code = await self.process.wait()
            await self._reader
        return code

    async def kill(self) -> None:
        """Kill its process group, if it still runs, and reap it."""
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            await self.process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self.process.stdout is not None
        decoder = self.driver.decoder()
        async for line in self.process.stdout:
            self.lines.append(line.rstrip(b"\n"))
            self.events += decoder.feed(line.rstrip(b"\n"))
            self._tell()
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()


@dataclass
class EngineRig:
    """Everything to try one engine: its driver, a gate to talk to, folders, and how to start its program here."""

    driver: EngineDriver
    script: Script
    gate: GateStub
    home: Path
    work: Path
    wrap: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    model: str | None = None
    other_model: str = "claude-haiku-4-5"
    playbook: Mapping[str, Any] | None = None
    system_prompt: str = "You are tested."
    lost_session: str = "11111111-2222-4333-8444-555555555555"

    def launch(self, session: str | None = None) -> EngineLaunch:
        """The launch of agent `ana`."""
        return EngineLaunch(AgentName("ana"), "worker", self.model, session, self.system_prompt, self.playbook)

    @asynccontextmanager
    async def started(self, session: str | None = None) -> AsyncGenerator[RunningEngine]:
        """The running program; it is killed on leaving, if it still runs."""
        program = self.driver.program(self.launch(session))
        engine = RunningEngine(self.driver, await self._spawn(program))
        try:
            for line in program.first_lines:
                await engine.write(line)
            yield engine
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(10):
                await engine.kill()

    async def _spawn(self, program: EngineProgram) -> subprocess.Process:
        return await create_subprocess_exec(
            *self.wrap,
            *program.argv,
            env={**program.env, **self.env},
            cwd=self.work,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=LINE_LIMIT,
            start_new_session=True,
        )


def running(mark: str) -> list[int]:
    """Host pids of processes whose command line contains `mark`."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def until(look: Callable[[], bool], within: float = 20.0) -> None:
    """Wait until `look` says yes.

    Raises:
        TimeoutError: it did not.
    """
    with anyio.fail_after(within):
        while not look():  # noqa: ASYNC110 (files and processes send no events)
            await anyio.sleep(0.02)
