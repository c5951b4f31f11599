"""The settings of one agent that a person chooses: checked here, whether it is made or changed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

from melipona.agents.model import OWN_DEFAULT, Role, checked_allow
from melipona.errors import Invalid

TEXT_MOST = 200
PLAYBOOK_MOST = 256 << 10
"""Bytes of a playbook."""
USD_MOST = 1_000_000


def as_columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` by their public names as columns of the agent's row; None sets a thing back to its default.

    Raises:
        Invalid: an unknown name (with the one that was probably meant) or an unacceptable value.
    """
    columns: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in _CHECKS:
            close = difflib.get_close_matches(key, _CHECKS, n=1)
            remedy = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(_CHECKS)}"
            raise Invalid(f"an agent has no setting {key!r}", remedy=remedy, code="unknown_setting")
        column, check = _CHECKS[key]
        columns[column] = check(value)
    return columns


def shown(changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` as an event tells them: a playbook by its size."""
    return {
        key: f"{len(str(value))} characters" if key == "playbook" and value else value for key, value in changes.items()
    }


def _model(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > TEXT_MOST or not value.isprintable():
        raise Invalid("a model is a name", remedy="as the model API calls it")
    return value


def _playbook(value: Any) -> str | None:
    """Its text; whether it is a valid playbook is the engine's to say."""
    if value is None:
        return None
    if not isinstance(value, str) or len(value.encode(errors="replace")) > PLAYBOOK_MOST:
        raise Invalid(f"a playbook is a text of at most {PLAYBOOK_MOST >> 10} KiB", remedy="make it shorter")
    return value


def _budget(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= USD_MOST:
        raise Invalid(f"a budget is 0 to {USD_MOST} USD a day", remedy="0 is the hive's default")
    return round(value * 1_000_000)


def _turns(value: Any) -> int:
    if value is None:
        return OWN_DEFAULT
    if isinstance(value, bool) or not isinstance(value, int) or not OWN_DEFAULT <= value <= 1_000_000:
        raise Invalid("turns_per_hour is a number from 0", remedy="0 means no limit, none the hive's default")
    return value


def _allow(value: Any) -> str | None:
    names = checked_allow(value)
    return None if names is None else json.dumps(list(names))


def _role(value: Any) -> str:
    if value not in set(Role):
        raise Invalid(f"{value!r} is not a role", remedy=f"roles are {', '.join(Role)}")
    return Role(value).value


_CHECKS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "model": ("model", _model),
    "playbook": ("playbook", _playbook),
    "budget_usd": ("budget_micro_usd", _budget),
    "turns_per_hour": ("turns_per_hour", _turns),
    "send_allow": ("send_allow", _allow),
    "role": ("role", _role),
}
