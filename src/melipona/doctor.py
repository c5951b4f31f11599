"""`mel doctor`: what works here, what does not, and what to do about it. A real box is started for the answer.

Checks return findings and never raise; with a daemon they run in it, without one the command line runs the same.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from melipona import __version__
from melipona.boxes.driver import BoxDriver, Finding
from melipona.boxes.uids import OWN_UID
from melipona.clock import rfc3339
from melipona.engines.engine import EngineDriver
from melipona.errors import MeliponaError, WorldFailed
from melipona.process import run
from melipona.settings import StoreSettings
from melipona.store.disk import WAL_MOST
from melipona.store.space import BALLAST, floor_of, statvfs
from melipona.store.sqlite import SAFE_VERSION, check_place, connect, file_system

Json = dict[str, Any]
LOW_DISK = 0.15
SAFE_GIT = (2, 39, 5)


async def examine(
    data: Path,
    driver: BoxDriver,
    engines: Sequence[EngineDriver],
    *,
    has_key: bool,
    deep: bool = True,
    store: StoreSettings | None = None,
    more: Sequence[Finding] = (),
) -> list[Json]:
    """Every check, in the order a person should read them.

    Each is `{"name", "ok": "yes" | "warn" | "no", "detail", "remedy"}`: `no` means that the hive does not work,
    `warn` that something is not as good as it could be. `more` is what only a running hive knows.
    """
    findings = [_program(), _sqlite(), _place(data), _disk(data, store or StoreSettings()), _database(data), *more]
    findings.append(await _git())
    findings += await driver.health(deep=deep)
    limits = [limit for limit in driver.enforced() if limit.name != OWN_UID]  # of which `health` has told
    findings += [Finding(f"limit: {limit.name}", limit.binds, limit.how, fatal=False) for limit in limits]
    for engine in engines:
        findings.append(await _engine(engine, has_key=has_key))
    return [_as_json(finding) for finding in findings]


def _as_json(finding: Finding) -> Json:
    ok = "yes" if finding.ok else "no" if finding.fatal else "warn"
    return {"name": finding.name, "ok": ok, "detail": finding.detail, "remedy": finding.remedy}


def _program() -> Finding:
    uid = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    python = ".".join(map(str, sys.version_info[:3]))
    return Finding("melipona", True, f"{__version__}, Python {python}, Linux {platform.release()}, as {uid}")


def _sqlite() -> Finding:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= SAFE_VERSION:
        return Finding("sqlite", True, version)
    detail = f"{version}; before 3.51.3 two writers at once may corrupt a database; this hive has one writer only"
    return Finding("sqlite", True, detail)


def _place(data: Path) -> Finding:
    if not data.exists():
        return Finding("data folder", False, f"{data} is not there yet", "`mel up` makes it", fatal=False)
    try:
        check_place(data / "mel.db")
    except MeliponaError as error:
        return Finding("data folder", False, error.message, error.remedy)
    if data.stat().st_mode & 0o077:
        return Finding("data folder", False, f"{data} is open to other users", f"chmod 700 {data}")
    return Finding("data folder", True, f"{data} on {file_system(data) or 'an unknown file system'}")


def _disk(data: Path, settings: StoreSettings) -> Finding:
    """How much room there is, against the floor under which no turn begins, and whether the ballast is in place."""
    there = next(folder for folder in (data, *data.parents) if folder.exists())
    try:
        free, total = statvfs(there)
    except OSError as error:
        return Finding("disk", False, f"{there}: {error.strerror}")
    floor = floor_of(settings, total)
    detail = f"{free >> 20} MiB of {total >> 20} MiB free; a turn begins with {floor >> 20} MiB"
    ballast = data / BALLAST
    if settings.ballast_bytes and (data / "mel.db").exists() and not ballast.exists():
        detail += "; the ballast is gone: the hive only reads until there is room for it again"
        return Finding("disk", False, detail, "free some space; the hive goes on by itself", fatal=False)
    return Finding("disk", free >= max(floor, total * LOW_DISK), detail, "free some space", fatal=False)


def _database(data: Path) -> Finding:
    """What the last check of the database found, and how large its write-ahead log is."""
    path = data / "mel.db"
    if not path.exists():
        return Finding("database", True, "there is none yet")
    try:
        with closing(connect(path, reader=True)) as c:
            row = c.execute("SELECT at, result, problem FROM integrity_checks ORDER BY id DESC LIMIT 1").fetchone()
    except (MeliponaError, sqlite3.Error) as error:
        return Finding("database", False, str(error), "mel events --verify tells more", fatal=False)
    wal = path.with_name(path.name + "-wal")
    size = wal.stat().st_size if wal.exists() else 0
    checked = "not checked yet: that is done after an unclean end and weekly"
    if row is not None:
        checked = f"checked at {rfc3339(row[0])}: {row[1]}" + (f", {row[2]}" if row[2] else "")
    detail = f"{path.stat().st_size >> 20} MiB; {checked}"
    if row is not None and row[1] == "damaged":
        return Finding("database", False, detail, "mel backup FILE, mel down, and restore the newest whole backup")
    if size > WAL_MOST:
        remedy = "end what reads the database from outside (sqlite3, a backup tool)"
        return Finding("database", False, f"{detail}; its write-ahead log has {size >> 20} MiB", remedy, fatal=False)
    return Finding("database", True, detail)


async def _git() -> Finding:
    try:
        found = await run([shutil.which("git") or "/usr/bin/git", "--version"], timeout=timedelta(seconds=10))
    except WorldFailed as error:
        return Finding("git", False, error.message, "apt-get install git", fatal=False)
    words = found.text.split()
    version = tuple(int(part) for part in words[2].split(".")[:3] if part.isdigit()) if len(words) > 2 else ()
    ok = version >= SAFE_GIT
    remedy = "" if ok else "update git: older ones have known holes with hostile repositories"
    return Finding("git", ok, found.text.strip(), remedy, fatal=False)


async def _engine(engine: EngineDriver, *, has_key: bool) -> Finding:
    health = await engine.health()
    if health.ok and engine.needs_model_key and not has_key:
        remedy = "set ANTHROPIC_API_KEY before `mel up`, or models.anthropic.key_file in mel.toml"
        return Finding(f"engine {engine.name}", False, f"{health.detail}; there is no model key", remedy, fatal=False)
    return Finding(f"engine {engine.name}", health.ok, health.detail, health.remedy, fatal=False)
