"""Unix sockets in folders of any depth: a path over 107 bytes is reached through an opened folder (D-10).

Who may connect is the caller's matter: this module only makes the file with the mode that it is given.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from melipona.errors import WorldFailed


def listen_unix(
    folder: Path, name: str, *, mode: int = 0o600, gid: int | None = None, backlog: int = 128
) -> socket.socket:
    """A listening, non-blocking stream socket at `folder/name`, in place of whatever socket was there.

    It takes its name only once it listens and has its mode and group, so that who dials during a restart finds the
    old dead one or the new one and never none. Nothing removes the file at the end; the next one replaces it.

    Raises:
        WorldFailed: the folder is missing or a link, or the file cannot be made in it.
    """
    new = f".{name}.new"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _opened(folder) as fd:
            with suppress(FileNotFoundError):
                os.unlink(new, dir_fd=fd)
            listener.bind(_through(fd, new))
            os.chmod(new, mode, dir_fd=fd)
            if gid is not None:
                os.chown(new, -1, gid, dir_fd=fd, follow_symlinks=False)
            listener.listen(backlog)
            listener.setblocking(False)
            os.rename(new, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException as error:
        listener.close()
        if not isinstance(error, OSError):
            raise
        raise WorldFailed(f"cannot listen at {folder / name}: {error}", code="socket") from error
    return listener


def dial_unix(folder: Path, name: str, *, timeout_seconds: float | None = 5.0) -> socket.socket:
    """A blocking stream socket connected to `folder/name`.

    Raises:
        OSError: nothing listens there (`ConnectionRefusedError`, `FileNotFoundError`), or it takes too long.
    """
    dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        dialled.settimeout(timeout_seconds)
        with _opened(folder) as fd:
            dialled.connect(_through(fd, name))
    except BaseException:
        dialled.close()
        raise
    return dialled


def peer_pid(connected: socket.socket) -> int:
    """The host pid of the process that connected (SO_PEERCRED); 0 when it lives in a PID namespace we cannot see."""
    pid, _uid, _gid = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


@contextmanager
def _opened(folder: Path) -> Generator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _through(fd: int, name: str) -> str:
    if "/" in name or len(name) > 60:
        raise ValueError(f"{name!r} is not the bare name of a socket")
    return f"/proc/self/fd/{fd}/{name}"
