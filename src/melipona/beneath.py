"""Opening a file below a folder whose contents somebody else writes, without following anything out of it (T23).

The kernel resolves the path (`openat2`): beneath the folder, no links of any kind, no other file system. So there is no
moment between a check and its use in which the path could be swapped. What is opened is a regular file with one name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from melipona.errors import Invalid, LimitReached, NotFound, WorldFailed

OPENAT2 = 437
"""The system call's number, the same on all architectures."""
RESOLVE = 0x08 | 0x04 | 0x02 | 0x01
"""BENEATH, NO_SYMLINKS, NO_MAGICLINKS, NO_XDEV (linux/openat2.h)."""
_ATTEMPTS = 8
"""The kernel answers EAGAIN when something was renamed meanwhile."""

_libc = ctypes.CDLL(None, use_errno=True)


def read_regular(folder: Path, relative: str, *, limit: int) -> bytes:
    """The bytes of the regular file at `relative` below `folder`, at most `limit`. Blocks on the disk.

    Raises:
        NotFound: nothing is there. LimitReached: it is larger.
        Invalid: the path leaves the folder or passes a link, or what is there is no regular file with one name.
        WorldFailed: the folder cannot be opened, or the kernel is too old.
    """
    with opened_regular(folder, relative) as fd:
        return read_open(fd, relative, limit=limit)


def read_open(fd: int, name: str, *, limit: int) -> bytes:
    """The bytes of an opened file, at most `limit`; `name` is what a failure calls it.

    Raises:
        LimitReached: it is larger, or grew larger meanwhile.
    """
    if os.fstat(fd).st_size > limit:
        raise LimitReached(f"{name} is larger than {limit} bytes", remedy="make it smaller", code="file_too_big")
    chunks: list[bytes] = []
    size = 0
    while size <= limit and (chunk := os.read(fd, min(limit + 1 - size, 1 << 18))):
        chunks.append(chunk)
        size += len(chunk)
    if size > limit:
        raise LimitReached(f"{name} grew beyond {limit} bytes", remedy="make it smaller", code="file_too_big")
    return b"".join(chunks)


@contextmanager
def opened_regular(folder: Path, relative: str) -> Generator[int]:
    """A descriptor for reading the regular file at `relative` below `folder`; raises as `read_regular`."""
    cut = relative.rfind("/")
    parent = "." if cut < 0 else relative[:cut] or "/"
    place = _opened(folder, parent, os.O_DIRECTORY, shown=relative)
    try:
        fd = _open_below(place, relative[cut + 1 :] or ".", os.O_NONBLOCK | os.O_NOCTTY, shown=relative)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or _unlinked(fd, place):
                raise Invalid(f"{relative} is not a regular file with one name", remedy="copy it", code="not_a_file")
            yield fd
        finally:
            os.close(fd)
    finally:
        os.close(place)


@contextmanager
def opened_folder(folder: Path, relative: str) -> Generator[int]:
    """A descriptor of the folder at `relative` below `folder`, `.` for itself; raises as `read_regular`."""
    fd = _opened(folder, relative, os.O_DIRECTORY, shown=relative)
    try:
        yield fd
    finally:
        os.close(fd)


def _opened(folder: Path, relative: str, flags: int, *, shown: str) -> int:
    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise WorldFailed(f"{folder}: {error.strerror}") from error
    try:
        return _open_below(root, relative, flags, shown=shown)
    finally:
        os.close(root)


def _unlinked(fd: int, place: int) -> bool:
    """Whether the name in the folder `place` that was opened is gone. Asked after its names were seen to be one.

    The one name could be another than the one we came by: a hard link of a file elsewhere that was removed between
    opening and counting. A name that is there now was there then, and was the only one. The kernel takes a name from
    the count before it takes it from the folder, and holds the folder's lock until both are done: who reads the folder
    has waited for that.
    """
    with os.scandir(place) as entries:
        next(entries, None)
    return Path(f"/proc/self/fd/{fd}").readlink().name.endswith(" (deleted)")


def _open_below(root: int, relative: str, more: int, *, shown: str) -> int:
    if "\0" in relative:  # C would end the name there: what is checked would not be what is opened
        raise Invalid("there is a NUL in the path", remedy="name a file", code="bad_path")
    flags = os.O_RDONLY | os.O_CLOEXEC | more
    how = (ctypes.c_uint64 * 3)(flags, 0, RESOLVE)
    path = relative.encode(errors="surrogateescape")
    for _ in range(_ATTEMPTS):
        fd = int(_libc.syscall(OPENAT2, root, path, ctypes.byref(how), ctypes.sizeof(how)))
        if fd >= 0:
            return fd
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    raise _failure(shown, ctypes.get_errno())


def _failure(relative: str, number: int) -> Exception:
    if number in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"there is no file {relative}", code="no_file")
    if number == errno.ENOSYS:
        return WorldFailed("this kernel has no openat2", remedy="Linux 5.6 or newer is needed")
    if number in (errno.EXDEV, errno.ELOOP):
        return Invalid(f"{relative} leads out of its folder or through a link", remedy="copy it", code="bad_path")
    return Invalid(f"{relative} cannot be opened: {os.strerror(number)}", code="bad_path")
