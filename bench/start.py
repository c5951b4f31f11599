"""Starting: the daemon until it is ready beside its imports, and the command line beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import ROOT, Hive, running
from bench.rounds import Contender, Run

PASS, IMPORTS = "python -c pass", "imports of the daemon"
QUICK_ROUNDS = 1
FIGURES = (
    Figure("mel_help", "ms", PASS),
    Figure("mel_status", "ms", PASS),
    Figure("ready", "ms", IMPORTS),
)
MEL = Path(sys.executable).with_name("mel")


def taken_ms(*argv: str) -> float:
    """How long a program takes to its end, in milliseconds.

    Raises:
        CalledProcessError: it failed.
    """
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT)
    return (time.perf_counter() - began) * 1000


def middle(count: int, measure: Callable[[], float]) -> float:
    """The median of so many measurements."""
    return percentile([measure() for _ in range(count)], 50)


def _floor(count: int) -> Values:
    value = middle(count, lambda: taken_ms(sys.executable, "-c", "pass"))
    return {"mel_help": value, "mel_status": value}


def _ours(count: int, hive: Hive, fresh: Path) -> Values:
    mel = [sys.executable, str(MEL), "--data", str(hive.data)]
    values = {
        "mel_help": middle(count, lambda: taken_ms(*mel, "--help")),
        "mel_status": middle(count, lambda: taken_ms(*mel, "status")),
    }
    started = Hive(fresh)
    try:
        return values | {"ready": started.start() * 1000}
    finally:
        started.down()


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """A running hive of ten agents for `mel status`, and a second one that is started in each round."""
    count = run.size(5, 3, 1)
    with running(run.folder / "hive") as hive:
        for number in range(10):
            hive.agent(f"agent-{number}")
        fresh = run.folder / "fresh"
        _ours(1, hive, fresh)  # the store is made, bytecode is written
        yield {
            PASS: lambda: _floor(count),
            IMPORTS: lambda: {"ready": taken_ms(sys.executable, "-c", "import melipona.daemon")},
            OURS: lambda: _ours(count, hive, fresh),
        }
