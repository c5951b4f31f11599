"""The score of the mutation gate: `python -m bench.faults.mutations` hunts every seeded bug and writes the results.

It writes `bench/results/mutations.json` (or `--json FILE`): each bug, the machine that must find it, whether it did, in
how many seconds and by which words. Exit code 1 when one was not found or could not be seeded. The bugs and machines
live in `tests/faults/machines/`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.machines.bugs import BUGS
from tests.faults.machines.gate import HUNT, SEED, hunt
from tests.faults.machines.seeded import Bug, DoesNotApply

RESULTS = Path(__file__).resolve().parent.parent / "results" / "mutations.json"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults.mutations", description="hunt the seeded bugs")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the results go")
    options = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    began = time.monotonic()
    hunted = [_one(bug) for bug in BUGS]
    found = sum(bool(one["found"]) for one in hunted)
    document = {
        "found": found,
        "of": len(hunted),
        "seed": SEED,
        "examples": HUNT.examples,
        "steps": HUNT.steps,
        "seconds": round(time.monotonic() - began, 1),
        "by_machine": {
            name: {"found": sum(bool(one["found"]) for one in hunted if one["machine"] == name), "of": count}
            for name, count in sorted(Counter(bug.machine for bug in BUGS).items())
        },
        "command": "python -m bench.faults.mutations",
        "bugs": hunted,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{found} of {len(hunted)} seeded bugs found in {document['seconds']} s: {options.json}")
    return int(found < len(hunted))


def _one(bug: Bug) -> dict[str, Any]:
    known = {"bug": bug.name, "machine": bug.machine, "place": bug.place, "breaks": bug.breaks}
    try:
        end = hunt(bug)
    except DoesNotApply as error:
        print(f"not seeded: {error}", flush=True)
        return {**known, "found": False, "how": f"not seeded: {error}"}
    print(f"{'found' if end.found else 'NOT FOUND'} {end.seconds:.1f} s {bug.name}", flush=True)
    return {**known, "found": end.found, "seconds": round(end.seconds, 1), "how": end.how}


if __name__ == "__main__":
    sys.exit(main())
