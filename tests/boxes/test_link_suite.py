"""The boxes of simulations keep the contract that real ones keep: what a simulation shows is true of both."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from melipona.boxes.argv import base_environment
from melipona.boxes.driver import BoxDriver, BoxFolders, BoxRef, BoxSpec
from melipona.boxes.link import Hello, ProgramSpec
from melipona.boxes.link_unix import BoxLink
from melipona.clock import SystemClock
from melipona.ids import AgentName, BoxId, ProgramId
from melipona.testing.fake_boxes import FakeDriver, FakeLink, World
from melipona.testing.link_suite import WITHIN, LinkSuite, Place
from melipona.testing.linked_boxes import LinkBench, LinkedBox

ENGINE = """
import json, sys
for line in sys.stdin:
    for message in json.loads(line)["messages"]:
        print(json.dumps({"type": "text", "text": f"begin {message['id']}"}), flush=True)
    print(json.dumps({"type": "result", "outcome": "ok"}), flush=True)
"""


@dataclass(slots=True)
class RealPlace:
    """A real box with the real boxd."""

    box: LinkedBox
    sockets_root: Path
    driver: BoxDriver = field(init=False)
    ref: BoxRef = field(init=False)

    def __post_init__(self) -> None:
        self.driver, self.ref = self.box.driver, self.box.ref

    @property
    def link(self) -> BoxLink:
        return self.box.link

    def engine(self, program: ProgramId) -> ProgramSpec:
        return ProgramSpec(program, ("/usr/bin/python3", "-I", "-S", "-c", ENGINE), base_environment())

    async def next_daemon(self) -> Hello:
        await self.box.listen_again()
        return await self.link.ready(WITHIN)


@dataclass(slots=True)
class FakePlace:
    """A box that is only thought of."""

    world: World
    driver: BoxDriver
    ref: BoxRef
    sockets_root: Path
    _link: FakeLink = field(init=False)

    @property
    def link(self) -> FakeLink:
        return self._link

    def engine(self, program: ProgramId) -> ProgramSpec:
        return ProgramSpec(program, (), {})

    async def next_daemon(self) -> Hello:
        class Link(FakeLink):
            world = self.world

        self._link = Link(self.sockets_root, lambda _: True, clock=SystemClock(), box=self.ref.id)
        return await self._link.ready(WITHIN)


@pytest.mark.boxes
class TestRealBoxes(LinkSuite):
    """bubblewrap and boxd."""

    def make_place(self, data: Path) -> AbstractAsyncContextManager[Place]:
        @asynccontextmanager
        async def made() -> AsyncGenerator[Place]:
            async with LinkBench(data) as bench:
                box = await bench.start("ana")
                assert isinstance(box, LinkedBox)
                await box.link.ready(WITHIN)
                yield RealPlace(box, box.spec.folders.sockets.parent)

        return made()


class TestBoxesOfSimulations(LinkSuite):
    """A world in which nothing goes wrong by chance."""

    def make_place(self, data: Path) -> AbstractAsyncContextManager[Place]:
        @asynccontextmanager
        async def made() -> AsyncGenerator[Place]:
            world = World(random.Random(7), ["ana", "ben"])
            world.calm = True
            driver = FakeDriver(world)
            folders = BoxFolders(data, data, data, data, data, data)
            ref = await driver.start(BoxSpec(BoxId("b"), AgentName("ana"), folders))
            place = FakePlace(world, driver, ref, data)
            await place.next_daemon()
            yield place

        return made()
