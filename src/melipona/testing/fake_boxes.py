"""Boxes that are only thought of, for simulations: a driver and links that keep the contract of real ones
(`link_suite`), and engines that play by chance.

A `World` outlives daemons, as boxes do. What an engine does is a list of moments of the simulated clock; each daemon's
loop is told them anew. Engines speak the playbook's lines: they say what they were given, send a message under a key
of its own, fail, end, or give their result.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus

from melipona.boxes.driver import BoxRef, BoxSpec, BoxState, Enforced, Finding
from melipona.boxes.link import Exit, Gap, Hello, Output, ProgramInfo, ProgramSpec
from melipona.clock import Clock
from melipona.errors import BoxError, BoxLost, BoxProtocolError, BoxStartFailed, Conflict, NotFound
from melipona.ids import BoxId, ProgramId

Json = dict[str, Any]


@dataclass(slots=True)
class FakeProgram:
    """A program in a box: its output so far, the lines it took, what it has still to say."""

    id: ProgramId
    box: FakeBox
    output: bytes = b""
    next_seq: int = 1
    exit: int | None = None
    todo: list[Json] = field(default_factory=list[Json])
    input_ended: bool = False

    def info(self) -> ProgramInfo:
        return ProgramInfo(self.id, 100, len(self.output), self.next_seq, self.exit)

    def say(self, line: Json) -> None:
        self.output += json.dumps(line).encode() + b"\n"
        self.box.world.stir()

    def end(self, code: int) -> None:
        if self.exit is None:
            self.exit, self.todo = code, []
            self.box.world.stir()


@dataclass(slots=True)
class FakeBox:
    """A box: it lives until it is killed."""

    id: BoxId
    agent: str
    world: World
    alive: bool = True
    programs: dict[ProgramId, FakeProgram] = field(default_factory=dict[ProgramId, FakeProgram])

    def die(self) -> None:
        self.alive = False
        for program in self.programs.values():
            program.end(-9)
        self.world.stir()


class World:
    """All boxes, and chance. `send` is how an engine sends a message: (agent, key, to, body)."""

    def __init__(self, chance: random.Random, agents: Sequence[str]) -> None:
        self.chance, self.agents = chance, list(agents)
        self.boxes: dict[BoxId, FakeBox] = {}
        self.calm = False
        """Nothing goes wrong by chance any more."""
        self.send: Callable[[str, str, str, str], None] = lambda agent, key, to, body: None
        self._stirred: dict[asyncio.Event, None] = {}
        """In the order in which they came: a set would have an order of its own in each process."""
        self.turns = 0

    def stir(self) -> None:
        """Something in a box has changed: whoever looks at one looks again."""
        for event in list(self._stirred):
            event.set()

    def watch(self) -> asyncio.Event:
        event = asyncio.Event()
        self._stirred[event] = None
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        self._stirred.pop(event, None)

    def alive(self) -> list[FakeBox]:
        return [box for box in self.boxes.values() if box.alive]

    def begin(self) -> None:
        """A daemon's loop runs: engines go on on it."""
        self._stirred.clear()
        for box in self.alive():
            for program in box.programs.values():
                if program.todo:
                    self._later(program)

    def odd(self, one_in: int) -> bool:
        """Whether something goes wrong now."""
        return not self.calm and self.chance.randrange(one_in) == 0

    # ---- engines ---------------------------------------------------------------------------------------------------

    def take(self, program: FakeProgram, line: bytes) -> None:
        """A line of the daemon's."""
        said: Json = json.loads(line)
        if said["type"] == "prompt":
            idle = not program.todo
            program.todo += self._plan(program, said)
            if idle:
                self._later(program)
        elif said["type"] == "interrupt":
            program.todo = [{"type": "result", "outcome": "interrupted", "text": ""}] if program.todo else []

    def _plan(self, program: FakeProgram, prompt: Json) -> list[Json]:
        """What an engine does with a prompt."""
        self.turns += 1
        steps: list[Json] = [{"type": "text", "text": f"begin {m['id']}"} for m in prompt["messages"]]
        if self.chance.randrange(3) == 0:
            to = self.chance.choice([name for name in self.agents if name != program.box.agent])
            steps.append({"do": "send", "key": f"{program.id}-{program.next_seq}", "to": to})
        if self.odd(6):
            return [*steps, {"do": "exit"}]
        outcome = "failed" if self.odd(6) else "ok"
        return [*steps, {"type": "result", "outcome": outcome, "text": "done", "detail": ""}]

    def _later(self, program: FakeProgram) -> None:
        asyncio.get_running_loop().call_later(self.chance.random(), self._step, program)

    def _step(self, program: FakeProgram) -> None:
        if program.exit is not None or not program.box.alive or not program.todo:
            return
        step = program.todo.pop(0)
        if step.get("do") == "exit":
            program.end(1)
        elif step.get("do") == "send":
            self.send(program.box.agent, step["key"], step["to"], f"news {step['key']}")
        else:
            program.say(step)
        if program.todo:
            self._later(program)
        elif program.input_ended:
            program.end(0)

    def end_input(self, program: FakeProgram) -> None:
        """No line follows: the engine ends when it has done what it was told."""
        program.input_ended = True
        if not program.todo:
            program.end(0)


