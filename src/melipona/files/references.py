"""Which paths are files that people may read, and reading them (FR-2 to FR-6, T23).

A path is meant as agents see it: `/agents/NAME/state/…`, `/agents/NAME/inbox/…`, `/shared/…`; the host's form below the
data folder is understood too. Nothing else is a reference: not `/state/…`, of which nobody knows whose it is (FR-6), no
home, no workspace. What a reference leads to is opened by the kernel beneath its folder, through no link.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from melipona.beneath import opened_regular, read_open
from melipona.boxes.folders import Folders
from melipona.clock import Micros
from melipona.errors import Invalid, MeliponaError, NotFound, Refused
from melipona.ids import agent_name

READ_LIMIT = 1 << 20
"""Bytes of a file that is shown (FR-3)."""
_PATH_MOST = 4096
_READABLE = ("state", "inbox")


@dataclass(frozen=True, slots=True)
class Reference:
    """A path that may be read: `path` as agents see it, `relative` below the host's `folder`."""

    path: str
    folder: Path
    relative: str


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file as it was read."""

    path: str
    data: bytes
    modified_at: Micros

    @property
    def text(self) -> str | None:
        """The file as text; None for what is none."""
        try:
            return None if b"\0" in self.data else self.data.decode()
        except UnicodeDecodeError:
            return None


class Files:
    """The readable files of one hive. Calls block on the disk: run them in a thread."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    @property
    def folders(self) -> Folders:
        """The hive's folders."""
        return self._folders

    def resolve(self, path: str) -> Reference:
        """Where a path leads. Pure: nothing is looked at on the disk.

        Raises:
            Refused: it is none of the paths above. Invalid: it has empty parts, `.`, `..` or a NUL, or is too long.
        """
        if len(path.encode(errors="surrogateescape")) > _PATH_MOST or "\0" in path:
            raise Invalid("that is no path", remedy="name a file as agents do", code="bad_path")
        seen = self._as_agents_see(path)
        top, *parts = seen.split("/")[1:]
        if any(part in ("", ".", "..") for part in parts):
            raise Invalid(f"{path} has parts that are empty or lead up", remedy="write it plainly", code="bad_path")
        if top == "shared" and parts:
            return Reference(seen, self._folders.shared, "/".join(parts))
        if top == "agents" and len(parts) > 2 and parts[1] in _READABLE:
            name = agent_name(parts[0])
            folder = self._folders.state(name) if parts[1] == "state" else self._folders.inbox(name)
            return Reference(seen, folder, "/".join(parts[2:]))
        raise _refused(path)

    def read(self, path: str) -> FileContent:
        """The file at `path`, at most `READ_LIMIT` bytes.

        Raises:
            Refused, Invalid, NotFound, LimitReached: as `resolve` and `beneath.read_regular`.
        """
        reference = self.resolve(path)
        if not reference.folder.is_dir():
            raise NotFound(f"there is no file {reference.path}", code="no_file")
        with opened_regular(reference.folder, reference.relative) as fd:
            modified = Micros(os.fstat(fd).st_mtime_ns // 1000)
            return FileContent(reference.path, read_open(fd, reference.path, limit=READ_LIMIT), modified)

    def is_served(self, path: str) -> bool:
        """Whether `read` would give the file at `path` now (invariant 41)."""
        try:
            reference = self.resolve(path)
            with opened_regular(reference.folder, reference.relative) as fd:
                return os.fstat(fd).st_size <= READ_LIMIT
        except MeliponaError:
            return False

    def _as_agents_see(self, path: str) -> str:
        data = f"{self._folders.data}/"
        seen = "/" + path.removeprefix(data) if path.startswith(data) else path
        if not seen.startswith(("/agents/", "/shared/")):
            raise _refused(path)
        return seen


def _refused(path: str) -> Refused:
    return Refused(
        f"{path} is not a path that is shown",
        remedy="shown are /agents/NAME/state/…, /agents/NAME/inbox/… and /shared/…",
        code="path_not_shown",
    )
