"""Reads the tokens of a model call from what the upstream sends, streamed or whole. Pure; nonsense counts nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from melipona.budgets.model import Usage

_TOLD = (b"message_start", b"message_delta", b"message_stop", b'"error"')
LINE_MOST = 16 << 20
"""A longer line of a stream is passed on unread."""


def usage_of(value: object, before: Usage | None = None) -> Usage | None:
    """A `usage` object of the Messages API; `before` is what an earlier event of the stream said."""
    if not isinstance(value, dict):
        return before
    usage = cast("Mapping[str, Any]", value)
    split = _table(usage.get("cache_creation"))
    written = _count(usage.get("cache_creation_input_tokens"))
    hour = _count(split.get("ephemeral_1h_input_tokens")) or 0
    old = before or Usage()
    return Usage(
        input=_or(_count(usage.get("input_tokens")), old.input),
        output=_or(_count(usage.get("output_tokens")), old.output),
        cache_read=_or(_count(usage.get("cache_read_input_tokens")), old.cache_read),
        cache_write_5m=old.cache_write_5m if written is None else max(0, written - hour),
        cache_write_1h=old.cache_write_1h if written is None else min(hour, written),
    )


class StreamUsage:
    """Follows a stream of server-sent events.

    `usage` is what was said so far, `final` whether the output is counted in it, `stopped` whether the message is over,
    well or not.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.final = False
        self.stopped = False
        self._line = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Read on."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            if not self._skipping:
                self._read(bytes(self._line))
            self._line.clear()
            self._skipping = False
        if len(self._line) + len(rest) > LINE_MOST:
            self._skipping = True
            self._line.clear()
        elif not self._skipping:
            self._line += rest

    def _read(self, line: bytes) -> None:
        if not line.startswith(b"data:") or not any(name in line for name in _TOLD):
            return
        try:
            event = json.loads(line[5:])
        except (ValueError, RecursionError):
            return
        if not isinstance(event, dict):
            return
        told = cast("Mapping[str, Any]", event)
        if told.get("type") == "message_start":
            message = told.get("message")
            if isinstance(message, dict):
                self.usage = usage_of(cast("Mapping[str, Any]", message).get("usage"), self.usage)
        elif told.get("type") == "message_delta" and isinstance(told.get("usage"), dict):
            self.usage = usage_of(told["usage"], self.usage)
            self.final = True
        elif told.get("type") in ("message_stop", "error"):
            self.stopped = True


def body_usage(body: bytes | bytearray) -> Usage | None:
    """The usage of a whole answer, None when it has none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return usage_of(cast("Mapping[str, Any]", answer).get("usage")) if isinstance(answer, dict) else None


def _table(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 40 else None


def _or(value: int | None, other: int) -> int:
    return other if value is None else value
