"""Opening SQLite the one safe way: checks before the first byte, the pragmas, and what its errors mean.

Facts behind the rules: SECURITY.md section 6.2 (faults, tried) and PERFORMANCE.md section 11 (pragmas, measured).
"""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from melipona.errors import OutcomeUnknown, StoreError, StoreFull, StoreUnusable

NETWORK = frozenset({"nfs", "nfs4", "smb3", "cifs", "smbfs", "9p", "ceph", "glusterfs", "afs", "lustre", "virtiofs"})
PRAGMAS: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "busy_timeout": 5000,
    "temp_store": 2,
    "cache_size": -16000,
}
"""What every connection has; synchronous 2 is FULL, temp_store 2 is MEMORY."""
WRITER: dict[str, str | int] = {"recursive_triggers": 1, "query_only": 0, "wal_autocheckpoint": 0}
"""The triggers that keep events append-only fire for REPLACE too. SQLite's own checkpoint after a commit would swallow
a failed fsync, so the writer makes checkpoints itself."""
READER: dict[str, str | int] = {"query_only": 1, "wal_autocheckpoint": 0}
SAFE_VERSION = (3, 51, 3)
"""Older ones have the WAL-reset bug when two connections write or checkpoint at once; one writer avoids it."""


def check_place(path: Path, *, force: bool = False, mounts: str | None = None) -> None:
    """Refuse a folder on which SQLite's locks or WAL do not hold. `mounts` stands for /proc/self/mountinfo in tests.

    Raises:
        StoreUnusable: the folder is missing, not writable, or on a network file system.
    """
    folder = path.parent
    if not folder.is_dir():
        raise StoreUnusable(
            f"the data folder {folder} does not exist", remedy="create it or choose another with --data"
        )
    if not os.access(folder, os.W_OK | os.X_OK) or os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise StoreUnusable(
            f"the data folder {folder} cannot be written",
            remedy="make it writable or choose another",
            code="store_read_only",
        )
    kind = file_system(folder, mounts)
    if not force and (kind in NETWORK or kind.startswith("fuse")):
        raise StoreUnusable(
            f"the data folder {folder} is on a network or FUSE file system ({kind}), where SQLite can corrupt its data",
            remedy="choose a folder on a local disk with --data",
        )


def file_system(folder: Path, mounts: str | None = None) -> str:
    """The type of the file system that `folder` is on, by the deepest mount point above it; empty if unknown."""
    best, depth = "", -1
    real = str(folder.resolve())
    for line in (mounts if mounts is not None else Path("/proc/self/mountinfo").read_text()).splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), fields[4])
        below = real == point or real.startswith(point.rstrip("/") + "/")
        if below and len(point) >= depth:  # of two on one point the later one is seen
            best, depth = after.split()[0], len(point)
    return best


def connect(path: Path, *, reader: bool) -> sqlite3.Connection:
    """A connection with every pragma set and verified.

    Raises:
        StoreUnusable, StoreFull: with the file's name and the remedy.
    """
    try:
        # Threads: the writer's connection is made by one thread and used by another, never by two at once.
        driver = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    try:
        _set_pragmas(driver, path, PRAGMAS | (READER if reader else WRITER))
    except sqlite3.Error as error:
        driver.close()
        raise translated(error, path) from error
    except StoreUnusable:
        driver.close()
        raise
    return driver


def _set_pragmas(driver: sqlite3.Connection, path: Path, wanted: dict[str, str | int]) -> None:
    reader = wanted["query_only"] == 1
    for name, value in wanted.items():
        if not (reader and name == "journal_mode"):
            driver.execute(f"PRAGMA {name}={value}").fetchall()
    for name, value in wanted.items():
        found = driver.execute(f"PRAGMA {name}").fetchone()[0]
        if found != value:
            raise StoreUnusable(
                f"{path}: SQLite keeps {name}={found} instead of {value}",
                remedy="move the data folder to a local disk that supports shared memory files",
            )


def open_core(path: Path, *, reader: bool) -> Connection:
    """A connection of SQLAlchemy Core around one of `connect`.

    Raises:
        StoreUnusable, StoreFull: with the file's name and the remedy.
    """
    driver = connect(path, reader=reader)
    engine = create_engine("sqlite://", creator=lambda: driver, poolclass=StaticPool, skip_autocommit_rollback=True)
    return engine.connect()


def driver_of(c: Connection) -> sqlite3.Connection:
    """The driver's own connection under `c`."""
    driver = c.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def close_core(c: Connection) -> None:
    """Close a connection of `open_core` for good; one that fails to close is left to the process's end."""
    driver = driver_of(c)
    for close in (c.close, driver.close, c.engine.dispose):
        try:
            close()
        except (sqlite3.Error, DBAPIError):
            continue


def translated(error: BaseException, path: Path, *, committing: bool = False, always: bool = False) -> StoreError:
    """What an error of SQLite means for the caller, naming file and remedy.

    Only while `committing` can the outcome be unknown: everywhere else a failed statement has stored nothing. With
    `always` every error then means that.
    """
    raw: Any = error.orig if isinstance(error, DBAPIError) else error
    name = str(getattr(raw, "sqlite_errorname", "") or "")
    text = str(raw)
    if committing and (always or not name.startswith(("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_CONSTRAINT"))):
        return OutcomeUnknown(
            f"{path}: the disk failed ({name or text}); it is not known whether the last change was stored",
            remedy="the daemon starts again by itself; look the change up before you repeat it",
        )
    if name.startswith("SQLITE_FULL") or "disk is full" in text:
        return StoreFull(
            f"{path}: the disk is full, nothing was written", remedy="free some space; the hive goes on by itself"
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreUnusable(
            f"{path} is locked by another program", remedy="stop whatever has it open (sqlite3, a backup tool)"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreUnusable(f"{path} is damaged: {text}", remedy="stop the hive and restore a backup")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return StoreUnusable(f"{path} cannot be opened for writing: {text}", remedy="check owner, mode and free space")
    if name.startswith("SQLITE_IOERR"):
        return StoreUnusable(
            f"{path}: the disk failed ({name}); nothing was stored",
            remedy="look at the disk and the kernel's log",
            code="store_io",
        )
    if name.startswith("SQLITE_INTERRUPT"):
        return StoreError(f"{path}: the query took too long and was stopped", code="read_too_long")
    return StoreError(f"{path}: {text}")
