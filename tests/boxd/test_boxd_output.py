"""Output by offset: exact over every break, lossless or with a marked gap, bounded everywhere (D-15, T7)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melipona.boxes.inside import boxd as inside
from melipona.boxes.link import Exit, Gap, Hello, Output
from melipona.boxes.link_unix import BoxLink
from melipona.errors import BoxProtocolError, NotFound
from melipona.ids import ProgramId
from melipona.testing.boxd_outside import BoxdProcess

from .conftest import SOON, Daemons, eventually, hear, shell, spec

pytestmark = pytest.mark.anyio
MIB = 1 << 20


async def test_every_byte_arrives_in_order_and_the_exit_last(link: BoxLink) -> None:
    """D-15: nothing of a lossless program is dropped or doubled."""
    await link.start(spec("p", "seq", "1", "200000"))
    heard = await hear(link, "p")
    assert bytes(heard.data) == b"".join(b"%d\n" % n for n in range(1, 200001))
    assert heard.exit == Exit(0, len(heard.data), b"")


async def test_offsets_stay_exact_while_daemons_die_in_the_middle(boxd: BoxdProcess, daemons: Daemons) -> None:
    """BR-3, D-15: each daemon goes on at the offset that the last one had stored, and no byte is lost or seen twice."""
    boxd.start()
    stored = bytearray()
    ended: Exit | None = None
    lives = 0
    while ended is None:
        link = daemons.link()
        lives += 1
        async with anyio.create_task_group() as tasks:
            await tasks.start(link.serve)
            await link.ready(SOON)
            await link.start(spec("p", "seq", "1", "700000"))
            took = 0
            async for item in link.follow(ProgramId("p"), len(stored)):
                if isinstance(item, Exit):
                    ended = item
                    break
                assert isinstance(item, Output)
                assert item.offset == len(stored)
                stored += item.data
                took += len(item.data)
                if took > 600_000:
                    break
                await link.acknowledge(ProgramId("p"), len(stored) - 7)
            await link.aclose()
    assert lives > 5
    assert bytes(stored) == b"".join(b"%d\n" % n for n in range(1, 700001))


async def test_one_reader_survives_reconnects_without_noticing(link: BoxLink) -> None:
    """The contract of `follow`: the same iterator goes on where it was."""
    await link.start(spec("p", "seq", "1", "500000"))
    stored, count = bytearray(), 0
    async for item in link.follow(ProgramId("p"), 0):
        if isinstance(item, Output):
            assert item.offset == len(stored)
            stored += item.data
            count += 1
            if count % 5 == 1 and link._connection is not None:
                link._connection.abort()
    assert bytes(stored) == b"".join(b"%d\n" % n for n in range(1, 500001))


async def test_a_lossless_flood_stops_at_its_bound_and_then_all_of_it_arrives(link: BoxLink) -> None:
    """T7, D-15: 128 MiB unread are the most that boxd holds; the program waits."""
    flood = spec("p", "head", "-c", "200000000", "/dev/zero")
    await link.start(flood)
    with anyio.fail_after(30):
        while (await link.start(flood)).offset < 128 * MIB:
            await anyio.sleep(0.01)
    assert (await link.start(flood)).offset == 128 * MIB
    assert await link.ping(SOON) < 5
    total = 0
    async for item in link.follow(ProgramId("p"), 0):
        if isinstance(item, Output):
            total += len(item.data)
            await link.acknowledge(ProgramId("p"), total)
    assert total == 200_000_000


async def test_other_programs_keep_their_last_64_mib_behind_a_marked_gap(link: BoxLink) -> None:
    """D-15: a program that is not lossless is never held up."""
    flood = spec("p", "head", "-c", "100000000", "/dev/zero", lossless=False)
    await link.start(flood)
    with anyio.fail_after(30):
        while (await link.start(flood)).exit is None:
            await anyio.sleep(0.01)
    heard = await hear(link, "p")
    assert len(heard.gaps) == 1
    assert 60 * MIB <= len(heard.data) <= 64 * MIB
    assert heard.gaps[0] + len(heard.data) == 100_000_000


@pytest.mark.threat("T7")
async def test_a_line_of_a_gibibyte_is_buffered_nowhere_beyond_the_bounds(tmp_path: Path, link: BoxLink) -> None:
    """T7: neither boxd's own memory nor the daemon's buffer grows with a line that never ends."""
    await link.start(spec("p", "head", "-c", "1G", "/dev/zero"))
    info = await link.start(spec("self", "sh", "-c", "echo $PPID"))
    pid = int((await hear(link, "self")).data)
    following = link.follow(ProgramId("p"), 0)
    first = await anext(following)
    assert isinstance(first, Output)
    with anyio.fail_after(30):
        while (info := await link.start(spec("p", "x"))).offset < 128 * MIB:
            await anyio.sleep(0.01)
    assert info.offset == 128 * MIB
    assert _resident(pid) < 48 * MIB
    held = sum(len(item.data) for feed in link._connection._feeds.values() for item in feed._items)  # type: ignore
    assert held <= MIB
    await following.aclose()
    await link.forget(ProgramId("p"))


def _resident(pid: int) -> int:
    """Anonymous memory of a process in bytes: its own, without memfds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


