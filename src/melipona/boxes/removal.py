"""Remove a folder whatever an agent left in it: links, sockets, closed folders, trees of any depth (invariant 36).

No path is ever resolved through what is removed: each folder is opened by one name below an open parent without
following links. Folders found inside are first moved up beside the top, so a tree that is 100,000 levels deep needs
neither recursion nor more than two descriptors.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from melipona.errors import WorldFailed
from melipona.faults import fault_here

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_O_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(top: Path, *, keep_top: bool = False) -> None:
    """Remove `top` (or, with `keep_top`, all in it). A folder that is not there is a success.

    Raises:
        WorldFailed: something could not be removed: a mount, a folder of another user.
    """
    try:
        fd = os.open(top, _OPEN_FOLDER)
    except FileNotFoundError:
        return
    except OSError as error:
        raise WorldFailed(f"{top} cannot be removed: {error.strerror}") from error
    try:
        fault_here("boxes.removal.before_empty")
        _empty(fd)
        fault_here("boxes.removal.after_empty")
        if not keep_top:
            top.rmdir()
    except OSError as error:
        raise WorldFailed(f"{top} cannot be removed: {error.strerror}", remedy="remove it by hand") from error
    finally:
        os.close(fd)


def _empty(top: int) -> None:
    """Remove all entries of an open folder. Each pass empties the folders of one level, lifting theirs up."""
    lifted = 0
    while names := os.listdir(top):
        for name in names:
            if not _is_folder(name, top):
                os.unlink(name, dir_fd=top)
                continue
            lifted = _lift_folders(name, top, lifted)
            os.rmdir(name, dir_fd=top)


def _lift_folders(name: str, top: int, lifted: int) -> int:
    """Empty the folder `name` of `top`: unlink what is no folder, move each folder up into `top`."""
    fd = _open_folder(name, top)
    try:
        for entry in os.listdir(fd):  # noqa: PTH208  (names below a descriptor)
            if not _is_folder(entry, fd):
                os.unlink(entry, dir_fd=fd)
                continue
            os.close(_open_folder(entry, fd))
            lifted = _free_number(top, lifted)
            os.rename(entry, f".{lifted}", src_dir_fd=fd, dst_dir_fd=top)
    finally:
        os.close(fd)
    return lifted


def _free_number(top: int, number: int) -> int:
    while True:
        number += 1
        try:
            os.stat(f".{number}", dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            return number


def _is_folder(name: str, parent: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


def _open_folder(name: str, parent: int) -> int:
    """Open one folder, giving its owner all rights first (an agent may have closed it)."""
    handle = os.open(name, _O_PATH | os.O_DIRECTORY, dir_fd=parent)
    try:
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            Path(f"/proc/self/fd/{handle}").chmod(0o700)
        return os.open(".", _OPEN_FOLDER, dir_fd=handle)
    finally:
        os.close(handle)
