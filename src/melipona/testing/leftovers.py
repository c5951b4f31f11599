"""What a hive that was brought down must not leave on the machine, looked for from outside (T36, CW-7).

Process, mount, socket, control group, lease and folder: each is looked for by what names the hive (its id is in the
command line of every box and in the name of every control group) and by the path of its data folder.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melipona.testing.invariants import Finding

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine."""

    pid: int
    parent: int
    argv: tuple[str, ...]

    @property
    def line(self) -> str:
        """Its command line."""
        return " ".join(self.argv)


def processes() -> list[Process]:
    """Every process that has a command line, by what /proc shows of it now."""
    return [process for entry in os.listdir("/proc") if entry.isdigit() and (process := _process(int(entry)))]


def _process(pid: int) -> Process | None:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
        stat_line = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    parent = int(stat_line.rpartition(")")[2].split()[1])
    words = tuple(word.decode(errors="replace") for word in argv.rstrip(b"\0").split(b"\0"))
    return Process(pid, parent, words) if argv else None


def hive_id(data: Path) -> str:
    """The id of the hive at `data`."""
    return str(_rows(data, "SELECT value FROM meta WHERE key = 'store_id'")[0][0])


def leftovers(data: Path) -> list[Finding]:
    """Everything that is left of the hive at `data`, which was brought down (`mel down`)."""
    hive = hive_id(data)
    return [*_processes(data, hive), *_mounts(data), *_sockets(data), *_cgroups(hive), *_leases(data), *_folders(data)]


def _processes(data: Path, hive: str) -> Generator[Finding]:
    mine = set(_ancestors())
    for process in processes():
        if process.pid not in mine and (hive in process.line or str(data) in process.line):
            yield Finding("orphan process", str(process.pid), process.line[:200])


def _ancestors() -> Generator[int]:
    """This process and its ancestors, whose command lines may well name the data folder."""
    parents = {process.pid: process.parent for process in processes()}
    pid = os.getpid()
    while pid:
        yield pid
        pid = parents.get(pid, 0)


def _mounts(data: Path) -> Generator[Finding]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if f" {data}" in line or "/run/melipona" in line:
            yield Finding("orphan mount", str(data), line)


def _sockets(data: Path) -> Generator[Finding]:
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        path = line.split(maxsplit=7)[7:]
        if path and path[0].startswith(str(data)):
            yield Finding("orphan socket", path[0], "a process holds it")
    for root, _, names in os.walk(data / "boxes"):
        for name in names:
            if stat.S_ISSOCK(Path(root, name).lstat().st_mode):
                yield Finding("orphan socket", str(Path(root, name).relative_to(data)), "a socket of a box")
    for row in _rows(data, "SELECT value FROM meta WHERE key = 'api_port'"):
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", int(row[0]))) == 0:
                yield Finding("orphan socket", f"127.0.0.1:{row[0]}", "somebody answers on the hive's port")


def _cgroups(hive: str) -> Generator[Finding]:
    for root, folders, _ in os.walk(CGROUPS):
        for name in folders:
            if name.startswith(f"mel-{hive}-"):
                yield Finding("orphan cgroup", name, str(Path(root, name)))


def _leases(data: Path) -> Generator[Finding]:
    held = (
        ("lease", "SELECT 'm' || id, 'leased to t' || turn FROM messages WHERE state = 1"),
        ("turn", "SELECT 't' || id, state FROM turns WHERE state <> 'ended'"),
        ("operation", "SELECT id, kind FROM operations WHERE state = 'running'"),
        ("box", "SELECT id, state FROM boxes WHERE state <> 'gone'"),
        ("program", "SELECT id, state FROM programs WHERE state <> 'ended'"),
        ("reservation", "SELECT id, model FROM spend WHERE state = 'reserved'"),
    )
    for what, query in held:
        for subject, how in _rows(data, query):
            yield Finding(f"orphan {what}", str(subject), str(how))


def _folders(data: Path) -> Generator[Finding]:
    for folder in ("boxes", "trash"):
        for name in sorted(os.listdir(data / folder)) if (data / folder).is_dir() else []:
            yield Finding("orphan folder", f"{folder}/{name}", "nothing that runs needs it")


def _rows(data: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True)) as c:
        return c.execute(query).fetchall()
