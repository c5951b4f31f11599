"""Events to followers: one event and a burst of a hundred, until the last of 1, 100 and 500 clients has it all.

The clock starts at the request that causes the events, so a commit is part of it. The floor takes the same request,
commits nothing and writes the same bytes once to each socket. All clients are this process.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import ROOT, Hive, memory_mib, running
from bench.peers import SSE_STARLETTE, has_sse_starlette
from bench.rounds import Contender, Run
from bench.scale import Connection
from melipona.daemon_process import loop_factory
from melipona.testing.filled_store import fill

FLOOR = "one write per socket"
CLIENTS = (1, 100, 500)
BURST = 100
QUICK_ROUNDS = 2
FIGURES = (
    *(Figure(f"one_{clients}_last", "ms", FLOOR, peers=(SSE_STARLETTE,)) for clients in CLIENTS),
    Figure("one_500_p99", "ms", FLOOR, peers=(SSE_STARLETTE,)),
    Figure("burst_500_last", "ms", FLOOR, peers=(SSE_STARLETTE,)),
    Figure("burst_per_10_events", "x one event"),
    Figure("client", "KiB", FLOOR),
)
PEER = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n"
REQUEST = b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n"
EVENT = b"id: 0193c0de-0000-7000-8000-000000000000-%d\ndata: " + b"x" * 300 + b"\n\n"
MARK = b"\ndata: "
PATIENCE = 30.0


class Followers:
    """Clients of one stream, all read by one epoll."""

    def __init__(self, connect: Callable[[], socket.socket], mark: bytes) -> None:
        self._connect, self._mark = connect, mark
        self._sockets: dict[int, socket.socket] = {}
        self._poll = select.epoll()

    def grow(self, count: int) -> None:
        """Connect until there are so many, and read what each is greeted with."""
        while len(self._sockets) < count:
            sock = self._connect()
            data = b""
            while b"\n\n" not in data.partition(b"\r\n\r\n")[2]:
                data += sock.recv(65536)
            sock.setblocking(False)
            self._sockets[sock.fileno()] = sock
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def drain(self) -> None:
        """Read what is left, such as beats."""
        while ready := self._poll.poll(0.05):
            for fd, _ in ready:
                self._sockets[fd].recv(1 << 20)

    def hear(self, events: int, began: float) -> list[float]:
        """Seconds since `began` until each client had so many events, in order."""
        left = dict.fromkeys(self._sockets, events)
        taken: list[float] = []
        while left:
            ready = self._poll.poll(PATIENCE)
            if not ready:
                raise TimeoutError(f"{len(left)} clients wait for events")
            for fd, _ in ready:
                data = self._sockets[fd].recv(1 << 20)
                if not data:
                    raise EOFError("a stream ended")
                if fd in left:
                    left[fd] -= data.count(self._mark)
                    if left[fd] <= 0:
                        del left[fd]
                        taken.append(time.perf_counter() - began)
        return taken

    def close(self) -> None:
        """Hang up."""
        self._poll.close()
        for sock in self._sockets.values():
            sock.close()


def _round(
    connect: Callable[[], socket.socket], cause: Callable[[int], None], pid: int, clients: Sequence[int]
) -> Values:
    """One round against one server; `cause` makes it send so many events."""
    followers, values = Followers(connect, MARK), dict[str, float]()
    try:
        followers.grow(1)
        before = memory_mib(pid)
        for count in clients:
            followers.grow(count)
            if count == clients[-1]:
                values["client"] = max(0.0, memory_mib(pid) - before) * 1024 / count
            one = _heard(followers, cause, 1)
            values[f"one_{count}_last"] = one[-1] * 1000
        one = [_heard(followers, cause, 1) for _ in range(3)]
        values["one_500_p99"] = percentile([percentile(taken, 99) for taken in one], 50) * 1000
        burst = _heard(followers, cause, BURST)[-1] * 1000
        values["burst_500_last"] = burst
        last = percentile([taken[-1] for taken in one], 50) * 1000
        values["burst_per_10_events"] = burst / last / (BURST / 10)
    finally:
        followers.close()
    return values


def _heard(followers: Followers, cause: Callable[[int], None], events: int) -> list[float]:
    followers.drain()
    began = time.perf_counter()
    cause(events)
    return followers.hear(events, began)


def _dial(path: Path, request: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    sock.sendall(request)
    return sock


class FloorServer(asyncio.Protocol):
    """A connection that says GET follows; one that says a number makes so many events."""

    followers: set[Any] = set()  # noqa: RUF012

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET"):
            self.followers.add(self._transport)
            self._transport.write(b"HTTP/1.1 200 OK\r\n\r\n:\n\n")
            return
        joined = b"".join(EVENT % number for number in range(int(data)))
        for follower in self.followers:
            follower.write(joined)

    def connection_lost(self, exc: Exception | None) -> None:
        self.followers.discard(self._transport)


async def serve_floor(path: Path) -> None:
    """The floor's process."""
    server = await asyncio.get_running_loop().create_unix_server(FloorServer, f"{path}.new")
    Path(f"{path}.new").rename(path)
    await server.serve_forever()


