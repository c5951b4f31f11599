"""The checker of turns' logs: is what an engine said there once, in order and whole, whoever listened (I-12)?

Like `invariants` it knows nothing of the product's rooms: it reads the files as lines of JSON, and the turns' rows with
`sqlite3`. What a daemon wrote before it was killed and what the next one wrote must read as if one had written all.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from melipona.testing.invariants import Finding

Json = dict[str, Any]
OURS = frozenset({"start", "prompt", "interrupt", "end", "log_limit", "unreadable"})
"""Lines that the daemon adds; all others are the engine's."""


def check_logs(data: Path) -> list[Finding]:
    """Every violation of I-12 in the logs of the hive at `data`; logs of turns that still run may end anywhere."""
    with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True)) as c:
        rows = c.execute("SELECT id, state, result, log_path FROM turns WHERE log_path IS NOT NULL ORDER BY id")
        turns = rows.fetchall()
    found: list[Finding] = []
    reached: dict[str, tuple[int, int]] = {}
    for turn, state, result, path in turns:
        subject = f"t{turn}"
        lines, torn = log_lines(data / path)
        if state == "ended" and torn:
            found.append(Finding("I-12", subject, "its log ends inside a line"))
        if result == "ok" and not lines:
            found.append(Finding("I-12", subject, "it ended well and has no log"))
        found += _offsets(subject, lines, turn, reached)
        found += _calls(subject, lines, whole=result == "ok")
        if result == "ok":
            found += _one_end(subject, lines)
    return found


def log_lines(path: Path) -> tuple[list[Json], bool]:
    """The lines of a log, and whether something that is no whole line follows them. A missing log has none."""
    raw = path.read_bytes() if path.exists() else b""
    *whole, rest = raw.split(b"\n")
    return [json.loads(line) for line in whole], bool(rest)


def _offsets(subject: str, lines: Iterable[Json], turn: int, reached: dict[str, tuple[int, int]]) -> Generator[Finding]:
    """Offsets count one program's output and never go back, within a turn and from turn to turn.

    One line of output may be several events, which then follow each other with one offset.
    """
    program, last = "", 0
    for line in lines:
        offset, event = int(line["offset"]), line["event"]
        if event["type"] == "start":
            program = str(event["program"])
            before, by = reached.get(program, (0, turn))
            if offset < before:
                yield Finding("I-12", subject, f"it listens from {offset}, t{by} had read to {before} already")
            last = offset
        elif offset < last:
            yield Finding("I-12", subject, f"offset {offset} follows {last}: output was taken twice")
        last = max(last, offset)
        reached[program] = (last, turn)


def _calls(subject: str, lines: Iterable[Json], *, whole: bool) -> Generator[Finding]:
    """Each tool call and each of its results is there once, the result after the call; in a whole turn both."""
    calls, results = Counter[str](), Counter[str]()
    for line in lines:
        event = line["event"]
        if event["type"] == "tool_call":
            calls[event["id"]] += 1
        elif event["type"] == "tool_result":
            results[event["id"]] += 1
            if event["id"] not in calls:
                yield Finding("I-12", subject, f"the result of tool call {event['id']} stands before the call")
    for what, counted in (("tool call", calls), ("result of tool call", results)):
        for identifier, times in counted.items():
            if times > 1:
                yield Finding("I-12", subject, f"{what} {identifier} is there {times} times")
    for identifier in calls.keys() - results.keys() if whole else ():
        yield Finding("I-12", subject, f"it ended well, and tool call {identifier} has no result")


def _one_end(subject: str, lines: list[Json]) -> Generator[Finding]:
    """A turn that ended well has the engine's good result once, as the last thing that the engine said by itself: its
    answer to an interrupt that came too late may follow."""
    said = [line["event"] for line in lines if line["event"]["type"] not in (*OURS, "answered")]
    good = [event for event in said if event["type"] == "result" and event["outcome"] == "ok"]
    if len(good) != 1:
        yield Finding("I-12", subject, f"it ended well with {len(good)} good results")
    elif said[-1] is not good[0]:
        yield Finding("I-12", subject, f"a {said[-1]['type']} follows its result")
