"""A turn's log: a file of JSON lines, each with the offset of the engine's output that it reaches (D-34).

Events are kept as they were decoded, so that a restarted daemon rebuilds a turn's progress from the file, cuts a torn
last line and reads on from the last line's offset. Text deltas are buffered (50 ms or 16 KiB) before an append; nothing
here is ever a row or an event. Past the size limit only what the turn needs is still written.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from melipona.clock import Clock
from melipona.engines.engine import (
    DropPartial,
    EngineEvent,
    Result,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    Unknown,
    UsageClaim,
)
from melipona.faults import fault_here
from melipona.ids import TurnId
from melipona.store.space import NO_SPACE

FLUSH_SECONDS = 0.05
FLUSH_BYTES = 16 << 10
STUCK_SECONDS = 1.0
"""How often a write that a full disk refused is tried again."""
SLIM = 2000
"""Characters of a text that are kept past the limit."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def _tag(kind: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


_TYPES: dict[str, type] = {_tag(kind): kind for kind in get_args(EngineEvent)}
_TAGS: dict[type, str] = {kind: tag for tag, kind in _TYPES.items()}
_SMALL_ONLY = (Text, TextDelta, DropPartial, Unknown)


def log_path(turns: Path, turn: TurnId) -> Path:
    """Where a turn's log lies below the data folder's `turns`."""
    return turns / log_name(turn)


def log_name(turn: TurnId) -> str:
    """The same, below that folder."""
    return f"{turn // 1000:05d}/{turn}.jsonl"


def event_as_json(event: EngineEvent) -> dict[str, Any]:
    """An engine event as a JSON object with its `type`."""
    return {"type": _TAGS[type(event)], **{f.name: _plain(getattr(event, f.name)) for f in fields(event)}}


def event_from_json(data: dict[str, Any]) -> EngineEvent:
    """The event again; what this version does not know is `Unknown`."""
    kind = _TYPES.get(str(data.get("type")))
    if kind is None:
        return Unknown(_encode(data).decode())
    try:
        return cast("EngineEvent", msgspec.convert({k: v for k, v in data.items() if k != "type"}, kind))
    except msgspec.ValidationError:
        return Unknown(_encode(data).decode())


def _plain(value: Any) -> object:
    return {f.name: getattr(value, f.name) for f in fields(value)} if isinstance(value, UsageClaim) else value


def _slim(event: EngineEvent) -> EngineEvent:
    """What adoption needs of an event: a log has a limit, whatever a box writes (T6)."""
    match event:
        case ToolCall(id=call, name=name):
            return ToolCall(call[:SLIM], name[:SLIM], {})
        case ToolResult(id=call, ok=ok):
            return ToolResult(call[:SLIM], ok, "")
        case Result():
            return replace(event, text=event.text[:SLIM], detail=event.detail[:SLIM])
        case _:
            return event


def _encoded(line: dict[str, Any]) -> bytes:
    """One line. What cannot be kept as it is (nested too deep, text that is none) is told without its content."""
    try:
        return _encode(line)
    except (RecursionError, ValueError, TypeError, OverflowError):
        plain = {k: v for k, v in line["event"].items() if isinstance(v, bool | int | float | None)}
        return _encode(line | {"event": {"type": "unreadable", "was": line["event"]["type"], **plain}})


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: the engine's output is accounted for up to `offset`."""

    offset: int
    at: int
    event: EngineEvent | None
    """None: a marker of ours (the start of the turn)."""
    program: str = ""
    """The engine program whose output the offset counts."""


_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class TurnLog:
    """Appends to one turn's log. `on_growth` is called after each append, for those who follow it live."""

    def __init__(self, path: Path, clock: Clock, *, limit_bytes: int, on_growth: Callable[[], None]) -> None:
        try:
            self._fd = os.open(path, _APPEND, 0o600)
        except FileNotFoundError:  # the first of a thousand turns makes their folder
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(path, _APPEND, 0o600)
        self._size = os.fstat(self._fd).st_size
        self._clock, self._limit, self._on_growth = clock, limit_bytes, on_growth
        self._buffer = bytearray()
        self.written = asyncio.Event()
        """Not set while the disk is full: no more of the engine's output is to be taken until it is."""
        self.written.set()
        self._timer: asyncio.TimerHandle | None = None
        self._full = False

    def start(self, offset: int, program: str) -> None:
        """Mark where the output of an engine program stood when the turn began to listen to it."""
        self._append(offset, {"type": "start", "program": program})
        self.flush()

    def add(self, offset: int, event: EngineEvent) -> None:
        """Append one event; a result is written at once, the rest within 50 ms."""
        if self._full:
            if isinstance(event, _SMALL_ONLY) or (self._size > self._limit * 2 and not isinstance(event, Result)):
                return
            event = _slim(event)
        self._append(offset, event_as_json(event))
        if isinstance(event, Result) or len(self._buffer) >= FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def note(self, offset: int, what: str, **data: Any) -> None:
        """Append a marker of ours (the prompt, an interrupt, the end) for whoever reads the log."""
        self._append(offset, {"type": what, **data})
        self.flush()

    def flush(self) -> None:
        """Write what is buffered. On a full disk it stays buffered and is tried again (I-17)."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._buffer:
            return
        try:
            self._write()
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self.written.clear()
            self._timer = asyncio.get_running_loop().call_later(STUCK_SECONDS, self.flush)
        self._on_growth()

    def _write(self) -> None:
        fault_here("turns.log.before_append")
        while self._buffer:
            del self._buffer[: os.write(self._fd, self._buffer)]
        fault_here("turns.log.after_append")
        self.written.set()

    def close(self) -> None:
        """Write the rest and let go of the file. What a full disk does not take is left out: the turn's end is a row,
        and a log may end anywhere."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
        os.close(self._fd)

    def _append(self, offset: int, event: dict[str, Any]) -> None:
        line = _encoded({"offset": offset, "at": self._clock.now(), "event": event}) + b"\n"
        self._size += len(line)
        if self._limit and self._size > self._limit and not self._full:
            self._full = True
            cut = {"offset": offset, "at": self._clock.now(), "event": {"type": "log_limit"}}
            self._buffer += _encode(cut) + b"\n"
        self._buffer += line


def read_log(path: Path) -> Iterator[LogLine]:
    """The lines of a log, oldest first. A torn last line is cut off the file; a missing file has none."""
    if not path.exists():
        return
    fault_here("turns.log.before_read")
    end, program = 0, ""
    with path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                break
            end += len(raw)
            line = _line(raw, program)
            if line is not None:
                program = line.program
                yield line
    fault_here("turns.log.after_read")
    if path.stat().st_size > end:
        fault_here("turns.log.before_truncate")
        os.truncate(path, end)
        fault_here("turns.log.after_truncate")


def _line(raw: bytes, program: str) -> LogLine | None:
    try:
        data = _decode(raw)
        event = data["event"]
        known = event["type"] in _TYPES
        if event["type"] == "start":
            program = str(event["program"])
        return LogLine(int(data["offset"]), int(data["at"]), event_from_json(event) if known else None, program)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None
