"""Who can be killed: the boxes of a hive and what runs in them, found from outside by /proc."""

from __future__ import annotations

import json
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from melipona.testing.leftovers import Process, processes


@dataclass(frozen=True, slots=True)
class Box:
    """A box: the pid of its init, of the programs that play engines in it, and of everything of it."""

    id: str
    init: int
    engines: tuple[int, ...]
    everything: tuple[int, ...]


def boxes(hive: str) -> list[Box]:
    """The boxes of a hive that have an init now."""
    running = processes()
    children: dict[int, list[Process]] = defaultdict(list)
    for process in running:
        children[process.parent].append(process)
    found: list[Box] = []
    for process in running:
        config = _config(process, hive)
        if config is None:
            continue
        below = list(_descendants(process.pid, children))
        engines = tuple(child.pid for child in below if "/opt/mel/playbook.py" in child.argv)
        outside = [other.pid for other in running if config["box"] in other.line and other.pid != process.pid]
        inside = [child.pid for child in below]
        found.append(Box(config["box"], process.pid, engines, (*outside, process.pid, *inside)))
    return found


def _config(process: Process, hive: str) -> dict[str, Any] | None:
    """What an init was told, for a box of this hive; bwrap, whose command line holds the same, is none."""
    if len(process.argv) < 2 or process.argv[-2] != "/opt/mel/boxd.py" or hive not in process.argv[-1]:
        return None
    return None if "--" in process.argv else json.loads(process.argv[-1])


def _descendants(pid: int, children: dict[int, list[Process]]) -> Iterable[Process]:
    for child in children[pid]:
        yield child
        yield from _descendants(child.pid, children)


def kill(pids: Iterable[int]) -> int:
    """SIGKILL; how many were still there."""
    hit = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            hit += 1
        except ProcessLookupError:
            continue
    return hit
