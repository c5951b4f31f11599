"""The demo's hive: made with `mel up --detach`, killed, asked, and removed without a trace.

What runs is what a user runs: the same commands, in processes of their own. Only a look into /proc tells what is left.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from melipona.beneath import read_regular
from melipona.client import Client, ClientError
from melipona.errors import MeliponaError

Json = dict[str, Any]
SETTINGS = """# The hive of `mel demo`.
[hive]
name = "demo"

[boxes]
orphan_busy = 60
orphan_idle = 60
"""
MADE_UP_KEY = "sk-ant-made-up-for-the-demo"
"""Stands in the daemon's environment, so that there is something to find."""
NOT_PASSED_ON = ("MEL_DATA", "MEL_CONFIG", "NOTIFY_SOCKET")
UP_SECONDS = 120.0
DOWN_SECONDS = 60.0
GONE_SECONDS = 10.0


Tick = Callable[[float], None]
"""Told now and then how many seconds something has taken so far."""


class HiveFailed(Exception):
    """A command about the hive or a call of its daemon failed: which, and what it said."""

    def __init__(self, what: str, *more: str) -> None:
        super().__init__(what)
        self.more = more


class DemoHive:
    """One hive in a folder of its own, a temporary one unless `data` names one that is empty or missing."""

    def __init__(self, data: Path | None) -> None:
        if data is None:
            self.data = Path(tempfile.mkdtemp(prefix="melipona-demo-"))
        else:
            self.data = data.expanduser().absolute()
            if self.data.exists() and (not self.data.is_dir() or any(self.data.iterdir())):
                raise HiveFailed(f"{self.data} is not empty; the demo wants a folder of its own")
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.data.chmod(0o700)
        self.client = Client(self.data)
        self.pids: set[int] = set()
        self.store_id = ""
        (self.data / "mel.toml").write_text(SETTINGS)

    @property
    def log(self) -> Path:
        """What the daemons write."""
        return self.data / "daemon.log"

    def up(self, tick: Tick) -> Json:
        """Start it in the background and return its state once it is ready.

        Raises:
            HiveFailed: with what `mel up` said.
        """
        self._mel("up", "--detach", within=UP_SECONDS, tick=tick)
        return self.state()

    def state(self) -> Json:
        """The hive at this moment."""
        state = self.client.get("/state")
        self.pids.add(int(state["daemon"]["pid"]))
        self.store_id = str(state["store"])
        return state

    def doctor(self, tick: Tick) -> list[Json]:
        """The checks of `mel doctor`.

        Raises:
            ClientError: the daemon cannot be asked.
        """
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.client.post, "/doctor", timeout=120)
            while not answer.done():
                tick(time.monotonic() - began)
                wait([answer], timeout=0.2)
        return answer.result()["items"]

    def kill(self, pid: int) -> None:
        """`kill -9` of the daemon."""
        os.kill(pid, signal.SIGKILL)

    def lines(self, agent: str, path: str) -> int:
        """How many lines the file below an agent's /ws has, seen from outside the box; 0 without the file."""
        try:
            return read_regular(self.data / "homes" / agent / "ws", path, limit=1 << 16).count(b"\n")
        except MeliponaError:
            return 0

    def down(self, tick: Tick) -> list[str]:
        """End turns, boxes and daemon, by `mel down` or else by force. What went wrong with that, line by line."""
        if not self._processes():
            return []
        said: list[str] = []
        try:
            self._mel("down", within=DOWN_SECONDS, tick=tick)
        except HiveFailed as failure:
            said = [str(failure), *failure.more]
        end = time.monotonic() + GONE_SECONDS
        while (left := self._processes()) and time.monotonic() < end:
            if said:
                self._kill_all()
            time.sleep(0.05)
        return said + [f"process {pid} is left: {line}" for pid, line in left]

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.data, ignore_errors=True)

    # ---- parts ----------------------------------------------------------------------------------------------------

    def _mel(self, *words: str, within: float, tick: Tick) -> None:
        """Run a `mel` command in a session of its own, so that Ctrl-C ends the story and not what cleans up."""
        argv = [sys.executable, "-m", "melipona.cli.main", *words, "--data", str(self.data)]
        environ = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
        environ["MELIPONA_DEMO_KEY"] = MADE_UP_KEY
        began, nothing = time.monotonic(), subprocess.DEVNULL
        process = subprocess.Popen(
            argv, env=environ, cwd="/", stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            while (waited := time.monotonic() - began) < within:
                tick(waited)
                try:
                    _, said = process.communicate(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
                if process.returncode:
                    raise HiveFailed(f"`mel {words[0]}` ended with {process.returncode}", *_lines(said))
                return
            raise HiveFailed(f"`mel {words[0]}` did not end within {within:g} s")
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def _kill_all(self) -> None:
        """When `mel down` does not do it: every process of this hive, the parent that would start it again first."""
        for pid, _ in sorted(self._processes(), key=lambda found: "supervise" not in found[1]):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    def _processes(self) -> list[tuple[int, str]]:
        """Processes whose command line names this hive: its daemon and parent by the folder, its boxes by the id."""
        found: list[tuple[int, str]] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
            except OSError:
                continue
            daemon = "-m melipona." in line and str(self.data) in line
            box = "/opt/mel/boxd.py" in line and bool(self.store_id) and self.store_id in line
            if daemon or box:
                found.append((int(entry.name), line[:200]))
        return found


def asked(call: Callable[[], Json]) -> Json:
    """`call()`, with a client's error as `HiveFailed`."""
    try:
        return call()
    except ClientError as error:
        raise HiveFailed(f"the daemon said: {error.what}", error.remedy) from error


def _lines(said: bytes) -> list[str]:
    """The last lines of what a command said."""
    return [line for line in said.decode(errors="replace").splitlines() if line.strip()][-12:]
