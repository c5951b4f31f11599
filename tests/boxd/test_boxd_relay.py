"""Loopback to the gate: it waits for a daemon that is away, and asks again what was not answered (D-23)."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melipona.boxes.inside import boxd as inside
from melipona.boxes.link_unix import BoxLink

from .conftest import SOON, Client, FakeGate, answer, eventually, hear, request, request_to, spec

pytestmark = pytest.mark.anyio


async def _echo(reader: Reader, writer: Writer) -> None:
    """Answer each request with its own body."""
    while True:
        asked = await request_to(reader)
        writer.write(answer(asked.partition(b"\r\n\r\n")[2]))
        await writer.drain()


async def test_a_request_waits_for_a_gate_that_is_not_there_yet(link: BoxLink, gate: FakeGate) -> None:
    """NOTES 11: a restart of the daemon looks like a slow answer, never like a refused connection."""
    async with Client(link.ports[0]) as client:
        await client.send(request(b"early"))
        await gate.open(_echo)
        assert await client.take(len(answer(b"early"))) == answer(b"early")


async def test_a_request_whose_answer_had_not_begun_is_sent_to_the_next_daemon(link: BoxLink, gate: FakeGate) -> None:
    """D-23: same bytes, one answer, no error for the program."""
    taken: list[bytes] = []
    has_it = anyio.Event()

    async def silent(reader: Reader, _: Writer) -> None:
        taken.append(await request_to(reader))
        has_it.set()
        await asyncio.Event().wait()

    async def speaking(reader: Reader, writer: Writer) -> None:
        taken.append(await request_to(reader))
        writer.write(answer(b"done"))
        await writer.drain()
        await reader.read()

    await gate.open(silent)
    async with Client(link.ports[0]) as client:
        await client.send(request(b"pay", b"/api/send"))
        await has_it.wait()
        await gate.die()
        await gate.open(speaking)
        assert await client.take(len(answer(b"done"))) == answer(b"done")
    assert taken == [request(b"pay", b"/api/send")] * 2


async def test_an_answer_that_has_begun_is_never_asked_for_again(link: BoxLink, gate: FakeGate) -> None:
    """D-23: half an answer ends as half an answer; only its program can know what to do."""

    async def half(reader: Reader, writer: Writer) -> None:
        await request_to(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    await gate.open(half)
    async with Client(link.ports[0]) as client:
        await client.send(request(b"x"))
        assert (await client.take(1000)).endswith(b"half")
    assert gate.connections == 1


async def test_an_end_of_both_sides_is_no_failure(link: BoxLink, gate: FakeGate, tmp_path: Path) -> None:
    """The program has ended its side, then the gate ends in mid-answer: nothing is left, and nothing is said."""

    async def half(reader: Reader, writer: Writer) -> None:
        await request_to(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        await reader.read()

    await gate.open(half)
    async with Client(link.ports[0]) as client:
        await client.send(request(b"x"))
        assert b"HTTP/1.1 200 OK" in await client.take(20)
        client.socket.shutdown(socket.SHUT_WR)
        assert (await client.take(1000)).endswith(b"half")
    assert await link.ping(SOON) < 5
    assert (tmp_path / "boxd.err").read_text() == ""


async def test_a_gate_that_never_answers_is_asked_four_times_in_all(link: BoxLink, gate: FakeGate) -> None:
    """D-23: three more tries, then the program sees the connection end."""

    async def shut(reader: Reader, _: Writer) -> None:
        await request_to(reader)

    await gate.open(shut)
    async with Client(link.ports[0]) as client:
        await client.send(request(b"x"))
        assert await client.take(1) == b""
    assert gate.connections == 4


async def test_a_kept_connection_outlives_its_daemon_between_two_requests(link: BoxLink, gate: FakeGate) -> None:
    """The request that meets a dying daemon on an old connection goes to the new one."""
    served = 0
    second = anyio.Event()

    async def once(reader: Reader, writer: Writer) -> None:
        nonlocal served
        asked = await request_to(reader)
        served += 1
        writer.write(answer(asked[-3:]))
        await writer.drain()
        await request_to(reader)
        second.set()
        await asyncio.Event().wait()

    await gate.open(once)
    async with Client(link.ports[0]) as client:
        assert await client.ask(b"one") == b"one"
        await client.send(request(b"two"))
        await second.wait()
        await gate.die()
        await gate.open(_echo)
        assert await client.take(len(answer(b"two"))) == answer(b"two")


async def test_the_rest_of_a_body_after_an_early_answer_is_not_taken_for_a_request(
    link: BoxLink, gate: FakeGate
) -> None:
    """An answer that comes before the request's end (413, say) makes it not repeatable."""

    async def refuse(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"no"))
        await writer.drain()
        await reader.readexactly(10)

    await gate.open(refuse)
    async with Client(link.ports[0]) as client:
        whole = request(b"x" * 1000)
        await client.send(whole[:-900])
        assert await client.take(len(answer(b"no"))) == answer(b"no")
        await client.send(whole[-900:])
        assert await client.take(1) == b""
    assert gate.connections == 1


