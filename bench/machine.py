"""What the figures were measured on, and which commit of the product."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

from bench.figures import Json, percentile
from melipona.store.sqlite import file_system

SYNCS = 50
BLOCK = 4096


def machine(folder: Path) -> Json:
    """Cores, versions, and the disk below `folder`."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "disk": file_system(folder),
        "fdatasync_us": round(fdatasync_us(folder)),
    }


def fdatasync_us(folder: Path) -> float:
    """The median of writing a page over itself and `fdatasync`, in microseconds."""
    path = folder / "fdatasync"
    taken: list[float] = []
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        block = os.urandom(BLOCK)
        os.pwrite(fd, block, 0)
        os.fsync(fd)
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(fd, block, 0)
            os.fdatasync(fd)
            taken.append(time.perf_counter() - began)
    finally:
        os.close(fd)
        path.unlink()
    return percentile(taken, 50) * 1e6


def commit(root: Path) -> str:
    """The commit that is checked out, with `+` when files differ from it; `unknown` outside a clone."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    name = _git(git, root, "rev-parse", "--short=12", "HEAD")
    changed = _git(git, root, "status", "--porcelain", "--untracked-files=no")
    return f"{name}+" if name and changed else name or "unknown"


def _git(git: str, root: Path, *arguments: str) -> str:
    argv = [git, "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
