"""A failing, full, locked or read-only disk and kill -9: what the store says and what is left (SECURITY.md 6.2)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection

from melipona.clock import ManualClock
from melipona.errors import OutcomeUnknown, StoreFull, StoreUnusable
from melipona.store.engine import Store
from melipona.store.sqlite import translated

from .faults_child import keys, put

HERE = Path(__file__).parent
CHILD = HERE / "faults_child.py"


@pytest.fixture(scope="session")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim that makes a disk fail on command."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: a failing disk is only tried through translated errors here")
    library = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    source = str(HERE / "failing_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"], check=True, timeout=60)
    return library


def tell(story: str, path: Path, shim: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"LD_PRELOAD": str(shim), "FAILING_DISK": str(path.parent / "fail")}
    return subprocess.run(
        [sys.executable, str(CHILD), story, str(path)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def found(path: Path) -> tuple[set[str], set[str]]:
    """Keys and the subjects of events after a restart, on a database that is whole."""
    with sqlite3.connect(path) as c:
        assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = {row[0] for row in c.execute("SELECT key FROM meta WHERE key NOT IN ('store_id', 'created_at')")}
        told = {row[0] for row in c.execute("SELECT subject FROM events")}
    c.close()
    return stored, told


# ---- a disk that fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", ["failing_fsync", "failing_checkpoint", "failing_folding"])
def test_an_fsync_that_fails_is_an_unknown_outcome(failing_disk: Path, tmp_path: Path, story: str) -> None:
    """SECURITY.md 6.2 and section 7 line 30: waiters are told so, nothing more is taken, the daemon exits 75; a restart
    finds all that was acknowledged, and no change without its event."""
    path = tmp_path / "mel.db"
    ended = tell(story, path, failing_disk)
    assert (ended.returncode, ended.stdout) == (75, "told\n"), ended.stderr
    (tmp_path / "fail").unlink(missing_ok=True)
    stored, told = found(path)
    assert "acknowledged" in stored
    assert stored == told
    assert "late" not in stored


def test_a_full_disk_is_told_and_ends_by_itself(failing_disk: Path, tmp_path: Path) -> None:
    """I-17, section 7 line 31: 0 acknowledged lost, resumes alone."""
    ended = tell("full_disk", tmp_path / "mel.db", failing_disk)
    assert (ended.returncode, ended.stdout) == (0, "told\n"), ended.stderr
    assert found(tmp_path / "mel.db") == ({"before", "after"}, {"before", "after"})


class Raised(sqlite3.OperationalError):
    def __init__(self, name: str) -> None:
        super().__init__(f"text of {name}")
        self.sqlite_errorname = name


@pytest.mark.parametrize(
    ("name", "elsewhere", "at_commit"),
    [
        ("SQLITE_IOERR_FSYNC", StoreUnusable, OutcomeUnknown),
        ("SQLITE_IOERR_WRITE", StoreUnusable, OutcomeUnknown),
        ("SQLITE_CORRUPT", StoreUnusable, OutcomeUnknown),
        ("SQLITE_FULL", StoreFull, StoreFull),
        ("SQLITE_BUSY_SNAPSHOT", StoreUnusable, StoreUnusable),
        ("SQLITE_READONLY_DIRECTORY", StoreUnusable, OutcomeUnknown),
        ("SQLITE_CANTOPEN", StoreUnusable, OutcomeUnknown),
        ("SQLITE_NOTADB", StoreUnusable, OutcomeUnknown),
    ],
)
def test_only_at_a_commit_is_the_outcome_unknown(name: str, elsewhere: type[Exception], at_commit: type) -> None:
    """Every message names the file and the remedy."""
    path = Path("/data/mel.db")
    for error, wanted in (
        (translated(Raised(name), path), elsewhere),
        (translated(Raised(name), path, committing=True), at_commit),
    ):
        assert type(error) is wanted
        assert "/data/mel.db" in error.message
        assert error.remedy


# ---- who cannot write -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_locked_database_is_told_and_ends_by_itself(tmp_path: Path) -> None:
    """Issue 3: a locked database; reads go on, nothing is broken."""
    store = await Store.open(tmp_path / "mel.db", ManualClock())

    def hurry(c: Connection) -> None:
        c.exec_driver_sql("PRAGMA busy_timeout=50")

    await store.write(hurry)
    other = sqlite3.connect(tmp_path / "mel.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnusable, match="locked by another program") as caught:
        await store.write(put, "a")
    assert str(tmp_path / "mel.db") in str(caught.value)
    assert caught.value.remedy
    assert await store.read(keys) == []
    other.execute("ROLLBACK")
    other.close()
    assert await store.write(put, "a") == "a"
    assert not store.broken.is_set()
    await store.close()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Issue 3: a read-only file system. Root is stopped by no mode, so it tries as another user."""
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        from melipona.store.sqlite import check_place

        with pytest.raises(StoreUnusable, match="cannot be written"):
            check_place(tmp_path / "mel.db")
        tmp_path.chmod(0o700)
        return
    folder = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"melipona-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        code = "import os,sys; os.chdir('/'); exec(open(0).read())"
        source = CHILD.read_text()
        ended = subprocess.run(
            [sys.executable, "-c", code, "read_only", str(folder / "mel.db")],
            input=source,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (0, "told\n"), ended.stderr
        assert list(folder.iterdir()) == []
    finally:
        folder.rmdir()


# ---- kill -9 --------------------------------------------------------------------------------------------------------


def test_kill_under_load_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """I-11, section 6.2: answered is a part of found; no change without its event and no event without its change."""
    path = tmp_path / "mel.db"
    answered: set[str] = set()
    for life in range(5):
        with (tmp_path / f"out-{life}").open("w+") as out:
            program = subprocess.Popen([sys.executable, str(CHILD), "load", str(path)], stdout=out)
            try:
                wait_for(out.name, 200 * (life + 1))
            finally:
                program.kill()
                program.wait(30)
        lines = (tmp_path / f"out-{life}").read_text().split("\n")
        answered |= set(lines[:-1])
        stored, told = found(path)
        assert answered <= stored
        assert stored == told
    assert len(answered) > 1000


def wait_for(name: str, lines: int) -> None:
    """Until the file has this many lines; a child that never gets there fails the test by pytest's own time-out."""
    import time

    deadline = time.monotonic() + 60
    while Path(name).read_text().count("\n") < lines:
        assert time.monotonic() < deadline
        time.sleep(0.002)
