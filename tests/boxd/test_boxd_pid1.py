"""boxd as what it is: PID 1 of a PID namespace, made here with unshare(1) alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from melipona.boxes.link_unix import BoxLink
from melipona.clock import SystemClock
from melipona.ids import ProgramId
from melipona.testing.boxd_outside import BOXD

from .conftest import SOON, eventually, hear, shell, spec

pytestmark = [pytest.mark.anyio, pytest.mark.boxes]


class Namespace:
    """A PID namespace whose init is boxd."""

    def __init__(self, link: BoxLink, process: subprocess.Popen[bytes], init: int) -> None:
        self.link, self.process, self.init = link, process, init

    def members(self) -> set[str]:
        """Host pids of all its processes."""
        inode = os.readlink(f"/proc/{self.init}/ns/pid") if Path(f"/proc/{self.init}").exists() else None
        return {entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit() and _namespace(entry) == inode}


def _namespace(entry: Path) -> str | None:
    try:
        return os.readlink(entry / "ns" / "pid")
    except OSError:
        return ""


@asynccontextmanager
async def namespace(folder: Path) -> AsyncIterator[Namespace]:
    pids: list[int] = []
    link = BoxLink(folder, lambda pid: pids.append(pid) is None, clock=SystemClock(), deadline=SOON)
    settings = {"box": "b", "run": str(folder), "gate_port": 0, "egress_port": 0}
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        process = subprocess.Popen([*unshare, sys.executable, "-I", "-S", str(BOXD), json.dumps(settings)])
        try:
            await link.ready(SOON)
            yield Namespace(link, process, pids[-1])
        finally:
            process.kill()
            process.wait()
            await link.aclose()


async def test_signals_from_inside_do_not_end_the_box(tmp_path: Path) -> None:
    """SECURITY 3.5: an agent that runs `pkill python` or `kill 1` has no effect on its box."""
    async with namespace(tmp_path) as box:
        numbers = "TERM INT QUIT HUP KILL STOP USR1 CHLD"
        await box.link.start(shell("p", f"for n in {numbers}; do kill -$n 1; done; echo sent $PPID"))
        assert (await hear(box.link, "p")).data.split() == [b"sent", b"1"]
        assert await box.link.ping(SOON) < 5


async def test_orphans_of_every_kind_are_reaped(tmp_path: Path) -> None:
    async with namespace(tmp_path) as box:
        script = "for i in 1 2 3 4 5; do (setsid sh -c 'exit 4' &); (sh -c 'kill -9 $$' &); done; echo forked"
        await box.link.start(shell("p", script))
        await hear(box.link, "p")
        children = Path(f"/proc/{box.init}/task/{box.init}/children")
        await eventually(lambda: not children.read_text().strip())


async def test_a_stop_from_outside_asks_every_process_and_ends_the_box_after_them(tmp_path: Path) -> None:
    """The driver's `stop`: also a process that left its program's group is asked, before the kill."""
    async with namespace(tmp_path) as box:
        tidy = f"trap 'echo tidy > {tmp_path}/tidy; exit 0' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
        (tmp_path / "left.sh").write_text(tidy)
        await box.link.start(shell("p", f"setsid sh {tmp_path}/left.sh & sleep 600"))
        await eventually((tmp_path / "up").exists)
        os.kill(box.init, signal.SIGTERM)
        await eventually(lambda: box.process.poll() is not None)
        assert (tmp_path / "tidy").read_text() == "tidy\n"


async def test_the_end_of_boxd_is_the_end_of_every_process(tmp_path: Path) -> None:
    async with namespace(tmp_path) as box:
        await box.link.start(shell("p", "trap '' TERM; setsid sleep 600 & setsid sleep 600 & echo up; wait"))
        await hear(box.link, "p", until=b"up", acknowledge=False)
        members = box.members()
        assert len(members) >= 4
        os.kill(box.init, signal.SIGQUIT)
        await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members))


async def test_a_program_that_kills_everything_it_may_kills_only_itself(tmp_path: Path) -> None:
    """`kill -9 -1` ends the agent's programs; boxd lives, tells so and serves on."""
    async with namespace(tmp_path) as box:
        await box.link.start(spec("victim", "sleep", "600"))
        await box.link.start(shell("p", "kill -9 -1; sleep 600"))
        assert (await hear(box.link, "victim")).code == -signal.SIGKILL
        await box.link.forget(ProgramId("p"))
        await box.link.start(shell("after", "echo well"))
        assert bytes((await hear(box.link, "after")).data) == b"well\n"
