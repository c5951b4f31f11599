"""A box that is only its sockets: what stands between daemon and engine, without namespaces and without an engine.

In the daemon (`python -m bench.socket_box --data DIR ...`) a driver starts nothing and takes whoever dials for the
box's init. Outside, `SocketBox` dials and speaks as boxd does, so that a benchmark sees on its own clock when a line
for the engine arrives. Everything else is the product.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from melipona import daemon
from melipona.boxes.bubblewrap import BubblewrapBoxDriver
from melipona.boxes.driver import BoxRef, BoxSpec, BoxState, Finding
from melipona.boxes.sockets import dial_unix
from melipona.boxes.wire import frame
from melipona.ids import BoxId

PROMPT = b'"type":"prompt"'
RESULT = b'{"type":"result","outcome":"ok","text":"done","session":"s"}\n'
WAIT = 20.0


class SocketBoxDriver(BubblewrapBoxDriver):
    """The driver in the daemon."""

    async def health(self, *, deep: bool = False) -> list[Finding]:
        return []

    async def start(self, spec: BoxSpec) -> BoxRef:
        return BoxRef(spec.id, {"pid": 1})

    async def inspect(self, ref: BoxRef) -> BoxState:
        return BoxState.RUNNING

    def is_init(self, ref: BoxRef, pid: int) -> bool:
        return True

    async def stop(self, ref: BoxRef, *, grace: timedelta) -> None:
        """Nothing runs."""

    async def failure(self, ref: BoxRef) -> str | None:
        return None

    async def sweep(self, sockets_root: Path, known: Collection[BoxId]) -> list[str]:
        return []


class SocketBox:
    """Boxd's side of one box, with one engine program that says nothing until it is told to."""

    def __init__(self, run: Path) -> None:
        self.gate = dial_unix(run, "gate.sock", timeout_seconds=WAIT)
        self._ctl = dial_unix(run, "ctl.sock", timeout_seconds=WAIT)
        self._buffer = b""
        self._program: dict[str, Any] | None = None
        self._follower: int | None = None
        self._told = b""
        self.prompts = 0
        self.prompted_at = 0.0
        box = run.parent.name
        self._say({"ev": "hello", "protocol": 1, "boxd": "1.0", "box": box, "programs": [], "ports": []})

    def fileno(self) -> int:
        return self._ctl.fileno()

    def hear(self) -> None:
        """Take what the daemon says, and answer it. A prompt is noted with the moment of its arrival."""
        data = self._ctl.recv(1 << 18)
        if not data:
            raise EOFError("the daemon hung up")
        at = time.perf_counter()
        self._buffer += data
        while len(self._buffer) >= 8:
            head = int.from_bytes(self._buffer[:4])
            blob = int.from_bytes(self._buffer[4:8])
            if len(self._buffer) < 8 + head + blob:
                return
            message = json.loads(self._buffer[8 : 8 + head])
            line = self._buffer[8 + head : 8 + head + blob]
            self._buffer = self._buffer[8 + head + blob :]
            if message["op"] == "write" and PROMPT in line:
                self.prompts += 1
                self.prompted_at = at
            self._answer(message)

    def until_prompt(self, count: int) -> float:
        """Hear until so many prompts have come; when the last of them did."""
        while self.prompts < count:
            self._wait()
        return self.prompted_at

    def end_turn(self) -> None:
        """Have the engine say that the turn is done, as soon as it is listened to."""
        self._told += RESULT
        while self._told:
            self._deliver()
            if self._told:
                self._wait()

    def close(self) -> None:
        """Hang up."""
        self.gate.close()
        self._ctl.close()

    def _wait(self) -> None:
        if not select.select([self._ctl], [], [], WAIT)[0]:
            raise TimeoutError("the daemon says nothing to the box")
        self.hear()

    def _answer(self, message: Mapping[str, Any]) -> None:
        op = message["op"]
        if op == "start" and (self._program is None or self._program["id"] != message["id"]):
            self._program = {"id": message["id"], "pid": 2, "offset": 0, "next_seq": 1, "exit": None}
        if op == "write" and self._program is not None:
            self._program["next_seq"] = message["seq"] + 1
        if op == "follow":
            self._follower = message["fol"]
        if op == "unfollow":
            self._follower = None
        if "n" in message:
            program = {"program": self._program} if op == "start" else {}
            self._say({"ev": "reply", "re": message["n"], **program})
        self._deliver()

    def _deliver(self) -> None:
        if self._follower is None or not self._told or self._program is None:
            return
        self._ctl.sendall(frame({"ev": "out", "fol": self._follower, "at": self._program["offset"]}, self._told))
        self._program["offset"] += len(self._told)
        self._told = b""

    def _say(self, head: dict[str, Any]) -> None:
        self._ctl.sendall(frame(head))


def box_folders(data: Path) -> set[Path]:
    """The folders with the sockets of the boxes that there are now."""
    return {path.parent for path in data.glob("boxes/*/run/gate.sock")}


def request(sock: socket.socket, head: bytes, body: bytes) -> None:
    """Send one request over a gate's socket."""
    sock.sendall(b"%s\r\nhost: gate\r\ncontent-length: %d\r\n\r\n%s" % (head, len(body), body))


def main() -> int:
    """The daemon with such boxes."""

    def driver(data: Path, settings: Any, hive: str) -> BubblewrapBoxDriver:
        made = make(data, settings, hive)
        return SocketBoxDriver(hive=hive, trees=data / "trees", owner=made.owner)

    make = daemon.box_driver
    daemon.box_driver = driver
    return daemon.main()


if __name__ == "__main__":
    sys.exit(main())
