"""One daemon a data folder; systemd is told (D-2)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from melipona.daemon_process import hold_data, notify
from melipona.errors import Conflict


def test_a_second_daemon_of_a_folder_is_refused_and_no_child_holds_the_lock(tmp_path: Path) -> None:
    """D-2: by flock on a descriptor that no child inherits."""
    data = tmp_path / "hive"
    lock = hold_data(data)
    assert data.stat().st_mode & 0o777 == 0o700
    with pytest.raises(Conflict, match="another daemon"):
        hold_data(data)
    argv = [sys.executable, "-c", "print('here', flush=True); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        os.close(lock)
        os.close(hold_data(data))
        child.communicate(b"\n")


def test_systemd_is_told_by_path_or_abstract_name_and_only_if_it_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    for address, name in (
        (str(tmp_path / "n"), str(tmp_path / "n")),
        (f"\0mel-{os.getpid()}", f"@mel-{os.getpid()}"),
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(address)
            sock.settimeout(5)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            notify("READY=1")
            assert sock.recv(100) == b"READY=1"
    notify("READY=1")  # nobody listens any more: told in the log, and no error
