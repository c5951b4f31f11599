"""Who may speak on the unix socket: the owner's uid and our own PID namespace (D-42, T11, section 7 line 25)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from melipona.api.listen import listen_unix
from melipona.api.peers import check_peer
from melipona.errors import Refused
from melipona.testing.served import ServedHive

ASK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"GET /api/v1/state HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
data = b""
while part := s.recv(65536):
    data += part
sys.stdout.buffer.write(data)
"""


def test_a_process_of_ours_is_heard() -> None:
    """The plain case, through another process."""
    assert _verdict_of() is None


@pytest.mark.threat("T11")
def test_a_process_in_another_pid_namespace_is_refused(hive: ServedHive) -> None:
    """T11: a socket that leaked into a box makes no operator, although the box has the owner's uid."""
    inside = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--kill-child", sys.executable, "-c", ASK]
    path = str(hive.data / "run" / "mel.sock")
    answer = subprocess.run([*inside, path], capture_output=True, timeout=30, check=False)
    head, _, body = answer.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403"), (head, answer.stderr)
    assert b"melipona-protocol: 1" in head
    assert b"run mel outside containers" in body
    assert hive.client.get("/state")["agents"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.threat("T40")
def test_another_user_is_refused() -> None:
    """T40: by uid, whatever the folder's mode is."""
    verdict = _verdict_of(65534)
    assert verdict is not None
    assert verdict.code == "foreign_user"


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    """T40: the socket's folder is ours alone."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    folder.chmod(mode)
    with pytest.raises(Refused, match="yours alone"):
        listen_unix(folder)


def test_a_link_instead_of_the_folder_is_refused(tmp_path: Path) -> None:
    """T40: nobody chooses another place for us."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="run"):
        listen_unix(tmp_path / "run")


def test_the_socket_has_no_permissions_for_others(hive: ServedHive) -> None:
    """Mode 0600 in a 0700 folder."""
    assert (hive.data / "run").stat().st_mode & 0o777 == 0o700
    assert (hive.data / "run" / "mel.sock").stat().st_mode & 0o077 == 0


def _verdict_of(user: int | None = None) -> Refused | None:
    """What is said of a process that connects, under another uid if one is given."""
    name = f"\0melipona-peer-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(1)
        listener.settimeout(20)
        child = os.fork()
        if child == 0:
            _connect(name, user)
        peer, _ = listener.accept()
        try:
            check_peer(peer)
        except Refused as refused:
            return refused
        finally:
            peer.close()
            os.waitpid(child, 0)
    return None


def _connect(name: str, user: int | None) -> NoReturn:
    try:
        if user is not None:
            os.setuid(user)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(name)
            sock.recv(1)
    finally:
        os._exit(0)
