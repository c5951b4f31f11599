"""Who is at the other end of the operator's unix socket: the owner's uid *and* our own PID namespace (D-42, T11).

A box runs under the uid of the daemon (or of one owner), so the uid alone would make a socket that leaked into a box an
operator's login. The peer is held by its pidfd while its namespace is read, so that its pid cannot come to mean another
process in between. What cannot be read is refused.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

from melipona.errors import Refused

SO_PEERPIDFD = 77
OUTSIDE = "run mel outside containers, as the user who owns the hive"


def check_peer(sock: socket.socket) -> None:
    """Accept the owner's own processes outside of any box.

    Raises:
        Refused: the peer is another user, in another PID namespace, gone, or cannot be told.
    """
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid != os.geteuid():
        raise Refused(
            f"this hive belongs to uid {os.geteuid()}, and you are uid {uid}",
            remedy="run mel as the user that runs the hive",
            code="foreign_user",
        )
    if _peer_namespace(sock, pid) != _namespace("self"):
        raise Refused("the caller is in another PID namespace", remedy=OUTSIDE, code="foreign_namespace")


def _peer_namespace(sock: socket.socket, pid: int) -> tuple[int, int] | None:
    """The peer's PID namespace by device and inode, None when it cannot be told."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, 4)
    except OSError:
        return _by_start_time(pid)
    pidfd = struct.unpack("i", raw)[0]
    try:
        found = _pid_of(pidfd)
        namespace = _namespace(str(found)) if found > 0 else None
        return namespace if _pid_of(pidfd) == found else None
    finally:
        os.close(pidfd)


def _by_start_time(pid: int) -> tuple[int, int] | None:
    """Kernels before 6.5: the process must be the same one before and after the look, by its start time."""
    before = _start_time(pid)
    namespace = _namespace(str(pid))
    return namespace if before is not None and before == _start_time(pid) else None


def _pid_of(pidfd: int) -> int:
    """The pid behind a pidfd in our namespace: 0 when it has none here, -1 when the process is gone."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return -1


def _namespace(process: str) -> tuple[int, int] | None:
    try:
        status = Path(f"/proc/{process}/ns/pid").stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _start_time(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
