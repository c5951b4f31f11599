"""The host folders of agents and boxes: where they are, who owns them, how they are made and removed (D-6, D-8, D-9).

    DATA/                        0700, the daemon's
      agents/NAME/state          0700, the box's uid: /agents/NAME/state, writable
      agents/NAME/inbox          0755, the daemon's: /agents/NAME/inbox, read-only; long bodies
      homes/AGENT-ID/home, ws    0700, the box's uid: /home/agent and /ws
      boxes/BOX-ID/run           0755, the daemon's: /run/mel, read-only; the sockets
      shared/                    0755, the daemon's: /shared, read-only
      trees/                     0755, the daemon's: read-only trees of boxes (`trees.py`)
      trash/                     0700, the daemon's: what is being removed

The manager's box shows `agents/` whole, so that folder is by name and holds nothing but `state` and `inbox`. All calls
are plain file system calls that may block: run them in a thread. Nothing here follows a link below the data folder.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from melipona.boxes.driver import BoxFolders
from melipona.boxes.removal import remove_tree
from melipona.errors import Invalid, WorldFailed
from melipona.faults import fault_here
from melipona.ids import AgentId, AgentName, BoxId, agent_name, new_id

OWNER_UID = 64000
"""Under whom a root daemon runs boxes, unless configured otherwise (D-6). It needs no passwd entry."""

_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Owner:
    """The host uid and gid that boxes run under, and that own what agents write."""

    uid: int
    gid: int


def box_owner(configured: int = OWNER_UID) -> Owner:
    """For an ordinary user the user; for root the unprivileged owner uid (D-6)."""
    if os.geteuid() != 0:
        return Owner(os.geteuid(), os.getegid())
    return Owner(configured, configured)


class Folders:
    """The folders below one data folder. `make_*` may be repeated and repairs nothing silently.

    `data`'s path is made canonical once, its last part never followed; from there on paths are pure.
    """

    def __init__(self, data: Path, owner: Owner) -> None:
        self.data = data.absolute().parent.resolve() / data.name
        self.owner = owner
        self._lock = threading.Lock()
        self._removing: set[str] = set()
        """Names in the trash that are being removed now."""

    @property
    def agents(self) -> Path:
        return self.data / "agents"

    @property
    def shared(self) -> Path:
        return self.data / "shared"

    @property
    def boxes(self) -> Path:
        """The folder of all boxes' folders: `sweep`'s `sockets_root`."""
        return self.data / "boxes"

    @property
    def drafts(self) -> Path:
        """Where files lie until they are put in place: what is in the trash goes at the next start."""
        return self.data / "trash"

    @property
    def trees(self) -> Path:
        return self.data / "trees"

    def home(self, agent: AgentId) -> Path:
        return self.data / "homes" / _plain(agent) / "home"

    def work(self, agent: AgentId) -> Path:
        return self.data / "homes" / _plain(agent) / "ws"

    def state(self, name: AgentName) -> Path:
        return self.agents / agent_name(name) / "state"

    def inbox(self, name: AgentName) -> Path:
        return self.agents / agent_name(name) / "inbox"

    def sockets(self, box: BoxId) -> Path:
        """Where the daemon's sockets of a box lie. As root they must be mode 0666: the box's uid connects to them."""
        return self.boxes / _plain(box) / "run"

    def of_box(self, agent: AgentId, name: AgentName, box: BoxId, *, manager: bool = False) -> BoxFolders:
        """What a `BoxSpec` needs; pure."""
        return BoxFolders(
            home=self.home(agent),
            work=self.work(agent),
            state=self.state(name),
            inbox=self.inbox(name),
            shared=self.shared,
            sockets=self.sockets(box),
            agents=self.agents if manager else None,
        )

    def make_data(self) -> None:
        """Make the data folder and the folders all boxes share.

        Raises:
            WorldFailed: the data folder is a link, another user's, or open to others (T40).
        """
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.data.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise WorldFailed(
                f"{self.data} is not a folder of this user", remedy="choose another --data", code="data_folder_foreign"
            )
        if found.st_mode & 0o077:
            raise WorldFailed(
                f"{self.data} is open to other users", remedy=f"chmod 700 {self.data}", code="data_folder_open"
            )
        for name in ("agents", "boxes", "shared", "trees"):
            self._daemons(name)
        for name in ("homes", "trash"):
            self._make(name, 0o700, None)

    def make_agent(self, agent: AgentId, name: AgentName) -> None:
        """Make an agent's folders; those that are there stay as they are.

        Raises:
            WorldFailed: one of them is a link, no folder, or somebody else's.
        """
        self._daemons(f"agents/{agent_name(name)}")
        self._daemons(f"agents/{name}/inbox")
        self._make(f"agents/{name}/state", 0o700, self.owner)
        self._make(f"homes/{_plain(agent)}", 0o700, None)
        self._make(f"homes/{agent}/home", 0o700, self.owner)
        self._make(f"homes/{agent}/ws", 0o700, self.owner)

    def make_box(self, box: BoxId) -> Path:
        """Make a box's folder of sockets and return it."""
        self._daemons(f"boxes/{_plain(box)}")
        self._daemons(f"boxes/{box}/run")
        return self.sockets(box)

    def remove_box(self, box: BoxId) -> None:
        """Remove a box's folder. A boxd that still lives sees its sockets gone and ends its box (D-3)."""
        self._remove(f"boxes/{_plain(box)}")

    def boxes_there(self) -> list[BoxId]:
        """Boxes that have a folder, whether they live or not."""
        return [BoxId(path.name) for path in self.boxes.iterdir() if _PLAIN_ID.fullmatch(path.name)]

    def retire_agent(self, agent: AgentId, name: AgentName) -> None:
        """Take a destroyed agent's named folder out of the way, so that a namesake does not inherit it (T44)."""
        source, target = self.agents / agent_name(name), self.data / "homes" / _plain(agent) / "named"
        if target.exists() or source.is_symlink() or not source.is_dir():
            return  # done before: what has the name now is a namesake's
        self._make(f"homes/{agent}", 0o700, None)
        fault_here("boxes.named_folder.before_rename")
        source.rename(target)
        fault_here("boxes.named_folder.after_rename")

    def purge_agent(self, agent: AgentId, name: AgentName | None) -> None:
        """Remove all folders of an agent, whatever lies in them (invariant 36).

        `name` is None when the name belongs to a living namesake by now: the named folder was retired then.

        Raises:
            Invalid: not an agent's id or name.
            WorldFailed: something could not be removed; what is left lies in `trash/`, and a second call goes on there.
        """
        paths = [f"homes/{_plain(agent)}", *([f"agents/{agent_name(name)}"] if name is not None else [])]
        self.empty_trash(f"{agent}.")
        for path in paths:
            self._remove(path, f"{agent}.")

    def empty_trash(self, beginning: str = "") -> None:
        """Finish removals that a crash or an error interrupted; those under way in this process are left to it. With
        `beginning` only what was put there under such a name.

        Raises:
            WorldFailed: something could not be removed; everything else is.
        """
        failed: WorldFailed | None = None
        for left in sorted((self.data / "trash").iterdir()):
            if not left.name.startswith(beginning) or not self._claim(left.name):
                continue
            try:
                self._empty(left)
            except WorldFailed as error:
                failed = error
        if failed is not None:
            raise failed

    def _claim(self, name: str) -> bool:
        """Whether an entry of the trash is this caller's to remove."""
        with self._lock:
            free = name not in self._removing
            self._removing.add(name)
        return free

    def _empty(self, away: Path) -> None:
        """Remove one entry of the trash, which is claimed."""
        try:
            if away.is_symlink() or not away.is_dir():
                away.unlink(missing_ok=True)
            else:
                remove_tree(away)
        except OSError as error:
            raise WorldFailed(f"{away} cannot be removed: {error.strerror}", remedy="remove it by hand") from error
        finally:
            self._removing.discard(away.name)

    def _remove(self, path: str, beginning: str = "") -> None:
        """First out of sight in one step, then entry by entry. Removals may run side by side, of one path too."""
        away = self.data / "trash" / f"{beginning}{new_id()}"
        self._claim(away.name)
        try:
            fault_here("boxes.folder.before_rename_away")
            (self.data / path).rename(away)
            fault_here("boxes.folder.after_rename_away")
        except FileNotFoundError:
            self._removing.discard(away.name)
            return
        except OSError as error:
            self._removing.discard(away.name)
            raise WorldFailed(f"{self.data / path} cannot be removed: {error.strerror}") from error
        self._empty(away)

    def _daemons(self, path: str) -> None:
        self._make(path, 0o755, None)

    def _make(self, path: str, mode: int, owner: Owner | None) -> None:
        """One folder below the data folder with exact mode and owner; `owner` None is the daemon itself."""
        uid, gid = (owner.uid, owner.gid) if owner else (os.geteuid(), os.getegid())
        *above, name = path.split("/")
        parent = _open_below(self.data, above)
        try:
            fault_here("boxes.folder.before_make")
            made = _mkdir(name, parent)
            fault_here("boxes.folder.after_make")
            fd = os.open(name, _OPEN_FOLDER, dir_fd=parent)
        except OSError as error:
            raise WorldFailed(f"{self.data / path}: {error.strerror}", remedy="move it away") from error
        finally:
            os.close(parent)
        try:
            if made or _unfinished(fd, uid):
                os.fchown(fd, uid, gid)
                os.fchmod(fd, mode)
                fault_here("boxes.folder.after_owner")
            _check_owner(fd, uid, self.data / path)
        finally:
            os.close(fd)


def _plain(identifier: str) -> str:
    if not _PLAIN_ID.fullmatch(identifier):
        raise Invalid(f"{identifier!r} is not an id")
    return identifier


def _open_below(folder: Path, names: list[str]) -> int:
    """A descriptor of a folder below `folder`, no component of the way a link."""
    fd = os.open(folder, _OPEN_FOLDER)
    for name in names:
        try:
            inner = os.open(name, _OPEN_FOLDER, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


def _mkdir(name: str, parent: int) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return False
    return True


def _unfinished(fd: int, uid: int) -> bool:
    """A crash between making a folder and giving it away leaves it empty and the daemon's own."""
    return os.fstat(fd).st_uid == os.geteuid() != uid and not os.listdir(fd)


def _check_owner(fd: int, uid: int, path: Path) -> None:
    found = os.fstat(fd).st_uid
    if found != uid:
        raise WorldFailed(
            f"{path} belongs to uid {found}, not {uid}",
            remedy="stop all boxes, then chown it, or configure the owner uid it was made with",
            code="folder_foreign",
        )
