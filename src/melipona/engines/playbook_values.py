"""What the values of a playbook may be. Each check says what a value should have been, or None when it is good."""

from __future__ import annotations

import re
import signal
from typing import Any, cast

OUTCOMES = ("failed", "too_long", "rate_limited", "login_expired", "upstream")
"""How a `fail` step may end its turn."""

MESSAGE_NAMES = frozenset(
    {"sender", "body", "id", "kind", "maybe_seen", "match", "agent", "role", "session", "turn", "nth", "round"}
)
"""Placeholders that every rule has; no variable may take their names."""


def text(value: Any) -> str | None:
    return None if isinstance(value, str) else "text in quotes"


def flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def table(value: Any) -> str | None:
    return None if isinstance(value, dict) else "a table like { name = 1 }"


def words(value: Any) -> str | None:
    good = isinstance(value, list) and all(isinstance(word, str) for word in cast("list[Any]", value))
    return None if good and value else "a list of texts"


def seconds(value: Any) -> str | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 86_400
    return None if good else "seconds from 0 to 86400"


def count(value: Any) -> str | None:
    good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000
    return None if good else "a whole number from 1 to 1000000"


def counts(value: Any) -> str | None:
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return None if values and all(count(one) is None for one in values) else "a whole number from 1, or a list of them"


def names(value: Any) -> str | None:
    return None if isinstance(value, str) or words(value) is None else "a name in quotes, or a list of them"


def variable(value: Any) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z_][a-z0-9_]*", value):
        return "a name of a-z, 0-9 and _"
    return f"another name: {value!r} is the message's own" if value in MESSAGE_NAMES else None


def pattern(value: Any) -> str | None:
    try:
        re.compile(value)
    except (re.error, TypeError) as error:
        return f"a regular expression ({error})"
    return None


def outcome(value: Any) -> str | None:
    return None if value in OUTCOMES else f"one of {', '.join(OUTCOMES)}"


def ending(value: Any) -> str | None:
    if isinstance(value, str):
        return None if value in signal.Signals.__members__ else "an exit code, or a signal like 'SIGKILL'"
    return None if isinstance(value, int) and 0 <= value <= 255 else "an exit code from 0 to 255, or a signal's name"


def assignments(value: Any) -> str | None:
    if not isinstance(value, dict) or not value:
        return "a table like { name = 'text' }"
    return next((wrong for name in cast("dict[str, Any]", value) if (wrong := variable(name))), None)


def claim(value: Any) -> str | None:
    tokens = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    for name, number in cast("dict[str, Any]", value).items() if isinstance(value, dict) else [("", None)]:
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not (whole if name in tokens else name == "session_cost_usd" and isinstance(number, int | float)):
            return f"a table of numbers; it can have {', '.join((*tokens, 'session_cost_usd'))}"
    return None
