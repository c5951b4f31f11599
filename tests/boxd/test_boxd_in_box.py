"""boxd in a real bubblewrap box: as PID 1 under the filter, with its own devpts, sockets read-only and limits set."""

from __future__ import annotations

import shutil
import signal
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from melipona.boxes.driver import EGRESS_PORT, GATE_PORT, BoxRef, BoxSpec, BoxState
from melipona.boxes.link import ProgramSpec
from melipona.boxes.link_unix import BoxLink
from melipona.clock import SystemClock
from melipona.ids import ProgramId
from melipona.testing.boxd_outside import BOXD
from melipona.testing.boxes import Bench

from .conftest import ENV, SOON, FakeGate, answer, eventually, hear, request_to

pytestmark = [pytest.mark.anyio, pytest.mark.boxes]


class InBox:
    """A box under a driver and the link of the present daemon to it."""

    def __init__(self, bench: Bench, spec: BoxSpec) -> None:
        self.bench, self.spec = bench, spec
        self.ref: BoxRef | None = None

    def new_link(self) -> BoxLink:
        return BoxLink(
            self.spec.folders.sockets,
            lambda pid: self.ref is not None and self.bench.driver.is_init(self.ref, pid),
            clock=SystemClock(),
            box=self.spec.id,
            mode=0o660,
            gid=self.bench.folders.owner.gid,
        )

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[BoxLink]:
        """A daemon's life: the box is connected in it."""
        link = self.new_link()
        async with anyio.create_task_group() as tasks:
            await tasks.start(link.serve)
            if self.ref is None:
                self.ref = await self.bench.driver.start(self.spec)
            await link.ready(SOON)
            yield link
            await link.aclose()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[InBox]:
    bench = Bench(tmp_path / "data", inside=BOXD.parent)
    inside = InBox(bench, bench.spec())
    try:
        yield inside
    finally:
        if inside.ref is not None:
            await bench.driver.stop(inside.ref, grace=timedelta(0))


def program(name: str, script: str, *, terminal: tuple[int, int] | None = None) -> ProgramSpec:
    return ProgramSpec(ProgramId(name), ["/bin/bash", "-c", script], ENV, terminal=terminal)


async def test_the_link_knows_the_boxs_init_and_drives_its_programs(box: InBox) -> None:
    """BR-1: pipes, a terminal with its own devpts, limits, signals: all of it in the sealed box."""
    async with box.daemon() as link:
        await link.start(program("p", "pwd; ulimit -n; ulimit -u; ulimit -f; cat"))
        await link.write(ProgramId("p"), 1, b"hello\n")
        await link.end_input(ProgramId("p"))
        heard = await hear(link, "p")
        assert bytes(heard.data).split(b"\n")[:5] == [b"/ws", b"4096", b"512", b"2097152", b"hello"]
        script = "tty; stty size; trap 'exit 7' INT; echo up; while :; do read -t 1 x; done"
        await link.start(program("t", script, terminal=(9, 99)))
        await hear(link, "t", until=b"up", acknowledge=False)
        await link.write(ProgramId("t"), 1, b"\x03")
        heard = await hear(link, "t")
        assert heard.code == 7
        assert b"/dev/pts/" in heard.data
        assert b"9 99" in heard.data


async def test_a_program_outlives_its_daemon_and_its_request_waits_for_the_next(box: InBox) -> None:
    """BR-3, D-23: the gate is gone in the middle of a request; the next daemon answers it."""
    script = f"""exec 3<>/dev/tcp/127.0.0.1/{GATE_PORT}
        printf 'POST /x HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\nhi' >&3; head -c {len(answer(b"done"))} <&3"""
    gate = FakeGate(box.spec.folders.sockets, mode=0o660, gid=box.bench.folders.owner.gid)
    asked = anyio.Event()

    async def silent(reader: StreamReader, _: StreamWriter) -> None:
        await request_to(reader)
        asked.set()
        await anyio.sleep_forever()

    async def speaking(reader: StreamReader, writer: StreamWriter) -> None:
        assert await request_to(reader) == b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
        writer.write(answer(b"done"))
        await writer.drain()

    try:
        async with box.daemon() as link:
            await gate.open(silent)
            started = await link.start(program("p", script))
            await asked.wait()
        await gate.die()
        async with box.daemon() as link:
            await gate.open(speaking)
            heard = await hear(link, "p")
            assert bytes(heard.data) == answer(b"done")
            assert (await link.start(program("p", script))).pid == started.pid
    finally:
        await gate.die()


