"""Programs on a terminal, and signals."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import anyio
import pytest

from melipona.boxes.link_unix import BoxLink
from melipona.errors import Conflict
from melipona.ids import ProgramId
from melipona.testing.boxd_outside import BoxdProcess

from .conftest import SOON, Daemons, eventually, hear, shell, spec

pytestmark = pytest.mark.anyio
P = ProgramId("p")


async def test_a_terminal_has_its_size_and_is_told_a_new_one(link: BoxLink) -> None:
    script = 'stty size; trap "stty size; exit 0" WINCH; echo ready; while :; do read line; done'
    await link.start(spec("p", "/bin/bash", "-c", script, terminal=(24, 80), lossless=False))
    await hear(link, "p", until=b"ready")
    await link.resize(P, 50, 132)
    await link.write(P, 1, b"\n")
    heard = await hear(link, "p")
    assert b"24 80" in heard.data
    assert b"50 132" in heard.data
    assert heard.code == 0


async def test_ctrl_c_interrupts_what_runs_in_the_terminal(link: BoxLink) -> None:
    script = 'trap "echo caught; exit 7" INT; echo ready; while :; do sleep 0.05; done'
    await link.start(shell("p", script, terminal=(24, 80)))
    await hear(link, "p", until=b"ready", acknowledge=False)
    await link.write(P, 1, b"\x03")
    heard = await hear(link, "p")
    assert b"caught" in heard.data
    assert heard.code == 7


async def test_the_end_of_input_of_a_terminal_is_its_end_of_file_character(link: BoxLink) -> None:
    await link.start(spec("p", "cat", terminal=(24, 80)))
    await link.write(P, 1, b"hello\n")
    await link.end_input(P)
    heard = await hear(link, "p")
    assert heard.code == 0
    assert heard.data.count(b"hello\r\n") == 2


async def test_the_last_words_on_a_terminal_arrive(link: BoxLink) -> None:
    for n in range(20):
        await link.start(spec(f"t{n}", "echo", "last words", terminal=(24, 80)))
    for n in range(20):
        assert bytes((await hear(link, f"t{n}")).data) == b"last words\r\n"


async def test_the_end_of_a_terminal_ends_all_of_its_session(link: BoxLink) -> None:
    """Jobs of an interactive shell have groups of their own; a killed or ended shell leaves none of them."""
    for name, leave in (("exits", b"exit\n"), ("killed", b"")):
        await link.start(spec(name, "/bin/bash", "-i", terminal=(24, 80), lossless=False))
        await link.write(ProgramId(name), 1, b"sleep 4713 & echo job-$!-$((1+1))begun\n")
        text = bytes((await hear(link, name, until=b"-2begun", acknowledge=False)).data)
        (job,) = {int(found) for found in re.findall(rb"job-(\d+)-2begun", text)}
        assert os.getpgid(job) == job
        if leave:
            await link.write(ProgramId(name), 2, leave)
            await hear(link, name)
        else:
            await link.forget(ProgramId(name))

        def gone(job: int = job) -> bool:
            try:
                os.kill(job, 0)
            except ProcessLookupError:
                return True
            return False

        await eventually(gone)


async def test_pipes_have_no_size(link: BoxLink) -> None:
    await link.start(spec("p", "cat"))
    with pytest.raises(Conflict):
        await link.resize(P, 10, 10)


async def test_a_signal_reaches_the_whole_group(link: BoxLink) -> None:
    """An interrupted engine leaves no process of its group."""
    started = await link.start(shell("p", "sleep 600 & sleep 600 & echo up; wait"))
    await hear(link, "p", until=b"up", acknowledge=False)
    await link.signal(P, signal.SIGTERM)
    assert (await hear(link, "p")).code == -signal.SIGTERM

    def gone() -> bool:
        try:
            os.killpg(started.pid, 0)
        except ProcessLookupError:
            return True
        return False

    await eventually(gone)
    await link.signal(P, signal.SIGKILL)  # one that has ended is a success


async def test_a_signal_reaches_a_program_that_has_only_just_been_started(link: BoxLink) -> None:
    for n in range(30):
        await link.start(spec(f"p{n}", "sleep", "600"))
        await link.signal(ProgramId(f"p{n}"), signal.SIGKILL)
        assert (await hear(link, f"p{n}")).code == -signal.SIGKILL


async def test_what_a_double_fork_left_is_reaped(link: BoxLink) -> None:
    """LE: PID 1 that does not reap fills the box's process limit with zombies."""
    script = "for i in 1 2 3 4 5; do (sh -c 'exit 3' &); (setsid sh -c 'exit 4' &); done; echo $PPID"
    await link.start(shell("p", script))
    boxd = int((await hear(link, "p")).data)
    await eventually(lambda: not Path(f"/proc/{boxd}/task/{boxd}/children").read_text().strip())


async def test_boxd_asked_to_stop_asks_its_programs_and_ends_after_them(boxd: BoxdProcess, daemons: Daemons) -> None:
    """A box is stopped by SIGTERM to its init: programs may tidy up first, in groups of their own too."""
    boxd.start()
    link = daemons.link()
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        await link.ready(SOON)
        for name in ("one", "two"):
            tidy = f'trap "echo {name} > {boxd.folder}/{name}; exit 0" TERM'
            await link.start(shell(name, f"{tidy}; echo up; read x"))
            await hear(link, name, until=b"up", acknowledge=False)
        assert boxd.process is not None
        boxd.process.terminate()
        await eventually(boxd.ended)
        assert boxd.process.returncode == 0
        await link.aclose()
    assert [(boxd.folder / name).read_text() for name in ("one", "two")] == ["one\n", "two\n"]
