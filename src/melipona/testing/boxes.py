"""Real boxes for tests: a data folder, a driver, and boxes one can run programs in.

`Bench` uses the stand-in boxd, so tests of a driver need nothing else of ours; `start_for_tests` starts a box with the
real boxd and hands over its listening `ctl.sock`. Both end every box they started.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from anyio import fail_after, to_thread

from melipona.boxes.bubblewrap import INSIDE, BubblewrapBoxDriver
from melipona.boxes.driver import BoxDriver, BoxLimits, BoxRef, BoxSpec, Mount
from melipona.boxes.folders import Folders, Owner, box_owner
from melipona.boxes.sockets import listen_unix, peer_pid
from melipona.ids import AgentId, AgentName, BoxId, new_id

STAND_IN = Path(__file__).with_name("stand_in")
"""Folder to give a driver as `inside`."""

_ORPHAN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ended in a box."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class StartedBox:
    """A box that runs, and the daemon's listening `ctl.sock` of it."""

    driver: BoxDriver
    spec: BoxSpec
    ref: BoxRef
    ctl: socket.socket
    _connection: socket.socket | None = None

    async def accept(self, within: float = 20) -> int:
        """Wait until the box has dialled; the host pid of whoever did."""
        with fail_after(within + 1):
            self.ctl.settimeout(within)
            self._connection, _ = await to_thread.run_sync(self.ctl.accept)
        return peer_pid(self._connection)

    async def run(self, *argv: str, env: Mapping[str, str] | None = None, within: float = 60) -> Ran:
        """Run a program in the box by the stand-in boxd."""
        if self._connection is None:
            await self.accept()
        answer = await to_thread.run_sync(self._ask, {"argv": argv, "env": dict(env or {})}, within)
        return Ran(answer["code"], answer["out"], answer["err"])

    async def python(self, code: str, *arguments: str, within: float = 60) -> Ran:
        """Run Python code in the box."""
        return await self.run("/usr/bin/python3", "-I", "-c", code, *arguments, within=within)

    async def stop(self, grace: float = 0) -> None:
        await self.driver.stop(self.ref, grace=timedelta(seconds=grace))

    async def listen_again(self) -> None:
        """Make `ctl.sock` anew, as a restarted daemon does."""
        await self.hang_up()
        self.ctl = listen_in(self.spec.folders.sockets, "ctl.sock")

    async def hang_up(self) -> None:
        """Close the daemon's ends, as its death would."""
        self.ctl.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, order: Mapping[str, Any], within: float) -> Any:
        assert self._connection is not None
        self._connection.settimeout(within)
        self._connection.sendall(json.dumps(order).encode() + b"\n")
        with self._connection.makefile("r", encoding="utf-8") as answers:
            line = answers.readline()
        if not line:
            raise EOFError("the box hung up")
        return json.loads(line)


class Bench:
    """A data folder with one driver; starts boxes of named agents and ends all of them in `close`."""

    def __init__(
        self,
        data: Path,
        *,
        inside: Path = STAND_IN,
        make: Callable[..., BoxDriver] = BubblewrapBoxDriver,
        owner: Owner | None = None,
        **options: Any,
    ) -> None:
        self.folders = Folders(data, owner or box_owner())
        self.folders.make_data()
        self.hive = new_id()
        self._make = lambda: make(
            hive=self.hive, trees=self.folders.trees, owner=self.folders.owner, inside=inside, **options
        )
        self.driver = self._make()
        self.boxes: list[StartedBox] = []
        self.ids: dict[str, AgentId] = {}
        """Of the agents by name; one that is not here is made."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def another_driver(self) -> BoxDriver:
        """A driver as a restarted daemon would make it."""
        return self._make()

    def spec(
        self,
        name: str = "ana",
        *,
        manager: bool = False,
        limits: BoxLimits | None = None,
        mounts: Sequence[Mount] = (),
        env: Mapping[str, str] | None = None,
    ) -> BoxSpec:
        """Make the folders of an agent and a box, and the specification to start it."""
        agent, box = self.ids.setdefault(name, AgentId(new_id())), BoxId(new_id())
        self.folders.make_agent(agent, AgentName(name))
        self.folders.make_box(box)
        return BoxSpec(
            id=box,
            agent=AgentName(name),
            folders=self.folders.of_box(agent, AgentName(name), box, manager=manager),
            mounts=mounts,
            limits=limits or BoxLimits(),
            env=env or {},
            orphan_busy=_ORPHAN,
            orphan_idle=_ORPHAN,
        )

    async def start(self, name: str = "ana", **options: Any) -> StartedBox:
        """Start a box; options as of `spec`."""
        return await self.start_spec(self.spec(name, **options))

    async def start_spec(self, spec: BoxSpec) -> StartedBox:
        ctl = listen_in(spec.folders.sockets, "ctl.sock", self.folders.owner)
        try:
            ref = await self.driver.start(spec)
        except BaseException:
            ctl.close()
            raise
        box = StartedBox(self.driver, spec, ref, ctl)
        self.boxes.append(box)
        return box

    async def close(self) -> None:
        """End all boxes."""
        for box in self.boxes:
            await box.hang_up()
            await box.stop()
        await self.driver.sweep(self.folders.boxes, ())


@contextlib.asynccontextmanager
async def bench(data: Path, **options: Any) -> AsyncGenerator[Bench]:
    """A `Bench` whose boxes end with the block."""
    async with Bench(data, **options) as made:
        yield made


@contextlib.asynccontextmanager
async def start_for_tests(
    data: Path,
    name: str = "ana",
    *,
    manager: bool = False,
    limits: BoxLimits | None = None,
    mounts: Sequence[Mount] = (),
    env: Mapping[str, str] | None = None,
    inside: Path = INSIDE,
) -> AsyncGenerator[StartedBox]:
    """A real box with the real boxd. Its `ctl.sock` listens already (`box.ctl`); gate sockets go beside it
    (`box.spec.folders.sockets`, by `listen_in`). `data` need not exist; the box ends with the block."""
    async with bench(data, inside=inside) as made:
        yield await made.start(name, manager=manager, limits=limits, mounts=mounts, env=env)


def listen_in(folder: Path, name: str, owner: Owner | None = None) -> socket.socket:
    """Listen on a unix socket in a box's folder of sockets, open to the box's uid."""
    return listen_unix(folder, name, mode=0o660, gid=(owner or box_owner()).gid)
