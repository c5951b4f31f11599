"""Writes the table of the probe in docs/security.md, from the lists that the conformance suite holds real boxes to.

`python scripts/probe_table.py` writes it, `--check` only says whether it is up to date and exits 1 if not, as a test
does. `--run` starts a real box of the bubblewrap driver, as the user who runs it, and keeps what the probe found for
the page of results, in bench/results/probe-root.json or probe-user.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from melipona.boxes.driver import Enforced
from melipona.testing.box_suite import (
    OPEN,
    OPEN_WITHOUT_MEMORY_LIMIT,
    PROBE_LIMITS,
    USUALLY_OPEN,
    canaries,
    parse_probe,
)
from melipona.testing.boxes import Bench
from melipona.testing.probe import ATTEMPTS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/security.md"
RESULTS = ROOT / "bench/results"
BEGIN = "<!-- the table of scripts/probe_table.py -->"
END = "<!-- end of the table -->"


def main() -> int:
    """Write, check or run."""
    if "--run" in sys.argv[1:]:
        return _run()
    text = PAGE.read_text(encoding="utf-8")
    wanted = with_table(text)
    if "--check" in sys.argv[1:]:
        print(
            "the table of the probe is " + ("up to date" if wanted == text else "out of date: scripts/probe_table.py")
        )
        return 0 if wanted == text else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def with_table(page: str) -> str:
    """The page with the table as it must be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def table() -> str:
    """Every attempt: in a usual sandbox, and in a box of Melipona."""
    rows = [
        f"| {name} | {'open' if name in USUALLY_OPEN else 'depends on the machine'} | {_in_a_box(name)} |"
        for name in ATTEMPTS
    ]
    head = ["| attempt | a usual bubblewrap sandbox | a box of Melipona |", "|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _in_a_box(name: str) -> str:
    if name in OPEN:
        return "**open**"
    return "shut; **open** where nothing limits memory" if name in OPEN_WITHOUT_MEMORY_LIMIT else "shut"


def _run() -> int:
    found, binds = asyncio.run(_probe())
    allowed = OPEN if binds["memory_bytes"].binds else OPEN | OPEN_WITHOUT_MEMORY_LIMIT
    new = sorted(name for name, worked in found.items() if worked and name not in allowed)
    who = "root" if os.geteuid() == 0 else "user"
    own = binds["own_uid"]
    document = {
        "table": {
            "title": f"Probe of a box, as {'root' if who == 'root' else 'an ordinary user'}",
            "columns": ["attempt", "found", "expected"],
            "rows": [
                [name, "open" if worked else "shut", "open" if name in allowed else "shut"]
                for name, worked in found.items()
            ],
            "summary": f"{len(new)} new of {len(found)}, {len(allowed)} known to be open",
            "command": "python scripts/probe_table.py --run",
            "notes": [
                f"bubblewrap driver, Linux {platform.release()} {platform.machine()}; uid: {own.how}.",
                f"Memory limit: {binds['memory_bytes'].how}.",
            ],
        }
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"probe-{who}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(document["table"]["summary"])
    return 1 if new or len(found) != len(ATTEMPTS) else 0


async def _probe() -> tuple[dict[str, bool], dict[str, Enforced]]:
    """What the probe finds in a real box, and which limits bind."""
    source = (ROOT / "src/melipona/testing/probe.py").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, canaries(Path(folder)) as targets:
        async with Bench(Path(folder) / "data") as bench:
            box = await bench.start(limits=PROBE_LIMITS)
            done = await box.python(source, json.dumps(targets))
            return parse_probe(done.out), {limit.name: limit for limit in bench.driver.enforced()}


if __name__ == "__main__":
    sys.exit(main())
