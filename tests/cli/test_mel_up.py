"""Starting and ending a hive: the parent that starts a daemon again, the folder, a real `mel up` (D-2, T40)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from melipona.cli import supervise
from melipona.cli.supervise import Supervisor
from melipona.client import Client

Mel = Any
DEADLINE = 60.0


def _program(tmp_path: Path, *codes: str) -> list[str]:
    """A program that does the next of `codes` at each start, and counts its starts in a file."""
    script = tmp_path / "program.py"
    script.write_text(
        "import os, pathlib, signal, sys, time\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "n = len(count.read_text()) if count.exists() else 0\n"
        "count.open('a').write('x')\n"
        f"exec({list(codes)!r}[min(n, {len(codes) - 1})])\n"
    )
    return [sys.executable, str(script)]


def _starts(tmp_path: Path) -> int:
    return len((tmp_path / "count").read_text())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "BACK_OFF", (0.01,))


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("abnormal", [KILL, "sys.exit(75)", "os.abort()", "sys.exit(3)"])
def test_an_abnormal_end_is_followed_by_a_start(tmp_path: Path, abnormal: str) -> None:
    """D-2: crash, signal, exit 75; an orderly end is not."""
    assert Supervisor(_program(tmp_path, abnormal, abnormal, "sys.exit(0)")).run() == 0
    assert _starts(tmp_path) == 3


def test_five_abnormal_ends_in_ten_minutes_are_enough(tmp_path: Path) -> None:
    """D-2: then a person must look."""
    assert Supervisor(_program(tmp_path, KILL)).run() == 1
    assert _starts(tmp_path) == 5


@pytest.mark.parametrize("code", [74, 75])
def test_a_disk_that_does_not_work_is_waited_for(tmp_path: Path, code: int) -> None:
    """I-17: full, read-only or failing for hours, and the hive goes on by itself when the cause is gone."""
    ends = [KILL, *[f"sys.exit({code})"] * 12, "sys.exit(0)"]
    assert Supervisor(_program(tmp_path, *ends)).run() == 0
    assert _starts(tmp_path) == 14


@pytest.mark.parametrize("code", [1, 2, 74])
def test_a_first_start_that_fails_is_not_repeated(tmp_path: Path, code: int) -> None:
    """Whoever typed `mel up` reads the reason at once."""
    assert Supervisor(_program(tmp_path, f"sys.exit({code})")).run() == code
    assert _starts(tmp_path) == 1


@pytest.mark.parametrize("mode", [0o755, 0o710])
def test_a_folder_that_others_may_enter_is_refused(data: Path, mel: Mel, mode: int) -> None:
    """T40: with the command that mends it."""
    data.mkdir()
    data.chmod(mode)
    said = mel("up", "--detach")
    assert said.code == 4
    assert f"chmod 700 {data}" in said.err


def test_a_link_as_folder_is_refused(data: Path, mel: Mel, tmp_path: Path) -> None:
    """T40."""
    (tmp_path / "real").mkdir(mode=0o700)
    data.symlink_to(tmp_path / "real")
    assert mel("up", "--detach").code == 4


def test_a_wrong_mel_toml_is_told_at_once(data: Path, mel: Mel, tmp_path: Path) -> None:
    """The daemon's reason, not a time-out."""
    config = tmp_path / "mel.toml"
    config.write_text("[mial]\n")
    began = time.monotonic()
    said = mel("up", "--detach", "--config", str(config))
    assert said.code == 1
    assert "did you mean 'mail'" in said.err
    assert time.monotonic() - began < 20


def test_a_hive_comes_up_survives_a_kill_and_goes_down(data: Path) -> None:
    """D-2: one line with a link; the same on a running hive; kill -9 is mended; `down` leaves nothing."""
    try:
        first = _mel(data, "up", "--detach")
        assert first.returncode == 0, first.stderr
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/login#\S+\n", first.stdout)
        assert data.stat().st_mode & 0o777 == 0o700
        again = _mel(data, "up", "--detach")
        assert again.stdout.partition("#")[0] == first.stdout.partition("#")[0]
        before = Client(data).get("/state")
        os.kill(before["daemon"]["pid"], signal.SIGKILL)
        _until(lambda: _pid(data) not in (None, before["daemon"]["pid"]))
        assert Client(data).get("/state")["api"] == before["api"]
        assert supervise.running(data) is not None
    finally:
        down = _mel(data, "down")
    assert down.returncode == 0, down.stderr
    assert supervise.running(data) is None
    assert _mel(data, "down").returncode == 5
    assert not _processes_of(data)


def test_in_the_foreground_the_link_is_in_a_private_file(data: Path) -> None:
    """SECURITY.md section 5, first run: a daemon whose stdout is no terminal never writes the link there."""
    environment = {**os.environ, "MEL_DATA": str(data)}
    with subprocess.Popen(
        [sys.executable, "-m", "melipona.cli.main", "up"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            link = data / "run" / "login-link"
            _until(lambda: link.exists() and link.read_text().endswith("\n"))
            assert link.stat().st_mode & 0o777 == 0o600
            assert _pid(data) == process.pid
            process.terminate()
            output = process.communicate(timeout=DEADLINE)[0].decode()
        finally:
            process.kill()
    assert process.returncode == 0
    assert "login#" not in output
    assert not _processes_of(data)


def _mel(data: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a person runs it."""
    argv = [sys.executable, "-m", "melipona.cli.main", "--data", str(data), *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=2 * DEADLINE, check=False)


def _pid(data: Path) -> int | None:
    client = Client(data, timeout=5)
    return client.get("/state")["daemon"]["pid"] if client.ready() else None


def _processes_of(data: Path) -> list[str]:
    """Command lines that name the folder."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(data) in line and "melipona" in line:
            found.append(line)
    return found


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
