"""The daemon with a wall clock that a test moves while it runs.

    python -m melipona.testing.jumping_daemon FILE --data DIR ...

FILE holds eight bytes: by how many microseconds the daemon's wall clock is ahead of the machine's. `WallClock` writes
them. The steady clock is the machine's.
"""

from __future__ import annotations

import mmap
import struct
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from melipona import daemon
from melipona.clock import Micros, SystemClock

_AHEAD = struct.Struct("=q")


class WallClock:
    """The clock of such a daemon, as the test holds it. `program` is what `HiveProcess` runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.ahead = timedelta()
        self.jump(timedelta())
        self.program: Sequence[str] = ("-m", "melipona.testing.jumping_daemon", str(path))

    def jump(self, by: timedelta) -> None:
        """Move it, at once and for the daemons that follow."""
        self.ahead += by
        data = _AHEAD.pack(int(self.ahead / timedelta(microseconds=1)))
        if self._path.exists():
            with self._path.open("r+b") as file:  # the same file: a running daemon has it mapped
                file.write(data)
        else:
            self._path.write_bytes(data)

    def now(self) -> Micros:
        """What the daemon's clock shows."""
        return Micros(SystemClock().now() + int(self.ahead / timedelta(microseconds=1)))


class _JumpingClock(SystemClock):
    def __init__(self, ahead: mmap.mmap) -> None:
        self._ahead = ahead

    def now(self) -> Micros:
        return Micros(super().now() + _AHEAD.unpack(self._ahead[: _AHEAD.size])[0])


def main(path: Path, rest: list[str]) -> int:
    """Run the daemon with that clock."""
    with path.open("rb") as file:
        ahead = mmap.mmap(file.fileno(), _AHEAD.size, access=mmap.ACCESS_READ)
    daemon.SystemClock = lambda: _JumpingClock(ahead)  # type: ignore[assignment,misc]
    return daemon.main(rest)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
