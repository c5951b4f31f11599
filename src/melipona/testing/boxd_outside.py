"""The real boxd as an ordinary process of the test's user, in a temporary folder and without a box.

For whatever speaks with a `Link` and does not care about isolation. What it starts sees the host as the test does: run
nothing hostile with it. It ends with the context, its programs with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from melipona.boxes.link_unix import BoxLink
from melipona.clock import Clock, SystemClock
from melipona.ids import BoxId

BOXD = Path(__file__).parents[1] / "boxes" / "inside" / "boxd.py"


@dataclass(slots=True)
class BoxdProcess:
    """A boxd outside a box; `settings` are its JSON argument. Starts with `start()`, ends with `kill()`."""

    folder: Path
    python: str = sys.executable
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    process: subprocess.Popen[bytes] | None = None

    @property
    def sockets(self) -> Path:
        """The folder of its sockets."""
        return self.folder / "run"

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else -1

    @property
    def errors(self) -> str:
        """What it wrote on its stderr so far."""
        return (self.folder / "boxd.err").read_text(errors="replace")

    def start(self) -> None:
        """Start it; it dials `ctl.sock` for ever."""
        self.sockets.mkdir(exist_ok=True)
        settings = {
            "box": "outside",
            "hive": "test",
            "gate_port": 0,
            "egress_port": 0,
            "run": str(self.sockets),
            **self.settings,
        }
        with (self.folder / "boxd.err").open("ab") as errors:
            self.process = subprocess.Popen(
                [self.python, "-I", "-S", str(BOXD), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            )

    def is_init(self, pid: int) -> bool:
        """The predicate that a link wants."""
        return pid == self.pid

    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process is None or self.process.poll() is not None

    def kill(self) -> None:
        """End it and what it started: asked first, as a killed boxd outside a box leaves its programs behind."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()


@asynccontextmanager
async def boxd_outside(
    folder: Path,
    *,
    clock: Clock | None = None,
    deadline: timedelta = timedelta(seconds=20),
    python: str = sys.executable,
    **settings: Any,
) -> AsyncGenerator[BoxLink]:
    """A connected link to a real boxd outside a box.

    Its sockets lie in `folder/run`; put a `gate.sock` there (`listen_unix`) and reach it through the loopback port
    `link.ports[0]`. `settings` override boxd's (limits, orphan times, ports).
    """
    boxd = BoxdProcess(folder, python, settings)
    boxd.sockets.mkdir()
    link = BoxLink(boxd.sockets, boxd.is_init, clock=clock or SystemClock(), box=BoxId("outside"), deadline=deadline)
    async with anyio.create_task_group() as tasks:
        await tasks.start(link.serve)
        try:
            boxd.start()
            await link.ready(timedelta(seconds=20))
            yield link
        finally:
            await link.aclose()
            boxd.kill()
            tasks.cancel_scope.cancel()
