"""Writes docs/results.md: what was broken on purpose, what was measured, with seeds, versions and known failures.

`python -m bench.faults.page` writes it from what lies in bench/results/, `--check` only says whether it is up to date.
Three kinds of JSON documents are read: results of campaigns (`faults/*.json`, by `python -m bench.faults NAME --keep`),
figures of benchmarks (`{"figures": [...]}`, by `python -m bench --json`), and other tables (`{"table": {"title",
"columns", "rows", "summary", "command", "notes"}}`). `findings.toml` is written by hand: what campaigns found that was
mended, and what is known to fail.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bench.faults.campaign import CAMPAIGNS, campaign
from bench.faults.keeping import RESULTS, ROOT

PAGE = ROOT / "docs/results.md"
Json = dict[str, Any]

HEAD = """# Results

What Melipona promises is broken here on purpose, and what it does is measured. This page is made by `python -m
bench.faults.page` from the documents in `bench/results/`; a test keeps the two equal. Nothing on it is typed by hand
but the lists of what was found and of what is known to fail. The names of invariants (I-1 …) are explained in
[design-ids.md](design-ids.md).
"""


@dataclass(frozen=True, slots=True)
class Documents:
    """All that the page is made of."""

    campaigns: Mapping[str, Json]
    figures: Sequence[Json]
    tables: Sequence[Json]
    findings: Json

    @classmethod
    def read(cls, folder: Path = RESULTS) -> Documents:
        """What lies in `folder`."""
        faults = [_object(path) for path in sorted((folder / "faults").glob("*.json"))]
        others = [_object(path) for path in sorted(folder.glob("*.json"))]
        findings = folder / "findings.toml"
        return cls(
            campaigns={document["campaign"]: document for document in faults},
            figures=[figure for document in others for figure in document.get("figures", [])],
            tables=[
                _seeded(document) if "bugs" in document else document["table"]
                for document in others
                if "bugs" in document or "table" in document
            ],
            findings=tomllib.loads(findings.read_text()) if findings.exists() else {},
        )


def _seeded(document: Json) -> Json:
    """The score of the mutation gate (`bench.faults.mutations`) as a table."""
    return {
        "title": "Seeded bugs: tests of the tests",
        "summary": f"{document['found']} of {document['of']}",
        "notes": ["Each is put into the product and must be found by its machine, in the profile that CI runs."],
        "columns": ["bug", "machine", "breaks", "found", "seconds"],
        "rows": [
            [bug["bug"], bug["machine"], bug["breaks"], "yes" if bug["found"] else "**no**", bug.get("seconds", "")]
            for bug in document["bugs"]
        ],
        "command": document["command"],
    }


def page(documents: Documents) -> str:
    """The page."""
    sections = (_goals, _campaigns, _invariants, _found, _known, _tables, _figures, _ground, _again)
    return HEAD + "".join("\n" + "\n".join(section(documents)) + "\n" for section in sections)


# ---- goals ----------------------------------------------------------------------------------------------------------


def _goals(documents: Documents) -> Iterator[str]:
    yield "## Goals\n"
    goals: tuple[tuple[str, str, Callable[[Documents], str]], ...] = (
        ("acknowledged messages lost", "0 in 1,000,000 and 10,000 kills", _lost),
        ("duplicates without a flag", "0", _twice),
        ("work of a dead turn given back, daemon ready again", "5 s", _given_back),
        ("fault points x stories with a crash", "all pairs", _pairs),
        ("seeded bugs found by the quick profile", "20 of 20", _table_says("Seeded bugs")),
        ("new escapes in the probe of a box", "0", _table_says("Probe")),
        ("restart to ready, 1,000 agents and a million events", "3 s", _restarts),
        ("start of a box, warm: p50", "60 ms", _figure("box", "start_p50")),
        ("memory after 1,000 turns have come and gone", "within 5 %", _memory),
    )
    yield from _rows(("goal", "number", "measured"), [(what, number, say(documents)) for what, number, say in goals])


def _lost(documents: Documents) -> str:
    kills = documents.campaigns.get("kills")
    if kills is None:
        return NOT_YET
    return f"{_n(kills['lost'])} of {_n(kills['acknowledged'])} after {_n(sum(kills['faults'].values()))} kills"


def _twice(documents: Documents) -> str:
    found = [document["duplicated"] for document in documents.campaigns.values()]
    return f"{_n(sum(found))} in {len(found)} campaigns" if found else NOT_YET


def _given_back(documents: Documents) -> str:
    kills = documents.campaigns.get("kills")
    times = kills["recovery_seconds"] if kills else None
    return f"p50 {times['p50']:g} s, p99 {times['p99']:g} s, longest {times['max']:g} s" if times else NOT_YET


def _restarts(documents: Documents) -> str:
    restarts = documents.campaigns.get("restarts")
    times = restarts["recovery_seconds"] if restarts else None
    return f"p50 {times['p50']:g} s, p99 {times['p99']:g} s of {times['count']}" if times else NOT_YET


def _pairs(documents: Documents) -> str:
    pairs = documents.campaigns.get("pairs")
    if pairs is None:
        return NOT_YET
    numbers = pairs["numbers"]
    return f"{_n(numbers['pairs_told'])} of {_n(numbers['pairs'])}, {_broken(pairs)}"


def _memory(documents: Documents) -> str:
    swarm = documents.campaigns.get("swarm")
    if swarm is None:
        return NOT_YET
    numbers = swarm["numbers"]
    return f"{numbers['rss_percent']:+.1f} % after {_n(numbers['turns'])} turns"


def _table_says(title: str) -> Callable[[Documents], str]:
    def say(documents: Documents) -> str:
        found = [table for table in documents.tables if table["title"].startswith(title)]
        return str(found[0].get("summary", f"{len(found[0]['rows'])} rows below")) if found else NOT_YET

    return say


def _figure(benchmark: str, name: str) -> Callable[[Documents], str]:
    def say(documents: Documents) -> str:
        found = [f for f in documents.figures if f["benchmark"] == benchmark and f["figure"].startswith(name)]
        return f"{found[0]['ours']['median']:g} {found[0]['unit']} ({found[0]['figure']})" if found else NOT_YET

    return say


NOT_YET = "not measured yet"


# ---- campaigns ------------------------------------------------------------------------------------------------------


def _campaigns(documents: Documents) -> Iterator[str]:
    yield "## What was broken on purpose\n"
    columns = ("campaign", "operations", "faults", "acknowledged", "lost", "twice, unflagged", "unknown outcomes")
    rows = [
        (
            f"[{name}](#{name})",
            _n(document["operations"]),
            _n(sum(document["faults"].values())),
            *(_n(document[field]) for field in ("acknowledged", "lost", "duplicated", "unknown")),
            _broken(document),
            _seconds(document["recovery_seconds"]),
            str(document["worst_seed"]),
        )
        for name, document in documents.campaigns.items()
    ]
    yield from _rows((*columns, "broken invariants", "seconds to recover, p50 / p99 / max", "worst seed"), rows)
    yield "\nAn outcome is unknown when the sender got no answer: its message may be there, once, or not.\n"
    for name, document in documents.campaigns.items():
        yield from _campaign(name, document)


def _campaign(name: str, document: Json) -> Iterator[str]:
    yield f"### {name}\n"
    if name in CAMPAIGNS:
        yield f"{(campaign(name).__doc__ or '').splitlines()[0]}\n"
    yield f"- again: `{document['command']}`"
    yield f"- run on {document['at']}, commit {document['machine']['commit']}"
    yield f"- faults: {', '.join(f'{_n(times)} x {kind}' for kind, times in document['faults'].items())}"
    yield f"- looked at: {', '.join(document['checked'])}"
    if document["numbers"]:
        yield f"- also: {', '.join(f'{what} {_n(value)}' for what, value in document['numbers'].items())}"
    yield from (f"- {note}" for note in document["notes"])
    for invariant, cases in document["violations"].items():
        yield from (f"- **{invariant} broken**: {case}" for case in cases)
    yield ""


def _invariants(documents: Documents) -> Iterator[str]:
    yield "## Who looked at which invariant\n"
    names = sorted({name for document in documents.campaigns.values() for name in document["checked"]}, key=_number)
    rows = [(name, *(_verdict(document, name) for document in documents.campaigns.values())) for name in names]
    yield from _rows(("", *documents.campaigns), rows)


def _verdict(document: Json, invariant: str) -> str:
    if invariant not in document["checked"]:
        return ""
    cases = document["violations"].get(invariant, [])
    return f"**{len(cases)} broken**" if cases else "holds"


def _number(name: str) -> tuple[int, str]:
    number = name.removeprefix("I-")
    return (int(number), "") if number.isdigit() else (1000, name)


# ---- what was found -------------------------------------------------------------------------------------------------


def _found(documents: Documents) -> Iterator[str]:
    yield "## What was found and mended\n"
    rows = [(one["by"], one["what"], f"`{one['test']}`") for one in documents.findings.get("mended", [])]
    yield from _rows(("found by", "what was wrong", "test that keeps it"), rows)


def _known(documents: Documents) -> Iterator[str]:
    yield "## Known failures\n"
    known = documents.findings.get("known", [])
    yield from (f"- {one['what']}" for one in known)
    if not known:
        yield "None is known."


# ---- tables and figures ---------------------------------------------------------------------------------------------


def _tables(documents: Documents) -> Iterator[str]:
    for number, table in enumerate(documents.tables):
        yield f"{'' if number == 0 else chr(10)}## {table['title']}\n"
        yield from (f"{note}\n" for note in table.get("notes", []))
        yield from _rows(table["columns"], [[str(cell) for cell in row] for row in table["rows"]])
        if "command" in table:
            yield f"\nAgain: `{table['command']}`"


def _figures(documents: Documents) -> Iterator[str]:
    yield "## What was measured\n"
    yield "A floor is what the machine needs for the bare necessity, in the same rounds; a goal is a multiple of it.\n"
    rows = [
        (
            figure["benchmark"],
            figure["figure"],
            f"{figure['ours']['median']:g} {figure['unit']}",
            "" if not figure.get("floor") else f"{figure['floor']['median']:g} ({figure['floor']['name']})",
            "" if not figure.get("ratio") else f"{figure['ratio']['median']:g}",
            _limits(figure.get("goal") or {}),
            {True: "met", False: "missed", None: ""}[figure.get("met")],
        )
        for figure in documents.figures
    ]
    yield from _rows(("benchmark", "figure", "ours", "floor", "ratio", "goal", ""), rows)


def _limits(goal: Json) -> str:
    words = {
        "max_ratio": "at most {} x",
        "min_ratio": "at least {} x",
        "max_abs": "at most {}",
        "min_abs": "at least {}",
    }
    return ", ".join(text.format(f"{goal[name]:g}") for name, text in words.items() if name in goal)


def _ground(documents: Documents) -> Iterator[str]:
    yield "## Where it ran\n"
    yield "The load is that of the whole machine: above the number of cores, times are those of a busy one.\n"
    names = ("kernel", "bubblewrap", "git", "sqlite", "python", "cores", "load", "root", "commit")
    rows = [
        (name, document["at"], *(str(document["machine"].get(field, "")) for field in names))
        for name, document in documents.campaigns.items()
    ]
    yield from _rows(("campaign", "date", *names), rows)


def _again(_: Documents) -> Iterator[str]:
    yield "## How to run it again\n"
    yield "From a clone, after `./test` has set up `.venv`; it needs no key and no network:\n"
    yield "```sh"
    yield ".venv/bin/python -m bench.faults --list"
    yield ".venv/bin/python -m bench.faults kills                 # CI's size, a new seed"
    yield ".venv/bin/python -m bench.faults kills --full --folder DIR --keep"
    yield ".venv/bin/python -m bench --json bench/results/figures.json"
    yield ".venv/bin/python -m bench.faults.page"
    yield "```\n"
    yield "The same seed and size make the same decisions; what the machine does with them in time is its own."
    yield "A run with `--folder` that was cut goes on where it stopped."


# ---- parts ----------------------------------------------------------------------------------------------------------


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        yield "Nothing yet."
        return
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _broken(document: Json) -> str:
    broken = [name for name, cases in document["violations"].items() if cases]
    return ", ".join(broken) if broken else "none"


def _seconds(times: Json | None) -> str:
    return f"{times['p50']:g} / {times['p99']:g} / {times['max']:g}" if times else ""


def _n(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,g}"


def _object(path: Path) -> Json:
    return cast("Json", json.loads(path.read_text()))


def main() -> int:
    """Write the page, or say that it is out of date."""
    text = page(Documents.read())
    if "--check" in sys.argv[1:]:
        stale = not PAGE.exists() or PAGE.read_text() != text
        print(
            "docs/results.md is out of date; run python -m bench.faults.page" if stale else "docs/results.md is right"
        )
        return int(stale)
    PAGE.write_text(text)
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
