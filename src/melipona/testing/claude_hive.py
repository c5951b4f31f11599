"""A hive whose agents are the real Claude Code command line in real boxes, before a loopback stub of the Messages API.

What the model says is scripted by the mail: `script(...)` makes a message's body of the steps of `model_script`. The
stub takes one key only, a canary that no box, file or log of the hive may ever hold.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from melipona.testing.hive import HiveProcess, Json
from melipona.testing.model_stub import ModelStub

CONFIG = """
[mail]
body_bytes = 65536
backoff = [0.01]
[turns]
engine_idle = {engine_idle}
rate_limit = {rate_limit}
interrupt_grace = 10
[boxes]
orphan_busy = 60
orphan_idle = 60
[watch]
backoff = [0.01]
"""
ENGINE = "/opt/engine/claude"

UNTIL_GO = "python3 -c 'import os, time\nwhile not os.path.exists(\"/ws/go\"): time.sleep(0.02)'"
"""A shell command that lasts until `ClaudeHive.go`."""


def script(*steps: Json) -> str:
    """A message that makes the model play these steps."""
    return f"please STEPS:{json.dumps(steps)}"


def shell(command: str) -> Json:
    """A step: the model calls Bash."""
    return {"tool": "Bash", "input": {"command": command, "timeout": 60_000}}


def send(body: str, to: str = "operator") -> Json:
    """A step: the model calls the hive's `send`."""
    return {"tool": "mcp__melipona__send", "input": {"to": to, "body": body}}


class ClaudeHive(HiveProcess):
    """One such hive. `key` is what the daemon has (the stub's when None, none at all when empty)."""

    def __init__(
        self,
        data: Path,
        *,
        engine_idle: float = 300,
        rate_limit: float = 300,
        config: str = "",
        key: str | None = None,
        program: Sequence[str] = ("-m", "melipona.daemon"),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.stub = ModelStub(key=f"sk-ant-canary-{secrets.token_hex(16)}")
        key = self.stub.key if key is None else key
        upstream = {"ANTHROPIC_BASE_URL": self.stub.url} | ({"ANTHROPIC_API_KEY": key} if key else {})
        text = CONFIG.format(engine_idle=engine_idle, rate_limit=rate_limit) + config
        super().__init__(data, config=text, env={**upstream, **(env or {})}, program=program)

    def set_key(self, key: str) -> None:
        """The key that the next daemon has."""
        self._env["ANTHROPIC_API_KEY"] = key

    def claude(self, name: str = "ana", **options: Any) -> Json:
        """Make an agent with the claude engine."""
        return self.agent(name, engine="claude", **options)

    # ---- turns -----------------------------------------------------------------------------------------------------

    def ended(self, count: int = 1, within: float = 60) -> Json:
        """Wait for the end of the `count`-th turn; the turn's row."""
        event = self.wait_for("turn.ended", count=count, within=within)
        return self.client.get(f"/turns/{event['data']['id']}")

    def log_of(self, turn: int, kind: str) -> list[Json]:
        """The events of one kind in a turn's log."""
        path = self.data / "turns" / f"{turn // 1000:05}" / f"{turn}.jsonl"
        events = [json.loads(line)["event"] for line in path.read_text().splitlines()]
        return [event for event in events if event["type"] == kind]

    def results_of(self, turn: int) -> list[Json]:
        """What the turn's tools answered, oldest first."""
        return self.log_of(turn, "tool_result")

    def hear(self, turn: int, kind: str, within: float = 30) -> Json:
        """Wait for an event of the turn's live stream."""
        end = time.monotonic() + within
        for _name, _id, data in self.client.stream(f"/turns/{turn}/stream"):
            if data.get("event", {}).get("type") == kind:
                return data["event"]
            assert time.monotonic() < end, f"no {kind} in turn t{turn}"
        raise AssertionError(f"turn t{turn} ended without {kind}")

    def told(self, body: str, within: float = 30) -> Json:
        """Wait until the operator is sent exactly this; agents say so how far they are."""
        return self.wait_for("message.sent", lambda e: self.message(e["data"]["id"])["body"] == body, within=within)

    def go(self, name: str = "ana") -> None:
        """Let `UNTIL_GO` end."""
        (self.work(name) / "go").touch()

    def state(self, name: str = "ana") -> tuple[str, str | None]:
        """State and reason of an agent."""
        agent = self.client.get(f"/agents/{name}")
        return agent["state"], agent["reason"]

    # ---- the model -------------------------------------------------------------------------------------------------

    @property
    def asked(self) -> list[Json]:
        """The model requests that the stub took, oldest first."""
        return self.stub.messages

    # ---- processes -------------------------------------------------------------------------------------------------

    def inside(self) -> dict[int, str]:
        """Host pid and command line of every process in the hive's boxes, their inits left out."""
        known = {pid: (parent, line) for pid, parent, line in _processes()}
        found, family = dict[int, str](), set(self.boxes())
        while more := {pid for pid, (parent, _) in known.items() if parent in family and pid not in family}:
            family |= more
            found |= {pid: known[pid][1] for pid in more}
        return found

    def engines(self) -> list[int]:
        """Host pids of the engines that run."""
        return [pid for pid, line in self.inside().items() if line.startswith(ENGINE)]

    def engine(self) -> int:
        """Host pid of the only engine."""
        [found] = self.engines()
        return found

    def engines_end(self, within: float = 30) -> None:
        """Wait until the engines that run now have ended."""
        for gone in [ends(pid) for pid in self.engines()]:
            gone(within)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.stub.close()


def ends(pid: int) -> Callable[[float], None]:
    """Watch a process; what is returned waits for its end."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return lambda within: None

    def wait(within: float) -> None:
        try:
            assert select.select([fd], [], [], within)[0], f"process {pid} still runs after {within} s"
        finally:
            os.close(fd)

    return wait


def holders_of(secret: str, folder: Path) -> list[Path]:
    """Regular files below `folder` that hold `secret`."""
    needle = secret.encode()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if needle in _bytes_of(path)]


def _bytes_of(path: Path) -> bytes:
    """What a file holds; nothing if it is gone meanwhile: the engine makes and removes files of its own."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


class Listener:
    """A server on the host's loopback that counts who comes."""

    def __init__(self) -> None:
        import socket

        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._sock.getsockname()[1])
        self.came = 0
        threading.Thread(target=self._run, daemon=True, name="listener").start()

    def _run(self) -> None:
        try:
            while True:
                connection, _ = self._sock.accept()
                self.came += 1
                connection.close()
        except OSError:
            return

    def close(self) -> None:
        self._sock.close()


def _processes() -> Generator[tuple[int, int, str]]:
    """Pid, parent and command line of all processes; whoever is in a box descends from its init."""
    for name in os.listdir("/proc"):
        try:
            status = Path("/proc", name, "stat").read_text() if name.isdigit() else ""
            line = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if status and line:
            yield int(name), int(status.rpartition(")")[2].split()[1]), line


@contextmanager
def running_claude_hive(folder: Path, **options: Any) -> Generator[ClaudeHive]:
    """Such a hive below `folder` that is ready; at the end it is brought down and no box of it is left."""
    hive = ClaudeHive(folder / "hive", **options)
    hive.start()
    try:
        yield hive
    finally:
        hive.close()
