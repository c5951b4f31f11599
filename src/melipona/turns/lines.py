"""Cutting an engine's output into lines whose ends are known as offsets, and making their text storable."""

from __future__ import annotations

import re
from collections.abc import Iterator

from melipona.errors import BoxProtocolError

LINE_LIMIT = 64 << 20

_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPES = re.compile(
    rb"(?<!\\)(?P<slashes>(?:\\\\)*+)(?:" + _HIGH + _LOW + rb"|(?P<lone>" + _HIGH + rb"|" + _LOW + rb"))"
)
"""A pair of surrogates or half a pair, after escaped backslashes: those alone cost nothing, however many there are."""

ESCAPES_MOST = 100_000
"""Escapes of surrogates in a line, at most: each costs half a microsecond, and nobody else runs meanwhile."""


class LineTooLong(BoxProtocolError):
    """A line of an engine's output passed the limit (D-15)."""

    code = "output_limit"


class TooMuchOutput(BoxProtocolError):
    """An engine wrote more in one turn than it may (D-15, T7)."""

    code = "output_limit"


class Lines:
    """Splits bytes that begin at an absolute offset into complete lines."""

    def __init__(self, offset: int, limit: int = LINE_LIMIT) -> None:
        self.offset = offset
        """Everything before it has been given out."""
        self._pending = bytearray()
        self._scanned = 0
        self._limit = limit

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """Complete lines without their newline, each with the offset after it.

        Raises:
            LineTooLong: an unfinished line is longer than the limit.
        """
        self._pending += data
        while (end := self._pending.find(b"\n", self._scanned)) >= 0:
            line = bytes(self._pending[:end])
            del self._pending[: end + 1]
            self._scanned = 0
            self.offset += end + 1
            yield line, self.offset
        self._scanned = len(self._pending)
        if self._scanned > self._limit:
            raise LineTooLong(f"a line of output is longer than {self._limit >> 20} MiB")

    @property
    def next_offset(self) -> int:
        """Where the next bytes must begin."""
        return self.offset + len(self._pending)


def well_formed(line: bytes) -> bytes:
    """A line of JSON without escapes of lone surrogates: JSON allows them, but no file, row or stream can hold them.

    Engines write them when they cut text inside a character, and boxes on purpose (T7).
    """
    escapes = line.count(b"\\ud") + line.count(b"\\uD")
    if not escapes:
        return line
    if escapes > ESCAPES_MOST:
        return line.replace(b"\\ud", b"/ud").replace(b"\\uD", b"/uD")
    return _ESCAPES.sub(lambda found: found["slashes"] + rb"\ufffd" if found["lone"] else found[0], line)
