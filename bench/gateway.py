"""A model's stream through boxd's relay and the gate beside the same stream straight from the upstream.

The upstream stamps each chunk with the machine's monotonic clock, so that the reader knows how old it is: paced, to see
what is added to each chunk, and as fast as it goes, to see what passes. The client uses boxd's port as an engine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import FREE, ROOT, cpu_seconds, running
from bench.rounds import Contender, Run
from bench.socket_box import SocketBox, box_folders
from melipona.daemon_process import loop_factory
from melipona.testing.boxd_outside import BoxdProcess

DIRECT = "direct"
QUICK_ROUNDS = 2
FIGURES = (
    Figure("chunk_p50", "ms", DIRECT),
    Figure("chunk_p99", "ms", DIRECT),
    Figure("first_byte", "ms", DIRECT),
    Figure("throughput", "MB/s", DIRECT),
    Figure("cpu_per_mb", "ms"),
)
KEY = "sk-ant-bench"
PACE = 0.0005
STAMP = b'"stamp": '
PIECE = 4096
MODEL = "claude-haiku-4-5"
USAGE = {"input_tokens": 10, "output_tokens": 1}
MESSAGE: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [],
    "usage": USAGE,
}
START: dict[str, Any] = {"type": "message_start", "message": MESSAGE}
END: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 10}}


def _event(data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (str(data["type"]).encode(), json.dumps(data).encode())


def _delta(text: str) -> bytes:
    """A piece of text with the moment of its sending."""
    delta = {"type": "text_delta", "text": text}
    data = {"type": "content_block_delta", "index": 0, "delta": delta, "stamp": time.monotonic_ns()}
    return _event(data)


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests of `max_tokens` pieces: few are paced, many go as fast as they are taken."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            request = json.loads(await reader.readexactly(length))
            pieces, paced = request["max_tokens"], request["messages"][0]["content"] == "paced"
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            _chunk(writer, _event(START))
            began = time.monotonic()
            for number in range(pieces):
                if paced:
                    await asyncio.sleep(max(0.0, began + number * PACE - time.monotonic()))
                _chunk(writer, _delta("word " if paced else "x" * PIECE))
                await writer.drain()
            _chunk(writer, _event(END) + _event({"type": "message_stop"}))
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    writer.close()


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


async def serve_upstream(path: Path) -> None:
    """The upstream's process; its port goes into the file."""
    server = await asyncio.start_server(_upstream, "127.0.0.1", 0)
    path.with_suffix(".new").write_text(str(server.sockets[0].getsockname()[1]))
    path.with_suffix(".new").rename(path)
    await server.serve_forever()


def stream(port: int, path: str, pieces: int, kind: str) -> tuple[list[float], float, float, int]:
    """Ask for a stream: milliseconds that each chunk was under way, until the first byte, seconds of all, bytes.

    Raises:
        RuntimeError: it was refused.
    """
    body = {"model": MODEL, "max_tokens": pieces, "stream": True, "messages": [{"role": "user", "content": kind}]}
    text = json.dumps(body).encode()
    head = (
        f"POST {path}/v1/messages HTTP/1.1\r\nhost: 127.0.0.1:4141\r\ncontent-type: application/json\r\n"
        f"anthropic-version: 2023-06-01\r\nx-api-key: none\r\ncontent-length: {len(text)}\r\n\r\n"
    )
    ages, first, size = list[float](), 0.0, 0
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(30)
        began = time.perf_counter()
        sock.sendall(head.encode() + text)
        rest = b""
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            data = sock.recv(1 << 18)
            at = time.monotonic_ns()
            if not data:
                raise RuntimeError(f"the stream broke: {rest[-500:]!r}")
            if not first:
                first = (time.perf_counter() - began) * 1000
                if b" 200 " not in data[:20]:
                    raise RuntimeError(f"the stream was refused: {data[:800]!r}")
            size += len(data)
            *whole, tail = (rest + data).split(STAMP)
            seen = rest.count(STAMP)
            for part in [*whole[1:], tail][seen:]:
                stamp = part.partition(b"}")[0]
                if stamp.isdigit():
                    ages.append((at - int(stamp)) / 1e6)
            rest = (rest + data)[-64:]
        return ages, first, time.perf_counter() - began, size


def _measure(port: int, path: str, paced: int, free: int, pid: int | None) -> Values:
    ages, first, _, _ = stream(port, path, paced, "paced")
    before = 0.0 if pid is None else cpu_seconds(pid)
    _, _, seconds, size = stream(port, path, free, "free")
    megabytes = size / 1e6
    values = {
        "chunk_p50": percentile(ages, 50),
        "chunk_p99": percentile(ages, 99),
        "first_byte": first,
        "throughput": megabytes / seconds,
    }
    return values if pid is None else values | {"cpu_per_mb": (cpu_seconds(pid) - before) * 1000 / megabytes}


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """The upstream, a hive with one box that is its sockets, and a boxd whose relay leads to that box's gate."""
    paced, free = run.size(2000, 600, 50), run.size(12_000, 4_000, 100)
    with ExitStack() as stack:
        told = run.folder / "port"
        process = subprocess.Popen([sys.executable, "-m", "bench.gateway", str(told)], cwd=ROOT)
        stack.callback(process.wait)
        stack.callback(process.kill)
        while not told.exists():
            time.sleep(0.005)
        upstream = int(told.read_text())
        env = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{upstream}", "ANTHROPIC_API_KEY": KEY}
        config = FREE + '[models.anthropic]\nallowed = ["claude-*"]\n'
        options = {"config": config, "env": env, "program": ("-m", "bench.socket_box")}
        hive = stack.enter_context(running(run.folder / "hive", **options))
        hive.agent("ana")
        hive.send("ana", "begin")
        hive.wait(lambda: bool(box_folders(hive.data)), "the box of ana")
        [folder] = box_folders(hive.data)
        box = SocketBox(folder)
        stack.callback(box.close)
        box.until_prompt(1)
        relay = _free_port()
        boxd = BoxdProcess(run.folder, settings={"gate_port": relay})
        boxd.sockets.mkdir()
        (boxd.sockets / "gate.sock").symlink_to(folder / "gate.sock")
        stack.callback(boxd.kill)
        boxd.start()
        hive.wait(lambda: _listens(relay), "the relay's port")
        _measure(relay, "/model/anthropic", 50, 100, hive.pid)
        yield {
            DIRECT: lambda: _measure(upstream, "", paced, free, None),
            OURS: lambda: _measure(relay, "/model/anthropic", paced, free, hive.pid),
        }


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve_upstream(Path(sys.argv[1])))
