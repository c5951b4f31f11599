"""Where the hive listens, and that nothing but a session makes an operator there (T40, T41)."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from melipona.testing.hive import HiveProcess, running_hive

from .operators import Browser

pytestmark = [pytest.mark.boxes, pytest.mark.threat("T41")]

LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
"""127.0.0.1 and ::1 as /proc/net/tcp and tcp6 write them."""
LISTENS = "0A"


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    with running_hive(tmp_path_factory.mktemp("hive")) as running:
        yield running


def test_t41_the_daemon_listens_on_loopback_only(hive: HiveProcess) -> None:
    """T41: of all listening sockets of the process none has another address, and no port is open to UDP."""
    links = [os.readlink(path) for path in Path(f"/proc/{hive.pid}/fd").iterdir() if path.is_symlink()]
    inodes = {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}
    found: list[str] = []
    for table in ("tcp", "tcp6", "udp", "udp6", "raw"):
        for line in Path(f"/proc/{hive.pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and (fields[3] == LISTENS or not table.startswith("tcp")):
                assert table.startswith("tcp"), line
                found.append(fields[1].split(":")[0])
    assert found
    assert set(found) <= LOOPBACK


@pytest.mark.parametrize("how", [(), ("--detach",)], ids=["foreground", "detached"])
@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_t41_another_address_is_refused_without_tls(tmp_path: Path, address: str, how: tuple[str, ...]) -> None:
    """T41: `mel up --host 0.0.0.0` says what would be needed, and nothing listens."""
    data = tmp_path / "hive"
    argv = [sys.executable, "-m", "melipona.cli.main", "up", "--host", address, "--data", str(data), *how]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 1, done
    assert f"{address} can be reached from other machines" in done.stderr
    assert "`behind_proxy` and an https `url` under [access]" in done.stderr
    assert not (data / "run" / "mel.sock").exists()


def test_t41_forwarded_headers_make_nobody_local(hive: HiveProcess) -> None:
    """T41: who asks is what a session says; a stranger learns that the daemon lives and no more."""
    stranger = Browser.of(hive.client)
    for header in ("X-Forwarded-For", "X-Real-Ip", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "Client-Ip"):
        for value in ("127.0.0.1", "localhost", "for=127.0.0.1;host=localhost", "unix:"):
            assert stranger.ask("GET", "/api/v1/state", headers={header: value}).status == 401
    for path in ("/healthz", "/readyz"):
        answer = stranger.ask("GET", path)
        assert len(answer.body) < 200
        for secret in (str(hive.data), hive.store_id(), str(hive.pid)):
            assert secret.encode() not in answer.body


@pytest.mark.threat("T40")
def test_t40_a_squatter_on_the_port_keeps_the_hive_from_starting_and_hears_nothing(hive: HiveProcess) -> None:
    """T40: it is told who is in the way; no session and no link goes to whoever took the port."""
    port = Browser.of(hive.client).port
    assert hive.stop() == 0
    with socket.create_server(("127.0.0.1", port)) as squatter:
        squatter.setblocking(False)
        with pytest.raises(AssertionError, match=f"port {port} on 127.0.0.1 is used by another program"):
            hive.start()
        with pytest.raises(BlockingIOError):
            squatter.accept()
    hive.start()
    assert (hive.data / "run").stat().st_mode & 0o777 == 0o700
