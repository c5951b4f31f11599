"""What `mel doctor` says about boxes, and that its means can see what is wrong: a probe that never finds a thing proves
nothing, a reproducer that never reproduces neither."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from melipona.boxes import bubblewrap_health
from melipona.boxes.argv import host_facts
from melipona.boxes.bubblewrap import BubblewrapBoxDriver
from melipona.boxes.bwrap_check import Verdict, check_bwrap
from melipona.boxes.driver import Finding
from melipona.boxes.folders import Folders, box_owner
from melipona.boxes.launch import Stage, launch
from melipona.boxes.programs import FIXED_BWRAP, bundled_bwrap, bwrap_version, find_bwrap
from melipona.testing.box_suite import PROBE, USUALLY_OPEN, canaries, parse_probe

pytestmark = pytest.mark.anyio


@pytest.fixture
def driver(tmp_path: Path) -> BubblewrapBoxDriver:
    folders = Folders(tmp_path / "data", box_owner())
    folders.make_data()
    return BubblewrapBoxDriver(hive="doctor", trees=folders.trees, owner=folders.owner)


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.boxes
@pytest.mark.threat("T3")
async def test_the_probe_sees_what_a_usual_sandbox_leaves_open(tmp_path: Path) -> None:
    """T3, control: the same 34 attempts, in a plain bwrap without filter and limits."""
    stage = Stage(box_owner())
    work = tmp_path / "home-of-the-probe"
    work.mkdir()
    (work / "probe.py").write_text(PROBE.read_text())
    work.chmod(0o755)
    (work / "probe.py").chmod(0o644)
    links = [part for name, to in host_facts().links.items() for part in ("--symlink", to, f"/{name}")]
    argv = [
        *(stage.see_bwrap(find_bwrap(os.environ)), "--unshare-all", "--new-session", "--as-pid-1"),
        *("--ro-bind", "/usr", "/usr", *links, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *("--bind", stage.see(work, "ws"), "/ws", "--", "/usr/bin/python3", "-I", "-c"),
    ]
    init = "import subprocess, sys; subprocess.run([sys.executable, '-I', '/ws/probe.py', sys.argv[1]])"
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with canaries(tmp_path) as targets, open(reader, "rb") as out:
        given = json.dumps(targets | {"markers": [work.name]})
        launch([*argv, init, given], stage, descriptors=[], stderr=subprocess.DEVNULL, stdout=writer)
        os.close(writer)
        with anyio.fail_after(60):
            text = await anyio.to_thread.run_sync(out.read)
    results = parse_probe(text.decode())
    assert len(results) == 34
    assert {name for name, worked in results.items() if worked} >= USUALLY_OPEN


def test_the_probe_reads_a_key_that_is_within_reach(tmp_path: Path) -> None:
    """T5, control: without the launcher's own session keyring the key of the host can be read."""
    with canaries(tmp_path) as targets:
        attempt = "keys: session keyring of whoever started the box"
        done = subprocess.run(
            [sys.executable, "-I", PROBE, json.dumps(targets), attempt], stdout=subprocess.PIPE, check=True
        )
    assert json.loads(done.stdout) == [attempt, True, "secret"]


@pytest.mark.boxes
async def test_the_doctor_starts_real_boxes_and_says_what_it_found(driver: BubblewrapBoxDriver) -> None:
    """SECURITY.md section 7 line 5: box, probe, boxd, CVE, versions."""
    found = by_name(await driver.health(deep=True))
    for name in ("bwrap", "box python", "boxes' user", "a real box", "probe", "boxd"):
        assert found[name].ok, found[name]
    assert found["probe"].detail.startswith("34 attempts")
    assert re.search(r"\d+\.\d+\.\d+", found["bwrap"].detail)
    assert "CVE-2026-87766" in found
    assert not [finding for finding in found.values() if not finding.ok and finding.fatal]


@pytest.mark.boxes
@pytest.mark.threat("T1")
async def test_the_reproducer_reproduces(tmp_path: Path) -> None:
    """CVE-2026-87766: the wheel's 0.11 is vulnerable, and one that starts no box is not called safe."""
    bwrap = bundled_bwrap()
    assert bwrap is not None
    old = await bwrap_version(bwrap) < FIXED_BWRAP
    assert await check_bwrap(bwrap, box_owner()) is (Verdict.VULNERABLE if old else Verdict.SAFE)
    assert await check_bwrap(Path("/usr/bin/false"), box_owner()) is Verdict.UNKNOWN


@pytest.mark.boxes
async def test_the_doctor_explains_a_bwrap_that_starts_nothing(driver: BubblewrapBoxDriver, tmp_path: Path) -> None:
    """No fallback: every box-starting check fails, and says so."""
    broken = BubblewrapBoxDriver(
        hive="doctor", trees=tmp_path / "data/trees", owner=driver.owner, bwrap=Path("/usr/bin/false")
    )
    found = by_name(await broken.health(deep=True))
    for name in ("programs", "a real box", "boxd", "CVE-2026-87766"):
        assert not found[name].ok
        assert found[name].fatal


async def test_the_doctor_names_a_missing_bwrap(driver: BubblewrapBoxDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setattr("melipona.boxes.programs._is_binary", lambda _path: False)
    found = by_name(await driver.health())
    assert not found["programs"].ok
    assert "bubblewrap" in found["programs"].remedy


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("bwrap: setting up uid map: Permission denied", "user namespaces"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "user namespaces"),
        ("bwrap: Unknown option --disable-userns", "too old"),
        ("bwrap: Can't find source path /x: Permission denied", "mode"),
        ("bwrap: something else", "no run without a box"),
    ],
)
def test_known_failures_are_explained(said: str, word: str) -> None:
    """NOTES section 8: AppArmor, containers, old versions, closed folders; each with what to do."""
    assert word in bubblewrap_health.explain(said, Path("/usr/bin/bwrap"))


def test_apparmor_is_explained_with_the_profile_to_install(tmp_path: Path) -> None:
    """Ubuntu 23.10 and later."""
    switch = tmp_path / "apparmor_restrict_unprivileged_userns"
    switch.write_text("1\n")
    found = bubblewrap_health.switch("apparmor", switch, "1", bubblewrap_health.APPARMOR_REMEDY.format(path="/b/bwrap"))
    assert [finding.ok for finding in found] == [False]
    assert "profile melipona-bwrap /b/bwrap" in found[0].remedy
    assert "apparmor_parser" in found[0].remedy
