"""A whole hive on a disk that fails or is full (I-17, D-2, SECURITY.md 6.2)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from melipona.client import Problem
from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.boxes

SHIM = Path(__file__).parents[1] / "store" / "failing_disk.c"
UNKNOWN_OUTCOME = 75


@pytest.fixture(scope="session")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim that makes a disk fail on command."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: a failing disk is tried by the store's tests only")
    library = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"], check=True, timeout=60)
    return library


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """While this file holds a word, the disk fails so."""
    return tmp_path / "fail"


@pytest.fixture
def hive(tmp_path: Path, failing_disk: Path, control: Path) -> Generator[HiveProcess]:
    made = HiveProcess(tmp_path / "hive", env={"LD_PRELOAD": str(failing_disk), "FAILING_DISK": str(control)})
    made.start()
    try:
        yield made
    finally:
        control.unlink(missing_ok=True)
        made.close()


def test_a_commit_that_may_have_failed_ends_the_daemon_with_75(hive: HiveProcess, control: Path) -> None:
    """D-2: the caller is told that it is unknown; the next daemon goes on with all that was acknowledged."""
    hive.agent("ana")
    first = hive.send("ana", "one")
    hive.wait_for("turn.ended")
    control.write_text("fsync")
    with pytest.raises(Problem) as told:
        hive.send("ana", "two")
    assert told.value.code == "outcome_unknown"
    assert hive.died() == UNKNOWN_OUTCOME, hive.log
    assert "Traceback" not in hive.log
    control.unlink()
    hive.start()
    assert hive.message(first)["state"] == "handled"
    hive.send("ana", "three")
    hive.wait_for("message.sent", lambda e: e["agent"] == "ana")
    hive.wait_for("turn.ended", count=2)


def test_a_full_disk_is_told_and_the_hive_goes_on_when_there_is_space(hive: HiveProcess, control: Path) -> None:
    """I-17: the daemon stays, says why, loses nothing acknowledged, and goes on by itself."""
    playbook = '[[rule]]\nsteps = [{ hold = "/ws/go", timeout = 100 }, { send = "heard: {body}" }]\n'
    hive.agent("ana", playbook=playbook)
    first = hive.send("ana", "one")
    number = int(hive.wait_for("turn.started")["data"]["id"])
    for _name, _id, data in hive.client.stream(f"/turns/{number}/stream"):
        if data.get("event", {}).get("type") == "tool_call":
            break
    daemon = hive.pid
    control.write_text("write")
    with pytest.raises(Problem) as told:
        hive.send("ana", "two")
    assert told.value.code == "store_full"
    assert "only reads" in str(told.value)
    assert hive.message(first)["state"] == "leased"
    control.unlink()
    (hive.work("ana") / "go").touch()
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{first}")
    assert hive.pid == daemon
    assert hive.client.ready()
    assert "heard: one" in hive.answers("ana")
