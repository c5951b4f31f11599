"""A whole hive in a process of its own, for tests: started, killed, started again, followed by its events.

Everything goes the way a user's does: `python -m melipona.daemon`, the unix socket, real boxes. Nothing here sleeps to
wait: a follower thread reads the event stream, and `wait_for` waits for an event under a deadline.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from melipona.client import Client, ClientError
from melipona.testing.forked_daemons import DaemonForks, ForkedDaemon

Json = dict[str, Any]
QUICK = """
[store]
ballast_bytes = 1048576
[boxes]
orphan_busy = 60
orphan_idle = 60
"""


class HiveProcess:
    """One hive below a data folder.

    `config` is the text of its mel.toml, `env` is added to a bare environment, `program` is what Python runs. Without
    `follow` nobody listens to its events: for loads that would fill the memory. With `forks` its daemons are forked
    instead of started, unless `cold` says otherwise of the next.
    """

    def __init__(
        self,
        data: Path,
        *,
        config: str = QUICK,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "melipona.daemon"),
        follow: bool = True,
        forks: DaemonForks | None = None,
    ) -> None:
        self.data = data
        self.client = Client(data)
        self._follow = follow
        self.config = data.parent / f"{data.name}.mel.toml"
        self.config.write_text(config)
        self._env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", **(env or {})}
        self._program = program
        self._process: subprocess.Popen[bytes] | ForkedDaemon | None = None
        self._forks = forks
        self._log = data.parent / f"{data.name}.log"
        self._follower: _Follower | None = None
        self.ids: dict[str, str] = {}
        self.seen: list[Json] = []
        """Events so far, oldest first."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What all daemons of this hive have written to stderr."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    # ---- life ------------------------------------------------------------------------------------------------------

    def start(self, within: float = 60, *, cold: bool = False) -> None:
        """Start a daemon and return when it is ready; `cold` from nothing, though others are forked."""
        options = ["--data", str(self.data), "--config", str(self.config)]
        if self._forks is not None and not cold:
            self._process = self._forks.start(options, self._env, self._log)
        else:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, *self._program, *options],
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        end = time.monotonic() + within
        while not self.client.ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the daemon did not become ready:\n{self.log[-4000:]}")
            time.sleep(0.005)  # there is no event to wait for before there is a daemon
        if self._follower is None and self._follow:
            self._follower = _Follower(self.client)

    def kill(self) -> None:
        """`kill -9` of the daemon; its boxes live on."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM: the daemon ends in an orderly way, its boxes live on. The exit code."""
        return self._end(signal.SIGTERM)

    def died(self, within: float = 60) -> int:
        """Wait until the daemon has ended by itself. The exit code."""
        assert self._process is not None
        return self._process.wait(within)

    def _end(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(30)

    def down(self) -> int:
        """End turns, boxes and daemon. The exit code."""
        assert self._process is not None
        self.client.post("/stop")
        return self._process.wait(60)

    def close(self) -> None:
        """End whatever is left of it, boxes first, and make sure that none is."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        try:
            self.down()
        finally:
            if self._follower is not None:
                self._follower.stop()
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        left = self.boxes()
        assert not left, f"boxes are left: {left}"
        assert not self._causeless(), "turns that nothing woke"

    def boxes(self) -> list[int]:
        """Pids of the inits of this hive's boxes, by what their command line says."""
        hive = self.store_id()
        return [
            pid for pid, line in _command_lines() if "/opt/mel/boxd.py" in line and hive in line and "bwrap" not in line
        ]

    def store_id(self) -> str:
        """The hive's id in its boxes' command lines."""
        return str(self._rows("SELECT value FROM meta WHERE key = 'store_id'")[0][0])

    def _causeless(self) -> list[int]:
        """Turns of the whole history that name neither mail that woke them nor a person's operation: no model call
        without a cause."""
        causes = [(turn, json.loads(cause)) for turn, cause in self._rows("SELECT id, cause FROM turns")]
        return [turn for turn, cause in causes if not cause["messages"] and not cause.get("operation")]

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.data / 'mel.db'}?mode=ro", uri=True)) as c:
            return c.execute(query).fetchall()

    # ---- use -------------------------------------------------------------------------------------------------------

    def agent(self, name: str, *, engine: str = "playbook", playbook: str | None = None, **options: Any) -> Json:
        """Make an agent."""
        body = {"name": name, "engine": engine, **options} | ({"playbook": playbook} if playbook else {})
        made = self.client.post("/agents", body)
        self.ids[name] = str(made["id"])
        return made

    def work(self, name: str) -> Path:
        """The host folder that is /ws in the agent's box."""
        return self.data / "homes" / self.ids[name] / "ws"

    def send(self, to: str, body: str) -> int:
        """Send a message as the operator; its id."""
        return int(self.client.post_keyed("/messages", {"to": to, "body": body})["id"])

    def message(self, identifier: int) -> Json:
        return self.client.get(f"/messages/{identifier}")

    def answers(self, *senders: str) -> list[str]:
        """Bodies of the operator's mail from agents, oldest first."""
        items = self.client.get("/messages", limit=200)["items"]
        mine = [m for m in items if m["recipient"] == "operator" and m["sender"] != "system"]
        return [m["body"] for m in reversed(mine) if not senders or m["sender"] in senders]

    def wait_for(
        self, kind: str, where: Callable[[Json], bool] = lambda _: True, *, within: float = 60, count: int = 1
    ) -> Json:
        """Wait until `count` events of a kind that satisfy `where` have been seen since the beginning; the last one."""
        assert self._follower is not None
        end = time.monotonic() + within
        while True:
            found = [event for event in self.seen if event["kind"] == kind and where(event)]
            if len(found) >= count:
                return found[count - 1]
            left = end - time.monotonic()
            try:
                self.seen.append(self._follower.events.get(timeout=max(left, 0.001)))
            except queue.Empty:
                tail = "\n".join(json.dumps(event) for event in self.seen[-15:])
                raise AssertionError(f"no {kind} within {within} s; last events:\n{tail}\n{self.log[-3000:]}") from None

    def count(self, kind: str, where: Callable[[Json], bool] = lambda _: True) -> int:
        """How many such events there are in all."""
        items: list[Json] = []
        after = 0
        while page := self.client.get("/events/page", after=after, limit=200)["items"]:
            items += page
            after = max(item["id"] for item in page)
        return sum(1 for event in items if event["kind"] == kind and where(event))


class _Follower:
    """Reads the event stream across daemons, in a thread."""

    def __init__(self, client: Client) -> None:
        self.events: queue.Queue[Json] = queue.Queue()
        self._client = client
        self._last: str | None = None
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True, name="events").start()

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                start: Json = {} if self._last else {"after": 0}
                for name, identifier, data in self._client.stream("/events", last=self._last, **start):
                    self._last = identifier or self._last
                    if name not in ("hello", "beat", "reset") and "kind" in data:
                        self.events.put(data)
            except ClientError:
                self._over.wait(0.05)  # the daemon is away


def _command_lines() -> Generator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue


@contextmanager
def running_hive(folder: Path, *, config: str = QUICK, env: Mapping[str, str] | None = None) -> Generator[HiveProcess]:
    """A hive below `folder` that is ready; at the end it is brought down and no box of it is left."""
    hive = HiveProcess(folder / "hive", config=config, env=env)
    hive.start()
    try:
        yield hive
    finally:
        hive.close()
