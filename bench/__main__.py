"""`python -m bench [NAME ...] [--rounds N] [--quick] [--json FILE] [--peers]`: run benchmarks and judge them.

Exit code 1 when a benchmark could not be run to its end, or a ratio is beyond 1.5 x its goal in a run that is not
noisy. A benchmark that this machine cannot run is named with the reason and fails nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from bench.figures import Outcome, load_goals
from bench.machine import commit, machine
from bench.report import table
from bench.rounds import Benchmark, Run, Unable, measure
from melipona.daemon_process import tune

NAMES = (
    "commit",
    "hop",
    "turn",
    "box",
    "sse",
    "idle",
    "scale",
    "start",
    "install",
    "crash",
    "gateway",
    "syncs",
    "ring",
    "swarm",
    "page",
)
"""Every benchmark, in the order in which they run."""
ROUNDS, QUICK_ROUNDS = 5, 3
ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    options = _parser().parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="b", dir=options.folder))
    run = Run(folder, options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS), options.quick, options.peers)
    tune()
    facts, commit_id = machine(folder), commit(ROOT)
    outcomes: list[Outcome] = []
    troubles: list[str] = []
    try:
        for name in options.names or NAMES:
            outcomes += _one(name, run, troubles)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(outcomes))
    for one in outcomes:
        if one.noisy:
            print(f"noisy: the floor of {one.benchmark}.{one.figure.name} varied by {one.noise:.1f} x its median")
    for trouble in troubles:
        print(trouble)
    if options.json is not None:
        document = {"figures": [one.as_json(facts, commit_id) for one in outcomes]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    failed = [f"{one.benchmark}.{one.figure.name}" for one in outcomes if one.fails]
    if failed:
        print(f"beyond 1.5 x their goals: {', '.join(failed)}")
    return int(bool(failed) or any(not trouble.startswith("cannot run") for trouble in troubles))


def _one(name: str, run: Run, troubles: list[str]) -> list[Outcome]:
    """One benchmark. A failure of one is told and keeps no other from running."""
    benchmark = cast("Benchmark", importlib.import_module(f"bench.{name}"))
    rounds = getattr(benchmark, "QUICK_ROUNDS" if run.quick else "ROUNDS", run.rounds)
    own = replace(run, folder=run.folder / name[:8], rounds=min(rounds, run.rounds))
    own.folder.mkdir()
    try:
        return measure(name, benchmark, own, load_goals())
    except Unable as reason:
        troubles.append(f"cannot run {name} here: {reason}")
    except Exception as error:
        traceback.print_exc()
        troubles.append(f"{name} failed: {type(error).__name__}: {error}")
    finally:
        shutil.rmtree(own.folder, ignore_errors=True)
    return []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Melipona beside its floors.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*NAMES, []], help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, help=f"rounds ({ROUNDS}, with --quick {QUICK_ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: under 50 s for all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--peers", action="store_true", help="also measure other programs that are installed here")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".mel" / "bench", help="where to work: on the disk of the data folder"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
