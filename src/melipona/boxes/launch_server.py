"""The daemon's end of the launchers' server: a small process that is forked into one launcher per box (ADR 0015).

It saves the start of an interpreter and its imports for each box. It is started with the first box, ends when its
socket is closed or the daemon dies, and does nothing that a fresh launcher could not do: when it is gone, one is used.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from melipona.boxes.launcher import DESCRIPTORS_MOST, MESSAGE_MOST
from melipona.errors import BoxStartFailed
from melipona.faults import fault_here

SECONDS = 30.0


class LaunchServer:
    """Starts launchers, one at a time, in any thread. The server runs from the first one on."""

    def __init__(self, launcher: Path) -> None:
        self._launcher = launcher
        self._one_at_a_time = threading.Lock()
        self._server: socket.socket | None = None
        self._end: weakref.finalize[..., LaunchServer] | None = None

    def run(self, plan: Sequence[str], descriptors: dict[int, int]) -> int:
        """Start a launcher that holds these descriptors under the numbers that are their keys; its exit code.

        Raises:
            OSError: it was not started, because there is no server.
            BoxStartFailed: it is not known whether it was started.
        """
        numbers = ",".join(str(number) for number in descriptors)
        message = b"\0".join(os.fsencode(part) for part in (numbers, *plan))
        if len(message) > MESSAGE_MOST or len(descriptors) > DESCRIPTORS_MOST:
            raise OSError("more than the server takes")
        with self._one_at_a_time:
            server = self._server or self._begin()
            try:
                socket.send_fds(server, [message], list(descriptors.values()))
            except OSError:
                self.close()
                raise
            try:
                return int(server.recv(16))
            except (OSError, ValueError) as error:  # ValueError: it has ended
                self.close()
                raise BoxStartFailed(f"the launchers' server gave no answer: {error}", code="launcher") from error

    def close(self) -> None:
        """End the server; the next launcher begins another."""
        if self._end is not None:
            self._end()
        self._server = self._end = None

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end = weakref.finalize(self, ours.close)
        ours.settimeout(SECONDS)
        fault_here("boxes.launcher.before_start")
        with theirs:
            subprocess.run(
                [sys.executable, "-I", "-S", str(self._launcher), "serve", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                timeout=SECONDS,
                check=True,
            )
        fault_here("boxes.launcher.after_start")
        self._server = ours
        return ours