class FakeDriver:
    """`BoxDriver` over a world."""

    name = "fake"

    def __init__(self, world: World) -> None:
        self._world = world

    async def health(self, *, deep: bool = False) -> list[Finding]:
        return []

    def enforced(self) -> list[Enforced]:
        return []

    async def start(self, spec: BoxSpec) -> BoxRef:
        await self._while(0.3)
        if self._world.odd(12):
            raise BoxStartFailed("chance would not have it")
        self._world.boxes[spec.id] = FakeBox(spec.id, spec.agent, self._world)
        await self._while(0.05)
        return BoxRef(spec.id, {"fake": spec.id})

    async def inspect(self, ref: BoxRef) -> BoxState:
        await self._while(0.01)
        return BoxState.RUNNING if self._box(ref) is not None else BoxState.GONE

    def is_init(self, ref: BoxRef, pid: int) -> bool:
        return True

    async def stop(self, ref: BoxRef, *, grace: timedelta) -> None:
        await self._while(grace.total_seconds())
        box = self._box(ref)
        if box is not None:
            box.die()
        await self._while(0.01)

    async def failure(self, ref: BoxRef) -> str | None:
        return None

    def limit_hits(self, ref: BoxRef) -> Mapping[str, int]:
        return {}

    async def sweep(self, sockets_root: Path, known: Collection[BoxId]) -> list[str]:
        found = [box for box in self._world.alive() if box.id not in known]
        for box in found:
            box.die()
        return [box.id for box in found]

    def _box(self, ref: BoxRef) -> FakeBox | None:
        box = self._world.boxes.get(ref.id)
        return box if box is not None and box.alive else None

    async def _while(self, seconds: float) -> None:
        await asyncio.sleep(self._world.chance.random() * seconds)


