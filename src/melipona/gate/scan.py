"""Keeps the model key out of everything that goes to a box: the last line of defence behind fixed headers (T14)."""

from __future__ import annotations

REMOVED = b"[removed by the gate]"


class KeyScanner:
    """Takes the secret out of a stream of bytes, also where it lies across two pieces.

    At a piece's end only what could be the secret's beginning is held back, so that a stream is not delayed.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._held: bytes = b""
        self.found = 0

    def feed(self, data: bytes) -> bytes:
        """What may go out now."""
        if not self._secret:
            return data
        data = self._held + data
        self.found += data.count(self._secret)
        data = data.replace(self._secret, REMOVED)
        keep = self._beginning(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def end(self) -> bytes:
        """What is left when no more comes."""
        held, self._held = self._held, b""
        return held

    def _beginning(self, data: bytes) -> int:
        """Length of the longest end of `data` that the secret begins with."""
        for length in range(min(len(data), len(self._secret) - 1), 0, -1):
            if data.endswith(self._secret[:length]):
                return length
        return 0
