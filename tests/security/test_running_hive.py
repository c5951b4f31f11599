"""A hive that runs: its key is nowhere, and another user of the machine sees nothing of it (T37, T40, line 27)."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from melipona.testing.hive import QUICK, HiveProcess, running_hive

pytestmark = pytest.mark.boxes

CANARY = "sk-ant-canary-running-hive-01234"
NOBODY = 65534
LOOKS = """[[rule]]
steps = [{ shell = "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\\\0' '\\\\n'", into = "seen" },
         { send = "{seen}" }]
"""
STRANGER = """
import json, os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
got = []
for path in json.load(sys.stdin):
    try:
        os.listdir(path) if path.endswith("/") else os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        got.append(path)
    except OSError:
        pass
    try:
        s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(path); got.append("socket " + path)
    except OSError:
        pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        if open(f"/proc/{pid}/environ", "rb").read().find(sys.argv[2].encode()) >= 0 and int(pid) != os.getpid():
            got.append(f"environ of {pid}")
    except OSError:
        pass
print(json.dumps(got))
"""


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    """A hive with a key whose agent has looked at everything in its box and told it."""
    env = {"ANTHROPIC_API_KEY": CANARY, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    with running_hive(tmp_path_factory.mktemp("hive"), config=QUICK, env=env) as running:
        running.agent("ana", playbook=LOOKS)
        running.send("ana", "look")
        ended = running.wait_for("turn.ended")
        assert ended["data"]["result"] == "ok", ended
        yield running


@pytest.mark.threat("T37")
def test_the_key_is_in_no_file_answer_backup_and_process_list(hive: HiveProcess, tmp_path: Path) -> None:
    """T37, invariant 27: it is in the memory of the daemon, and in the environment it was given by its owner."""
    canary = CANARY.encode()
    (seen,) = hive.answers("ana")
    assert "PATH=" in seen
    assert CANARY not in seen
    hive.client.post("/backup", {"path": str(tmp_path / "b.tar.gz"), "homes": True})
    assert canary not in gzip.decompress((tmp_path / "b.tar.gz").read_bytes())
    files = [path for path in hive.data.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "mel.db" for path in files)
    assert [str(path) for path in files if canary in path.read_bytes()] == []
    assert CANARY not in hive.log
    assert CANARY not in json.dumps(hive.client.post("/doctor", timeout=60))
    for path in ("/state", "/events/page", "/turns", "/agents/ana"):
        assert CANARY not in json.dumps(hive.client.get(path)), path
    assert canary not in _answer(hive, "/metrics")
    lines = {entry.name: _read(entry / "cmdline") for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    assert [pid for pid, line in lines.items() if canary in line] == []
    holders = {int(entry.name) for entry in Path("/proc").iterdir() if canary in _read(entry / "environ")}
    assert holders <= {hive.pid, os.getpid()}


def test_everything_lies_in_a_folder_that_is_its_owners_alone(hive: HiveProcess) -> None:
    """T40: one closed door before all files, sockets and logs; what secrets lie in are closed themselves."""
    assert hive.data.stat().st_mode & 0o777 == 0o700
    for path in [hive.data / "run", *(hive.data / "turns").rglob("*"), *hive.data.glob("mel.db*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert (hive.data / "daemon.lock").stat().st_mode & 0o077 == 0
    assert list(hive.data.rglob("*.sock")), "no sockets to try"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.threat("T40")
def test_another_user_opens_no_file_and_no_socket_of_the_hive(hive: HiveProcess) -> None:
    """T40: as a second uid and as the uid of the boxes, even with all paths leading there open: EACCES everywhere."""
    paths = [str(path) + ("/" if path.is_dir() else "") for path in hive.data.rglob("*") if not path.is_symlink()]
    opened: list[tuple[Path, int]] = []
    for above in hive.data.parents:
        mode = above.stat().st_mode & 0o7777
        if not mode & 0o001:
            opened.append((above, mode))
            above.chmod(mode | 0o001)
    try:
        for uid in (NOBODY, 64000):
            argv = [sys.executable, "-I", "-c", STRANGER, str(uid), CANARY[:-4]]
            argv[0] = os.path.realpath(sys.executable)
            done = subprocess.run(argv, input=json.dumps(paths).encode(), capture_output=True, timeout=60, check=True)
            assert json.loads(done.stdout) == []
    finally:
        for above, mode in opened:
            above.chmod(mode)


def test_the_port_alone_makes_nobody_an_operator(hive: HiveProcess) -> None:
    """T40: any user of the machine reaches it; without a session there are four plain pages and no data."""
    address = hive.client.get("/state")["api"]
    port = int(str(address["url"] if isinstance(address, dict) else address).rsplit(":", 1)[1].strip("/"))
    for path, status in (("/api/v1/state", 401), ("/api/v1/events", 403), ("/metrics", 401), ("/healthz", 200)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == status, (path, body)
        assert b"ana" not in body


def _answer(hive: HiveProcess, path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(hive.data / "run" / "mel.sock"))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        parts: list[bytes] = []
        while part := sock.recv(65536):
            parts.append(part)
    answer = b"".join(parts)
    assert b" 200 " in answer.splitlines()[0], answer
    return answer


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
