"""What can go wrong with the processes of a box, done from outside: stopped, frozen, or speaking half a frame.

For tests and campaigns. Signals go to processes of the given hive alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from melipona.boxes.bubblewrap import INSIDE
from melipona.testing.hive import HiveProcess

BROKEN_BOXES = """
import sys
from pathlib import Path
from typing import Any
from melipona import daemon
from melipona.boxes.bubblewrap import BubblewrapBoxDriver
BubblewrapBoxDriver.__init__.__kwdefaults__["inside"] = Path(sys.argv.pop(1))
sys.exit(daemon.main(sys.argv[1:]))
"""
"""A daemon whose boxes have another /opt/mel: `program=("-c", BROKEN_BOXES, FOLDER)`."""

_SEND = "        self._out += len(text)"
_HALF = """        if getattr(self, "half", False):
            return
        if os.path.exists("/ws/half"):
            self.half = True
            self._out += (1000).to_bytes(4, "big") + (0).to_bytes(4, "big") + text[: len(text) // 2]
            return
"""
_SAY = """    def say(self, text, step, thinking=False):
        \"\"\"Say a text, word by word if it is to take time.\"\"\"
"""
_CLOSES = """        if text == "close the pipes":
            import os, time
            for fd in (0, 1, 2): os.close(fd)
            time.sleep(1000)
"""


def broken_inside(folder: Path) -> Path:
    """A copy of /opt/mel whose boxd speaks half a frame and then nothing once `/ws/half` is there, and whose playbook
    engine closes its pipes and stays when it is to say "close the pipes"."""
    target = folder / "inside"
    shutil.copytree(INSIDE, target, ignore=shutil.ignore_patterns("__pycache__"))
    _put(target / "boxd.py", _SEND, _HALF + _SEND)
    _put(target / "playbook.py", _SAY, _SAY + _CLOSES)
    return target


def _put(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} is written otherwise now"
    file.write_text(text.replace(old, new))


def until(condition: Callable[[], bool], within: float = 60) -> None:
    """Wait for something of which no event tells.

    Raises:
        AssertionError: it did not come true.
    """
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def init_of(hive: HiveProcess, agent: str) -> int:
    """The host's pid of the init of an agent's box."""
    query = (
        "SELECT b.handle FROM boxes b JOIN agents a ON a.id = b.agent_id "
        "WHERE a.name = ? AND b.state = 'up' ORDER BY b.id DESC LIMIT 1"
    )
    with closing(sqlite3.connect(f"file:{hive.data / 'mel.db'}?mode=ro", uri=True)) as c:
        (handle,) = c.execute(query, (agent,)).fetchone()
    return int(json.loads(handle)["pid"])


def below(init: int) -> list[int]:
    """All processes of a box but its init."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = list[int](), [init]
    while todo:
        mine = children.get(todo.pop(), [])
        found += mine
        todo += mine
    return found


def stop_all(init: int) -> None:
    """SIGSTOP of a whole box, the init first."""
    for pid in (init, *below(init)):
        _stop(pid)


def stop_engine(init: int) -> None:
    """SIGSTOP of everything in a box but its init."""
    for pid in below(init):
        _stop(pid)


def _stop(pid: int) -> None:
    with suppress(ProcessLookupError):  # a program that was just ending
        os.kill(pid, signal.SIGSTOP)


def no_freezer() -> str | None:
    """Why no control group can be frozen here, None when one can."""
    if os.geteuid() != 0:
        return "only root freezes control groups"
    if os.access("/sys/fs/cgroup/freezer", os.W_OK) or Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return None
    return "no freezer of control groups is mounted here"


@contextmanager
def frozen_group(init: int) -> Generator[None]:
    """A box in a frozen control group of its own; it thaws at the end, when what hit it meanwhile takes effect."""
    first = Path("/sys/fs/cgroup/freezer")
    group = (first if first.exists() else Path("/sys/fs/cgroup")) / f"mel-frozen-{init}"
    state, frozen, thawed = ("freezer.state", "FROZEN", "THAWED") if first.exists() else ("cgroup.freeze", "1", "0")
    home = _group_of(init, "freezer" if first.exists() else "")
    group.mkdir()
    try:
        for pid in (init, *below(init)):
            with suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))
        (group / state).write_text(frozen)
        yield
    finally:
        (group / state).write_text(thawed)
        for pid in (group / "cgroup.procs").read_text().split():
            try:
                (home / "cgroup.procs").write_text(pid)
            except OSError:
                continue  # it is dying
        _remove(group)


def _group_of(pid: int, controller: str) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path("/sys/fs/cgroup") / controller / path.lstrip("/")
    return Path("/sys/fs/cgroup") / controller


def _remove(group: Path) -> None:
    """The kernel buries a group's last processes a little after they died."""

    def gone() -> bool:
        try:
            group.rmdir()
        except OSError:
            return False
        return True

    until(gone)


Json = dict[str, Any]

HELD = """
[[rule]]
steps = [{ hold = "/ws/go", timeout = 1000 }, { send = "went on" }]
"""
"""A playbook whose turn goes on until `/ws/go` is there."""


def reconnection(hive: HiveProcess, names: Sequence[str]) -> float:
    """Kill the daemon and start another: seconds from its being ready until every box of `names`, each in the middle of
    a turn, is connected.

    Raises:
        AssertionError: one was not within a minute.
    """
    hive.kill()
    hive.start()
    began = time.monotonic()

    def connected() -> bool:
        shown = [hive.client.get(f"/agents/{name}") for name in names]
        return all(one["state"] == "working" and one["reason"] is None for one in shown)

    until(connected)
    return time.monotonic() - began
