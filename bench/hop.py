"""From an agent's call of `send` to the line in the other agent's box: HTTP over the gate, durable, leased, prompted.

Both boxes are this process (`socket_box`), so both ends are on one clock. The receiver's engine is kept and idle. The
floor is a server on the same loop and the same sockets that makes one page durable and passes a line on. A second one
(`hop_steps`) does by hand what no hop can be without: parsing, one transaction of the same statements, a thread for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import FREE, ROOT, Hive, cpu_seconds, running
from bench.rounds import Contender, Run
from bench.socket_box import SocketBox, box_folders, request
from melipona.daemon_process import loop_factory

FLOOR, STEPS = "socket + fdatasync", "obligatory steps"
FIGURES = (
    Figure("box_has_line_p50", "us", FLOOR),
    Figure("box_has_line_p99", "us", FLOOR),
    Figure("answered_p50", "us", FLOOR),
    Figure("cpu", "us", FLOOR),
    Figure("over_steps_p50", "us", STEPS),
)
CONFIG = FREE.replace("[mail]", "[turns]\ncap = 4\n[mail]")
BODY = json.dumps({"to": "ben", "body": "x" * 440}).encode()
SEND = b"POST /api/tools/send HTTP/1.1\r\ncontent-type: application/json\r\nidempotency-key: %s"
PAGE = os.urandom(4096)


class Hops:
    """Two agents of a hive: ana, in a turn that goes on and on, and ben, whose turns end at once."""

    def __init__(self, hive: Hive) -> None:
        self.hive = hive
        self.ana = self._box("ana")
        self.ben = self._box("ben")
        self.end_turn()

    def _box(self, name: str) -> SocketBox:
        self.hive.agent(name)
        before = box_folders(self.hive.data)
        self.hive.send(name, "begin")
        self.hive.wait(lambda: box_folders(self.hive.data) > before, f"the box of {name}")
        [folder] = box_folders(self.hive.data) - before
        box = SocketBox(folder)
        box.until_prompt(1)
        return box

    def end_turn(self) -> None:
        """Ben's engine is done; go on once that is written."""
        self.ben.end_turn()
        self.hive.wait(self._idle, "the end of ben's turn")

    def _idle(self) -> bool:
        while select.select([self.ben], [], [], 0)[0]:
            self.ben.hear()
        return not self.hive.rows("SELECT 1 FROM turns WHERE agent = 'ben' AND state <> 'ended'")

    def once(self) -> tuple[float, float]:
        """One hop: seconds until ana was answered, and until ben's box had the line."""
        want = self.ben.prompts + 1
        began = time.perf_counter()
        request(self.ana.gate, SEND % secrets.token_hex(8).encode(), BODY)
        answered, data = 0.0, b""
        while not answered or self.ben.prompts < want:
            for ready in select.select([self.ana.gate, self.ben], [], [], 20)[0]:
                if ready is self.ben:
                    self.ben.hear()
                else:
                    data += self.ana.gate.recv(65536)
                    answered = time.perf_counter() if data.endswith(b"}") else 0.0
        if b" 200 " not in data[:20]:
            raise RuntimeError(f"send was refused: {data.decode()}")
        self.end_turn()
        return answered - began, self.ben.prompted_at - began

    def measure(self, count: int) -> Values:
        """A round."""
        before = cpu_seconds(self.hive.pid)
        values = _summary([self.once() for _ in range(count)])
        return values | {"cpu": (cpu_seconds(self.hive.pid) - before) / count * 1e6}

    def close(self) -> None:
        self.ana.close()
        self.ben.close()


def _summary(taken: list[tuple[float, float]]) -> dict[str, float]:
    has_line = [line for _, line in taken]
    return {
        "answered_p50": percentile([answered for answered, _ in taken], 50) * 1e6,
        "box_has_line_p50": percentile(has_line, 50) * 1e6,
        "over_steps_p50": percentile(has_line, 50) * 1e6,
        "box_has_line_p99": percentile(has_line, 99) * 1e6,
    }


class FloorServer(asyncio.Protocol):
    """Takes a request whole, makes a page durable, passes a line on, answers."""

    def __init__(self, fd: int, other: asyncio.WriteTransport) -> None:
        self._fd, self._other, self._data = fd, other, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._data.endswith(b"}"):
            self._data = b""
            os.pwrite(self._fd, PAGE, 0)
            os.fdatasync(self._fd)
            self._other.write(b'{"id":1}\n')
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


def page_server(folder: Path, other: asyncio.WriteTransport) -> FloorServer:
    """The floor's server, with a page of its own."""
    fd = os.open(folder / "page", os.O_CREAT | os.O_RDWR, 0o600)
    os.pwrite(fd, PAGE, 0)
    os.fsync(fd)
    return FloorServer(fd, other)


async def serve(folder: Path, make: Callable[[Path, asyncio.WriteTransport], asyncio.Protocol]) -> None:
    """A floor's process: dials `box`, then serves `gate`."""
    loop = asyncio.get_running_loop()
    other, _ = await loop.create_unix_connection(asyncio.Protocol, str(folder / "box"))
    server = await loop.create_unix_server(lambda: make(folder, other), str(folder / "gate.new"))
    (folder / "gate.new").rename(folder / "gate")
    await server.serve_forever()


class Floor:
    """A floor's process, the module `program`, and both its sockets."""

    def __init__(self, folder: Path, stack: ExitStack, program: str = "bench.hop") -> None:
        folder.mkdir()
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "box"))
        listener.listen()
        argv = [sys.executable, "-m", program, str(folder)]
        self._process = subprocess.Popen(argv, cwd=ROOT)
        stack.callback(self._process.wait)
        stack.callback(self._process.kill)
        self._box = stack.enter_context(listener.accept()[0])
        while not (folder / "gate").exists():
            time.sleep(0.002)
        self._gate = stack.enter_context(socket.socket(socket.AF_UNIX))
        self._gate.connect(str(folder / "gate"))

    def once(self) -> tuple[float, float]:
        """As `Hops.once`."""
        began, answered, line = time.perf_counter(), 0.0, 0.0
        request(self._gate, SEND % secrets.token_hex(8).encode(), BODY)
        while not answered or not line:
            for ready in select.select([self._gate, self._box], [], [], 20)[0]:
                data = ready.recv(65536)
                if ready is self._box:
                    line = time.perf_counter()
                elif data.endswith(b"}"):
                    answered = time.perf_counter()
        return answered - began, line - began

    def measure(self, count: int) -> Values:
        """A round."""
        before = cpu_seconds(self._process.pid)
        values = _summary([self.once() for _ in range(count)])
        return values | {"cpu": max(cpu_seconds(self._process.pid) - before, 0.01) / count * 1e6}


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """A hive whose boxes are sockets, and the floor's server."""
    count = run.size(300, 80, 4)
    with ExitStack() as stack:
        hive = stack.enter_context(running(run.folder / "hive", config=CONFIG, program=("-m", "bench.socket_box")))
        hops = Hops(hive)
        stack.callback(hops.close)
        floor, steps = Floor(run.folder / "floor", stack), Floor(run.folder / "steps", stack, "bench.hop_steps")
        for _ in range(run.size(100, 40, 1)):
            hops.once()
            floor.once()
            steps.once()
        yield {
            FLOOR: lambda: floor.measure(count * 3),
            STEPS: lambda: steps.measure(count * 2),
            OURS: lambda: hops.measure(count),
        }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(Path(sys.argv[1]), page_server))