async def test_bytes_that_are_no_utf8_pass_unchanged(link: BoxLink) -> None:
    """T7: output is bytes; what it means is its reader's matter."""
    await link.start(shell("p", r"printf '\377\376\000\033[2J\n'; printf '\201err' >&2"))
    heard = await hear(link, "p")
    assert bytes(heard.data) == b"\xff\xfe\x00\x1b[2J\n"
    assert heard.exit == Exit(0, 8, b"\x81err")


async def test_the_exit_carries_the_last_64_kib_of_the_error_output(link: BoxLink) -> None:
    await link.start(shell("p", "seq 1 100000 >&2; exit 9"))
    heard = await hear(link, "p")
    assert heard.exit is not None
    assert heard.exit.code == 9
    assert len(heard.exit.stderr) == 64 << 10
    assert heard.exit.stderr.endswith(b"99999\n100000\n")


async def test_a_child_that_holds_the_output_open_does_not_hide_the_exit(link: BoxLink) -> None:
    """A turn must not hang because a tool left something running in the background."""
    await link.start(shell("p", "sleep 600 & echo hi"))
    heard = await hear(link, "p")
    assert (bytes(heard.data), heard.code) == (b"hi\n", 0)


async def test_the_exit_waits_for_output_that_boxd_may_not_read_yet(link: BoxLink) -> None:
    """D-15: the end of a program that wrote more than 128 MiB is told after its last byte."""
    await link.start(spec("p", "head", "-c", str(128 * MIB + 500_000), "/dev/zero"))
    with anyio.fail_after(30):
        while (await link.start(spec("p", "x"))).exit is None:
            await anyio.sleep(0.01)
    await link.start(shell("later", "sleep 600 & true"))  # its exit is told when boxd has waited for its output in vain
    await hear(link, "later")
    assert len((await hear(link, "p")).data) == 128 * MIB + 500_000


async def test_two_readers_of_one_program_hear_the_same(link: BoxLink) -> None:
    await link.start(spec("p", "seq", "1", "100000"))
    both: list[bytes] = []

    async def read() -> None:
        both.append(bytes((await hear(link, "p", acknowledge=False)).data))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(read)
    assert both[0] == both[1]
    assert both[0].endswith(b"100000\n")


async def test_a_reader_that_does_not_read_holds_up_nobody_else(link: BoxLink) -> None:
    """Output is sent under each reader's own credit, so one slow reader cannot fill the connection."""
    await link.start(spec("slow", "head", "-c", "50000000", "/dev/zero"))
    following = link.follow(ProgramId("slow"), 0)
    await anext(following)
    await link.start(spec("p", "seq", "1", "100000"))
    assert (await hear(link, "p")).code == 0
    assert await link.ping(SOON) < 5
    await following.aclose()


