"""What the demo prints: one line an occurrence, with the time since the start and whose it is.

Everything passes `visible()` before it reaches a terminal (T4). Colour only on a terminal and without `NO_COLOR`;
shapes become letters where they cannot be shown (DESIGN.md). With `quiet` nothing is printed but documents and errors.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any, TextIO

from melipona.text import visible

SHAPES = {"idle": ("○", "-"), "working": ("●", "W"), "changing": ("◌", "~"), "failed": ("✕", "X"), "mail": ("→", ">")}
_STYLES = {"dim": "2", "bold": "1", "red": "31", "cyan": "36"}
_OF_SHAPES = {"idle": "dim", "working": "cyan", "changing": "cyan", "failed": "red", "mail": ""}
WHO = 6
"""Columns for whose line it is."""
MARGIN = 8 + WHO + 2 + 2
"""Columns before the words: the time, whose line it is, a shape."""
READ_SECONDS = 0.1
"""For a line, when somebody reads along."""
MOST = 110
"""Columns of the widest line, however wide the terminal is."""


class Screen:
    """Prints the story as it goes. `clock` counts seconds, `rest` waits that many (for people who read along)."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._out, self._err = stdout or sys.stdout, stderr or sys.stderr
        self._quiet, self._clock, self._rest = quiet, clock, rest
        terminal = self._out.isatty() and os.environ.get("TERM") != "dumb"
        self._live = terminal and not quiet
        self._color = terminal and not os.environ.get("NO_COLOR")
        self._unicode = "utf" in (getattr(self._out, "encoding", None) or "").lower()
        self._began = clock()
        self._busy = False
        self._last = ""

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._began

    # ---- lines ----------------------------------------------------------------------------------------------------

    def plain(self, text: str = "", style: str = "") -> None:
        """A line from the left edge."""
        if not self._quiet:
            self._write(self._styled(visible(text, lines=False), style))

    def line(self, who: str, text: str, *, shape: str = "", style: str = "") -> None:
        """One occurrence: when, whose, what. Cut to the terminal's width."""
        if self._quiet:
            return
        mark = self._styled(self._shape(shape), _OF_SHAPES.get(shape, ""))
        said = self._cut(visible(text, lines=False), self._width() - MARGIN)
        self._write(f"{self._head(who)}{mark} {self._styled(said, style)}")

    def words(self, text: str, *, who: str = "", of: str = "", style: str = "", most: int = 12) -> None:
        """What an agent wrote or a program printed: framed, so that it cannot be taken for ours.

        With `who` it begins with a head; with `of` only when another had the last word.
        """
        if self._quiet:
            return
        who = who or (of if self._last != of else "")
        bar = "│ " if self._unicode else "| "
        lines = [part for line in visible(text).split("\n") for part in self._wrapped(line, MARGIN + len(bar))]
        more = [f"and {len(lines) - most} more lines"] if len(lines) > most else []
        for number, line in enumerate(lines[:most] + more):
            head = f"{self._head(who)}  " if who and not number else " " * MARGIN
            self._write((head + self._styled(bar, "dim") + self._styled(line, style)).rstrip())

    def facts(self, rows: list[tuple[str, str]]) -> None:
        """Names and what is said of them, aligned."""
        widest = max(len(name) for name, _ in rows)
        for name, said in rows:
            for number, line in enumerate(self._wrapped(visible(said, lines=False), widest + 6)):
                self.plain(f"  {'' if number else name:<{widest}}  {line}")

    def busy(self, what: str, since: float) -> None:
        """On a terminal: what is waited for and for how long, in a line that the next one replaces."""
        if not self._live or since < 1:
            return
        said = self._cut(visible(f"{what}: {int(since)} s", lines=False), self._width() - MARGIN - 3)
        self._out.write(f"\r\x1b[K{' ' * MARGIN}{self._styled('… ' + said, 'dim')}")
        self._out.flush()
        self._busy = True

    def document(self, value: Any) -> None:
        """One JSON document, on standard output even when quiet; every other character is escaped."""
        self._write(json.dumps(value))

    def error(self, *parts: str) -> None:
        """What happened, what it means, what to do: on standard error."""
        self._clear()
        for number, part in enumerate(part for part in parts if part):
            self._err.write(f"{'     ' if number else 'mel: '}{visible(part, lines=False)}\n")
        self._err.flush()

    def pause(self, seconds: float) -> None:
        """Give a reader at a terminal time; nobody else waits."""
        if self._live:
            self._rest(seconds)

    # ---- parts ----------------------------------------------------------------------------------------------------

    def _head(self, who: str) -> str:
        """When and whose."""
        self._last = who
        name = self._cut(visible(who, lines=False), WHO)
        return self._styled(f"{int(self.seconds):>4} s  ", "dim") + f"{name:<{WHO}}  "

    def _write(self, text: str) -> None:
        self._clear()
        if not self._unicode:
            text = text.replace("…", "...").encode("ascii", "replace").decode()
        self._out.write(text + "\n")
        self._out.flush()
        self.pause(READ_SECONDS)

    def _clear(self) -> None:
        if self._busy:
            self._out.write("\r\x1b[K")
            self._busy = False

    def _shape(self, name: str) -> str:
        shape, letter = SHAPES.get(name, (" ", " "))
        return shape if self._unicode else letter

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._color and style else text

    def _width(self) -> int:
        return min(MOST, shutil.get_terminal_size().columns) if self._live else MOST

    def _cut(self, text: str, room: int) -> str:
        return text if len(text) <= room else text[: room - 1] + "…"

    def _wrapped(self, line: str, indent: int) -> list[str]:
        return textwrap.wrap(line, max(20, self._width() - indent), break_on_hyphens=False) or [""]
