"""A control group leaf per box: memory, processes, CPU weight, on cgroup v1 and v2, where this process may make one.

Below the daemon's own group on v1; on v2 below `melipona` at the root of what is mounted (a group that has processes
cannot hand controllers down). What cannot be limited is said with its reason, never hidden. An ordinary user with
systemd gets a scope per box instead (`scope`). Ends of programs by the kernel's memory limit are counted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from melipona.boxes.driver import BoxLimits
from melipona.faults import fault_here

_CONTROLLERS = ("memory", "pids", "cpu")
_SYSTEMD_RUN = "/usr/bin/systemd-run"
_TRIES = 3
_V1_SHARES = 1024  # what weight 100 is in v1


@dataclass(frozen=True, slots=True)
class Place:
    """Where leaves of one controller are made, or why none can be (`parent` None)."""

    controller: str
    version: int
    parent: Path | None
    why: str


class Cgroups:
    """The control groups of this machine, as far as this process may use them.

    `root` is where they are mounted, `own` the text of `/proc/self/cgroup`; both are given by tests only.
    """

    def __init__(
        self,
        root: Path = Path("/sys/fs/cgroup"),
        own: str | None = None,
        environ: Mapping[str, str] | None = None,
        uid: int | None = None,
    ) -> None:
        text = Path("/proc/self/cgroup").read_text() if own is None else own
        self._own = _own_groups(text)
        self._root = root
        self.delegated = _delegated(root, environ or {}, os.geteuid() if uid is None else uid)
        """Controllers that the user's own systemd can limit scopes with."""
        self.places = {name: self._place(name) for name in _CONTROLLERS}

    def add(self, name: str, pid: int, limits: BoxLimits) -> list[str]:
        """Make the leaf `name`, set its limits, move `pid` into it; return the leaf's folders for the box's handle.

        What this machine does not permit is left out.

        Raises:
            OSError: a leaf that should have worked did not; nothing of it is left.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._add(name, pid, limits)
            except FileNotFoundError:
                continue  # another daemon swept the leaf before a process was in it
        return self._add(name, pid, limits)

    def _add(self, name: str, pid: int, limits: BoxLimits) -> list[str]:
        leaves: list[str] = []
        try:
            for place in self.places.values():
                if place.parent is None:
                    continue
                leaf = place.parent / name
                leaf.mkdir(exist_ok=True)
                if str(leaf) not in leaves:
                    leaves.append(str(leaf))
                for file, value in _settings(place, limits).items():
                    _set(leaf / file, value)
            fault_here("boxes.limits.before_enter")
            for leaf in leaves:
                (Path(leaf) / "cgroup.procs").write_text(str(pid))
            fault_here("boxes.limits.after_enter")
        except OSError:
            remove(leaves)
            raise
        return leaves

    def stale(self, prefix: str) -> list[str]:
        """Leaves whose name begins with `prefix` and that hold no process any more."""
        parents = {place.parent for place in self.places.values() if place.parent is not None}
        found = [leaf for parent in parents for leaf in parent.glob(f"{prefix}*") if leaf.is_dir()]
        return [str(leaf) for leaf in found if not _processes(leaf)]

    def scope(self, limits: BoxLimits, unit: str) -> list[str]:
        """The start of a command line that puts what follows into a systemd scope `unit` of the user.

        Empty where a leaf of our own can be made, or the user's systemd could limit nothing.
        """
        if not self.delegated or any(place.parent is not None for place in self.places.values()):
            return []
        properties = {
            "MemoryMax": limits.memory_bytes or "infinity",
            "MemorySwapMax": 0 if limits.memory_bytes else "infinity",
            "TasksMax": limits.processes or "infinity",
            "CPUWeight": limits.cpu_weight or 100,
        }
        pairs = [part for name, value in properties.items() for part in ("-p", f"{name}={value}")]
        return [_SYSTEMD_RUN, "--user", "--scope", "--collect", "--quiet", f"--unit={unit}", *pairs, "--"]

    def scope_of(self, pid: int, unit: str) -> list[str]:
        """The folder of the scope `unit` when process `pid` is in it."""
        try:
            path = _own_groups(Path(f"/proc/{pid}/cgroup").read_text()).get("", "")
        except OSError:
            return []
        return [str(self._root / path.lstrip("/"))] if unit in path.rpartition("/")[2] else []

    def _place(self, controller: str) -> Place:
        if controller in self._own:
            return self._place_v1(controller)
        if (self._root / "cgroup.controllers").exists():
            return self._place_v2(controller)
        return Place(controller, 0, None, f"no cgroup controller {controller} is mounted here")

    def _place_v1(self, controller: str) -> Place:
        """v1 names a group from the hierarchy's root; in a container that path may not be mounted, then the top is."""
        mount = self._root / controller
        own = mount / self._own[controller].lstrip("/")
        parent = own if own.is_dir() else mount
        if not parent.is_dir():
            return Place(controller, 1, None, f"cgroup v1 {controller} is not mounted at {mount}")
        if not os.access(parent, os.W_OK):
            return Place(controller, 1, None, f"{parent} belongs to another user (cgroup v1)")
        return Place(controller, 1, parent, "cgroup v1")

    def _place_v2(self, controller: str) -> Place:
        if not os.access(self._root, os.W_OK):
            return Place(controller, 2, None, f"{self._root} belongs to another user (cgroup v2)")
        parent = self._root / "melipona"
        try:
            parent.mkdir(exist_ok=True)
            _enable(self._root, controller)
            _enable(parent, controller)
        except OSError as error:
            return Place(controller, 2, None, f"cgroup v2 does not hand down {controller}: {error.strerror}")
        return Place(controller, 2, parent, "cgroup v2")


