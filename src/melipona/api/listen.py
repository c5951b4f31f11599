"""The operator's two sockets: a unix socket in a folder of ours, and a loopback port that is picked once and kept."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select

from melipona.errors import Refused, WorldFailed
from melipona.store.engine import Store
from melipona.store.schema import meta

SOCKET = "mel.sock"
PORTS = range(20_000, 32_000)
"""Below the range from which Linux takes ports for outgoing connections: those would now and then be in the way."""
TRIES = 50


@dataclass(frozen=True, slots=True)
class Listeners:
    """Bound and listening sockets."""

    unix: socket.socket
    tcp: socket.socket

    @property
    def port(self) -> int:
        """Of the loopback socket."""
        return int(self.tcp.getsockname()[1])

    def close(self) -> None:
        """Close both."""
        self.unix.close()
        self.tcp.close()


async def listen(store: Store, run: Path, *, port: int = 0, host: str = "127.0.0.1") -> Listeners:
    """Bind both sockets. `run` is the folder of the unix socket; `port` 0 means the kept one, or a free one for good.
    `host` is the address of the other; whether it may be another than loopback is `access.exposure`'s business.

    The caller holds the lock of the data folder, so that a socket which is there already is a dead daemon's.

    Raises:
        Refused: the folder is not ours alone.
        WorldFailed: the port is in use.
    """
    unix = listen_unix(run)
    try:
        kept = port or await store.read(_kept_port)
        tcp = _bind(kept, host) if kept else _bind_any(host)
        if not port and not kept:
            await store.reserved.write(_keep_port, int(tcp.getsockname()[1]))
    except BaseException:
        unix.close()
        raise
    return Listeners(unix, tcp)


def listen_unix(folder: Path) -> socket.socket:
    """A listening unix socket in `folder`, which is made if it is missing and must be ours with mode 0700."""
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _check_ours(folder, os.fstat(descriptor))
        try:
            os.unlink(SOCKET, dir_fd=descriptor)
        except FileNotFoundError:
            pass
        old = os.umask(0o177)
        try:
            sock.bind(f"/proc/self/fd/{descriptor}/{SOCKET}")  # a path of AF_UNIX has at most 107 bytes (D-10)
        finally:
            os.umask(old)
        sock.listen(128)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(descriptor)
    return sock


def _check_ours(folder: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise Refused(f"{folder} is not a folder of yours alone", remedy=f"chown and chmod 700 {folder}")


def _bind_any(host: str) -> socket.socket:
    for _ in range(TRIES):
        try:
            return _bind(secrets.choice(PORTS), host)
        except WorldFailed:
            continue
    return _bind(0, host)


def _bind(port: int, host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        used = error.errno == errno.EADDRINUSE
        raise WorldFailed(
            f"port {port} on {host} {'is used by another program' if used else f'cannot be had: {error.strerror}'}",
            remedy="end that program, or set another `port` under [hive] in mel.toml",
            code="port_in_use",
        ) from error
    return sock


def _kept_port(c: Connection) -> int:
    value = c.execute(select(meta.c.value).where(meta.c.key == "api_port")).scalar_one_or_none()
    return 0 if value is None else int(value)


def _keep_port(c: Connection, port: int) -> None:
    c.execute(insert(meta).values(key="api_port", value=str(port)))
