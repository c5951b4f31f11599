"""`mel attach`: a terminal in an agent's box. The only command that passes an agent's bytes on raw (T4)."""

from __future__ import annotations

import base64
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Generator
from contextlib import contextmanager

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command, complete_agents
from melipona.client import ClientError, Problem, Unreachable, segment

LEAVE = b"\x1d"
"""Ctrl-]"""
CHUNK = 16 << 10
AGAIN_SECONDS = 0.5


@click.command(cls=Command)
@click.argument("name", shell_complete=complete_agents)
@pass_env
def attach(env: Env, name: str) -> None:
    """Open a shell in an agent's box: mel attach ana

    The agent begins no turn until you leave, with `exit` or Ctrl-]. What runs on the terminal ends then. Programs of
    the agent can draw on your terminal meanwhile, as in any shell.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ClientError("this is no terminal", "run `mel attach` in one", code="no_terminal", exit_code=2)
    columns, rows = shutil.get_terminal_size()
    opened = env.client.post(f"/agents/{segment(name)}/terminals", {"rows": rows, "columns": columns})
    env.out.note(f"in the box of {name}; leave with `exit` or Ctrl-]")
    code = _Session(env, f"/terminals/{segment(str(opened['id']))}").run()
    env.out.note(f"left the box of {name}" + (f"; the shell ended with {code}" if code else ""))


class _Session:
    """The terminal here and the one in the box."""

    def __init__(self, env: Env, path: str) -> None:
        self._client, self._path = env.client, path
        self._over = threading.Event()
        self._code: int | None = None
        self._woken, self._wake = os.pipe()

    def run(self) -> int | None:
        """Pass bytes on until one side leaves; the shell's exit code, if it ended by itself."""
        showing = threading.Thread(target=self._show, daemon=True)
        with _raw(), self._resizing():
            showing.start()
            try:
                self._type()
            finally:
                if not self._over.is_set():
                    self._ask("DELETE", "")
        showing.join(timeout=2)
        return self._code

    def _show(self) -> None:
        position = 0
        try:
            while not self._over.is_set():
                for kind, identifier, piece in self._client.stream(f"{self._path}/stream", after=position):
                    if kind == "end":
                        self._code = piece.get("exit")
                        return
                    _write_all(base64.b64decode(piece["data"]))
                    position = int(identifier or position)
                self._over.wait(AGAIN_SECONDS)
        except (Problem, Unreachable):  # it is closed, or the daemon went with it
            return
        finally:
            self._over.set()
            os.write(self._wake, b"x")

    def _type(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([0, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 64)
                if not self._over.is_set():
                    columns, rows = shutil.get_terminal_size()
                    self._ask("POST", "/size", {"rows": rows, "columns": columns})
            if 0 in ready:
                data = os.read(0, CHUNK)
                before, leave, _ = data.partition(LEAVE)
                if before:
                    self._ask("POST", "/input", {"data": base64.b64encode(before).decode()})
                if leave or not data:
                    return

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> None:
        try:
            if method == "DELETE":
                self._client.delete(self._path)
            else:
                self._client.post(self._path + path, body)
        except Problem as problem:
            if problem.status != 404:  # closed meanwhile: the stream says so too
                raise

    @contextmanager
    def _resizing(self) -> Generator[None]:
        def told(number: int, frame: object) -> None:
            os.write(self._wake, b"x")

        before = signal.signal(signal.SIGWINCH, told)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, before)


@contextmanager
def _raw() -> Generator[None]:
    """Every key goes to the box; afterwards the terminal is as it was, whatever the box did to it."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)
        # Programs in the box may have left modes on: the other screen, mouse reports, pasting in brackets, no cursor
        _write_all(b"\x1b[?1049l\x1b[?1000;1002;1003;1006l\x1b[?2004l\x1b[?25h\x1b[0m\r\n")


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]
