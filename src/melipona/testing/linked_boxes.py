"""Real boxes with the real boxd and a `Link`, for tests of everything that stands on boxes.

`linked_box_for_tests` gives one box; `LinkBench` many, and is what the box suite is run over too.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup

from melipona.boxes.argv import base_environment
from melipona.boxes.bubblewrap import INSIDE
from melipona.boxes.driver import BoxDriver, BoxRef, BoxSpec
from melipona.boxes.link import Exit, Output, ProgramSpec
from melipona.boxes.link_unix import BoxLink
from melipona.clock import SystemClock
from melipona.ids import ProgramId, new_id
from melipona.testing.boxes import Bench, Ran, StartedBox, listen_in

READY = timedelta(seconds=20)


@dataclass(slots=True)
class LinkedBox(StartedBox):
    """A box whose `link` is being served."""

    tasks: TaskGroup = field(kw_only=True)
    gid: int = field(kw_only=True)
    link: BoxLink = field(init=False)

    async def listen(self) -> None:
        """Serve a new link."""
        self.ctl.close()
        driver, sockets = self.driver, self.spec.folders.sockets
        self.link = BoxLink(
            sockets,
            lambda pid: driver.is_init(self.ref, pid),
            clock=SystemClock(),
            box=self.spec.id,
            mode=0o660,
            gid=self.gid,
        )
        await self.tasks.start(self.link.serve)

    async def accept(self, within: float = 20) -> int:
        """Wait for boxd; the link has made sure that it is the init."""
        await self.link.ready(timedelta(seconds=within))
        return int(self.ref.handle["pid"])

    async def run(self, *argv: str, env: Mapping[str, str] | None = None, within: float = 60) -> Ran:
        """Run a program to its end by boxd."""
        program = ProgramId(new_id())
        variables = base_environment() | dict(self.spec.env) | dict(env or {})
        out = b""
        with anyio.fail_after(within):
            await self.link.ready(READY)
            await self.link.start(ProgramSpec(program, argv, variables))
            await self.link.end_input(program)
            async for item in self.link.follow(program, 0):
                if isinstance(item, Output):
                    out += item.data
                    await self.link.acknowledge(program, item.offset + len(item.data))
                elif isinstance(item, Exit):
                    return Ran(item.code, out.decode(errors="replace"), item.stderr.decode(errors="replace"))
        raise EOFError("the program did not end")

    async def listen_again(self) -> None:
        await self.hang_up()
        await self.listen()

    async def hang_up(self) -> None:
        await self.link.aclose()


class LinkBench(Bench):
    """A bench of boxes with the real boxd. Enter it as a context: it serves links in a task group of its own."""

    def __init__(self, data: Path, *, inside: Path = INSIDE, **options: Any) -> None:
        super().__init__(data, inside=inside, **options)
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        assert self._tasks is not None
        await self.close()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(*error)

    async def start_spec(self, spec: BoxSpec) -> StartedBox:
        assert self._tasks is not None
        box = await self._linked(self.driver, spec, self._tasks)
        try:
            box.ref = await self.driver.start(spec)
        except BaseException:
            await box.hang_up()
            raise
        self.boxes.append(box)
        return box

    async def _linked(self, driver: BoxDriver, spec: BoxSpec, tasks: TaskGroup) -> LinkedBox:
        nobody = BoxRef(spec.id, {})
        ctl = listen_in(spec.folders.sockets, "ctl.sock")
        box = LinkedBox(driver, spec, nobody, ctl, tasks=tasks, gid=self.folders.owner.gid)
        await box.listen()
        return box


@contextlib.asynccontextmanager
async def linked_box_for_tests(data: Path, name: str = "ana", **options: Any) -> AsyncGenerator[LinkedBox]:
    """A real box with its `link` ready; options as of `Bench.spec`. The box ends with the block."""
    async with LinkBench(data) as bench:
        box = await bench.start(name, **options)
        assert isinstance(box, LinkedBox)
        await box.link.ready(READY)
        yield box
