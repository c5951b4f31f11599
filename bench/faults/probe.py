"""The table of the probe: `python -m bench.faults.probe` tries 34 ways out of a box, for bench/results/probe.json.

What may be open is frozen in the conformance suite of box drivers, whose test fails on anything else; here it is told
for the page of results, with the kernel and the bubblewrap that it was tried on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from bench.faults.keeping import RESULTS, machine
from melipona.testing.box_suite import OPEN, PROBE, PROBE_LIMITS, canaries, parse_probe
from melipona.testing.boxes import Bench


async def attempts(folder: Path) -> dict[str, bool]:
    """Each attempt, and whether it worked."""
    with canaries(folder) as targets:
        async with Bench(folder / "data") as bench:
            box = await bench.start(limits=PROBE_LIMITS)
            done = await box.python(PROBE.read_text(), json.dumps(targets))
    return parse_probe(done.out)


def main() -> int:
    """Write the table; 1 when something is open that may not be."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(attempts(Path(folder)))
    ground = machine()
    new = sorted(name for name, worked in found.items() if worked and name not in OPEN)
    known = sorted(name for name, worked in found.items() if worked and name in OPEN)
    table = {
        "title": f"Probe: {len(found)} attempts to get out of a box",
        "summary": f"{len(new)} of {len(found)} attempts",
        "notes": [
            f"bubblewrap {ground['bubblewrap']}, kernel {ground['kernel']}, {'root' if ground['root'] else 'a user'}'s "
            f"daemon. Open, and allowed to be: {', '.join(known) or 'nothing'}."
        ],
        "columns": ["attempt", "result"],
        "rows": [[name, "open" if worked else "refused"] for name, worked in sorted(found.items())],
        "command": "python -m bench.faults.probe",
    }
    (RESULTS / "probe.json").write_text(json.dumps({"table": table}, indent=1) + "\n")
    print(f"{len(new)} of {len(found)} attempts worked that may not: {', '.join(new) or 'none'}")
    return int(bool(new))


if __name__ == "__main__":
    sys.exit(main())
