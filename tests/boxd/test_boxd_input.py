"""Lines to a program: each once and in order, whatever is repeated (D-44); its end after all of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import anyio
import pytest

from melipona.boxes.inside import boxd as inside
from melipona.boxes.link import ProgramSpec
from melipona.boxes.link_unix import BoxLink
from melipona.errors import Conflict, Invalid, LimitReached
from melipona.ids import ProgramId
from melipona.testing.boxd_outside import BoxdProcess, boxd_outside

from .conftest import SOON, Daemons, hear, shell, spec

pytestmark = pytest.mark.anyio
P = ProgramId("p")


async def test_a_number_that_was_seen_changes_nothing(link: BoxLink) -> None:
    """D-44, invariant 7: sending a line again never doubles it."""
    await link.start(spec("p", "cat"))
    for seq, line in ((1, b"one\n"), (1, b"one\n"), (2, b"two\n"), (1, b"else\n"), (2, b"two\n")):
        await link.write(P, seq, line)
    await link.end_input(P)
    assert bytes((await hear(link, "p")).data) == b"one\ntwo\n"


async def test_a_number_left_out_is_refused_and_nothing_is_written(link: BoxLink) -> None:
    """D-44: a hole in the outbox is an error, not a line lost in silence."""
    await link.start(spec("p", "cat"))
    with pytest.raises(Conflict, match="1 is next"):
        await link.write(P, 2, b"two\n")
    await link.end_input(P)
    assert bytes((await hear(link, "p")).data) == b""


async def test_every_daemon_may_send_its_whole_outbox_again(boxd: BoxdProcess, daemons: Daemons) -> None:
    """BR-3, D-44: a line is neither lost nor doubled by a daemon that died around the write."""
    boxd.start()
    outbox = [(seq, b"line %d\n" % seq) for seq in range(1, 41)]
    for life in range(1, 5):
        link = daemons.link()
        async with anyio.create_task_group() as tasks:
            await tasks.start(link.serve)
            await link.ready(SOON)
            await link.start(spec("p", "cat"))
            for seq, line in outbox[: life * 10]:
                await link.write(P, seq, line)
            if life == 4:
                await link.end_input(P)
                heard = await hear(link, "p")
                assert bytes(heard.data) == b"".join(line for _, line in outbox)
            await link.aclose()


async def test_the_end_of_the_input_waits_for_what_was_written(link: BoxLink, tmp_path: Path) -> None:
    """D-44: end of input is behind the queue, also when the program has not begun to read."""
    os.mkfifo(tmp_path / "go")
    await link.start(shell("p", f"read line < {tmp_path}/go; wc -c"))
    await link.write(P, 1, b"x" * 3_000_000)
    await link.write(P, 2, b"y\n")
    await link.end_input(P)
    await link.end_input(P)
    with (tmp_path / "go").open("w") as go:
        go.write("go\n")
    assert (await hear(link, "p")).data.split() == [b"3000002"]


async def test_a_line_longer_than_a_frame_arrives_whole_although_its_connection_broke(link: BoxLink) -> None:
    """Slices of a line that was cut short are thrown away; the line is sent from its beginning again."""
    await link.start(spec("p", "md5sum"))

    async def cut() -> None:
        for _ in range(3):
            await link.wait_connected()
            if link._connection is not None:
                link._connection.abort()
            await anyio.sleep(0)

    line = bytes(range(256)) * 30_000
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cut)
        await link.write(P, 1, line)
    await link.end_input(P)
    assert (await hear(link, "p")).data.split()[0].decode() == hashlib.md5(line).hexdigest()


async def test_lines_for_a_program_that_has_ended_are_taken_and_lost(link: BoxLink) -> None:
    """The outbox is sent whole on hello, to programs that have just ended too: no error, no effect."""
    await link.start(spec("p", "true"))
    await hear(link, "p")
    await link.write(P, 1, b"late\n")
    await link.end_input(P)
    assert (await link.start(spec("p", "true"))).next_seq == 2


async def test_a_program_that_closes_its_input_does_not_hurt_boxd(link: BoxLink) -> None:
    await link.start(shell("p", "exec <&-; echo closed; exec sleep 600"))
    await hear(link, "p", until=b"closed")
    for seq in range(1, 20):
        await link.write(P, seq, b"x" * 10_000)
    assert await link.ping(SOON) < 5


async def test_environment_arguments_and_folder_are_exactly_what_was_asked(link: BoxLink, tmp_path: Path) -> None:
    """T5: nothing of boxd's own environment, no descriptor, default signals, no terminal."""
    script = 'pwd; env; ls /proc/self/fd; grep -E "Sig(Blk|Ign)" /proc/self/status; echo "$1"'
    odd = "a b\n\udcff'"
    started = await link.start(ProgramSpec(P, ["/bin/sh", "-c", script, "sh", odd], {"A": "é"}, cwd="/usr"))
    lines = bytes((await hear(link, "p")).data).split(b"\n")
    assert lines[0] == b"/usr"
    assert sorted(lines[1:3]) == ["A=é".encode(), b"PWD=/usr"]
    assert [int(line) for line in lines[3:7]] == [0, 1, 2, 3]  # 3: the listing itself
    assert {line.split()[1] for line in lines[7:9]} == {b"0000000000000000"}
    assert b"\n".join(lines[9:]) == b"a b\n\xff'\n"
    assert started.exit is None


async def test_a_program_that_cannot_be_executed_ends_with_127_and_says_why(link: BoxLink) -> None:
    await link.start(spec("p", "no-such-program"))
    heard = await hear(link, "p")
    assert heard.exit is not None
    assert heard.code == 127
    assert b"no-such-program" in heard.exit.stderr
    await link.start(ProgramSpec(ProgramId("q"), ["true"], {}, cwd="/no/such/folder"))
    heard = await hear(link, "q")
    assert heard.exit is not None
    assert b"/no/such/folder" in heard.exit.stderr


@pytest.mark.parametrize("argv", [[], ["a\0b"]])
async def test_a_request_that_makes_no_sense_is_refused(link: BoxLink, argv: list[str]) -> None:
    with pytest.raises(Invalid):
        await link.start(ProgramSpec(P, argv, {}))


async def test_the_number_of_programs_is_bounded(link: BoxLink) -> None:
    """A caller that forgets to forget learns it before boxd runs out of descriptors."""
    for number in range(inside.PROGRAMS):
        await link.start(spec(f"p{number}", "true"))
    with pytest.raises(LimitReached):
        await link.start(spec("one-more", "true"))
    await link.forget(ProgramId("p0"))
    await link.start(spec("one-more", "true"))


async def test_limits_bind_on_programs(tmp_path: Path) -> None:
    """BR-8: open files, processes, file size, no core files."""
    limits = {"nofile": 100, "nproc": 9999, "fsize": 1 << 20}
    async with boxd_outside(tmp_path, limits=limits) as link:
        await link.start(shell("p", f"ulimit -n; ulimit -f; ulimit -c; head -c 2M /dev/zero > {tmp_path}/big"))
        heard = await hear(link, "p")
        assert heard.data.split() == [b"100", b"2048", b"0"]
        assert (tmp_path / "big").stat().st_size == 1 << 20
