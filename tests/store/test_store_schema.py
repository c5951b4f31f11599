"""One way to a schema: fresh equals migrated equals the metadata; what is newer, foreign or damaged is refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from melipona.clock import ManualClock, SystemClock
from melipona.errors import OutcomeUnknown, StoreUnusable
from melipona.store import migrate
from melipona.store.engine import Store
from melipona.store.migrate import HEAD, KNOWN, copy_whole, current_revision, ensure_schema
from melipona.store.schema import TRIGGERS, metadata
from melipona.store.sqlite import check_place, file_system

MIGRATIONS = Path(migrate.__file__).parent / "migrations"


def dump(path: Path) -> dict[str, Any]:
    """Tables with columns, keys and options; indexes and triggers with their text."""
    with sqlite3.connect(path) as c:
        objects = c.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        found: dict[str, Any] = {}
        for kind, name, table, sql in objects:
            if name.startswith("sqlite_") or table == "alembic_version":
                continue
            if kind == "table":
                columns = c.execute(f"PRAGMA table_xinfo({name})").fetchall()
                keys = sorted(row[2:] for row in c.execute(f"PRAGMA foreign_key_list({name})"))
                options = ("AUTOINCREMENT" in sql.upper(), sql.upper().rstrip().endswith("STRICT"))
                found[f"table {name}"] = ([_default(row) for row in columns], keys, options)
            else:
                found[f"{kind} {name}"] = " ".join(sql.replace('"', "").split())
    c.close()
    return found


def _default(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Columns by name (their order need not agree), `(-1)` and `-1` being the same default."""
    cid, name, kind, notnull, default, key, hidden = row
    del cid
    return name, kind, notnull, default and default.strip("()"), key, hidden


def sorted_columns(found: dict[str, Any]) -> dict[str, Any]:
    return {k: (sorted(v[0]), *v[1:]) if k.startswith("table") else v for k, v in found.items()}