async def test_a_half_closed_request_gets_its_answer(link: BoxLink, gate: FakeGate) -> None:
    """Each side's end of sending is passed on by itself."""

    async def after_end(reader: Reader, writer: Writer) -> None:
        writer.write(b"heard " + await reader.read())
        await writer.drain()

    await gate.open(after_end)
    async with Client(link.ports[0]) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        client.socket.shutdown(1)
        assert await client.take(1000) == b"heard GET / HTTP/1.0\r\n\r\n"


async def test_a_request_whose_program_hung_up_is_not_sent_to_the_next_daemon(link: BoxLink, gate: FakeGate) -> None:
    """D-23, I-1: an engine that was killed in `receive` must not take the mail of a later turn."""
    heard, told, hung_up = list[bytes](), anyio.Event(), anyio.Event()

    async def silent(reader: Reader, _: Writer) -> None:
        await request_to(reader)
        told.set()
        await reader.read()
        hung_up.set()
        await asyncio.Event().wait()

    async def next_one(reader: Reader, writer: Writer) -> None:
        heard.append(await request_to(reader))
        writer.write(answer(b"late"))
        await writer.drain()

    await gate.open(silent)
    async with Client(link.ports[0]) as client:
        await client.send(request(b"early", b"/receive"))
        await told.wait()
    await hung_up.wait()
    await gate.die()
    async with Client(link.ports[0]) as client:
        await client.send(request(b"while no daemon is there", b"/receive"))
    async with Client(link.ports[0]) as client:
        await client.send(request(b"later"))  # connected after both: if they were to come, they would come first
        await gate.open(next_one)
        assert await client.take(len(answer(b"late"))) == answer(b"late")
    assert [asked.rpartition(b"\r\n")[2] for asked in heard] == [b"later"]


async def test_the_gate_is_told_when_a_program_hangs_up(link: BoxLink, gate: FakeGate) -> None:
    """An engine that ends in mid-request must not go on costing money."""
    ended = anyio.Event()

    async def wait(reader: Reader, _: Writer) -> None:
        await request_to(reader)
        await reader.read()
        ended.set()

    await gate.open(wait)
    async with Client(link.ports[0]) as client:
        await client.send(request(b"long"))
        await eventually(lambda: gate.connections == 1)
    with anyio.fail_after(10):
        await ended.wait()


async def test_large_bodies_pass_both_ways_unchanged(link: BoxLink, gate: FakeGate) -> None:
    await gate.open(_echo)
    body, whole = bytes(range(251)) * 80_000, b""
    async with Client(link.ports[0]) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.send, request(body))
        whole = await client.take(len(answer(body)))
    assert hashlib.sha256(whole).digest() == hashlib.sha256(answer(body)).digest()


async def test_a_program_that_does_not_read_does_not_fill_the_memory(link: BoxLink, gate: FakeGate) -> None:
    """Bounded buffers: what waits, waits in the gate."""
    sent = 0

    async def pour(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await request_to(reader)
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    await gate.open(pour)
    await link.start(spec("self", "sh", "-c", "echo $PPID"))
    pid = int((await hear(link, "self")).data)
    async with Client(link.ports[0]) as client:
        await client.send(request(b"x"))
        await client.take(10)
        await eventually(lambda: sent >= 300_000)
        assert await link.ping(SOON) < 5
        assert sent < 20_000_000
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        assert int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) < 48 << 10


@pytest.mark.threat("T34")
async def test_five_hundred_slow_connections_hold_up_nobody(link: BoxLink, gate: FakeGate) -> None:
    """T15: those that say nothing and those that say one byte cost boxd little; others are served meanwhile."""
    await gate.open(_echo)
    slow: list[asyncio.StreamWriter] = []
    try:
        for n in range(500):
            _, writer = await asyncio.open_connection("127.0.0.1", link.ports[0])
            slow.append(writer)
            if n % 2:
                writer.write(b"P")
        async with Client(link.ports[0]) as client:
            assert await client.ask(b"quick") == b"quick"
        assert await link.ping(SOON) < 5
        assert gate.connections <= 251  # one that says nothing does not reach the daemon
    finally:
        for writer in slow:
            writer.close()


