"""Message brokers that acknowledge only what is on the disk, as peers of `commit`: each started where it is installed.

Redis (`redis-server` on PATH): a stream, append-only file, `appendfsync always`. NATS (`nats-server` on PATH or beside
this Python, and the package `nats-py`): a JetStream stream, `sync_interval: always`. Both on loopback, by a client in
this process, so a figure speaks of the broker with its Python client.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

REDIS, NATS = "Redis, always", "NATS, always"
BODY = b"x" * 440
SECONDS = 20.0
_XADD = b"*5\r\n$4\r\nXADD\r\n$1\r\nm\r\n$1\r\n*\r\n$1\r\nb\r\n$%d\r\n%s\r\n" % (len(BODY), BODY)


class Broker(Protocol):
    """A broker that runs."""

    async def write(self) -> object:
        """Send one message; it is durable when this returns."""
        ...

    async def close(self) -> None: ...


def installed() -> list[str]:
    """The brokers that can be measured here."""
    found = [REDIS] if shutil.which("redis-server") else []
    return found + ([NATS] if _nats_server() and importlib.util.find_spec("nats") else [])


async def start(name: str, folder: Path, stack: ExitStack) -> Broker:
    """Start one, with its files below `folder`; `stack` ends its process."""
    folder.mkdir()
    return await (_redis if name == REDIS else _nats)(folder, stack)


class Redis:
    """A connection, its answers in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._task = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if not line.startswith(b"$"):
                raise RuntimeError(f"redis: {line.decode()}")
            await reader.readexactly(int(line[1:]) + 2)
            self._waiting.popleft().set_result(None)

    async def write(self) -> None:
        """Append to the stream."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._writer.write(_XADD)
        await future

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()


async def _redis(folder: Path, stack: ExitStack) -> Broker:
    path = folder / "s"
    argv = ["redis-server", "--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", ""]
    _started([*argv, "--appendonly", "yes", "--appendfsync", "always"], stack)
    end = time.monotonic() + SECONDS
    while not path.exists():
        if time.monotonic() > end:
            raise RuntimeError("redis-server does not start")
        await asyncio.sleep(0.01)
    return Redis(*await asyncio.open_unix_connection(str(path)))


class Nats:
    """A JetStream context."""

    def __init__(self, client: Any) -> None:
        self._client, self._stream = client, client.jetstream()

    async def write(self) -> object:
        """Publish, acknowledged."""
        return await self._stream.publish("m", BODY)

    async def close(self) -> None:
        await self._client.close()


def _nats_server() -> str | None:
    return shutil.which("nats-server") or shutil.which("nats-server", path=str(Path(sys.executable).parent))


async def _nats(folder: Path, stack: ExitStack) -> Broker:
    nats: Any = importlib.import_module("nats")  # only where it is installed
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = folder / "nats.conf"
    config.write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}", sync_interval: always }}\n')
    program = _nats_server()
    assert program is not None
    _started([program, "-c", str(config)], stack)
    end = time.monotonic() + SECONDS
    while True:
        try:
            client: Any = await nats.connect(f"nats://127.0.0.1:{port}")
            break
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.05)
    await client.jetstream().add_stream(name="m", subjects=["m"])
    return Nats(client)


def _started(argv: list[str], stack: ExitStack) -> None:
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)
