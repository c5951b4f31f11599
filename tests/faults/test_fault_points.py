"""Fault points are where they must be, have names of their own, cost nothing, and do what a test wishes."""

from __future__ import annotations

import ast
import asyncio
import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from melipona import faults
from melipona.errors import OutcomeUnknown, StoreFull, WorldFailed
from melipona.faults import fault, fault_here
from melipona.mail.bodies import FileBodies
from melipona.store import events
from melipona.testing.fault_plugin import InjectedError, Wish, installed
from melipona.testing.fault_points import ROOT, Code
from melipona.testing.store import temporary_store

pytestmark = pytest.mark.anyio

CODE = Code()


def test_every_commit_call_start_and_read_has_a_point_before_and_after_it() -> None:
    """SECURITY.md section 7, 29."""
    assert [str(site) for site in CODE.missing()] == []


def test_there_are_enough_points_and_each_has_one_place() -> None:
    points = CODE.points()
    assert len(points) >= 120
    assert CODE.repeated() == []
    for name in points:
        room, action, when = name.split(".")
        assert room, name
        assert action, name
        assert when.startswith(("before_", "after_")), name


@pytest.mark.parametrize(
    "code",
    [
        "def f(c):\n    c.execute('COMMIT')\n",
        "def f(c):\n    fault_here('a.b.before_commit')\n    c.execute('COMMIT')\n",
        "def f(a, b):\n    a.rename(b)\n    fault_here('a.b.after_rename')\n",
        "def f():\n    subprocess.run(['x'])\n",
        "async def f(feed):\n    await feed.next()\n",
    ],
)
def test_the_lint_finds_a_site_without_its_points(tmp_path: Path, code: str) -> None:
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "x.py").write_text(code)
    [site] = Code(tmp_path).missing()
    assert site.file == "boxes/x.py"


def test_nothing_but_tests_installs_a_plugin() -> None:
    """No file, setting or environment of a hive leads to one."""
    for path in ROOT.rglob("*.py"):
        if "testing" in path.parts or path.name == "faults.py":
            continue
        text = path.read_text()
        assert "fault_plugin" not in text, path
        assert "faults.install" not in text, path
    tree = ast.parse((ROOT / "faults.py").read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not imported & {"os", "sys", "importlib"}


async def test_a_point_without_a_plugin_is_passed() -> None:
    await fault("x.y.before_z")
    fault_here("x.y.after_z")
    assert not faults.watched()


async def test_the_commits_points_are_named_after_what_is_written(tmp_path: Path) -> None:
    async with temporary_store(tmp_path) as store:
        with installed() as plugin:
            await store.write(events.record, "daemon.started")
        assert plugin.passed["store.record.before_commit"] == plugin.passed["store.record.after_commit"] == 1


async def test_an_operation_that_fails_passes_no_commit(tmp_path: Path) -> None:
    def refused(c: Connection) -> None:
        raise ValueError("no")

    async with temporary_store(tmp_path) as store:
        with installed() as plugin, pytest.raises(ValueError, match="no"):
            await store.write(refused)
        assert not any(name.endswith("_commit") for name in plugin.passed)


@pytest.mark.parametrize(
    ("kind", "error"), [("enospc", StoreFull), ("eio", OutcomeUnknown), ("exception", OutcomeUnknown)]
)
async def test_a_disk_that_fails_at_a_commit_is_told_as_what_it_is(
    tmp_path: Path, kind: str, error: type[Exception]
) -> None:
    """SECURITY.md section 7, 30: an I/O error at the commit is an unknown outcome; a full disk has stored nothing."""
    wish = Wish.parse(f"{kind}:store.record.before_commit:1")
    async with temporary_store(tmp_path) as store:
        with installed(wish), pytest.raises(error):
            await store.write(events.record, "daemon.started")
        if kind == "enospc":
            assert await store.write(events.record, "daemon.started") == 1
        else:
            assert store.broken.is_set()


async def test_a_full_disk_at_a_files_name_leaves_nothing(tmp_path: Path) -> None:
    full = Wish("mail.body.before_replace", kind="enospc")
    with installed(full), pytest.raises(WorldFailed, match="No space left"):
        FileBodies(tmp_path).for_agent("ana", 7, "x" * 5000)
    assert not list(tmp_path.rglob("7.md"))
    assert [path.name for path in FileBodies(tmp_path).sweep(6)] == [".7.new"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_the_wish_is_fulfilled_at_its_passing_and_no_other() -> None:
    with installed(Wish("a.b.before_c", nth=2, kind="exception")) as plugin:
        fault_here("a.b.before_c")
        with pytest.raises(InjectedError):
            await fault("a.b.before_c")
        fault_here("a.b.before_c")
    assert plugin.passed == {"a.b.before_c": 3}


async def test_delays_hangs_and_cancellations_at_a_point() -> None:
    loop = asyncio.get_running_loop()
    with installed(Wish("a.b.before_c", kind="delay", seconds=0.02)):
        began = loop.time()
        await fault("a.b.before_c")
        assert loop.time() - began >= 0.02
    with installed(Wish("a.b.before_c", kind="hang")), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await fault("a.b.before_c")
    with installed(Wish("a.b.before_c", kind="cancel")):
        task = asyncio.ensure_future(fault("a.b.before_c"))
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()


def test_an_injected_error_looks_like_the_disks_own() -> None:
    with installed(Wish("a.b.before_commit", kind="eio"), Wish("a.b.before_write", kind="eio")):
        with pytest.raises(sqlite3.OperationalError) as at_commit:
            fault_here("a.b.before_commit")
        assert at_commit.value.sqlite_errorname == "SQLITE_IOERR_FSYNC"
        with pytest.raises(OSError, match="Input/output") as elsewhere:
            fault_here("a.b.before_write")
        assert elsewhere.value.errno == errno.EIO
