"""Check a box's specification and folders before anything is started: names, mount targets, owners, no links."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from melipona.boxes.argv import INSIDE_PYTHON
from melipona.boxes.driver import INSIDE_OPT, BoxSpec, Mount
from melipona.boxes.folders import Owner
from melipona.errors import BoxStartFailed
from melipona.ids import agent_name

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TARGET_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_ETC = "/etc/claude-code"
_ETC_FILE = f"{_ETC}/managed-settings.json"


def check_spec(spec: BoxSpec, owner: Owner) -> None:
    """Everything that can be told beforehand.

    Raises:
        BoxStartFailed: what is wrong, with the folder, variable or mount's name.
        Invalid: the agent's name is none.
    """
    agent_name(spec.agent)
    for name, value in spec.env.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise BoxStartFailed(f"{name!r} cannot be a variable of a box")
    targets = [check_mount(mount, owner) for mount in spec.mounts]
    for at, target in enumerate(targets):
        for other in targets[at + 1 :]:
            if _below(target, other) or _below(other, target):
                raise BoxStartFailed(f"the mount {max(target, other)} lies in the mount {min(target, other)}")
    folders = spec.folders
    for path in (folders.home, folders.work, folders.state):
        check_folder(path, owner.uid, writable_by_others=True)
    for path in (folders.inbox, folders.shared, folders.sockets, folders.agents):
        if path is not None:
            check_folder(path, os.geteuid(), writable_by_others=False)
    if folders.agents is not None:
        _check_manager(spec, folders.agents)


def _check_manager(spec: BoxSpec, agents: Path) -> None:
    """Its own state is bound over a mount point that must be there, in folders that no agent can write (rule 1)."""
    if spec.folders.state != agents / spec.agent / "state":
        raise BoxStartFailed(f"the state of {spec.agent!r} does not lie in the folder of all agents")
    check_folder(spec.folders.state.parent, os.geteuid(), writable_by_others=False)


def check_mount(mount: Mount, owner: Owner) -> str:
    """The mount's target, when boxes have a place for it.

    Raises:
        BoxStartFailed: the source is missing, or closed to the boxes' uid (a managed setting that cannot be read would
            be none), or the target is not below /opt, /etc/claude-code or /usr/local.
    """
    parts = mount.target.split("/")[1:]
    plain = mount.target.startswith("/") and all(_TARGET_PART.fullmatch(part) for part in parts)
    taken = any(_below(mount.target, own) for own in (INSIDE_OPT, INSIDE_PYTHON))
    if not plain or taken or not _has_place(mount.target):
        raise BoxStartFailed(
            f"nothing can be mounted at {mount.target!r}", remedy="use /opt/NAME, or a path of /usr/local that exists"
        )
    if not mount.source.is_absolute() or not mount.source.exists():
        raise BoxStartFailed(f"{mount.source} is not there", remedy="check the path")
    needed = 0o005 if mount.source.is_dir() else 0o004
    if owner.uid != os.geteuid() and mount.source.stat().st_mode & needed != needed:
        raise BoxStartFailed(
            f"{mount.source} cannot be read by the boxes' user (uid {owner.uid})",
            remedy=f"chmod -R o+rX {mount.source}",
            code="mount_closed",
        )
    if mount.target in (_ETC, _ETC_FILE) and mount.source.is_dir() != (mount.target == _ETC):
        raise BoxStartFailed(f"{mount.source} does not fit {mount.target}: one is a folder")
    return mount.target


def _has_place(target: str) -> bool:
    """Below /opt bwrap makes mount points in its own root; elsewhere they must be there, in trees nobody may write."""
    if _below(target, "/opt"):
        return target != "/opt"
    if target in (_ETC, _ETC_FILE):
        return True
    path = Path(target)
    return target != "/usr/local" and _below(target, "/usr/local") and path.exists() and path.resolve() == path


def check_folder(path: Path, uid: int, *, writable_by_others: bool) -> None:
    """A canonical folder of the right owner; a daemon's folder nobody else can write.

    Raises:
        BoxStartFailed: it is missing, a link or behind one, another user's, or open to others.
    """
    try:
        found = path.lstat()
    except OSError as error:
        raise BoxStartFailed(f"{path}: {error.strerror}", code="folder_missing") from error
    if not stat.S_ISDIR(found.st_mode) or path.resolve() != path:
        raise BoxStartFailed(f"{path} is a link or no folder", remedy="give the real path", code="folder_link")
    if found.st_uid != uid:
        raise BoxStartFailed(f"{path} belongs to uid {found.st_uid}, not {uid}", code="folder_foreign")
    if not writable_by_others and found.st_mode & 0o022:
        raise BoxStartFailed(f"{path} can be written by others", remedy=f"chmod go-w {path}", code="folder_open")


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
