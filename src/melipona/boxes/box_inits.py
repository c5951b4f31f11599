"""The command line of a box's init: made at its start, and how boxes of a hive are found again by it (D-3).

boxd cannot be traced and its arguments cannot be changed from inside, and nothing in a box can be the init of a PID
namespace of its own; so what is found here is what was started here.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from typing import Any, cast

from melipona.boxes import identity
from melipona.boxes.driver import EGRESS_PORT, GATE_PORT, INSIDE_OPT, BoxSpec
from melipona.boxes.identity import Init
from melipona.ids import BoxId

_BOXD = f"{INSIDE_OPT}/boxd.py"


def init_command(python: str, spec: BoxSpec, hive: str) -> list[str]:
    """What a box runs as its init."""
    return [python, "-I", "-S", _BOXD, json.dumps(boxd_config(spec, hive))]


def boxd_config(spec: BoxSpec, hive: str) -> dict[str, Any]:
    """boxd's argument: who it is and what it has to keep to."""
    limits = spec.limits
    return {
        "box": spec.id,
        "hive": hive,
        "gate_port": GATE_PORT,
        "egress_port": EGRESS_PORT,
        "limits": {"nofile": limits.open_files, "nproc": limits.processes, "fsize": limits.file_size_bytes},
        "orphan_busy_s": spec.orphan_busy.total_seconds(),
        "orphan_idle_s": spec.orphan_idle.total_seconds(),
    }


def boxes_of(hive: str, uids: Container[int]) -> list[tuple[Init, BoxId]]:
    """The inits of all boxes of a hive that run under one of `uids` on this machine, with the boxes' ids."""
    found: list[tuple[Init, BoxId]] = []
    for pid in identity.all_pids():
        config = _config(identity.command_line(pid))
        if config.get("hive") != hive or not isinstance(config.get("box"), str):
            continue
        try:
            init = identity.read_init(pid)
        except OSError:
            continue
        uid = identity.uid_of(pid)
        if uid is not None and uid in uids and identity.is_namespace_init(pid):
            found.append((init, BoxId(config["box"])))
    return found


def _config(command: Sequence[str]) -> dict[str, Any]:
    """boxd's argument in a command line; empty when it is none of boxd's."""
    if len(command) < 2 or command[-2] != _BOXD:
        return {}
    try:
        config: Any = json.loads(command[-1])
    except ValueError:
        return {}
    return cast("dict[str, Any]", config) if isinstance(config, dict) else {}
