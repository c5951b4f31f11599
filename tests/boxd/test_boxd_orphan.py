"""A box that nobody can want any more ends by itself (D-3), and one that is wanted does not."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from melipona.testing.boxd_outside import BoxdProcess

from .conftest import SOON, Daemons, eventually, hear, shell

pytestmark = pytest.mark.anyio


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_a_box_whose_socket_folder_is_gone_ends_with_its_programs(boxd: BoxdProcess, daemons: Daemons) -> None:
    """D-3: purging a data folder leaves no box behind."""
    boxd.settings = {"orphan_idle_s": 1000, "orphan_busy_s": 0.4}
    boxd.start()
    link = daemons.link()
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        await link.ready(SOON)
        program = await link.start(shell("p", "trap '' TERM; (setsid sleep 600 &); echo up; sleep 600"))
        await hear(link, "p", until=b"up", acknowledge=False)
        (boxd.sockets / "ctl.sock").unlink()
        boxd.sockets.rmdir()
        await eventually(boxd.ended)
        await eventually(lambda: _gone(program.pid))
        await link.aclose()
    assert "socket folder is gone" in boxd.errors


async def test_an_idle_box_that_no_daemon_accepts_ends(boxd: BoxdProcess) -> None:
    boxd.settings = {"orphan_idle_s": 0.2, "orphan_busy_s": 1000}
    boxd.start()
    await eventually(boxd.ended)
    assert "no daemon" in boxd.errors


async def test_a_busy_box_waits_longer_and_then_ends(tmp_path: Path) -> None:
    """D-3: a turn survives a daemon that is away; the bound for a busy box is its own."""
    boxes: list[BoxdProcess] = []
    try:
        for name, busy in (("patient", 1000.0), ("hasty", 0.6)):
            (tmp_path / name).mkdir()
            box = BoxdProcess(tmp_path / name, settings={"orphan_idle_s": 0.2, "orphan_busy_s": busy})
            boxes.append(box)
            box.sockets.mkdir()
            box.start()
            await _program(Daemons(box), "p", "sleep 600")
        await eventually(boxes[1].ended)
        assert not boxes[0].ended()
    finally:
        for box in boxes:
            box.kill()


async def test_a_box_is_not_an_orphan_while_a_daemon_holds_it(
    boxd: BoxdProcess, daemons: Daemons, tmp_path: Path
) -> None:
    """Measured against another box with the same bound, which ends meanwhile."""
    boxd.settings = {"orphan_idle_s": 0.3, "orphan_busy_s": 0.3}
    boxd.start()
    link = daemons.link()
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        await link.ready(SOON)
        (tmp_path / "other").mkdir()
        other = BoxdProcess(tmp_path / "other", settings={"orphan_idle_s": 0.6, "orphan_busy_s": 0.6})
        other.sockets.mkdir()
        other.start()
        try:
            await eventually(other.ended)
        finally:
            other.kill()
        assert not boxd.ended()
        assert await link.ping(SOON) < 5
        await link.aclose()
    await eventually(boxd.ended)


async def test_a_hundred_daemons_in_a_row_find_the_box(boxd: BoxdProcess, daemons: Daemons) -> None:
    """SECURITY 7 line 6: each is connected within 2 s."""
    boxd.start()
    pid = await _program(daemons, "p", "sleep 600")
    for _ in range(100):
        link = daemons.link()
        async with anyio.create_task_group() as tasks:
            await tasks.start(link.serve)
            with anyio.fail_after(2):
                await link.wait_connected()
            hello = await link.ready(SOON)
            assert [program.pid for program in hello.programs] == [pid]
            await link.aclose()


async def _program(daemons: Daemons, name: str, script: str) -> int:
    pid = 0
    link = daemons.link()
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        await link.ready(SOON)
        pid = (await link.start(shell(name, script))).pid
        await link.aclose()
    return pid
