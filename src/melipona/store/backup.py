"""A backup of a hive in one `.tar.gz`, and its restore (D-35).

In it: the store as of one moment (`VACUUM INTO`), turn logs, long bodies, the agents' `state` folders and `shared`;
with `homes` the agents' homes too, which hold engine sessions. Never keys: none lies in these folders, and logins are
left out of the store's copy. A backup may be made while the daemon runs and while it does not; a restore goes only into
an empty folder, or again into one where a restore was cut off, which nobody takes for a hive until then. The seal head
is told, so that whoever keeps it can see later that nobody changed the events.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gzip
import json
import os
import shutil
import tarfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from melipona.clock import Clock, SystemClock, rfc3339
from melipona.errors import Conflict, Invalid, NotFound, StoreFull, WorldFailed
from melipona.faults import fault_here
from melipona.ids import new_id
from melipona.store import seals
from melipona.store.archive import Archive, Progress
from melipona.store.migrate import HEAD, KNOWN, RESTORING, copy_whole, current_revision, mark_new
from melipona.store.sqlite import close_core, connect, open_core

STORE = "mel.db"
MANIFEST = "backup.json"
TREES = ("turns", "agents", "shared", "operator")
FORMAT = 1
STAGE = ".mel-backup.partial"
_CHUNK = 1 << 20


async def backup(
    data: Path,
    target: Path,
    *,
    homes: bool = False,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a backup of the hive at `data` to the new file `target`, in a thread; `progress` is called there.

    Returns what `mel backup` shows: `path`, `bytes`, `files`, `head`, `events`, `skipped` (how many) and `notes`.

    Raises:
        Conflict: `target` exists or lies among what is backed up. NotFound: there is no hive.
        StoreFull, StoreUnusable, WorldFailed: it could not be written; nothing is left behind.
    """
    return await asyncio.to_thread(write_backup, data, target, homes=homes, clock=clock, progress=progress)


