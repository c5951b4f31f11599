"""D-6: which uid a root daemon's box runs under, when all share the owner's, and that boxes of both kinds live on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from melipona.boxes.driver import BoxRef, BoxState
from melipona.boxes.folders import Owner, box_owner
from melipona.boxes.identity import uid_of
from melipona.boxes.launch import LAUNCHER
from melipona.boxes.uids import BOX_UIDS, BoxUids, uid_range
from melipona.errors import BoxStartFailed
from melipona.ids import AgentId, new_id
from melipona.testing.boxes import Bench, StartedBox
from melipona.testing.linked_boxes import LinkBench

pytestmark = [pytest.mark.anyio]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only a root daemon gives boxes uids of their own")
ANA = AgentId(new_id())
ALL = "0 0 4294967295\n"
OWNER = Owner(64000, 64000)


@pytest.mark.parametrize(
    ("uids", "uid_map", "root", "word"),
    [
        (BOX_UIDS, ALL, False, "only a root daemon"),
        (range(0), ALL, True, "is empty"),
        (range(64000, 64010), ALL, True, "holds boxes.owner_uid"),
        (range(10), ALL, True, "or 0"),
        (BOX_UIDS, "0 100000 64500\n", True, "does not lie inside"),
    ],
)
async def test_why_boxes_share_a_uid_is_said(
    tmp_path: Path, uids: range, uid_map: str, *, root: bool, word: str
) -> None:
    """`mel doctor` and `mel agent show` tell this line; such a box runs as the owner."""
    found = BoxUids(OWNER, uids, tmp_path, uid_map=uid_map, as_root=root)
    assert word in (found.shared_because() or "")
    assert found.candidates() == [OWNER]
    assert not found.enforced().binds
    assert "uid 64000" in found.enforced().how
    assert 64000 in found
    assert 1 not in found or (root and 1 in uids)


def test_the_setting_names_first_and_last() -> None:
    """`boxes.uids`: [0, 0] gives none."""
    assert uid_range((64001, 64003)) == range(64001, 64004)
    assert len(uid_range((0, 0))) == 0


@as_root
async def test_a_file_system_without_idmapped_mounts_is_told(tmp_path: Path) -> None:
    """The kernel's own word; ramfs has none. In a mount namespace of its own, so that the host sees nothing of it."""
    check = f"{sys.executable} -I -S {LAUNCHER} check 64000 64001 {tmp_path}"
    script = f"mount -t ramfs none {tmp_path} && exec {check}"
    done = subprocess.run(
        ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script], capture_output=True, check=True, text=True
    )
    assert "mount_setattr" in done.stdout
    assert "Invalid argument" in done.stdout
    assert subprocess.run(check.split(), capture_output=True, check=True, text=True).stdout == ""


@as_root
@pytest.mark.boxes
async def test_a_uid_that_any_process_has_is_passed_over(tmp_path: Path) -> None:
    """Unique among all that lives on this machine: boxes of this hive, of others, of earlier daemons, and no boxes."""
    uids = range(BOX_UIDS[-1] + 1, BOX_UIDS[-1] + 4)
    with subprocess.Popen(["/bin/sleep", "300"], user=uids[1], group=uids[1], extra_groups=[]) as foreign:
        try:
            async with Bench(tmp_path / "data", uids=uids) as bench:
                first, second = await bench.start("ana"), await bench.start("bob")
                assert {first.ref.handle["uid"], second.ref.handle["uid"]} == {uids[0], uids[2]}
                with pytest.raises(BoxStartFailed, match="is free"):
                    await bench.start("cho")
                await first.stop()
                third = await _start_when_free(bench, "cho")
                assert third.ref.handle["uid"] == first.ref.handle["uid"]
        finally:
            foreign.kill()


async def _start_when_free(bench: Bench, name: str) -> StartedBox:
    """The host's init has to bury the last process of a box before its uid counts as free."""
    with anyio.fail_after(30):
        while True:
            try:
                return await bench.start(name)
            except BoxStartFailed:
                await anyio.sleep(0.05)


@as_root
@pytest.mark.boxes
async def test_boxes_of_both_kinds_are_adopted_and_swept(tmp_path: Path) -> None:
    """An upgrade: a box of the version that knew only the owner uid stays as it is, and its sockets reach it."""
    async with LinkBench(tmp_path / "data", uids=range(0)) as bench:
        old = await bench.start("ana")
        await old.accept()
        assert uid_of(old.ref.handle["pid"]) == bench.folders.owner.uid
        async with LinkBench(tmp_path / "data") as later:
            later.hive = bench.hive
            later.driver = later.another_driver()
            new = await later.start("bob")
            assert new.ref.handle["uid"] in BOX_UIDS
            await old.listen_again()
            assert (await old.run("/bin/echo", "adopted")).out == "adopted\n"
            again = later.another_driver()
            ended = await again.sweep(later.folders.boxes, [])
            assert len(ended) == 2
            for box in (old, new):
                assert await again.inspect(BoxRef(box.spec.id, box.ref.handle)) is BoxState.GONE


@as_root
@pytest.mark.boxes
async def test_files_of_a_shared_uid_are_the_next_boxs_own(tmp_path: Path) -> None:
    """What a box under the owner uid wrote, one with a uid of its own goes on with, and back."""
    write = "import os; open('/ws/f', 'a').write('x'); os.chmod('/ws/f', 0o600); print(os.stat('/ws/f').st_uid)"
    for uids in (range(0), BOX_UIDS, range(0)):
        async with Bench(tmp_path / "data", uids=uids) as bench:
            bench.ids["ana"] = ANA
            box = await bench.start("ana")
            assert (await box.python(write)).out == "1000\n"
    assert (bench.folders.work(ANA) / "f").read_text() == "xxx"
    assert (bench.folders.work(ANA) / "f").stat().st_uid == box_owner().uid
