"""From the wheel to a hive that is ready and to the first turn of its first agent, as a user types it.

`uv tool install`, `mel up --detach`, `mel agent new`, `mel send`. The floor is installing what the wheel depends on,
from the same cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.figures import OURS, Figure, Values
from bench.hive import ROOT
from bench.rounds import Contender, Run, Unable
from melipona.client import Client

DEPENDENCIES = "its dependencies alone"
FIGURES = (
    Figure("installed", "s", DEPENDENCIES),
    Figure("ready", "s", DEPENDENCIES),
    Figure("first_turn", "s", DEPENDENCIES),
    Figure("size", "MiB", DEPENDENCIES),
)
ROUNDS = QUICK_ROUNDS = 1
PATIENCE = 120.0


class Installer:
    """Runs uv with folders of its own; the cache is the user's.

    Raises:
        Unable: there is no uv, or the wheel cannot be built here.
    """

    def __init__(self, folder: Path) -> None:
        own = ROOT / ".mel/uv/bin/uv"
        uv = shutil.which("uv") or (str(own) if own.exists() else None)
        if uv is None:
            raise Unable("uv is not installed")
        self._uv, self.folder = uv, folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        self.env = kept | {
            "UV_TOOL_DIR": str(folder / "tools"),
            "UV_TOOL_BIN_DIR": str(folder / "bin"),
            "UV_PYTHON_DOWNLOADS": "never",
            "MEL_DATA": str(folder / "data"),
        }
        if index := os.environ.get("PIP_INDEX_URL"):
            self.env.setdefault("UV_DEFAULT_INDEX", index)
        self.uv("build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT))
        [self.wheel] = folder.glob("*.whl")

    def uv(self, *arguments: str) -> float:
        """Run uv; the seconds that it took."""
        began = time.perf_counter()
        done = subprocess.run([self._uv, *arguments], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unable(f"uv {arguments[0]} failed: {done.stderr.strip()[-400:]}")
        return time.perf_counter() - began

    def mel(self, *arguments: str) -> None:
        """Run the installed `mel`."""
        argv = [str(self.folder / "bin/mel"), "--data", str(self.folder / "data"), *arguments]
        subprocess.run(argv, env=self.env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def dependencies(self) -> Values:
        """Install what the wheel needs into a new environment."""
        place = self.folder / "dependencies"
        began = time.perf_counter()
        self.uv("venv", "--quiet", "--no-project", "--python", sys.executable, str(place))
        lock = str(ROOT / "requirements.lock")
        arguments = ("--compile-bytecode", "--no-deps", "-r", lock)
        self.uv("pip", "install", "--quiet", "--python", str(place / "bin/python"), *arguments)
        seconds = time.perf_counter() - began
        return {"installed": seconds, "ready": seconds, "first_turn": seconds, "size": _mib(place)}

    def everything(self) -> Values:
        """Install, start, make an agent and let it have its first turn."""
        began = time.perf_counter()
        lock = str(ROOT / "requirements.lock")
        self.uv(
            "tool", "install", "--quiet", "--compile-bytecode", "--python", sys.executable, "--constraints", lock,
            str(self.wheel),
        )  # fmt: skip
        values = {"installed": time.perf_counter() - began, "size": _mib(self.folder / "tools")}
        try:
            self.mel("up", "--detach")
            values["ready"] = time.perf_counter() - began
            self.mel("agent", "new", "ana", "--engine", "playbook")
            self.mel("send", "ana", "hello")
            self._answered()
            values["first_turn"] = time.perf_counter() - began
        finally:
            self.mel("down")
        return values

    def _answered(self) -> None:
        client, end = Client(self.folder / "data"), time.perf_counter() + PATIENCE
        while not any(turn["state"] == "ended" for turn in client.get("/turns")["items"]):
            if time.perf_counter() > end:
                raise RuntimeError("the first turn did not end")
            time.sleep(0.01)


def _mib(folder: Path) -> float:
    """What the files below a folder hold."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 2**20


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """Both from the same cache."""
    if run.quick:
        raise Unable("it takes too long for a quick run")
    installer = Installer(run.folder)
    yield {DEPENDENCIES: installer.dependencies, OURS: installer.everything}