def write_backup(
    data: Path,
    target: Path,
    *,
    homes: bool = False,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The same, blocking."""
    target = _checked_target(data, target)
    if current_revision(data / STORE) is None:
        raise NotFound(f"there is no hive in {data}", remedy="name its folder with --data")
    at = (clock or SystemClock()).now()
    with _staged(target) as (copy, partial):
        fault_here("store.backup.before_copy")
        copy_whole(data / STORE, copy)
        facts = _prepare(copy)
        fault_here("store.backup.after_copy")
        manifest = {"format": FORMAT, "at": rfc3339(at), "schema": HEAD, "homes": homes, **facts}
        with _writing(partial) as tar:
            archive = Archive(tar, progress)
            archive.add_text(MANIFEST, json.dumps(manifest, indent=1))
            archive.add_file(copy.parent, copy.name, STORE)
            if archive.contents.skipped:
                raise WorldFailed(f"the copy of the store vanished: {archive.contents.notes[0]}", remedy="try again")
            fault_here("store.backup.before_trees")
            _add_trees(archive, data, homes=homes)
            fault_here("store.backup.after_trees")
        _place(partial, target)
    found = archive.contents
    told = {"path": str(target), "bytes": target.stat().st_size, "files": found.files, **facts}
    return told | {"skipped": found.skipped, "notes": found.notes}


def _add_trees(archive: Archive, data: Path, *, homes: bool) -> None:
    for name in TREES:
        archive.add_tree(data / name, name)
    if not (data / "homes").is_dir():
        return
    for agent in sorted(folder.name for folder in (data / "homes").iterdir()):
        for part in ("named", "home") if homes else ("named",):  # `named`: the notes of a tombstone
            archive.add_tree(data / "homes" / agent / part, f"homes/{agent}/{part}")


LOGINS = ("sessions", "login_links", "login_challenges", "api_tokens")
"""Tables whose rows let somebody in: a copy of the hive must not."""


def _prepare(copy: Path) -> dict[str, Any]:
    """Take logins out of the copy and look up its seal head."""
    with closing(connect(copy, reader=False)) as driver:
        for table in LOGINS:
            driver.execute(f"DELETE FROM {table}")  # noqa: S608  names of our own
        driver.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        store_id = driver.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
        head = driver.execute("SELECT hash FROM event_seals ORDER BY last DESC LIMIT 1").fetchone()
        newest = driver.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return {"store": store_id and store_id[0], "head": head[0] if head else "", "events": newest[0]}


# ---- restoring ------------------------------------------------------------------------------------------------------


async def restore(
    archive: Path, data: Path, *, box_owner: tuple[int, int] | None = None, clock: Clock | None = None
) -> dict[str, Any]:
    """Unpack a backup into the empty folder `data`, in a thread. `box_owner` is who owns what agents write (D-6).

    The store gets a new id, so that clients load everything anew (D-33). Returns `path`, `files`, `head`, `events`,
    `store`.

    Raises:
        Conflict: `data` is not empty. Invalid: the file is no backup, is damaged, or a newer program made it.
        StoreFull, WorldFailed: it could not be written; `data` is empty again.
    """
    return await asyncio.to_thread(unpack_backup, archive, data, box_owner=box_owner, clock=clock)


def unpack_backup(
    archive: Path, data: Path, *, box_owner: tuple[int, int] | None = None, clock: Clock | None = None
) -> dict[str, Any]:
    """The same, blocking."""
    _check_empty(data)
    try:
        _mark_restoring(data)
        fault_here("store.restore.before_unpack")
        manifest, files = _unpack(archive, data, box_owner or (os.geteuid(), os.getegid()))
        fault_here("store.restore.after_unpack")
        found = _check_store(data / STORE, manifest)
        fault_here("store.restore.after_check")
        mark_new(data / STORE, clock or SystemClock(), again=True)
        fault_here("store.restore.before_sync")
        os.sync()
        fault_here("store.restore.after_sync")
        _sync_gone(data / RESTORING)
        fault_here("store.restore.after_unmark")
    except BaseException:
        _empty(data)
        raise
    with closing(connect(data / STORE, reader=True)) as driver:
        store_id = driver.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()[0]
    return {"path": str(data), "files": files, "head": found.head, "events": manifest["events"], "store": store_id}


def _unpack(archive: Path, data: Path, box_owner: tuple[int, int]) -> tuple[dict[str, Any], int]:
    manifest: dict[str, Any] | None = None
    files = 0
    try:
        with tarfile.open(archive, "r|gz", encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                source = tar.extractfile(member)
                if manifest is None:
                    manifest = _manifest(member, source)
                    continue
                path = _inside(data, member.name)
                owner = box_owner if _agents_own(PurePosixPath(member.name)) else None
                if member.isdir():
                    _make_folder(path, member.name, owner)
                elif member.isreg() and source is not None:
                    fault_here("store.restore.before_file")
                    _write_file(path, source, member, owner)
                    fault_here("store.restore.after_file")
                    files += 1
                else:
                    raise Invalid(f"{archive} holds {member.name!r}, which is neither file nor folder")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise Invalid(f"{archive} is no backup or is damaged: {error}", remedy="use another file") from error
    except OSError as error:
        raise WorldFailed(f"{archive} cannot be restored to {data}: {error.strerror or error}") from error
    if manifest is None:
        raise Invalid(f"{archive} is empty", remedy="use another file")
    return manifest, files


def _manifest(member: tarfile.TarInfo, source: Any) -> dict[str, Any]:
    if member.name != MANIFEST or source is None or member.size > _CHUNK:
        raise Invalid("the file is no backup of Melipona", remedy="use another file")
    try:
        manifest: dict[str, Any] = json.loads(source.read())
        newer = manifest["format"] > FORMAT or manifest["schema"] not in KNOWN
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid("the backup's first file is damaged", remedy="use another file") from error
    if newer:
        raise Invalid("a newer Melipona made this backup", remedy="restore it with that one")
    return manifest


def _check_store(path: Path, manifest: dict[str, Any]) -> seals.Verification:
    """The restored store must be whole and hold the seals that the backup told."""
    if not path.is_file():
        raise Invalid("the backup holds no store", remedy="use another file")
    c = open_core(path, reader=False)
    try:
        if c.exec_driver_sql("PRAGMA quick_check").scalar_one() != "ok":
            raise Invalid("the store in the backup is damaged", remedy="use another file")
        found = seals.verify(c, known_head=manifest.get("head") or None)
    finally:
        close_core(c)
    if not found.ok:
        raise Invalid(f"the events in the backup were changed: {found.problem}", remedy="use another file")
    return found


def _agents_own(name: PurePosixPath) -> bool:
    """Whether agents write what lies here."""
    parts = name.parts
    return (
        (parts[0] == "agents" and parts[2:3] == ("state",))
        or (parts[0] == "homes" and parts[2:3] == ("home",))
        or (parts[0] == "homes" and parts[2:4] == ("named", "state"))
    )


def _inside(data: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or pure.parts[0] not in (STORE, "homes", *TREES):
        raise Invalid(f"the backup holds {name!r}, which does not belong there", remedy="use another file")
    return data.joinpath(*pure.parts)


def _make_folder(path: Path, name: str, owner: tuple[int, int] | None) -> None:
    parts = PurePosixPath(name).parts
    private = parts[0] in ("homes", "turns", "operator") or owner is not None
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir(mode=0o700)
    path.chmod(0o700 if private else 0o755)
    if owner is not None:
        os.chown(path, *owner)


def _write_file(path: Path, source: Any, member: tarfile.TarInfo, owner: tuple[int, int] | None) -> None:
    shown = member.name.startswith(("shared/", "agents/")) and owner is None  # boxes read these of the daemon's
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
        file.flush()
        os.fchmod(fd, 0o644 if shown else 0o700 if member.mode & 0o100 else 0o600)
        if owner is not None:
            os.fchown(fd, *owner)
        os.fsync(fd)


def _mark_restoring(data: Path) -> None:
    """From here until the mark goes nobody takes the folder for a hive, and the next restore may empty it."""
    os.close(os.open(data / RESTORING, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    _sync_folder(data)


def _sync_gone(path: Path) -> None:
    path.unlink()
    _sync_folder(path.parent)


def _empty(data: Path) -> None:
    """Remove everything in the folder, the mark of a restore last."""
    for entry in sorted(data.iterdir(), key=lambda entry: entry.name == RESTORING):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _check_empty(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (data / RESTORING).is_file():
            _empty(data)
        if any(data.iterdir()):
            raise Conflict(f"{data} is not empty", remedy="restore into an empty or new folder")
        data.chmod(0o700)
    except OSError as error:
        raise WorldFailed(f"{data} cannot be used: {error.strerror}") from error


# ---- files ----------------------------------------------------------------------------------------------------------


def _checked_target(data: Path, target: Path) -> Path:
    real = target.parent.resolve()
    if os.path.lexists(real / target.name):
        raise Conflict(f"{target} exists", remedy="name a new file")
    if not real.is_dir():
        raise NotFound(f"the folder {target.parent} does not exist", remedy="make it first")
    for name in (*TREES, "homes"):
        if real.is_relative_to((data / name).resolve()):
            raise Conflict(f"{target} lies among what is backed up", remedy="name a file outside the data folder")
    return real / target.name


@contextmanager
def _staged(target: Path) -> Generator[tuple[Path, Path]]:
    """Two names in a folder beside the target that is gone afterwards.

    What a crash leaves of it is removed by the next backup into that place.
    """
    stage = target.with_name(f".{new_id()}{STAGE}")
    lock: int | None = None
    try:
        _remove_stale(target.parent)
        stage.mkdir(mode=0o700)
        lock = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield stage / "whole.db", stage / "archive"
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreFull(f"{target}: the disk is full", remedy="free some space or name another disk") from error
        raise WorldFailed(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_stale(place: Path) -> None:
    """Remove what backups left that died: nobody holds their folders' locks."""
    for stage in place.glob(f".*{STAGE}"):
        try:
            lock = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # it went meanwhile, or is no folder of ours
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stage, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


@contextmanager
def _writing(partial: Path) -> Generator[tarfile.TarFile]:
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        with (
            gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0, filename="") as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar,
        ):
            yield tar
        file.flush()
        os.fsync(fd)


def _place(partial: Path, target: Path) -> None:
    """Give the whole file its name, replacing nothing."""
    fault_here("store.backup.before_place")
    try:
        os.link(partial, target)
    except FileExistsError as error:
        raise Conflict(f"{target} exists", remedy="name a new file") from error
    except OSError:  # a file system without hard links
        partial.rename(target)
    fault_here("store.backup.after_place")
    _sync_folder(target.parent)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
