"""Key paging: lists are newest first, `limit` rows, and `next` says where the following page begins (D-38)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

LIMIT = 50
LIMIT_MAX = 500

Row = TypeVar("Row")
View = TypeVar("View")


def page(
    rows: Sequence[Row], limit: int, view: Callable[[Row], View], key: Callable[[Row], int]
) -> tuple[list[View], int | None]:
    """`rows`, of which one more than `limit` was asked for, as views and the key of the next page (None: the end)."""
    shown = rows[:limit]
    more = len(rows) > limit and bool(shown)
    return [view(row) for row in shown], key(shown[-1]) if more else None


def listed(items: Sequence[Any], following: int | None = None) -> dict[str, Any]:
    """The form of every list: `{"items": [...], "next": key or null}`."""
    return {"items": list(items), "next": following}


def as_object(text: str | None) -> dict[str, Any]:
    """JSON text of a row as an object; what is none becomes an empty one, so that one bad row fails no list (LE-15)."""
    try:
        value: object = json.loads(text) if text else {}
    except ValueError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
