"""The contract of a box driver: runs boxes with one isolation technology.

A *box* is where one agent's engine, shell and git run: no network but a loopback of its own, no secret, a fixed set of
mounts (D-8), limits. Its init is boxd (`boxes/inside/boxd.py`), which dials `ctl.sock`; `boxes/link.py` speaks with
it. A box is not a child of the daemon: it outlives a daemon's death and is known again by its handle.

Policy (who may, how many, when to retry) stays out of drivers. Every method may be repeated. The conformance suite in
`melipona.testing.box_suite` says what each promise means and runs over every driver.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from melipona.ids import AgentName, BoxId

GATE_PORT = 4141
"""Loopback port inside every box on which the gate answers (D-13)."""

EGRESS_PORT = 4142
"""Loopback port inside every box of the CONNECT proxy (D-13)."""

INSIDE_HOME = "/home/agent"
INSIDE_WORK = "/ws"
INSIDE_SOCKETS = "/run/mel"
INSIDE_OPT = "/opt/mel"


@dataclass(frozen=True, slots=True)
class BoxFolders:
    """Host directories of one box. The driver makes none of them: `boxes/folders.py` does, with the right owners (D-9).

    `home`, `work`, `state` are writable by the box and owned by its uid; `sockets`, `inbox`, `shared` belong to the
    daemon and are mounted read-only. `agents` (the manager only) is the folder of all agents' `state` and `inbox`.
    """

    home: Path
    work: Path
    state: Path
    inbox: Path
    shared: Path
    sockets: Path
    agents: Path | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """A read-only file or directory of the host, shown at `target` below /opt, /etc/claude-code or /usr/local."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True)
class BoxLimits:
    """What a box may use. 0 means no limit. `enforced()` of the driver says which of them really bind here."""

    memory_bytes: int = 4 << 30
    processes: int = 512
    open_files: int = 4096
    file_size_bytes: int = 2 << 30
    tmp_bytes: int = 512 << 20
    shm_bytes: int = 64 << 20
    cpu_weight: int = 100


@dataclass(frozen=True, slots=True)
class BoxSpec:
    """Everything needed to start one box."""

    id: BoxId
    agent: AgentName
    folders: BoxFolders
    mounts: Sequence[Mount] = ()
    limits: BoxLimits = field(default_factory=BoxLimits)
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    orphan_busy: timedelta = timedelta(hours=24)
    orphan_idle: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class BoxRef:
    """A box that was started. `handle` is the driver's own JSON object, kept in the box's row."""

    id: BoxId
    handle: Mapping[str, Any]


class BoxState(StrEnum):
    """What `inspect` finds."""

    RUNNING = "running"  # its init exists and is the one we started
    GONE = "gone"  # none of its processes is left
    UNKNOWN = "unknown"  # cannot be told now; ask again, change nothing


@dataclass(frozen=True, slots=True)
class Enforced:
    """One limit as it really binds: `how` names the mechanism, or says why it does not bind."""

    name: str
    binds: bool
    how: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a driver's health: what was checked, whether it is well, what to do if not."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    fatal: bool = True


class BoxDriver(Protocol):
    """Runs boxes with one isolation technology."""

    @property
    def name(self) -> str: ...

    async def health(self, *, deep: bool = False) -> list[Finding]:
        """Whether boxes can be started here, with reasons. `deep` starts real boxes (probe, CVE check)."""
        ...

    def enforced(self) -> list[Enforced]:
        """Which limits of `BoxLimits` bind on this machine, and how."""
        ...

    async def start(self, spec: BoxSpec) -> BoxRef:
        """Start a box and return once its init process exists and can be known again.

        boxd dials `ctl.sock` in `spec.folders.sockets` by itself afterwards; that socket should already listen.

        Raises:
            BoxStartFailed: nothing of the box is left behind.
        """
        ...

    async def inspect(self, ref: BoxRef) -> BoxState: ...

    def is_init(self, ref: BoxRef, pid: int) -> bool:
        """Whether the peer with host pid `pid` of a socket is the init of this very box."""
        ...

    async def stop(self, ref: BoxRef, *, grace: timedelta) -> None:
        """End the box: ask its programs (SIGTERM) for `grace`, then kill; return once none of its processes is left.

        A box that is gone already is a success. A foreign process that took the pid is never signalled (T47).

        Raises:
            BoxLost: the driver cannot tell whether the box still runs.
        """
        ...

    async def failure(self, ref: BoxRef) -> str | None:
        """Why a box that is gone ended, if the driver knows (`out of memory`), else None."""
        ...

    def limit_hits(self, ref: BoxRef) -> Mapping[str, int]:
        """How often a running box has run into limits so far, by their names in `BoxLimits`; what is not counted is
        left out."""
        ...

    async def sweep(self, sockets_root: Path, known: Collection[BoxId]) -> list[str]:
        """End boxes of this data folder that no row names; return a description of each (D-3)."""
        ...