def _start_floor(path: Path, stack: ExitStack) -> tuple[int, Callable[[int], None]]:
    process = subprocess.Popen([sys.executable, "-m", "bench.sse", str(path)], cwd=ROOT)
    stack.callback(process.wait)
    stack.callback(process.kill)
    while not path.exists():
        time.sleep(0.002)
    asks = stack.enter_context(socket.socket(socket.AF_UNIX))
    asks.connect(str(path))
    return process.pid, lambda events: asks.sendall(b"%d" % events)


def _start_peer(path: Path, stack: ExitStack) -> tuple[int, Callable[[int], None]]:
    process = subprocess.Popen([sys.executable, "-m", "bench.peers", str(path)], cwd=ROOT)
    stack.callback(process.wait)
    stack.callback(process.kill)
    while not path.exists():
        time.sleep(0.01)
    asks = stack.enter_context(socket.socket(socket.AF_UNIX))
    time.sleep(0.2)  # it binds before it listens
    asks.connect(str(path))

    def cause(events: int) -> None:
        asks.sendall(b"POST /emit/%d HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n" % events)
        asks.recv(65536)

    return process.pid, cause


def _causes(hive: Hive, stack: ExitStack) -> Callable[[int], None]:
    """How the hive is made to have events: a message to one agent that is stopped, or a broadcast to a hundred."""
    connection = stack.enter_context(closing(Connection(hive.data)))

    def cause(events: int) -> None:
        to = "agent-00001" if events == 1 else "*"
        key = {"idempotency-key": os.urandom(8).hex()}
        connection.ask("POST", "/messages", {"to": to, "body": "x" * 200}, key)

    return cause


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """A hive of a hundred stopped agents, and the floor's server."""
    clients = (1, 100, 500) if not run.tiny else (1, 2, 3)
    data = run.folder / "hive"
    data.mkdir(mode=0o700)
    fill(data / "mel.db", agents=BURST, messages=0, wish="stopped")
    with ExitStack() as stack:
        path = run.folder / "floor"
        pid, cause_floor = _start_floor(path, stack)
        hive = stack.enter_context(running(data))
        cause, sock = _causes(hive, stack), data / "run" / "mel.sock"

        def named(values: Values) -> Values:
            """Tiny runs keep the names of full ones."""
            names = dict(
                zip((f"one_{count}_last" for count in clients), (f"one_{c}_last" for c in CLIENTS), strict=True)
            )
            return {names.get(name, name): value for name, value in values.items()}

        ours = _round(lambda: _dial(sock, REQUEST), cause, hive.pid, clients[:2])  # code and buffers are warm
        del ours
        peers: dict[str, Contender] = {}
        if run.peers and has_sse_starlette():
            there = run.folder / "peer"
            other, cause_other = _start_peer(there, stack)
            peers[SSE_STARLETTE] = lambda: named(_round(lambda: _dial(there, PEER), cause_other, other, clients))
        yield {
            **peers,
            FLOOR: lambda: named(_round(lambda: _dial(path, REQUEST), cause_floor, pid, clients)),
            OURS: lambda: named(_round(lambda: _dial(sock, REQUEST), cause, hive.pid, clients)),
        }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve_floor(Path(sys.argv[1])))
