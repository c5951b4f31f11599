"""The launchers' server: what it forks is what a fresh launcher is, and it lives no longer than it is of use (D-7)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from melipona.boxes.launch import LAUNCHER
from melipona.boxes.launch_server import LaunchServer

USER = ("-", "-") if os.geteuid() else ("64000", "64000")
SECONDS = 20.0
TELLS = """
import os, sys
print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')))
print(dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid(), os.getppid() != int(sys.argv[1]), os.getuid())
print(os.read(7, 5))
"""


def _said(read: int) -> str:
    with os.fdopen(read, "rb") as file:
        return file.read().decode()


def _run(server: LaunchServer, *plan: str, more: dict[int, int] | None = None) -> tuple[int, str]:
    """Its exit code, and what was written to 1 and 2."""
    read, write = os.pipe()
    try:
        code = server.run([*USER, "0", *plan], {1: write, 2: write, **(more or {})})
    finally:
        os.close(write)
    return code, _said(read)


def _servers() -> set[int]:
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(LAUNCHER).encode() in words and b"serve" in words:
                found.add(int(entry.name))
    return found


def _gone(pids: set[int]) -> None:
    end = time.monotonic() + SECONDS
    for pid in pids:
        fd = -1
        try:
            fd = os.pidfd_open(pid)
            assert select.select([fd], [], [], end - time.monotonic())[0], f"{pid} is still there"
        except ProcessLookupError:
            continue
        finally:
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def server() -> LaunchServer:
    return LaunchServer(LAUNCHER)


def test_a_forked_launcher_holds_what_it_was_given_and_nothing_else(
    server: LaunchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-7, T37: no descriptor, environment or folder of the daemon's; a session and a parent that are not ours."""
    monkeypatch.setenv("CANARY", "sk-ant-canary")
    secret, _ = os.pipe()
    os.set_inheritable(secret, True)
    read, write = os.pipe()
    os.write(write, b"hello")
    code, said = _run(server, "/usr/bin/python3", "-I", "-S", "-c", TELLS, str(os.getpid()), more={7: read})
    assert code == 0
    held, world, heard = said.splitlines()
    assert set(map(int, held.strip("[]").split(","))) <= {0, 1, 2, 3, 7}  # 3 is the listing's own
    assert "CANARY" not in world
    assert world.endswith(f"/ True True {os.geteuid() or 64000}")
    assert heard == "b'hello'"


def test_many_launchers_come_from_one_server(server: LaunchServer) -> None:
    before = _servers()
    for number in range(20):
        assert _run(server, "/bin/echo", str(number)) == (0, f"{number}\n")
    assert len(_servers() - before) == 1


def test_what_fails_in_a_forked_launcher_is_told_and_fails_no_other(server: LaunchServer) -> None:
    assert "launcher: " in _run(server, "/nonexistent/bwrap")[1]
    code, said = _run(server)
    assert code == 1 or "launcher: " in said
    assert _run(server, "/bin/echo", "there") == (0, "there\n")


def test_a_server_ends_with_its_driver_and_with_its_daemon() -> None:
    before = _servers()
    server = LaunchServer(LAUNCHER)
    _run(server, "/bin/true")
    first = _servers() - before
    assert len(first) == 1
    del server
    _gone(first)
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom melipona.boxes.launch_server import LaunchServer\n"
        f"s = LaunchServer(Path({str(LAUNCHER)!r}))\nr, w = os.pipe()\n"
        f"s.run({[*USER, '0', '/bin/true']!r}, {{1: w, 2: w}})\nos.close(w)\nos.read(r, 1)\n"
        "print('up', flush=True)\nsignal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"up\n"
        second = _servers() - before - first
        daemon.send_signal(signal.SIGKILL)
    assert len(second) == 1
    _gone(second)


def test_without_its_server_a_launcher_is_started_afresh_and_the_next_by_a_new_server(server: LaunchServer) -> None:
    before = _servers()
    _run(server, "/bin/true")
    killed = _servers() - before
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    _gone(killed)
    with pytest.raises(OSError, match="pipe"):
        _run(server, "/bin/true")
    assert _run(server, "/bin/echo", "again") == (0, "again\n")
