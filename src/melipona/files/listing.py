"""What lies in a folder that people may read: an agent's `state` and `inbox`, and `/shared` (FR, T23).

The folder is opened by the kernel beneath its root, through no link, and its entries are looked at by that descriptor
without following any. What is neither a plain file nor a folder is counted and not named: a link's name would promise
something that reading refuses.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from melipona.beneath import opened_folder
from melipona.boxes.folders import Folders
from melipona.clock import Micros
from melipona.errors import Invalid, NotFound, Refused
from melipona.ids import agent_name

SHOWN_MOST = 1000
"""Entries of one folder that are told."""
SEEN_MOST = 20_000
"""Entries of one folder that are looked at: an agent can make any number."""
PATH_MOST = 4096
_READABLE = ("state", "inbox")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder by its name; a folder has no size."""

    name: str
    size: int | None
    modified_at: Micros

    @property
    def is_folder(self) -> bool:
        return self.size is None


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder: folders first, then files, by name. `more`: it holds more than is told. `unnamed`: entries that are
    neither, or whose names are no text."""

    path: str
    entries: tuple[Entry, ...]
    more: bool
    unnamed: int


def list_folder(folders: Folders, path: str) -> Listing:
    """What lies in the folder at `path`, as agents see it: `/agents/NAME/state`, `/agents/NAME/inbox`, `/shared`, or
    below. Blocks on the disk.

    Raises:
        Refused: it is none of those. Invalid: it has empty parts, `.`, `..` or a NUL, is too long, or passes a link.
        NotFound: nothing is there.
    """
    root, relative = _resolve(folders, path)
    if not root.is_dir():
        raise NotFound(f"there is no folder {path}", code="no_file")
    with opened_folder(root, relative or ".") as fd:
        return _listed(path, fd)


def _resolve(folders: Folders, path: str) -> tuple[Path, str]:
    if len(path.encode(errors="surrogateescape")) > PATH_MOST or "\0" in path:
        raise Invalid("that is no path", remedy="name a folder as agents do", code="bad_path")
    top, *parts = path.strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise Invalid(f"{path} has parts that are empty or lead up", remedy="write it plainly", code="bad_path")
    if top == "shared":
        return folders.shared, "/".join(parts)
    if top == "agents" and len(parts) > 1 and parts[1] in _READABLE:
        name = agent_name(parts[0])
        return folders.state(name) if parts[1] == "state" else folders.inbox(name), "/".join(parts[2:])
    raise Refused(
        f"{path} is not a folder that is shown",
        remedy="shown are /agents/NAME/state, /agents/NAME/inbox and /shared",
        code="path_not_shown",
    )


def _listed(path: str, fd: int) -> Listing:
    found: list[Entry] = []
    seen = unnamed = 0
    with os.scandir(fd) as entries:
        for entry in entries:
            seen += 1
            if seen > SEEN_MOST:
                break
            known = _entry(entry)
            unnamed += known is None
            if known is not None:
                found.append(known)
    found.sort(key=lambda entry: (not entry.is_folder, entry.name))
    return Listing(path, tuple(found[:SHOWN_MOST]), seen > SEEN_MOST or len(found) > SHOWN_MOST, unnamed)


def _entry(entry: os.DirEntry[str]) -> Entry | None:
    try:
        entry.name.encode()
        about = entry.stat(follow_symlinks=False)
    except (UnicodeEncodeError, OSError):
        return None  # no text, or gone meanwhile
    if stat.S_ISDIR(about.st_mode):
        return Entry(entry.name, None, Micros(about.st_mtime_ns // 1000))
    if stat.S_ISREG(about.st_mode) and about.st_nlink == 1:
        return Entry(entry.name, about.st_size, Micros(about.st_mtime_ns // 1000))
    return None
