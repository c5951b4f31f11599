"""Printing: everything passes `visible()` before it reaches a terminal (T4), tables fit its width, JSON stays JSON.

Colour only on a terminal and without `NO_COLOR`; glyphs become letters where they cannot be shown (DESIGN.md).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from melipona.text import visible

GLYPHS = {
    "needs_you": ("◆", "N", "yellow"),
    "working": ("●", "W", "cyan"),
    "queued": ("◔", "q", "dim"),
    "waiting": ("◐", "w", "dim"),
    "idle": ("○", "-", "dim"),
    "paused": ("‖", "P", "dim"),
    "stuck": ("▲", "!", "magenta"),
    "failed": ("✕", "X", "red"),
    "changing": ("◌", "~", "cyan"),
    "off": ("·", ".", "dim"),
}
"""State → shape, letter, style."""

NEED = ("needs_you", "failed", "stuck", "working", "changing", "queued", "waiting", "paused", "idle", "off")
"""States in the order of need, as on the page."""

_STYLES = {"dim": "2", "bold": "1", "red": "31", "yellow": "33", "magenta": "35", "cyan": "36", "green": "32"}
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. The one that is `wide` takes and gives the room that there is."""

    title: str
    right: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """Text with a style."""

    text: str
    style: str | None = None


class _Shown(str):
    """Text that has passed `visible()`; passing it twice would mark the marks."""

    __slots__ = ()


class Out:
    """Where a command prints to."""

    def __init__(self, *, json: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._out, self._err = stdout or sys.stdout, stderr or sys.stderr
        self._json = json
        self.terminal = self._out.isatty()
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._color = self.terminal and not plain
        self._unicode = "utf" in (getattr(self._out, "encoding", None) or "").lower()

    # ---- lines ----------------------------------------------------------------------------------------------------

    def line(self, *parts: str | Cell) -> None:
        """One line; parts are joined as they are."""
        text = "".join(self._styled(_cell(part)) for part in parts)
        self._write(self._out, text if self._color else text.rstrip())

    def words(self, text: str, *, indent: str = "  │ ", style: str | None = None) -> None:
        """What an agent wrote: framed, so that it cannot be taken for ours."""
        frame = indent if self._unicode else indent.replace("│", "|")
        for part in text.split("\n"):
            self.line(Cell(frame, "dim"), Cell(part.replace("\t", "    "), style))

    def note(self, text: str) -> None:
        """A remark beside the output, on stderr."""
        self._write(self._err, f"mel: {visible(text, lines=False)}")

    def error(self, what: str, means: str, remedy: str, *, code: str, exit_code: int) -> None:
        """What happened, what it means, what to do: three short parts on stderr (or one JSON object)."""
        if self._json:
            document = {"error": {"code": code, "detail": what, "means": means, "remedy": remedy, "exit": exit_code}}
            self._write(self._err, json_text(document))
            return
        self._write(self._err, f"mel: {visible(what, lines=False)}")
        for part in (means, remedy):
            if part:
                self._write(self._err, f"     {visible(part, lines=False)}")

    def json(self, value: Any) -> None:
        """One JSON document a line."""
        self._write(self._out, json_text(value))

    def raw(self, text: str) -> None:
        """A text of our own that a program reads (a link, a completion script)."""
        self._write(self._out, text)

    # ---- tables ---------------------------------------------------------------------------------------------------

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> None:
        """Aligned columns, cut to the terminal's width, never wrapped."""
        cells = [[_one_line(_cell(part)) for part in row] for row in rows]
        head = [Cell(column.title, "dim") for column in columns]
        widths = [max(width(row[at].text) for row in [head, *cells]) for at in range(len(columns))]
        self._fit(columns, widths)
        for row in [head, *cells]:
            self.line(*_spaced(columns, widths, row, "…" if self._unicode else "~"))

    def room(self, used: int) -> int | None:
        """Lines that are left on the terminal's screen, at least a few; None where there is no screen."""
        return max(3, shutil.get_terminal_size().lines - used) if self.terminal else None

    def glyph(self, state: str) -> Cell:
        """A state's shape; a state that this version does not know gets a question mark (LE-15)."""
        shape, letter, style = GLYPHS.get(state, ("?", "?", "dim"))
        return Cell(shape if self._unicode else letter, style)

    def state(self, state: str) -> Cell:
        """A state's shape and word."""
        return Cell(f"{self.glyph(state).text} {state.replace('_', ' ')}", self.glyph(state).style)

    def _fit(self, columns: Sequence[Column], widths: list[int]) -> None:
        room = self._width()
        if room is None:
            return
        over = sum(widths) + 2 * (len(widths) - 1) - room
        wide = [at for at, column in enumerate(columns) if column.wide]
        for at in [*wide, *(at for at in reversed(range(len(widths))) if at not in wide)]:
            if over <= 0:
                return
            cut = min(over, max(0, widths[at] - 6))
            widths[at] -= cut
            over -= cut

    def _width(self) -> int | None:
        if self.terminal or os.environ.get("COLUMNS"):
            return shutil.get_terminal_size().columns
        return None

    def _styled(self, cell: Cell) -> str:
        text = cell.text if isinstance(cell.text, _Shown) else visible(cell.text, lines=False)
        if not self._unicode:
            text = text.encode("ascii", "replace").decode()
        if not self._color or cell.style is None:
            return text
        return f"\x1b[{_STYLES[cell.style]}m{text}\x1b[0m"

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        stream.write(text + "\n")
        stream.flush()


def json_text(value: Any) -> str:
    """JSON in which every character that a terminal could act on is escaped; such occur only inside strings."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return "".join(_escaped(ch) for ch in text)


def width(text: str) -> int:
    """Columns that a line takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns(ch) for ch in text)


def _columns(ch: str) -> int:
    if unicodedata.combining(ch):
        return 0
    return 2 if unicodedata.east_asian_width(ch) in "WF" else 1


def _escaped(ch: str) -> str:
    if ch.isascii() and ch != "\x7f":
        return ch
    if unicodedata.category(ch) not in _HIDDEN:
        return ch
    units = ch.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _cell(part: str | Cell) -> Cell:
    return part if isinstance(part, Cell) else Cell(part)


def _one_line(cell: Cell) -> Cell:
    return Cell(_Shown(visible(" ".join(cell.text.split("\n")), lines=False)), cell.style)


def _spaced(columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell], mark: str) -> list[Cell]:
    parts: list[Cell] = []
    for at, (column, room, cell) in enumerate(zip(columns, widths, row, strict=True)):
        text = _cut(cell.text, room, mark)
        space = " " * (room - width(text))
        last = at == len(columns) - 1
        padded = space + text if column.right else text if last else text + space
        parts.append(Cell(_Shown(padded if at == 0 else f"  {padded}"), cell.style))
    return parts


def _cut(text: str, room: int, mark: str) -> str:
    if width(text) <= room:
        return text
    kept, used = "", 0
    for ch in text:
        if used + _columns(ch) > room - 1:
            break
        kept, used = kept + ch, used + _columns(ch)
    return kept + mark
