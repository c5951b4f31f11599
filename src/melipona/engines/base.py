"""What the engine drivers share: places inside the box and the environment that every engine program gets."""

from __future__ import annotations

import json
from collections.abc import Mapping

from melipona.boxes.driver import EGRESS_PORT, GATE_PORT, INSIDE_HOME, INSIDE_OPT
from melipona.json_marks import too_intricate

GATE = f"127.0.0.1:{GATE_PORT}"
"""Where the gate answers inside a box."""

PLACEHOLDER_KEY = "placeholder-the-gate-adds-the-key"
"""Stands where an engine insists on a key. The gate drops it (D-28)."""

MARKS_MOST = 200_000
"""Brackets, braces and commas of a line that is read."""


def inside_environment(gate: str = GATE) -> dict[str, str]:
    """The whole environment of an engine program: names of the box, both ways out of it, a key that is none (D-13)."""
    proxy, local = f"http://127.0.0.1:{EGRESS_PORT}", "127.0.0.1,localhost,::1"
    return {
        "PATH": f"{INSIDE_OPT}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": INSIDE_HOME,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), proxy),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), local),
        "ANTHROPIC_BASE_URL": f"http://{gate}/model/anthropic",
        "ANTHROPIC_API_KEY": PLACEHOLDER_KEY,
    }


def table_in(line: bytes) -> Mapping[str, object]:
    """The JSON object that a line of an engine holds.

    Raises:
        ValueError: it holds none, or one of so many parts that reading it would stop the daemon for long (T7).
        RecursionError: it is nested too deeply.
    """
    if too_intricate(line, MARKS_MOST):
        raise ValueError("too many parts")
    return table_of(json.loads(line))


def text_of(value: object) -> str:
    """`value` if it is text, else the empty text: what comes from a box is not trusted to have a type."""
    return value if isinstance(value, str) else ""


def number_of(value: object) -> float | None:
    """`value` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def count_of(value: object) -> int | None:
    """`value` if it is a whole number of a sensible size, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def table_of(value: object) -> Mapping[str, object]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
