"""One box cannot use up the daemon: connections, bytes, time and memory are capped per agent (T34, line 15)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from .hive import Hive, message, open_hive, steps
from .test_key_safety import STOP, upstream_of

pytestmark = pytest.mark.anyio
HURRY: dict[str, Any] = {"gate": {"header_seconds": 0.3, "idle_seconds": 0.5}}
URL = "/model/anthropic/v1/messages"


@pytest.fixture
async def hurried(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Hive]:
    """A hive whose time limits are short."""
    async with open_hive(tmp_path, settings=HURRY) as hive:
        yield hive


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_five_hundred_connections_leave_other_agents_and_the_daemon_alone(hive: Hive) -> None:
    """T34: 16 are served, the rest is told so at once; another agent does not notice."""
    path = await hive.box("ana")
    before = fds()
    sockets: list[socket.socket] = []
    async with hive.client("ben") as other:
        for _ in range(500):
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(str(path))
            with contextlib.suppress(OSError):
                one.send(b"G")
            sockets.append(one)
            await asyncio.sleep(0)
        assert (await other.post("/api/tools/note", json={"body": "x"})).status_code == 200
    assert len(hive.listeners["ana"].state.connections) <= 16
    assert fds() - before - len(sockets) < 30
    for one in sockets:
        one.close()
    async with hive.client("ana") as box, asyncio.timeout(10):
        while (await box.get("/api/tools")).status_code != 200:
            await asyncio.sleep(0.01)


async def test_the_connection_too_many_is_told_so(hive: Hive) -> None:
    """Line 15: a clear 429, not a silent drop."""
    path = await hive.box("ana")
    held = [await asyncio.open_unix_connection(str(path)) for _ in range(16)]
    async with asyncio.timeout(5):
        while len(hive.listeners["ana"].state.connections) < 16:
            await asyncio.sleep(0)
    reader, writer = await asyncio.open_unix_connection(str(path))
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 429")
    for _, one in [*held, (reader, writer)]:
        one.close()


@pytest.mark.parametrize(
    "begin",
    [b"", b"POST /api/to", b"POST /api/tools/note HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "],
    ids=["silence", "half a line", "half a header"],
)
async def test_a_head_that_does_not_come_ends_the_connection(hurried: Hive, begin: bytes) -> None:
    """T34: also one that comes byte by byte."""
    path = await hurried.box("ana")
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(begin)
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            while not reader.at_eof():
                if begin:
                    writer.write(b"a")
                    await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(10), 0.05)
    assert not hurried.listeners["ana"].state.connections
    writer.close()


async def test_a_body_that_does_not_come_ends_the_connection(hurried: Hive) -> None:
    """T34: the whole body must be there in time."""
    path = await hurried.box("ana")
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"POST /api/tools/note HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n{")
    assert b"200" not in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_a_kept_connection_that_says_nothing_ends(hurried: Hive) -> None:
    """T34: keep-alive has an end."""
    path = await hurried.box("ana")
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"GET /api/tools HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(("path", "limit"), [("/api/tools/note", 2 << 20), ("/mcp", 2 << 20), (URL, 32 << 20)])
async def test_a_body_over_the_cap_is_refused_before_it_is_read(hive: Hive, path: str, limit: int) -> None:
    """Line 15: 413 and the end of the connection; said up front or found on the way."""
    box = await hive.box("ana")
    reader, writer = await asyncio.open_unix_connection(str(box))
    writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {limit + 1}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer
    writer.close()


async def test_a_chunked_body_over_the_cap_is_cut_off(tmp_path: Path) -> None:
    """Line 15: a body without a length is counted."""
    async with open_hive(tmp_path, settings={"gate": {"tool_body_bytes": 2000}}) as hive:
        box = await hive.box("ana")
        reader, writer = await asyncio.open_unix_connection(str(box))
        head = b"POST /api/tools/note HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"".join(b"3e8\r\n" + b"a" * 1000 + b"\r\n" for _ in range(3)))
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 413")
        writer.close()


async def test_a_box_that_does_not_read_holds_little_memory(tmp_path: Path) -> None:
    """T34: back-pressure reaches the upstream: what is not read is not fetched."""
    sent = 0
    piece = b'data: {"type":"ping"}\n\n' * 2000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with open_hive(tmp_path, base_url=url) as hive, hive.client("ana") as box:
        async with box.stream("POST", URL, json=message(stream=True)) as answer:
            assert answer.status_code == 200
            last = -1
            while sent != last:  # until nothing moves any more
                last = sent
                await asyncio.sleep(0.3)
            assert 0 < sent < 20 << 20
        async with asyncio.timeout(10):
            while (await hive.spends())[0]["state"] == "reserved":
                await asyncio.sleep(0.005)
    server.close()


async def test_a_stream_passes_piece_by_piece(hive: Hive) -> None:
    """HN-2: what the model says is not held back until it has ended."""
    async with hive.client("ana") as box:
        request = message(stream=True, text=steps({"slow": 20, "text": "x"}))
        async with box.stream("POST", URL, json=request) as answer:
            got = b""
            async for data in answer.aiter_bytes():
                got += data
                if got.count(b"tick") >= 2:
                    break
    assert b"message_stop" not in got


async def test_what_a_stream_says_without_end_of_line_is_passed_on(tmp_path: Path) -> None:
    """T34: a line without end is not kept."""
    endless = upstream_of([b"data: " + b"x" * (1 << 20), b"\n\n", STOP])
    async with endless as url, open_hive(tmp_path, base_url=url) as hive, hive.client("ana") as box:
        answer = await box.post(URL, json=message(stream=True))
    assert len(answer.content) > 1 << 20


async def test_a_head_request_and_a_probe_of_the_engine_are_answered_here(hive: Hive) -> None:
    """D-28: cheap local answers; nothing goes upstream."""
    async with hive.client("ana") as box:
        for method in ("HEAD", "GET"):
            answer: httpx2.Response = await box.request(method, "/model/anthropic")
            assert answer.status_code == 200
    assert hive.stub.requests == []