async def test_what_was_acknowledged_is_gone_and_its_reader_is_told(link: BoxLink) -> None:
    await link.start(spec("p", "head", "-c", "20000000", "/dev/zero"))
    await hear(link, "p")
    first = await anext(link.follow(ProgramId("p"), 0))
    assert isinstance(first, Gap)
    assert first.offset > 15_000_000


async def test_an_offset_beyond_the_output_is_a_breach(link: BoxLink) -> None:
    await link.start(spec("p", "true"))
    await hear(link, "p")
    with pytest.raises(BoxProtocolError, match="ends at 0"):
        await anext(link.follow(ProgramId("p"), 5))


async def test_a_program_that_nobody_started_is_not_found(link: BoxLink) -> None:
    with pytest.raises(NotFound):
        await anext(link.follow(ProgramId("nobody"), 0))
    with pytest.raises(NotFound):
        await link.write(ProgramId("nobody"), 1, b"x\n")
    await link.forget(ProgramId("nobody"))


async def test_a_forgotten_program_is_killed_and_may_be_started_anew(link: BoxLink) -> None:
    first = await link.start(spec("p", "sleep", "600"))
    await link.forget(ProgramId("p"))
    await eventually(lambda: not Path(f"/proc/{first.pid}").exists())
    second = await link.start(spec("p", "echo", "again"))
    assert second.pid != first.pid
    assert bytes((await hear(link, "p")).data) == b"again\n"


async def test_hello_tells_where_each_program_stands(boxd: BoxdProcess, daemons: Daemons) -> None:
    """D-14: a new daemon learns pid, offset, next number and exit of everything that it finds."""
    boxd.start()
    hellos: list[Hello] = []
    pids: set[int] = set()
    for _ in range(2):
        link = daemons.link()
        async with anyio.create_task_group() as tasks:
            await tasks.start(link.serve)
            hellos.append(await link.ready(SOON))
            pids.add((await link.start(spec("p", "cat"))).pid)
            await link.write(ProgramId("p"), 1, b"one\n")
            await hear(link, "p", until=b"one\n", acknowledge=False)
            await link.aclose()
    assert [(p.id, p.offset, p.next_seq, p.exit) for p in hellos[1].programs] == [("p", 4, 2, None)]
    assert {p.pid for p in hellos[1].programs} == pids
    assert (hellos[0].protocol, hellos[0].box, hellos[0].programs) == (1, "outside", [])


@given(st.lists(st.binary(min_size=1, max_size=5000), max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_a_spool_gives_back_what_it_was_given(chunks: list[bytes], data: st.DataObject) -> None:
    """Offsets of the spool hold over segments, acknowledgement and dropping."""
    before = inside.SEGMENT, inside.RING
    inside.SEGMENT, inside.RING = 4096, 16384
    spool = inside.Spool(lossless=data.draw(st.booleans()))
    try:
        whole = b""
        for chunk in chunks:
            spool.append(chunk)
            whole += chunk
            spool.acknowledge(data.draw(st.integers(0, len(whole))))
            assert spool.end == len(whole)
            assert spool.start <= (spool.acked if spool.lossless else spool.end)
            at = data.draw(st.integers(spool.start, spool.end))
            read = b""
            while at + len(read) < spool.end:
                read += spool.read(at + len(read), 1000)
            assert read == whole[at:]
    finally:
        spool.close()
        inside.SEGMENT, inside.RING = before


async def test_a_ping_is_answered_while_a_program_floods(link: BoxLink) -> None:
    """A box that lives answers, whatever its programs do."""
    await link.start(spec("p", "yes", lossless=False))
    for _ in range(20):
        assert await link.ping(timedelta(seconds=10)) < 5
    await link.forget(ProgramId("p"))
