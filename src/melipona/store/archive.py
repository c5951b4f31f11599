"""Putting a tree that agents write into an archive: regular files only, opened beneath, nothing followed (D-35, T23).

What is no plain file (a pipe, a socket, a device, a link, a file with a second name, a file that is mostly holes) is
left out and noted. A file that changes while it is read is stored with the size it had at first.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from melipona.beneath import opened_regular
from melipona.errors import MeliponaError

DEEPEST = 100
"""Levels of folders below a root that are stored."""
HOLES = 64 << 20
"""Bytes of holes in a file above which it is left out: it would be written out in full."""
EXTENTS = 1_000
"""Pieces of a file that are looked at for holes."""
NOTES = 1_000
"""Notes that are kept; further ones are only counted."""

Progress = Callable[[str, int], None]
"""Called with the name of each stored file and the bytes stored so far."""

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Contents:
    """What went in, and what was left out and why."""

    files: int = 0
    bytes: int = 0
    skipped: int = 0
    notes: list[str] = field(default_factory=list[str])

    def skip(self, name: str, why: str) -> None:
        self.skipped += 1
        if len(self.notes) < NOTES:
            self.notes.append(f"{name!r}: {why}")


class Archive:
    """Adds files and trees to an open tar file."""

    def __init__(self, tar: tarfile.TarFile, progress: Progress | None = None) -> None:
        self._tar = tar
        self._progress = progress
        self.contents = Contents()

    def add_text(self, name: str, text: str) -> None:
        """A small file of our own words."""
        raw = text.encode()
        self._tar.addfile(_info(name, len(raw), 0o600, 0), io.BytesIO(raw))

    def add_tree(self, root: Path, name: str) -> None:
        """Everything below the folder `root`, which itself is no link; a missing one is left out silently."""
        if root.is_symlink() or not root.is_dir():
            return
        for folder, depth in _folders(root, self.contents):
            self._add_folder(f"{name}/{folder}" if folder else name)
            for entry in _entries(root, folder, self.contents):
                relative = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if depth >= DEEPEST:
                        self.contents.skip(f"{name}/{relative}", "it lies too deep")
                elif entry.is_file(follow_symlinks=False):
                    self.add_file(root, relative, f"{name}/{relative}")
                else:
                    self.contents.skip(f"{name}/{relative}", "it is not a regular file")

    def add_file(self, root: Path, relative: str, name: str) -> None:
        """One file below `root`."""
        try:
            with opened_regular(root, relative) as fd:
                found = os.fstat(fd)
                if _holes(fd, found.st_size) > HOLES:
                    self.contents.skip(name, "it is mostly holes")
                    return
                mode = 0o700 if found.st_mode & stat.S_IXUSR else 0o600
                reader = _Exactly(fd, found.st_size)
                self._tar.addfile(_info(name, found.st_size, mode, int(found.st_mtime)), reader)
                if reader.padded:
                    self.contents.notes.append(f"{name!r}: it became shorter while it was read")
        except MeliponaError as error:
            self.contents.skip(name, error.message)
            return
        self.contents.files += 1
        self.contents.bytes += found.st_size
        if self._progress is not None:
            self._progress(name, self.contents.bytes)

    def _add_folder(self, name: str) -> None:
        info = _info(name, 0, 0o700, 0)
        info.type = tarfile.DIRTYPE
        self._tar.addfile(info)


def _info(name: str, size: int, mode: int, mtime: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, mtime
    return info


def _folders(root: Path, contents: Contents) -> Iterator[tuple[str, int]]:
    """Every folder below `root` by its relative path, itself first as the empty one; none is entered through a link."""
    todo = [("", 0)]
    while todo:
        folder, depth = todo.pop()
        yield folder, depth
        if depth < DEEPEST:
            inner = [each.name for each in _entries(root, folder, contents) if each.is_dir(follow_symlinks=False)]
            todo += [(f"{folder}/{name}" if folder else name, depth + 1) for name in sorted(inner, reverse=True)]


def _entries(root: Path, folder: str, contents: Contents) -> Iterator[os.DirEntry[str]]:
    try:
        fd = _open_folder(root, folder)
    except OSError as error:
        contents.skip(folder, f"the folder cannot be opened: {error.strerror}")
        return
    try:
        with os.scandir(fd) as entries:
            yield from entries
    finally:
        os.close(fd)


def _open_folder(root: Path, folder: str) -> int:
    """A descriptor of a folder below `root`, component by component, so that no link is passed on the way."""
    fd = os.open(root, _OPEN_FOLDER)
    for name in folder.split("/") if folder else ():
        try:
            inner = os.open(name, _OPEN_FOLDER, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


def _holes(fd: int, size: int) -> int:
    """Bytes of holes in a file; of one in very many pieces more than any limit."""
    if size <= HOLES:
        return 0
    holes, at = 0, 0
    for _ in range(EXTENTS):
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # only a hole is left
            data = size
        holes += data - at
        if data >= size:
            os.lseek(fd, 0, os.SEEK_SET)
            return holes
        at = os.lseek(fd, data, os.SEEK_HOLE)
    return size


class _Exactly(io.RawIOBase):
    """Reads exactly `size` bytes of a descriptor: what cannot be read (any more) is zeros."""

    def __init__(self, fd: int, size: int) -> None:
        super().__init__()
        self._fd, self._left = fd, size
        self.padded = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        self._left -= wanted
        pieces: list[bytes] = []
        while wanted and not self.padded:
            piece = self._piece(wanted)
            self.padded = not piece
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces) + bytes(wanted)

    def _piece(self, most: int) -> bytes:
        try:
            return os.read(self._fd, most)
        except OSError:
            return b""