class FakeLink:
    """`Link` over a world, made as a `BoxLink` is; `world` is set by who simulates."""

    world: World

    def __init__(self, sockets: Path, is_init: Callable[[int], bool], *, clock: Clock, box: BoxId, **_: Any) -> None:
        self._id, self._clock = box, clock
        self.failure: BoxError | None = None
        self._dialled = False
        self.newer = False
        self._news = self.world.watch()

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()

    async def aclose(self) -> None:
        self.fail(BoxLost("the link was closed"))
        self.world.unwatch(self._news)

    def fail(self, failure: BoxError) -> None:
        self.failure = self.failure or failure
        self.world.stir()

    @property
    def connected(self) -> bool:
        return self._dialled and self._box() is not None and self.failure is None

    def _box(self) -> FakeBox | None:
        box = self.world.boxes.get(self._id)
        return box if box is not None and box.alive else None

    async def _until(self, there: Callable[[], bool]) -> None:
        """Wait until something is so, as long as the link is of use.

        Raises:
            BoxError: it is not any more.
        """
        news = self.world.watch()
        try:
            while not there():
                if self.failure is not None:
                    raise self.failure
                news.clear()
                await news.wait()
        finally:
            self.world.unwatch(news)

    async def _reach(self) -> FakeBox:
        """The box, after a while; the answer may take another."""
        if self.failure is not None:
            raise self.failure
        await asyncio.sleep(self.world.chance.random() * 0.02)
        try:
            async with asyncio.timeout(20):
                await self._until(lambda: self._box() is not None)
        except TimeoutError:
            raise BoxLost("boxd does not answer") from None
        if self.failure is not None:
            raise self.failure
        box = self._box()
        assert box is not None
        return box

    async def _answered(self) -> None:
        await asyncio.sleep(self.world.chance.random() * 0.02)
        if self.failure is not None:
            raise self.failure
        await self._reach()

    async def ready(self, within: timedelta) -> Hello:
        await asyncio.sleep(self.world.chance.random() * 0.1)
        try:
            async with asyncio.timeout(within.total_seconds()):
                await self._until(lambda: self._box() is not None)
        except TimeoutError:
            raise BoxLost("boxd did not dial") from None
        box = self._box()
        if box is None:
            raise BoxLost("boxd did not dial")
        self._dialled = True
        return Hello(1, "fake", self._id, [program.info() for program in box.programs.values()])

    async def start(self, program: ProgramSpec) -> ProgramInfo:
        box = await self._reach()
        found = box.programs.setdefault(program.id, FakeProgram(program.id, box))
        info = found.info()
        await self._answered()
        return info

    def _program(self, box: FakeBox, program: ProgramId) -> FakeProgram:
        found = box.programs.get(program)
        if found is None:
            raise NotFound(f"boxd knows no program {program}", remedy="")
        return found

    async def write(self, program: ProgramId, seq: int, line: bytes) -> None:
        found = self._program(await self._reach(), program)
        if seq > found.next_seq:
            raise Conflict(f"line {seq} came, {found.next_seq} is next", remedy="")
        if seq == found.next_seq:
            found.next_seq += 1
            if found.exit is None and not found.input_ended:
                self.world.take(found, line)
        await self._answered()

    async def end_input(self, program: ProgramId) -> None:
        self.world.end_input(self._program(await self._reach(), program))
        await self._answered()

    async def signal(self, program: ProgramId, number: int) -> None:
        self._program(await self._reach(), program).end(-number)
        await self._answered()

    async def resize(self, program: ProgramId, rows: int, columns: int) -> None:
        await self._answered()

    async def follow(self, program: ProgramId, offset: int) -> AsyncGenerator[Output | Gap | Exit, None]:
        found = self._program(await self._reach(), program)
        if offset > len(found.output):
            raise BoxProtocolError(f"the output of {program} ends at {len(found.output)}, not behind {offset}")
        at = offset
        while True:
            await self._until(
                lambda at=at: self._box() is not None and (len(found.output) > at or found.exit is not None)
            )
            if len(found.output) > at:
                to = self.world.chance.randint(at + 1, len(found.output))
                data, begin, at = found.output[at:to], at, to
                await asyncio.sleep(self.world.chance.random() * 0.02)
                yield Output(begin, data)
            elif found.exit is not None:
                yield Exit(found.exit, at, b"")
                return

    async def acknowledge(self, program: ProgramId, offset: int) -> None:
        """Nothing is dropped here."""

    async def forget(self, program: ProgramId) -> None:
        box = await self._reach()
        found = box.programs.pop(program, None)
        if found is not None:
            found.end(-9)
        await self._answered()

    async def ping(self, within: timedelta) -> float:
        await self._answered()
        return 0.0

    async def wait_disconnected(self) -> None:
        """Until the box is away or the link is of no use."""
        news = self.world.watch()
        try:
            while self.connected:
                news.clear()
                await news.wait()
        finally:
            self.world.unwatch(news)
