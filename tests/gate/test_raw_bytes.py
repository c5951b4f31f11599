"""Requests as bytes: smuggling and odd forms are refused, and never reach a tool or the upstream (T15, line 16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from .hive import Hive, open_hive

pytestmark = pytest.mark.anyio

TOOL = b"POST /api/tools/note HTTP/1.1\r\n"
HOST = b"Host: 127.0.0.1:4141\r\n"
BODY = b'{"body":"smuggled"}'
LENGTH = b"Content-Length: 19\r\n"

REFUSED = {
    "length and chunked": TOOL + HOST + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": TOOL + HOST + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + BODY,
    "two lengths": TOOL + HOST + b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + BODY,
    "two equal lengths": TOOL + HOST + LENGTH + LENGTH + b"\r\n" + BODY,
    "a length with a sign": TOOL + HOST + b"Content-Length: +19\r\n\r\n" + BODY,
    "a list of lengths": TOOL + HOST + b"Content-Length: 19, 19\r\n\r\n" + BODY,
    "chunked not last": TOOL + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": TOOL + HOST + b"Content-Length : 19\r\n\r\n" + BODY,
    "a folded header": TOOL + HOST + b"X-A: 1\r\n Content-Length: 19\r\n\r\n",
    "a folded first header": TOOL + b" Host: 127.0.0.1\r\n" + LENGTH + b"\r\n" + BODY,
    "an absolute address": b"POST http://evil.example/api/tools/note HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    "an escaped slash": b"POST /api/tools%2fnote HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    "an escaped letter": b"POST /api/tools/%6eote HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    "two slashes": b"POST //api/tools/note HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    "two slashes inside": b"POST /api//tools/note HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    "a way up": b"POST /model/../api/tools/note HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    "a trailing slash": b"POST /api/tools/note/ HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    "a host with a path": TOOL + b"Host: 127.0.0.1/admin?\r\n" + LENGTH + b"\r\n" + BODY,
    "a foreign host": TOOL + b"Host: evil.example\r\n" + LENGTH + b"\r\n" + BODY,
    "two hosts": TOOL + HOST + HOST + LENGTH + b"\r\n" + BODY,
    "no host": TOOL + LENGTH + b"\r\n" + BODY,
    "a null in a header": TOOL + HOST + b"X-A: a\0b\r\n" + LENGTH + b"\r\n" + BODY,
    "a bare line feed": TOOL + HOST + b"X-A: a\nContent-Length: 19\r\n\r\n" + BODY,
    "a bare carriage return": TOOL + HOST + b"X-A: a\rb\r\n" + LENGTH + b"\r\n" + BODY,
    "an upgrade": TOOL + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n" + LENGTH + b"\r\n" + BODY,
    "an upgrade to h2c": TOOL + HOST + b"Connection: upgrade\r\nUpgrade: h2c\r\n" + LENGTH + b"\r\n" + BODY,
    "connect": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + HOST + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "trace": b"TRACE /api/tools HTTP/1.1\r\n" + HOST + b"\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "an unknown method": b"EVIL /api/tools HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"POST /api/tools/note\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    "a tool's path by get": b"GET /api/tools/note HTTP/1.1\r\n" + HOST + b"\r\n",
    "a chunk size that overflows": TOOL
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"
    + BODY
    + b"\r\n0\r\n\r\n",
}


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Hive]:
    """A hive that waits for nobody."""
    async with open_hive(tmp_path, settings={"gate": {"header_seconds": 0.3, "idle_seconds": 0.3}}) as hive:
        yield hive


async def raw(path: Path, data: bytes) -> bytes:
    """Everything that comes back until the gate closes, which it does soon (see `hive`)."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("name", list(REFUSED))
@pytest.mark.threat("T15", "T19")
async def test_odd_bytes_are_refused_and_do_nothing(hive: Hive, name: str) -> None:
    """T15, T19: each is a 4xx or a closed connection; no tool runs, nothing goes to the upstream."""
    path = await hive.box("ana")
    answer = await raw(path, REFUSED[name])
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 405")), answer
    assert b"HTTP/1.1 200" not in answer
    assert await hive.events("test.effect") == []
    assert hive.stub.requests == []


async def test_what_follows_a_refused_request_is_not_taken_for_another(hive: Hive) -> None:
    """T15: the connection ends with the refusal, so hidden requests behind it are never looked at."""
    hidden = TOOL + HOST + LENGTH + b"\r\n" + BODY
    path = await hive.box("ana")
    for outer in (
        TOOL + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
        b"POST /nowhere HTTP/1.1\r\nHost: evil\r\nContent-Length: 200\r\n\r\n" + hidden,
        TOOL + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + hidden,
    ):
        assert (await raw(path, outer)).count(b"HTTP/1.1 ") <= 1
    assert await hive.events("test.effect") == []


async def test_an_honest_request_passes(hive: Hive) -> None:
    """The table above refuses for the form, not for the rest of the request."""
    path = await hive.box("ana")
    answer = await raw(path, TOOL + HOST + LENGTH + b"Connection: close\r\n\r\n" + BODY)
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(await hive.events("test.effect")) == 1


@pytest.mark.parametrize(
    "data",
    [
        TOOL + HOST + b"X-Long: " + b"a" * 400_000,
        TOOL + HOST + b"".join(b"X-%d: a\r\n" % n for n in range(60_000)),
        b"POST /" + b"a" * 400_000,
        TOOL + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 400_000,
        TOOL + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: " + b"x" * 400_000,
    ],
    ids=["a header", "many headers", "a path", "a chunk's extension", "a trailer"],
)
async def test_endless_framing_is_cut_off(hive: Hive, data: bytes) -> None:
    """T34: headers, paths, chunk extensions and trailers without end do not pile up."""
    path = await hive.box("ana")
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(data)
        got = await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        got = b""
    assert b"HTTP/1.1 200" not in got
    writer.close()
    assert await hive.events("test.effect") == []