def from_metadata(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as c:
        metadata.create_all(c)
        for trigger in TRIGGERS.values():
            c.exec_driver_sql(trigger)
    engine.dispose()


def test_a_fresh_database_equals_the_metadata(tmp_path: Path) -> None:
    """Invariant 45, D-32: tables, indexes and triggers."""
    ensure_schema(tmp_path / "fresh.db", SystemClock())
    from_metadata(tmp_path / "metadata.db")
    fresh, wanted = dump(tmp_path / "fresh.db"), dump(tmp_path / "metadata.db")
    assert sorted_columns(fresh) == sorted_columns(wanted)
    assert any(name.startswith("trigger") for name in fresh)
    assert any(name.startswith("index") for name in fresh)


def at_revision(path: Path, revision: str) -> None:
    """A database as an older program made it, with a row in it."""
    migrate._upgrade(path, revision)
    migrate.mark_new(path, ManualClock())
    with sqlite3.connect(path) as c:
        c.execute("INSERT INTO epochs(host, pid, started_at, ended_at) VALUES ('h', 1, 2, 3)")
        c.execute("INSERT INTO events(at, kind, principal, data) VALUES (1, 'daemon.started', 'system', '{}')")
    c.close()


@pytest.mark.parametrize("revision", KNOWN[:-1])
def test_an_upgraded_database_equals_a_fresh_one(tmp_path: Path, revision: str) -> None:
    """Invariant 45, D-32: from every older schema, with triggers and indexes; what was in it is in it still."""
    old = tmp_path / "old.db"
    at_revision(old, revision)
    before = content(old)
    ensure_schema(old, ManualClock())
    ensure_schema(tmp_path / "fresh.db", ManualClock())
    assert sorted_columns(dump(old)) == sorted_columns(dump(tmp_path / "fresh.db"))
    after = content(old)
    for table, found in before.items():
        assert {tuple(sorted(row.items())) for row in found} == {
            tuple(sorted((k, v) for k, v in row.items() if k in found[0])) for row in after[table]
        }, table
    with sqlite3.connect(old) as c, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        c.execute("UPDATE events SET kind = 'x'")
    c.close()


def content(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table but the revision."""
    with sqlite3.connect(path) as c:
        c.row_factory = sqlite3.Row
        names = [row[0] for row in c.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {
            name: [dict(row) for row in c.execute(f"SELECT * FROM {name}")]
            for name in names
            if name != "alembic_version" and not name.startswith("sqlite_")
        }
    c.close()
    return {name: rows for name, rows in found.items() if rows}


def test_sessions_of_the_older_schema_are_the_owners(tmp_path: Path) -> None:
    """A person who was logged in before roles came is logged in still, as the owner of the hive; its links are gone."""
    path = tmp_path / "mel.db"
    migrate._upgrade(path, "0002")
    with sqlite3.connect(path) as c:
        c.execute("INSERT INTO sessions VALUES ('h1', 'link', 'Browser', 1, 2, 3, 4, NULL)")
        c.execute("INSERT INTO login_links VALUES ('t1', 1, 2, NULL)")
    c.close()
    ensure_schema(path, ManualClock())
    kept = content(path)
    (owner,) = kept["people"]
    assert (owner["name"], owner["role"], owner["is_owner"], owner["disabled_at"]) == ("owner", "admin", 1, None)
    (session,) = kept["sessions"]
    assert {key: session[key] for key in ("id_hash", "person_id", "user_agent", "created_at", "idle_ends_at")} == {
        "id_hash": "h1",
        "person_id": owner["id"],
        "user_agent": "Browser",
        "created_at": 1,
        "idle_ends_at": 4,
    }
    assert "login_links" not in kept


CRASH = """
import os, sys
from pathlib import Path
from melipona import faults
from melipona.clock import SystemClock
from melipona.store.migrate import ensure_schema

class Die:
    async def at(self, name): self.here(name)
    def here(self, name):
        if name == sys.argv[2]:
            os.kill(os.getpid(), 9)

faults.install(Die())
if sys.argv[2] == "in the middle":
    from alembic import op
    add = op.add_column
    def added(*args, **kw):
        add(*args, **kw)
        os.kill(os.getpid(), 9)
    op.add_column = added
ensure_schema(Path(sys.argv[1]), SystemClock())
print("done")
"""


@pytest.mark.parametrize(
    "moment",
    [
        "store.migrate.before_backup",
        "store.copy.before_vacuum",
        "store.copy.before_sync",
        "store.migrate.after_backup",
        "in the middle",
        "store.upgrade.after_commit",
        "store.migrate.after_upgrade",
    ],
)
def test_a_crash_in_a_migration_is_made_good_by_the_next_start(tmp_path: Path, moment: str) -> None:
    """Campaign I: N-1, N, crash in the migration, N again; nothing half-changed, the copy from before is whole."""
    path = tmp_path / "mel.db"
    at_revision(path, KNOWN[0])
    before = content(path)
    command = [sys.executable, "-c", CRASH, str(path)]
    died = subprocess.run([*command, moment], capture_output=True, timeout=60, check=False)
    assert died.returncode == -9, died.stderr
    assert current_revision(path) in (KNOWN[0], HEAD), "a migration is whole or it was not"
    again = subprocess.run([*command, "never"], capture_output=True, timeout=60, check=False)
    assert again.stdout == b"done\n", again.stderr
    ensure_schema(tmp_path / "fresh.db", ManualClock())
    assert sorted_columns(dump(path)) == sorted_columns(dump(tmp_path / "fresh.db"))
    known = before["events"][0].keys()
    assert [{k: v for k, v in row.items() if k in known} for row in content(path)["events"]] == before["events"]
    (copy,) = tmp_path.glob("*.before-*")
    assert current_revision(copy) == KNOWN[0]
    assert content(copy) == before


def test_the_known_revisions_are_those_of_the_folder() -> None:
    """`HEAD` is written down so that a start need not import alembic; here is the proof that it is true."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [HEAD]
    assert sorted(revision.revision for revision in script.walk_revisions()) == sorted(KNOWN)


def test_migrating_twice_equals_once(tmp_path: Path) -> None:
    """Invariant 45, NX-5."""
    path = tmp_path / "mel.db"
    ensure_schema(path, ManualClock())
    first = dump(path), rows(path)
    ensure_schema(path, SystemClock())
    assert (dump(path), rows(path)) == first
    assert (path.stat().st_mode & 0o777) == 0o600


def rows(path: Path) -> list[Any]:
    with sqlite3.connect(path) as c:
        found = c.execute("SELECT key, value FROM meta ORDER BY key").fetchall()
    c.close()
    return found


def test_a_crash_before_the_store_had_its_id_is_mended(tmp_path: Path) -> None:
    """D-33: the store id exists, whenever the first start was killed."""
    path = tmp_path / "mel.db"
    ensure_schema(path, ManualClock())
    with sqlite3.connect(path) as c:
        c.execute("DELETE FROM meta")
    c.close()
    ensure_schema(path, ManualClock())
    assert [key for key, _ in rows(path)] == ["created_at", "store_id"]


def test_a_start_that_is_up_to_date_imports_no_alembic(tmp_path: Path) -> None:
    """PERFORMANCE.md rule 22."""
    path = tmp_path / "mel.db"
    ensure_schema(path, ManualClock())
    code = (
        "import sys; from pathlib import Path; from melipona.clock import SystemClock;"
        "from melipona.store.migrate import ensure_schema; ensure_schema(Path(sys.argv[1]), SystemClock());"
        "assert not [name for name in sys.modules if name.startswith('alembic')]"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)


def test_two_programs_may_start_at_once(tmp_path: Path) -> None:
    """Two processes that migrate one folder end with one schema and one store id."""
    code = (
        "import sys; from pathlib import Path; from melipona.clock import SystemClock;"
        "from melipona.store.migrate import ensure_schema; ensure_schema(Path(sys.argv[1]), SystemClock())"
    )
    path = tmp_path / "mel.db"
    started = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(2)]
    assert [program.wait(60) for program in started] == [0, 0]
    assert current_revision(path) == HEAD
    assert len(rows(path)) == 2


def test_a_failed_migration_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing half-written: the next start begins anew."""
    from alembic import op

    calls: list[str] = []

    def failing(name: str, *args: Any, **kw: Any) -> None:
        calls.append(name)
        raise RuntimeError("power")

    monkeypatch.setattr(op, "create_index", failing)
    with pytest.raises(RuntimeError):
        ensure_schema(tmp_path / "mel.db", ManualClock())
    assert calls
    monkeypatch.undo()
    assert current_revision(tmp_path / "mel.db") is None
    ensure_schema(tmp_path / "mel.db", ManualClock())
    assert current_revision(tmp_path / "mel.db") == HEAD


def test_an_older_database_is_copied_before_it_is_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup before each migration, readable by its owner only."""
    path = tmp_path / "mel.db"
    ensure_schema(path, ManualClock())
    monkeypatch.setattr(migrate, "HEAD", "9999")
    monkeypatch.setattr(migrate, "_upgrade", lambda _: None)
    ensure_schema(path, ManualClock())
    (copy,) = tmp_path.glob(f"mel.before-9999-from-{HEAD}.db")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert sorted_columns(dump(copy)) == sorted_columns(dump(path))


def test_only_the_newest_copies_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hive that is upgraded for years does not fill its disk with copies."""
    path = tmp_path / "mel.db"
    ensure_schema(path, ManualClock())
    monkeypatch.setattr(migrate, "_upgrade", lambda _: None)
    for number in range(9990, 9995):
        monkeypatch.setattr(migrate, "HEAD", str(number))
        ensure_schema(path, ManualClock())
    kept = sorted(copy.name for copy in tmp_path.glob("*.before-*"))
    assert kept == [f"mel.before-{number}-from-{HEAD}.db" for number in (9993, 9994)]


def test_a_copy_can_be_made_while_others_write(tmp_path: Path) -> None:
    """`VACUUM INTO`, never `cp`."""
    path = tmp_path / "mel.db"
    ensure_schema(path, ManualClock())
    with sqlite3.connect(path, isolation_level=None) as c:
        c.execute("BEGIN IMMEDIATE")
        c.execute("INSERT INTO meta VALUES ('uncommitted', '')")
        copy_whole(path, tmp_path / "copy.db")
        c.execute("ROLLBACK")
    c.close()
    assert rows(tmp_path / "copy.db") == rows(path)


# ---- what is refused ------------------------------------------------------------------------------------------------


def refused(path: Path) -> StoreUnusable:
    before = path.read_bytes()
    with pytest.raises(StoreUnusable) as caught:
        ensure_schema(path, ManualClock())
    assert path.read_bytes() == before, "a database that is refused is not touched"
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """Issue 3: a database newer than the program."""
    path = tmp_path / "mel.db"
    ensure_schema(path, ManualClock())
    with sqlite3.connect(path) as c:
        c.execute("UPDATE alembic_version SET version_num = '9999'")
    c.close()
    assert refused(path).code == "store_too_new"


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mel.db") as c:
        c.execute("CREATE TABLE theirs(x)")
    c.close()
    assert "another program" in str(refused(tmp_path / "mel.db"))


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mel.db").write_bytes(b"this is a letter to grandmother" * 100)
    assert "damaged" in str(refused(tmp_path / "mel.db"))


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mel.db"
    ensure_schema(path, ManualClock())
    raw = bytearray(path.read_bytes())
    raw[100:4096] = b"\xff" * 3996
    path.write_bytes(raw)
    assert "damaged" in str(refused(path))


def test_an_empty_file_is_a_fresh_start(tmp_path: Path) -> None:
    """A crash between making the file and filling it."""
    (tmp_path / "mel.db").touch()
    ensure_schema(tmp_path / "mel.db", ManualClock())
    assert current_revision(tmp_path / "mel.db") == HEAD


def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    """The path goes into a URI."""
    folder = tmp_path / "a%20b?c#d e"
    folder.mkdir()
    ensure_schema(folder / "mel.db", ManualClock())
    ensure_schema(folder / "mel.db", ManualClock())
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /srv/with\040space rw - nfs4 server:/export rw
31 22 0:26 / /srv/over rw - nfs server:/a rw
32 31 0:27 / /srv/over rw - tmpfs tmpfs rw
33 22 0:28 / /srv/fuse rw - fuse.sshfs me@host: rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/with space/data", "nfs4"),
        ("/srv/with spacer", "ext4"),
        ("/srv/over/data", "tmpfs"),
        ("/srv/fuse", "fuse.sshfs"),
        ("/", "ext4"),
    ],
)
def test_the_file_system_of_a_folder_is_found(folder: str, kind: str) -> None:
    assert file_system(Path(folder), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse", "virtiofs", "ceph"])
def test_a_network_file_system_is_refused_unless_forced(tmp_path: Path, kind: str) -> None:
    """Issue 3, SECURITY.md 6.2: refuse network file systems unless forced."""
    mounts = f"22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:25 / {tmp_path} rw - {kind} x rw\n"
    with pytest.raises(StoreUnusable, match="network") as caught:
        check_place(tmp_path / "mel.db", mounts=mounts)
    assert "--data" in caught.value.remedy
    check_place(tmp_path / "mel.db", mounts=mounts, force=True)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="does not exist"):
        check_place(tmp_path / "nowhere" / "mel.db")


def test_a_failing_disk_at_the_first_start_is_an_unknown_outcome(tmp_path: Path, monkeypatch: Any) -> None:
    """Opening it again is safe, so the daemon may be started again."""
    from sqlalchemy.exc import OperationalError

    class DiskError(sqlite3.OperationalError):
        sqlite_errorname = "SQLITE_IOERR_FSYNC"

    def fail(*_: Any) -> None:
        raise OperationalError("COMMIT", {}, DiskError("disk I/O error"))

    monkeypatch.setattr("alembic.command.upgrade", fail)
    with pytest.raises(OutcomeUnknown):
        ensure_schema(tmp_path / "mel.db", ManualClock())
    monkeypatch.undo()
    ensure_schema(tmp_path / "mel.db", ManualClock())


@pytest.mark.anyio
async def test_the_store_opens_where_it_was_left(tmp_path: Path) -> None:
    for _ in range(2):
        store = await Store.open(tmp_path / "mel.db", ManualClock())
        await store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mel.db", "mel.migrate.lock"]
