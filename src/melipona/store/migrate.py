"""Bringing a database to the present schema: forward only, a backup before each change, refusing what is newer.

A fresh database is made by running all migrations too, so that there is one way to a schema; a test proves that the
result equals `schema.metadata` with triggers and indexes (invariant 45, D-32).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.exc import DBAPIError

from melipona.clock import Clock
from melipona.errors import StoreError, StoreUnusable
from melipona.faults import fault_here
from melipona.ids import new_id
from melipona.store.sqlite import connect, translated

HEAD = "0004"
"""The newest revision under `migrations/versions`; a test compares."""

KNOWN = ("0001", "0002", "0003", "0004")
COPIES = 2
"""Copies from before migrations that are kept, the newest."""

RESTORING = ".restoring"
"""A file in a data folder while a restore writes there: whoever finds it finds no whole hive."""


def ensure_schema(path: Path, clock: Clock) -> None:
    """Create or upgrade the database at `path`; nothing happens when it is up to date.

    Raises:
        StoreUnusable, StoreFull: it is newer than this program, damaged, locked, or cannot be written.
        OutcomeUnknown: the disk failed; opening it again is safe.
    """
    with _alone(path):
        revision = current_revision(path)
        if revision is not None and revision not in KNOWN:
            raise StoreUnusable(
                f"{path} has schema {revision}, which is newer than this Melipona knows ({HEAD})",
                remedy="install the newer Melipona that made it, or restore an older backup",
                code="store_too_new",
            )
        if revision != HEAD:
            if revision is not None:
                fault_here("store.migrate.before_backup")
                _backup(path, revision)
                fault_here("store.migrate.after_backup")
            fault_here("store.migrate.before_upgrade")
            _upgrade(path)
            fault_here("store.migrate.after_upgrade")
            _prune_copies(path)
        mark_new(path, clock)


def current_revision(path: Path) -> str | None:
    """The schema revision of the database at `path`, None when there is no database or it is empty.

    Raises:
        StoreUnusable: it is another program's, damaged or locked, or a restore into its folder was cut off.
    """
    if (path.parent / RESTORING).exists():
        raise StoreUnusable(
            f"a restore into {path.parent} was cut off: what lies there is not whole",
            remedy="restore the backup into that folder again",
            code="half_restored",
        )
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as c:
            names = {row[0] for row in c.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            if "alembic_version" not in names:
                if names:
                    raise StoreUnusable(
                        f"{path} is a database of another program", remedy="choose another data folder with --data"
                    )
                return None
            row = c.execute("SELECT version_num FROM alembic_version").fetchone()
            return None if row is None else str(row[0])
    except sqlite3.Error as error:
        raise translated(error, path) from error


def mark_new(path: Path, clock: Clock, *, again: bool = False) -> None:
    """Give the store its id, unless it has one; `again` gives a new one (after a restore: D-33)."""
    values = {"store_id": new_id(), "created_at": str(clock.now())}
    try:
        with closing(connect(path, reader=False)) as driver:
            found = {row[0] for row in driver.execute("SELECT key FROM meta WHERE key IN ('store_id', 'created_at')")}
            missing = {key: value for key, value in values.items() if key not in found}
            if again:
                missing["store_id"] = values["store_id"]
            if missing:
                driver.execute("BEGIN IMMEDIATE")
                driver.executemany("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", missing.items())
                fault_here("store.mark_new.before_commit")
                driver.execute("COMMIT")
                fault_here("store.mark_new.after_commit")
    except sqlite3.Error as error:
        raise _failed(error, path) from error


def _failed(error: Exception, path: Path) -> StoreError:
    """Of a failing disk it is not known what it took; every other failure has changed nothing."""
    raw = error.orig if isinstance(error, DBAPIError) else error
    disk = str(getattr(raw, "sqlite_errorname", "")).startswith("SQLITE_IOERR")
    return translated(error, path, committing=disk)


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Two programs must not migrate at once."""
    name = path.with_suffix(".migrate.lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreUnusable(
            f"{name} cannot be made: {error.strerror}", remedy="check owner, mode and free space"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _upgrade(path: Path, to: str = "head") -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    make_private(path)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    driver = connect(path, reader=False)
    driver.execute("PRAGMA foreign_keys=OFF")
    engine = create_engine("sqlite://", creator=lambda: driver, poolclass=StaticPool)
    try:
        with engine.connect() as c:
            driver.execute("BEGIN IMMEDIATE")
            try:
                config.attributes["connection"] = c
                fault_here("store.upgrade.before_commit")
                command.upgrade(config, to)  # commits or rolls back by itself
                fault_here("store.upgrade.after_commit")
            except BaseException:
                if driver.in_transaction:
                    driver.execute("ROLLBACK")
                raise
    except (sqlite3.Error, DBAPIError) as error:
        raise _failed(error, path) from error
    finally:
        engine.dispose()
        driver.close()


def make_private(path: Path) -> None:
    """Make an empty file that only its owner can read, unless there is one."""
    try:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise StoreUnusable(
            f"{path} cannot be made: {error.strerror}", remedy="check owner, mode and free space"
        ) from error


def _backup(path: Path, revision: str) -> None:
    """A whole copy beside the database before it is changed. A start that was cut off leaves an unfinished one under
    another name, and an older whole one stays until there is a new one."""
    copy = path.with_name(f"{path.stem}.before-{HEAD}-from-{revision}{path.suffix}")
    draft = copy.with_name(f".{copy.name}")
    draft.unlink(missing_ok=True)
    try:
        copy_whole(path, draft)
        fault_here("store.copy.before_replace")
        draft.replace(copy)
        fault_here("store.copy.after_replace")
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _prune_copies(path: Path) -> None:
    """After a migration that worked, keep the newest copies only."""
    found = sorted(path.parent.glob(f"{path.stem}.before-*{path.suffix}"), key=lambda copy: copy.stat().st_mtime_ns)
    for copy in found[:-COPIES]:
        copy.unlink(missing_ok=True)


def copy_whole(path: Path, copy: Path) -> None:
    """A durable copy of the database at `path` as of one moment, while others may write to it.

    Raises:
        StoreUnusable, StoreFull: it cannot be read or written.
    """
    make_private(copy)
    try:
        with closing(connect(path, reader=False)) as driver:
            driver.execute("PRAGMA wal_autocheckpoint=0")  # the daemon's writer is the only checkpointer
            fault_here("store.copy.before_vacuum")
            driver.execute("VACUUM INTO ?", (str(copy),))
            fault_here("store.copy.after_vacuum")
    except sqlite3.Error as error:
        raise translated(error, copy) from error
    for place, flags in ((copy, os.O_RDONLY), (copy.parent, os.O_RDONLY | os.O_DIRECTORY)):
        fd = os.open(place, flags | os.O_CLOEXEC)
        try:
            fault_here("store.copy.before_sync")
            os.fsync(fd)
            fault_here("store.copy.after_sync")
        finally:
            os.close(fd)
