"""The tracked files of this repository; in a tree without git, all that git would not ignore."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".venv", ".mel", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", "node_modules"}


@cache
def tracked() -> tuple[Path, ...]:
    """Paths below the root, sorted."""
    argv = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"]
    try:
        listed = subprocess.run(argv, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if not SKIPPED & set(path.parts)]
    return tuple(sorted(Path(name) for name in listed if name and (ROOT / name).is_file()))


@cache
def text_of(path: Path) -> str | None:
    """The text of a tracked file; None for one that is not text."""
    data = (ROOT / path).read_bytes()
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def below(folder: str, suffix: str) -> list[Path]:
    """Tracked files below a folder with a suffix."""
    return [path for path in tracked() if path.is_relative_to(folder) and path.suffix == suffix]
