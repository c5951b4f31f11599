"""The daemon's end of a box's control socket: start programs in the box, write to them, read their output by offset."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from melipona.ids import ProgramId


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """A program to start in a box. `terminal` = (rows, columns) gives it a pty instead of pipes.

    `lossless` programs (engines) are never dropped: boxd stops reading when 128 MiB are unacknowledged; others keep a
    ring of 64 MiB and a gap is reported (D-15).
    """

    id: ProgramId
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/ws"
    terminal: tuple[int, int] | None = None
    lossless: bool = True


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What boxd knows of a program: where its output ends now, and the number of the next line it takes."""

    id: ProgramId
    pid: int
    offset: int
    next_seq: int
    exit: int | None


@dataclass(frozen=True, slots=True)
class Hello:
    """boxd's first frame after each dial (D-14)."""

    protocol: int
    boxd: str
    box: str
    programs: Sequence[ProgramInfo]


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes of a program's output, `data` beginning at absolute `offset`."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Output before `offset` is gone (only of programs that are not lossless)."""

    offset: int


@dataclass(frozen=True, slots=True)
class Exit:
    """The program ended and all its output was delivered. `code` is negative for a signal; `stderr` its last 64 KiB."""

    code: int
    offset: int
    stderr: bytes


class Link(Protocol):
    """One box's control connection. It survives reconnects of boxd; calls wait for the next dial under a deadline.

    All methods raise `BoxLost` when the connection is gone for longer than the deadline, and `BoxProtocolError` when
    what came out of the box is not the protocol.
    """

    async def ready(self, within: timedelta) -> Hello:
        """Wait until boxd has dialled; the latest hello."""
        ...

    async def start(self, program: ProgramSpec) -> ProgramInfo:
        """Start a program; one that has this id already is returned as it is."""
        ...

    async def write(self, program: ProgramId, seq: int, line: bytes) -> None:
        """Write one line to the program's input. A sequence number that boxd has seen changes nothing (D-44)."""
        ...

    async def end_input(self, program: ProgramId) -> None:
        """Close the program's input after all that was written."""
        ...

    async def signal(self, program: ProgramId, number: int) -> None:
        """Signal the program's process group; one that has ended is a success."""
        ...

    async def resize(self, program: ProgramId, rows: int, columns: int) -> None: ...

    def follow(self, program: ProgramId, offset: int) -> AsyncIterator[Output | Gap | Exit]:
        """The program's output from `offset` on, across reconnects, ending with `Exit`."""
        ...

    async def acknowledge(self, program: ProgramId, offset: int) -> None:
        """Everything before `offset` is stored: boxd may drop it."""
        ...

    async def forget(self, program: ProgramId) -> None:
        """Kill the program's group if it still runs and drop all that is kept of it."""
        ...

    async def ping(self, within: timedelta) -> float:
        """Seconds that boxd took to answer."""
        ...
