"""One start of bwrap: its descriptors, what it tells about the box's init, and letting it go on (D-11).

bwrap reports the init's pid and then waits on `--block-fd`, so the box can be put under its limits before anything of
it runs. A byte lets it go on. Leaving the context closes all descriptors; the init's stderr stays in memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from anyio import move_on_after, wait_readable

from melipona.boxes import identity
from melipona.boxes.argv import Descriptors
from melipona.boxes.identity import Init
from melipona.boxes.seccomp import filter_path
from melipona.errors import BoxStartFailed
from melipona.faults import fault, fault_here

_STDERR_TAIL = 2000
_STATUS_LIMIT = 1 << 16
_LOOK_AGAIN = 0.003


class Starting:
    """Descriptors of one start. `descriptors` is bwrap's side, each of them used once."""

    def __init__(self) -> None:
        self._ours: list[int] = []
        self._theirs: list[int] = []
        self._text = b""
        try:
            seccomp = self._keep(self._theirs, os.open(filter_path(), os.O_RDONLY | os.O_CLOEXEC))
            self._status, status = self._pipe()
            block, self._block = os.pipe2(os.O_CLOEXEC)
            self._theirs.append(block)
            self._ours.append(self._block)
            self.stderr = self._keep(self._ours, os.memfd_create("stderr"))
        except BaseException:
            self._close()
            raise
        self.descriptors = Descriptors(seccomp=seccomp, status=status, block=block)

    def __enter__(self) -> Starting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def theirs(self) -> Sequence[int]:
        """What bwrap inherits."""
        return tuple(self._theirs)

    def handed_over(self) -> None:
        """bwrap has its descriptors: close ours of them, so that its death shows."""
        while self._theirs:
            os.close(self._theirs.pop())

    async def init(self) -> Init:
        """The box's init as soon as bwrap has made it.

        Raises:
            BoxStartFailed: bwrap ended before.
        """
        await fault("boxes.init.before_read")
        while b"\n" not in self._text:
            if not await self._read():
                raise BoxStartFailed(self.said() or "bwrap ended without a word")
        await fault("boxes.init.after_read")
        try:
            status: Any = json.loads(self._text.split(b"\n", 1)[0])
            return identity.read_init(int(status["child-pid"]))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise BoxStartFailed(self.said() or f"bwrap's status is not understood: {error}") from error

    def release(self) -> None:
        """Let the box go on."""
        fault_here("boxes.init.before_release")
        os.write(self._block, b"x")
        fault_here("boxes.init.after_release")

    async def becomes(self, init: Init, program: Sequence[str]) -> None:
        """Wait until the init has become `program`.

        Raises:
            BoxStartFailed: it ended before.
        """
        open_ = True
        while identity.command_line(init.pid)[: len(program)] != list(program):
            if not open_ or identity.start_time(init.pid) is None:
                raise BoxStartFailed(self.said() or "its init ended at once")
            with move_on_after(_LOOK_AGAIN):
                open_ = await self._read()

    def said(self) -> str:
        """The end of what bwrap and the init wrote to stderr."""
        return stderr_tail(self.stderr)

    async def _read(self) -> bool:
        """Read more status; False at its end."""
        await wait_readable(self._status)
        more = os.read(self._status, 4096)
        self._text = (self._text + more)[-_STATUS_LIMIT:]
        return bool(more)

    def _pipe(self) -> tuple[int, int]:
        """The end we read and the end bwrap writes.

        bwrap's can be read too, so that it is never a pipe without a reader: a bwrap that died of SIGPIPE, because this
        daemon had died just before, would leave its child waiting for ever.
        """
        ours, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(ours, False)
        self._ours.append(ours)
        try:
            theirs = self._keep(self._theirs, os.open(f"/proc/self/fd/{writing}", os.O_RDWR | os.O_CLOEXEC))
        finally:
            os.close(writing)
        return ours, theirs

    def _close(self) -> None:
        self.handed_over()
        while self._ours:
            os.close(self._ours.pop())

    @staticmethod
    def _keep(where: list[int], fd: int) -> int:
        where.append(fd)
        return fd


def stderr_tail(fd: int) -> str:
    """The last lines in a file of stderr, one line, without control characters: it may be the agent's text."""
    size = os.fstat(fd).st_size
    text = os.pread(fd, _STDERR_TAIL, max(0, size - _STDERR_TAIL)).decode(errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