async def test_more_connections_than_the_bound_wait_their_turn(link: BoxLink, gate: FakeGate) -> None:
    """A connection beyond the bound is neither refused nor does it cost boxd anything until another ends."""
    await gate.open(_echo)
    held: list[asyncio.StreamWriter] = []
    for _ in range(inside.RELAYS):
        held.append((await asyncio.open_connection("127.0.0.1", link.ports[0]))[1])
    async with Client(link.ports[0]) as client:
        await client.send(request(b"late"))
        assert await link.ping(SOON) < 5
        for writer in held:
            writer.close()
        assert await client.take(len(answer(b"late"))) == answer(b"late")


async def test_without_an_egress_proxy_there_is_no_way_out_and_it_is_said(link: BoxLink) -> None:
    """D-13: a clear 403 at once, not a time-out."""
    async with Client(link.ports[1]) as client:
        await client.send(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        said = await client.take(10_000)
    assert said.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert said.endswith(b"no way out of this box yet\n")


async def test_a_tunnel_of_the_egress_proxy_carries_bytes_both_ways(link: BoxLink, tmp_path: Path) -> None:
    proxy = FakeGate(tmp_path / "run", "egress.sock")

    async def tunnel(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while data := await reader.read(1000):
            writer.write(data.upper())
        writer.write(b"end")

    await proxy.open(tunnel)
    try:
        async with Client(link.ports[1]) as client:
            await client.send(b"CONNECT example.com:443 HTTP/1.1\r\n\r\n")
            assert await client.take(19) == b"HTTP/1.1 200 OK\r\n\r\n"
            await client.send(b"hello")
            assert await client.take(5) == b"HELLO"
            client.socket.shutdown(1)
            assert await client.take(10) == b"end"
    finally:
        await proxy.die()


@pytest.mark.parametrize(
    ("sent", "between"),
    [
        (b"", True),
        (b"GET / HT", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nContent-LENGTH: 5\r\n\r\n1234", False),
        (b"POST / HTTP/1.1\r\nContent-LENGTH: 5\r\n\r\n12345", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n1GET / HTTP/1.1\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno\r\n0\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", False),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", False),
        (b"x" * 100_000, False),
    ],
)
def test_the_end_of_a_request_is_known_only_where_its_length_is_plain(sent: bytes, between: bool) -> None:
    """Whatever is in doubt counts as one unfinished request, which is never sent again after an answer began."""
    for step in (len(sent) or 1, 1):
        requests = inside.Requests()
        for at in range(0, len(sent), step):
            requests.feed(sent[at : at + step])
        assert requests.between is between


@pytest.mark.parametrize(
    ("sent", "between"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 202 Accepted\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"nonsense\r\n\r\n", False),
    ],
)
def test_the_end_of_an_answer_is_known_only_where_its_length_is_plain(sent: bytes, between: bool) -> None:
    """Whatever is in doubt counts as unfinished: its end is passed on to the program."""
    for step in (len(sent), 1):
        answers = inside.Answers()
        for at in range(0, len(sent), step):
            answers.feed(sent[at : at + step])
        assert answers.between is between


@given(st.binary(max_size=300), st.binary(max_size=300))
@settings(max_examples=100)
def test_no_bytes_break_the_search_for_ends(one: bytes, two: bytes) -> None:
    for messages in (inside.Requests(), inside.Answers()):
        for part in (b"GET / HTTP/1.1\r\n", one, b"\r\n\r\n", two, b"transfer-encoding: chunked\r\n\r\n", one):
            messages.feed(part)


async def test_a_daemon_that_hangs_up_between_requests_goes_unnoticed(link: BoxLink, gate: FakeGate) -> None:
    """A kept connection has no moment at which a request can meet an end that the daemon has just sent."""

    async def once(reader: Reader, writer: Writer) -> None:
        asked = await request_to(reader)
        writer.write(answer(asked.partition(b"\r\n\r\n")[2]))
        await writer.drain()

    await gate.open(once)
    async with Client(link.ports[0]) as client:
        for n in range(20):
            assert await client.ask(b"%02d" % n) == b"%02d" % n
        await gate.die()
        await client.send(request(b"late"))
        await gate.open(once)
        assert await client.take(len(answer(b"late"))) == answer(b"late")
    assert gate.connections == 21
