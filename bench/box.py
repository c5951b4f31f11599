"""A box: from its start until boxd answers, a program in a warm one, its end, its memory.

Floors: a Python that does nothing in a bare bwrap, as boxd has to be started; and `/bin/true` outside with a session
and three pipes, forked by a Python as boxd forks it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from anyio.from_thread import BlockingPortal, start_blocking_portal

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import memory_mib
from bench.rounds import Contender, Run, Unable
from bench.start import taken_ms
from melipona.boxes.programs import find_bwrap
from melipona.errors import BoxStartFailed
from melipona.testing.linked_boxes import READY, LinkBench, LinkedBox

PYTHON, EXEC = "python in a bare bwrap", "fork, exec, pipes"
QUICK_ROUNDS = 2
FIGURES = (
    Figure("start_p50", "ms", PYTHON),
    Figure("start_p99", "ms", PYTHON),
    Figure("exec_p50", "ms", EXEC),
    Figure("ping_p50", "ms"),
    Figure("stop_p50", "ms"),
    Figure("pss", "MiB"),
)
BARE = ("--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")
INSIDE_PYTHON = "/usr/bin/python3"


class Boxes:
    """Boxes on the event loop of a thread of its own."""

    def __init__(self, data: Path, portal: BlockingPortal) -> None:
        self._portal = portal
        self._bench = LinkBench(data)
        self._entered = portal.wrap_async_context_manager(self._bench)

    def __enter__(self) -> Boxes:
        self._entered.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.__exit__(None, None, None)

    def round(self, count: int) -> Values:
        """Start, use and end so many boxes."""
        return self._portal.call(self._round, count)

    async def _round(self, count: int) -> Values:
        starts, stops, pings, execs, memory = [list[float]() for _ in range(5)]
        for _ in range(count):
            began = time.perf_counter()
            box = await self._bench.start("ana")
            assert isinstance(box, LinkedBox)
            await box.link.ready(READY)
            starts.append(_since(began))
            for _ in range(5):
                began = time.perf_counter()
                await box.link.ping(READY)
                pings.append(_since(began))
                began = time.perf_counter()
                await box.run("/bin/true")
                execs.append(_since(began))
            memory.append(memory_mib(int(box.ref.handle["pid"]), "Pss"))
            began = time.perf_counter()
            await box.stop()
            stops.append(_since(began))
            await box.hang_up()
            self._bench.boxes.remove(box)
        return {
            "start_p50": percentile(starts, 50),
            "start_p99": percentile(starts, 99),
            "exec_p50": percentile(execs, 50),
            "ping_p50": percentile(pings, 50),
            "stop_p50": percentile(stops, 50),
            "pss": percentile(memory, 50),
        }


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _python(count: int) -> Values:
    argv = [str(find_bwrap(os.environ)), *BARE, INSIDE_PYTHON, "-I", "-S", "-c", "pass"]
    taken = _each(count, lambda: taken_ms(*argv))
    return {"start_p50": percentile(taken, 50), "start_p99": percentile(taken, 99)}


def _true() -> float:
    began = time.perf_counter()
    with subprocess.Popen(
        ["/bin/true"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=os.setsid,  # which keeps Python from taking vfork
    ) as program:
        program.communicate()
    return _since(began)


def _each(count: int, measure: Callable[[], float]) -> list[float]:
    return [measure() for _ in range(count)]


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """One bench of boxes for all rounds."""
    count = run.size(10, 4, 1)
    with start_blocking_portal() as portal:
        data = run.folder / "data"
        try:
            with Boxes(data, portal) as boxes:
                boxes.round(1)  # trees are laid out, bytecode is written
                yield {
                    EXEC: lambda: {"exec_p50": percentile(_each(5 * count, _true), 50)},
                    PYTHON: lambda: _python(count),
                    OURS: lambda: boxes.round(count),
                }
        except BoxStartFailed as failed:
            raise Unable(f"no box starts here: {failed.message}") from failed