async def test_there_is_no_way_out_but_the_daemons_sockets(box: InBox) -> None:
    """D-13, T9: the proxy's port says so, and nobody in the box can touch a socket file."""
    script = f"""exec 3<>/dev/tcp/127.0.0.1/{EGRESS_PORT}
        printf 'CONNECT example.com:443 HTTP/1.1\\r\\n\\r\\n' >&3; head -n 1 <&3
        rm /run/mel/ctl.sock; ln -s /tmp /run/mel/x; kill -TERM 1; kill -9 1
        cat /proc/1/environ; ls /proc/1/fd; echo end"""
    async with box.daemon() as link:
        await link.start(program("p", script))
        heard = await hear(link, "p")
        assert bytes(heard.data) == b"HTTP/1.1 403 Forbidden\r\nend\n"
        assert heard.exit is not None
        assert heard.exit.stderr.count(b"Read-only file system") == 2
        assert heard.exit.stderr.count(b"Permission denied") == 2
        assert await link.ping(SOON) < 5


async def test_a_box_whose_folder_was_removed_ends(box: InBox) -> None:
    """D-3: in a box too, where the folder is a bind mount."""
    box.spec = replace(box.spec, orphan_idle=timedelta(seconds=1))  # it looks four times in this time
    async with box.daemon() as link:
        await link.start(program("p", "sleep 600"))
        assert box.ref is not None
        shutil.rmtree(box.spec.folders.sockets)
        states: list[BoxState] = []
        with anyio.fail_after(30):
            while not states or states[-1] is not BoxState.GONE:
                states.append(await box.bench.driver.inspect(box.ref))
                await anyio.sleep(0.05)


async def test_a_stop_with_grace_lets_programs_tidy_up(box: InBox) -> None:
    async with box.daemon() as link:
        tidy = "trap 'echo tidy > /ws/tidy; exit 0' TERM"
        await link.start(program("p", f"{tidy}; echo up; while :; do sleep 0.05; done"))
        await hear(link, "p", until=b"up", acknowledge=False)
        assert box.ref is not None
        await box.bench.driver.stop(box.ref, grace=timedelta(seconds=20))
        assert (box.spec.folders.work / "tidy").read_text() == "tidy\n"
        await eventually(lambda: not link.connected)


async def test_signals_of_the_link_reach_programs_in_the_box(box: InBox) -> None:
    async with box.daemon() as link:
        await link.start(program("p", "sleep 600 & sleep 600 & echo up; wait"))
        await hear(link, "p", until=b"up", acknowledge=False)
        await link.signal(ProgramId("p"), signal.SIGKILL)
        assert (await hear(link, "p")).code == -signal.SIGKILL


COUNT_SLEEPERS = "for i in $(seq 500); do n=$(pgrep -x sleep | wc -l); [ $n = 2 ] && break; done; echo $n"
"""Each says that it is up just before it becomes `sleep`."""


async def test_what_a_killed_program_had_begun_ends_with_it(box: InBox) -> None:
    """Issue 3: an engine that was killed leaves no process, though its tools have sessions of their own."""
    async with box.daemon() as link:
        await link.start(program("other", "echo up; read x"))
        await hear(link, "other", until=b"up", acknowledge=False)
        for name in ("p", "q"):
            await link.start(program(name, "setsid sh -c 'echo up; exec sleep 600' & wait"))
            await hear(link, name, until=b"up", acknowledge=False)
        await link.signal(ProgramId("p"), signal.SIGKILL)
        assert (await hear(link, "p")).code == -signal.SIGKILL
        await link.write(ProgramId("other"), 1, b"end\n")
        assert (await hear(link, "other")).code == 0
        await link.start(program("look", COUNT_SLEEPERS))
        assert bytes((await hear(link, "look")).data) == b"2\n", "while another program runs, nothing else is touched"
        await link.signal(ProgramId("q"), signal.SIGKILL)
        assert (await hear(link, "q")).code == -signal.SIGKILL
        await link.start(program("again", "while pgrep -x sleep >/dev/null; do :; done; echo none"))
        assert bytes((await hear(link, "again")).data) == b"none\n"
