"""Choices made from a fuzzer's bytes, so that what it mutates are decisions and not only text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

NUMBERS = (0, 1, -1, 2, 100, 101, 200, 255, 1 << 31, 1 << 62, 1 << 63, -(1 << 70), 10**30, 0.5, 1e308)
TEXTS = ("", "p", "q", "type", "text", "\0", "\ud800", "\u202e", "x" * 300, "{", '"', "1", "null", "\x1b[2J")


class Draw:
    """Reads choices off `data`; when it is used up, every choice is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        """0 to 255."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`."""
        return choices[self.byte() % len(choices)]

    def some(self, most: int) -> int:
        """0 to `most`."""
        return self.byte() % (most + 1)

    def take(self, count: int) -> bytes:
        """The next bytes as they are."""
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(max(0, len(self._data) - self._at))

    def value(self, depth: int = 3) -> Any:
        """A value of JSON."""
        kind = self.byte() % (7 if depth else 5)
        if kind == 0:
            return self.pick((None, True, False))
        if kind == 1:
            return self.pick(NUMBERS)
        if kind == 2:
            return self.pick(TEXTS)
        if kind == 3:
            return self.byte()
        if kind == 4:
            return self.take(self.some(8)).decode("latin-1")
        if kind == 5:
            return [self.value(depth - 1) for _ in range(self.some(3))]
        return {self.pick(TEXTS): self.value(depth - 1) for _ in range(self.some(3))}


def as_json(value: Any) -> bytes:
    """`value` as JSON, half characters and all."""
    return json.dumps(value, separators=(",", ":")).encode()
