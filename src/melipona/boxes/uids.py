"""Under which uid of the host a box runs: under a root daemon one of its own, where that can be had (D-6).

On disk everything stays the owner uid's. A box with a uid of its own reaches its folders by idmapped views that the
launcher makes in its private mount namespace. That no living process has the uid is the launcher's to make sure (it
asks the kernel), so boxes of an earlier daemon and of other hives need no list here. Where views cannot be had, all
boxes run under the owner uid, and `shared_because` says why: `mel doctor` and `mel agent show` tell it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from melipona.boxes.driver import Enforced
from melipona.boxes.folders import Owner
from melipona.boxes.launch import LAUNCHER, mapped_uids
from melipona.faults import fault_here

BOX_UIDS = range(64001, 65001)
"""Uids of the boxes of a root daemon, unless configured otherwise."""

OWN_UID = "own_uid"
"""The name under which drivers tell of it among the limits that they enforce."""

TRIES = 64
"""Uids that are tried for one box before its start fails."""

_CHECK_SECONDS = 20
_FOLDERS = ("homes", "agents", "boxes")


def uid_range(first_and_last: tuple[int, int]) -> range:
    """The setting `boxes.uids` as a range; `[0, 0]` is an empty one."""
    first, last = first_and_last
    return range(first, last + 1) if first > 0 else range(0)


class BoxUids:
    """The uids that boxes may have. `data` is the data folder; it need not be there yet.

    `uid_map` and `as_root` are given by tests only.
    """

    def __init__(
        self, owner: Owner, uids: range, data: Path, *, uid_map: str | None = None, as_root: bool | None = None
    ) -> None:
        self._owner, self._uids, self._data, self._uid_map = owner, uids, data, uid_map
        self._as_root = os.geteuid() == 0 if as_root is None else as_root
        self._next = int.from_bytes(os.urandom(4)) if uids else 0
        self._why: str | None = None

    def __contains__(self, uid: object) -> bool:
        """Whether a box of this hive may run under `uid`."""
        return uid == self._owner.uid or (self._as_root and uid in self._uids)

    def shared_because(self) -> str | None:
        """Why all boxes share the owner's uid; None when each gets its own. Starts a program the first time."""
        if self._why is None:
            self._why = self._look()
        return self._why or None

    def candidates(self) -> list[Owner]:
        """Whom a new box may run as, to be tried in turn, beginning with another one each time."""
        if self.shared_because() is not None:
            return [self._owner]
        self._next += 1
        uids = [self._uids[(self._next + at) % len(self._uids)] for at in range(min(TRIES, len(self._uids)))]
        return [Owner(uid, uid) for uid in uids]

    def enforced(self) -> Enforced:
        """The line that tells people; `name` is `OWN_UID`."""
        why = self.shared_because()
        if why is None:
            return Enforced(
                OWN_UID, True, f"each box has its own of {self._uids[0]} to {self._uids[-1]}, by idmapped views"
            )
        return Enforced(OWN_UID, False, f"all boxes run under uid {self._owner.uid}: {why}")

    def _look(self) -> str:
        if not self._as_root:
            return "only a root daemon can give each its own"
        if not self._uids:
            return "boxes.uids is empty"
        if self._owner.uid in self._uids or 0 in self._uids:
            return "boxes.uids holds boxes.owner_uid or 0"
        there = mapped_uids(self._uid_map)
        if not any(self._uids[0] in uids and self._uids[-1] in uids for uids in there):
            return "boxes.uids does not lie inside the ranges of /proc/self/uid_map"
        return self._no_views()

    def _no_views(self) -> str:
        """Ask the kernel, for the folders of this very data folder."""
        folders = [str(self._data / name) for name in _FOLDERS if (self._data / name).is_dir()]
        if not folders:
            folders = [str(next(folder for folder in (self._data, *self._data.parents) if folder.is_dir()).resolve())]
        plan = ["check", str(self._owner.uid), str(self._uids[0]), *folders]
        fault_here("boxes.views.before_start")
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(LAUNCHER), *plan],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={},
                cwd="/",
                timeout=_CHECK_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"the launcher could not be started: {error}"
        fault_here("boxes.views.after_start")
        said = done.stdout.decode(errors="replace").strip()
        if done.returncode or said:
            return f"idmapped mounts cannot be had here ({said[-300:] or f'exit code {done.returncode}'})"
        return ""