def memory_kills(leaves: Sequence[str]) -> int:
    """How often the kernel ended a process of the box because its memory was used up."""
    return sum(_counter(Path(leaf) / file) for leaf in leaves for file in ("memory.events", "memory.oom_control"))


def limit_hits(leaves: Sequence[str]) -> dict[str, int]:
    """How often the box ran into a limit that the kernel counts, by the limit's name in `BoxLimits`."""
    forks = sum(_counter(Path(leaf) / "pids.events", "max") for leaf in leaves)
    return {"memory_bytes": memory_kills(leaves), "processes": forks}


def remove(leaves: Sequence[str]) -> list[str]:
    """Remove leaves that hold no process any more. Those that are left, because they still hold one."""
    left: list[str] = []
    for leaf in leaves:
        try:
            Path(leaf).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            left.append(leaf)
    return left


def _delegated(root: Path, environ: Mapping[str, str], uid: int) -> frozenset[str]:
    """None without cgroup v2 (v1 hands nothing to users) or without a systemd of the user that can be reached."""
    manager = root / f"user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not runtime or not Path(runtime, "systemd/private").exists() or not Path(_SYSTEMD_RUN).exists():
        return frozenset()
    try:
        return frozenset(manager.read_text().split())
    except OSError:
        return frozenset()


def _settings(place: Place, limits: BoxLimits) -> dict[str, str]:
    """Files of the leaf and what to write; a file whose name begins with `?` may be absent on this kernel."""
    memory, tasks, weight = limits.memory_bytes, limits.processes, limits.cpu_weight or 100
    if place.controller == "pids":
        return {"pids.max": str(tasks) if tasks else "max"}
    if place.controller == "cpu":
        shares = max(2, weight * _V1_SHARES // 100)
        return {"cpu.shares": str(shares)} if place.version == 1 else {"cpu.weight": str(weight)}
    if place.version == 1:
        limit = str(memory) if memory else "-1"
        return {"memory.limit_in_bytes": limit, "?memory.memsw.limit_in_bytes": limit}
    return {"memory.max": str(memory) if memory else "max", "?memory.swap.max": "0", "?memory.oom.group": "1"}


def _set(file: Path, value: str) -> None:
    optional = file.name.startswith("?")
    real = file.with_name(file.name.lstrip("?"))
    if not optional or real.exists():
        real.write_text(value)


def _enable(group: Path, controller: str) -> None:
    control = group / "cgroup.subtree_control"
    if controller not in control.read_text().split():
        control.write_text(f"+{controller}")


def _own_groups(text: str) -> dict[str, str]:
    """Controller -> path of `/proc/self/cgroup`; v2's line has the empty controller."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _processes(leaf: Path) -> list[str]:
    try:
        return (leaf / "cgroup.procs").read_text().split()
    except OSError:
        return []


def _counter(file: Path, name: str = "oom_kill") -> int:
    try:
        lines = dict(line.split(None, 1) for line in file.read_text().splitlines() if " " in line)
    except OSError:
        return 0
    return int(lines.get(name, 0))
