"""A hive on a disk that really gets full: a small tmpfs (I-17, SECURITY.md section 7 line 31).

Root mounts it. An ordinary user cannot mount where a daemon's boxes can be started too, so there the file system is a
fault of its own kind: `measure`-driven tests of the levels (tests/store/test_store_space.py) and the shim that answers
ENOSPC (tests/e2e/test_failing_disk.py) run for everybody.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from melipona.client import Problem
from melipona.store.space import BALLAST
from melipona.testing import invariants
from melipona.testing.hive import QUICK, HiveProcess
from melipona.testing.invariants import Expect, Promise

pytestmark = pytest.mark.boxes

MIB = 1 << 20
CONFIG = QUICK.replace(
    "ballast_bytes = 1048576", f"ballast_bytes = {16 * MIB}\nfloor_percent = 0\nfloor_bytes = {24 * MIB}"
)
WORK = """
[[rule]]
steps = [{ hold = "/ws/go", timeout = 100 }, { send = "heard: {body}" }]
"""


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 96 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system; the shim's tests run instead")
    mount = tmp_path / "disk"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m,mode=755", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.decode().strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.fixture
def hive(disk: Path) -> Generator[HiveProcess]:
    made = HiveProcess(disk / "hive", config=CONFIG)
    made.start()
    try:
        yield made
    finally:
        (disk / "fill").unlink(missing_ok=True)
        made.close()


def fill(disk: Path, leave: int) -> None:
    """Take all but `leave` bytes; 0 takes every block there is."""
    found = os.statvfs(disk)
    size = found.f_bavail * found.f_frsize - leave
    fd = os.open(disk / "fill", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        at = os.fstat(fd).st_size
        if leave:
            os.posix_fallocate(fd, at, size)
            return
        with suppress(OSError):
            while True:
                os.write(fd, bytes(1 << 16))
        with suppress(OSError):
            while True:
                os.write(fd, bytes(512))
    finally:
        os.close(fd)


def until_refused(hive: HiveProcess, kept: list[int]) -> Problem:
    """Send until the hive refuses; what was taken before (the files have some room inside) is added to `kept`."""
    for _ in range(200):
        try:
            kept.append(hive.send("cleo", "x" * 900))
        except Problem as refused:
            return refused
    raise AssertionError("the disk does not get full")


def test_below_the_floor_no_turn_begins_and_it_is_told(hive: HiveProcess, disk: Path) -> None:
    """SECURITY.md 3.4: a floor under which no new turn begins; mail is still taken, and goes out when there is room."""
    hive.agent("ana", playbook='[[rule]]\nsteps = [{ send = "heard: {body}" }]\n')
    fill(disk, 20 * MIB)
    hive.wait_for("disk.low")
    message = hive.send("ana", "one")
    state = hive.client.get("/state")
    assert state["disk"]["level"] == "low"
    assert state["disk"]["floor_bytes"] == 24 * MIB
    told = hive.client.get("/why/ana")
    assert "MiB of the disk are free" in told["text"]
    assert told["next_actor"] == "operator"
    assert hive.count("turn.started") == 0
    (disk / "fill").unlink()
    hive.wait_for("disk.ok")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")


def test_a_full_disk_is_read_only_acts_by_its_ballast_and_goes_on_by_itself(hive: HiveProcess, disk: Path) -> None:
    """I-17: what is new is refused with the remedy; a turn under way ends, an agent can be purged; nothing is lost."""
    hive.agent("ana", playbook=WORK)
    hive.agent("cleo")
    first = hive.send("ana", "one")
    turn = int(hive.wait_for("turn.started")["data"]["id"])
    for _name, _id, data in hive.client.stream(f"/turns/{turn}/stream"):
        if data.get("event", {}).get("type") == "tool_call":
            break
    daemon = hive.pid
    ballast = hive.data / BALLAST
    assert ballast.stat().st_blocks * 512 == 16 * MIB
    fill(disk, 0)
    kept: list[int] = []
    refused = until_refused(hive, kept)
    assert refused.code == "store_full"
    assert "--purge" in refused.remedy
    hive.wait_for("disk.full")
    assert not ballast.exists()
    state = hive.client.get("/state")
    assert state["disk"]["level"] == "full"
    doctor = {item["name"]: item for item in hive.client.post("/doctor", timeout=120)["items"]}
    assert doctor["disk"]["ok"] == "warn"
    assert "only reads" in doctor["disk"]["detail"]

    hive.client.post("/agents/cleo/purge")
    hive.wait_for("operation.ended", lambda e: e["data"].get("kind") == "purging")
    (hive.work("ana") / "go").touch()
    hive.wait_for("turn.ended", lambda e: e["agent"] == "ana")
    assert hive.message(first)["state"] == "handled", "the turn under way ended well in the ballast's room"
    assert hive.count("turn.started") == 1

    (disk / "fill").unlink()
    recovered = hive.wait_for("disk.ok")
    assert recovered["data"]["refused"] >= 1
    assert ballast.stat().st_blocks * 512 == 16 * MIB
    assert any("there is room again" in m["body"] for m in hive.client.get("/messages", limit=50)["items"])
    assert hive.pid == daemon
    last = hive.send("ana", "two")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{last}")
    promises = [
        *(Promise("ok", "send", id=number, to="ana", body=body) for number, body in ((first, "one"), (last, "two"))),
        *(Promise("ok", "send", id=number, to="cleo", body="x" * 900) for number in kept),
    ]
    assert invariants.check(hive.data, promises, expect=Expect(live=True)) == []


def test_a_hive_can_be_brought_down_and_started_on_a_full_disk(hive: HiveProcess, disk: Path) -> None:
    """`mel down` does not hang, the boxes end; a start on the full disk reads only, and goes on by itself."""
    hive.agent("ana", playbook=WORK)
    message = hive.send("ana", "one")
    hive.wait_for("turn.started")
    fill(disk, 0)
    (hive.data / BALLAST).unlink()
    fill(disk, 0)  # and what the ballast left too: not even the ends of turns can be written
    assert hive.down() == 0, hive.log
    assert "Traceback" not in hive.log
    assert hive.boxes() == []
    (disk / "fill").unlink()
    fill(disk, 4 * MIB)
    hive.start()
    assert hive.client.get("/state")["disk"]["level"] == "full"
    with pytest.raises(Problem, match="only reads"):
        hive.send("ana", "two")
    (disk / "fill").unlink()
    hive.wait_for("disk.ok")
    (hive.work("ana") / "go").touch()
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
    assert hive.message(message)["maybe_seen"]


def test_a_disk_that_is_read_only_after_a_crash_is_waited_for(hive: HiveProcess, disk: Path, tmp_path: Path) -> None:
    """A file system with errors comes back read-only: the daemon cannot start (74, for its parent to try again), what
    is stored can be read, and with the disk back the hive goes on. (A write that fails while it runs: the campaign.)"""
    hive.agent("ana")
    first = hive.send("ana", "one")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{first}")
    hive.client.post("/agents/ana/stop")
    hive.wait_for("box.gone")
    hive.kill()
    hive._log = tmp_path / "log"
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        with pytest.raises(AssertionError, match="did not become ready"):
            hive.start()
        assert hive.died() == 74, hive.log
        assert "Read-only file system" in hive.log
        assert "Traceback" not in hive.log
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    hive.start()
    hive.client.post("/agents/ana/start")
    last = hive.send("ana", "two")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{last}")
    promises = [Promise("ok", "send", id=n, to="ana", body=b) for n, b in ((first, "one"), (last, "two"))]
    assert invariants.check(hive.data, promises, expect=Expect(live=True)) == []
