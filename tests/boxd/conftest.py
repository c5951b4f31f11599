"""The real boxd outside a box, and stand-ins for either end of its sockets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from melipona.boxes.link import Exit, Gap, Output, ProgramSpec
from melipona.boxes.link_unix import BoxLink
from melipona.boxes.sockets import dial_unix, listen_unix
from melipona.clock import SystemClock
from melipona.ids import ProgramId
from melipona.testing.boxd_outside import BoxdProcess, boxd_outside

ENV = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}
SOON = timedelta(seconds=20)


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[BoxLink]:
    async with boxd_outside(tmp_path) as connected:
        yield connected


@pytest.fixture
def boxd(tmp_path: Path) -> Iterator[BoxdProcess]:
    """A boxd that is started by the test, when its daemon is to be another than one link."""
    process = BoxdProcess(tmp_path)
    process.sockets.mkdir()
    yield process
    process.kill()


class Daemons:
    """Daemons of one box, one after the other, each dying without a word."""

    def __init__(self, boxd: BoxdProcess) -> None:
        self.boxd = boxd

    def link(self) -> BoxLink:
        return BoxLink(self.boxd.sockets, self.boxd.is_init, clock=SystemClock(), deadline=SOON)


@pytest.fixture
def daemons(boxd: BoxdProcess) -> Daemons:
    return Daemons(boxd)


def spec(name: str, *argv: str, terminal: tuple[int, int] | None = None, lossless: bool = True) -> ProgramSpec:
    return ProgramSpec(ProgramId(name), argv, ENV, cwd="/", terminal=terminal, lossless=lossless)


def shell(name: str, script: str, *, terminal: tuple[int, int] | None = None, lossless: bool = True) -> ProgramSpec:
    return spec(name, "/bin/sh", "-c", script, terminal=terminal, lossless=lossless)


class Heard:
    """All that a program said."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.gaps: list[int] = []
        self.exit: Exit | None = None

    @property
    def code(self) -> int:
        assert self.exit is not None
        return self.exit.code


async def hear(
    link: BoxLink, program: str, at: int = 0, *, acknowledge: bool = True, until: bytes | None = None
) -> Heard:
    """Follow a program to its end, or until it has said `until`."""
    heard = Heard()
    with anyio.fail_after(60):
        following = link.follow(ProgramId(program), at)
        async for item in following:
            if isinstance(item, Output):
                heard.data += item.data
                if acknowledge:
                    await link.acknowledge(ProgramId(program), item.offset + len(item.data))
            elif isinstance(item, Gap):
                heard.gaps.append(item.offset)
            else:
                heard.exit = item
            if until is not None and until in heard.data:
                break
        await following.aclose()
    return heard


async def eventually(true: Callable[[], bool], within: float = 20) -> None:
    """Wait until something of another process holds."""
    with anyio.fail_after(within):
        while not true():
            await anyio.sleep(0.01)


class FakeBoxd:
    """A box's end of the control socket that says what it likes. The link must take this process for the init."""

    opened: ClassVar[list[socket.socket]] = []

    def __init__(self, sockets: Path) -> None:
        self.socket = dial_unix(sockets, "ctl.sock")
        self.opened.append(self.socket)
        self.socket.setblocking(False)

    async def say(self, head: Any, blob: bytes = b"") -> None:
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        await self.raw(len(text).to_bytes(4, "big") + len(blob).to_bytes(4, "big") + text + blob)

    async def raw(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def hello(self, protocol: int = 1, **more: Any) -> None:
        await self.say({"ev": "hello", "protocol": protocol, "boxd": "x", "box": "outside", "programs": [], **more})

    async def asked(self, operation: str) -> dict[str, Any]:
        """The next frame of the daemon with this operation."""
        while True:
            head = int.from_bytes(await self._exactly(4), "big")
            blob = int.from_bytes(await self._exactly(4), "big")
            said = json.loads(await self._exactly(head))
            await self._exactly(blob)
            if said["op"] == operation:
                return said

    async def hung_up(self) -> None:
        """Wait until the daemon has closed this connection."""
        with anyio.fail_after(20):
            try:
                while await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16):
                    pass
            except ConnectionError:
                pass

    async def _exactly(self, count: int) -> bytes:
        data = b""
        with anyio.fail_after(20):
            while len(data) < count:
                more = await asyncio.get_running_loop().sock_recv(self.socket, count - len(data))
                if not more:
                    raise EOFError
                data += more
        return data


@pytest.fixture(autouse=True)
def _close_fakes() -> Iterator[None]:
    yield
    while FakeBoxd.opened:
        FakeBoxd.opened.pop().close()


@pytest.fixture
async def own_link(tmp_path: Path) -> AsyncIterator[BoxLink]:
    """A link that takes this very process for the box's init."""
    link = BoxLink(tmp_path, lambda pid: pid == os.getpid(), clock=SystemClock(), deadline=timedelta(seconds=0.5))
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        yield link
        await link.aclose()


class FakeGate:
    """A server at a socket of the box's folder; `serve` handles each connection."""

    def __init__(self, folder: Path, name: str = "gate.sock", *, mode: int = 0o600, gid: int | None = None) -> None:
        self.folder, self.name, self.mode, self.gid = folder, name, mode, gid
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> None:
        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                self._tasks.discard(task)
                writer.close()

        listener = listen_unix(self.folder, self.name, mode=self.mode, gid=self.gid)
        self._server = await asyncio.start_unix_server(one, sock=listener)

    async def die(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[FakeGate]:
    (tmp_path / "run").mkdir(exist_ok=True)
    server = FakeGate(tmp_path / "run")
    yield server
    await server.die()


async def request_to(reader: asyncio.StreamReader) -> bytes:
    """One request with a Content-Length, as it came."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head + await reader.readexactly(length)


def answer(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


def request(text: bytes = b"", path: bytes = b"/") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path, len(text), text)


class Client:
    """A program of the box that connects to a loopback port."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Client:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        await asyncio.get_running_loop().sock_connect(self.socket, ("127.0.0.1", self._port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def take(self, count: int) -> bytes:
        """`count` bytes, or fewer when the other side ends before."""
        data = b""
        with anyio.fail_after(30):
            while len(data) < count:
                more = await asyncio.get_running_loop().sock_recv(self.socket, min(1 << 20, count - len(data)))
                if not more:
                    break
                data += more
        return data

    async def ask(self, text: bytes, path: bytes = b"/") -> bytes:
        """Send a request; the text of the answer of `answer()`, whose length is known to be the same."""
        await self.send(request(text, path))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            one = await self.take(1)
            if not one:
                return head
            head += one
        return await self.take(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
