"""The `playbook` engine: a scripted agent with real tools, shell and git in a real box; it needs no key (D-27).

The daemon checks the TOML (`playbook_format`), the player (`boxes/inside/playbook.py`) plays it in the box. The line
protocol between the two is this module and that file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_args

from melipona.boxes.driver import INSIDE_OPT, Mount
from melipona.engines.base import GATE, count_of, inside_environment, number_of, table_in, table_of, text_of
from melipona.engines.engine import (
    Answered,
    Compaction,
    ContextSize,
    DropPartial,
    EngineEvent,
    EngineHealth,
    EngineLaunch,
    EngineProgram,
    Outcome,
    Prompt,
    RateLimited,
    Result,
    Retry,
    SessionStarted,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    Unknown,
    UsageClaim,
)
from melipona.engines.playbook_format import BUILT_IN, parse_playbook

__all__ = ["PLAYER_PATH", "PlaybookEngineDriver", "built_in_playbook", "parse_playbook", "player_source"]

PLAYER_PATH = f"{INSIDE_OPT}/playbook.py"


def player_source() -> Path:
    """The player's file on the host."""
    return Path(str(files("melipona.boxes") / "inside" / "playbook.py"))


def built_in_playbook() -> dict[str, Any]:
    """What an agent without a playbook of its own plays: `heard: <body>` to every sender."""
    return parse_playbook(BUILT_IN)


class PlaybookEngineDriver:
    """Plays playbooks. `python` and `player` are paths inside the box, `gate` the gate's address there."""

    name = "playbook"
    needs_model_key = False

    def __init__(self, *, python: str = "/usr/bin/python3", player: str = PLAYER_PATH, gate: str = GATE) -> None:
        self._python = python
        self._player = player
        self._gate = gate

    async def health(self) -> EngineHealth:
        return EngineHealth(ok=True, detail="built in, plays scripted agents", version="1")

    def mounts(self) -> Sequence[Mount]:
        """Nothing: the player lies beside boxd in the folder that every box has at /opt/mel."""
        return []

    def program(self, launch: EngineLaunch) -> EngineProgram:
        first = {
            "type": "launch",
            "agent": launch.agent,
            "role": launch.role,
            "model": launch.model,
            "session": launch.session,
            "gate": self._gate,
            "playbook": launch.playbook or built_in_playbook(),
        }
        argv = [self._python, "-I", "-S", self._player]
        return EngineProgram(argv, inside_environment(self._gate), [_line(first)])

    def decoder(self) -> PlaybookDecoder:
        return PlaybookDecoder()

    def prompt_line(self, prompt: Prompt) -> str:
        messages = [
            {"id": m.id, "sender": m.sender, "body": m.body, "kind": m.kind, "maybe_seen": m.maybe_seen}
            for m in prompt.messages
        ]
        return _line({"type": "prompt", "text": prompt.text, "messages": messages})

    def interrupt_line(self, request: str) -> str | None:
        return _line({"type": "interrupt", "request": request})

    def set_model_line(self, request: str, model: str) -> str | None:
        return _line({"type": "set_model", "request": request, "model": model})

    def compact_line(self) -> str | None:
        return _line({"type": "compact"})

    def context_line(self, request: str) -> str | None:
        return _line({"type": "context", "request": request})

    def permission_line(self, request: str, *, allow: bool, message: str) -> str | None:
        """None: a playbook asks for no permission."""
        del request, allow, message
        return None


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


class PlaybookDecoder:
    """Reads the player's lines. It keeps nothing between them, so it may begin anywhere."""

    def feed(self, line: bytes) -> Sequence[EngineEvent]:
        """Events of one line; one that cannot be read is `Unknown`."""
        try:
            message = table_in(line)
            read = _READERS.get(text_of(message.get("type")))
            return read(message) if read else [Unknown.of(line)]
        except (ValueError, RecursionError):
            return [Unknown.of(line)]


_Message = Mapping[str, object]


def _session(m: _Message) -> list[EngineEvent]:
    model = text_of(m.get("model")) or None
    return [SessionStarted(text_of(m.get("session")), model=model, version=text_of(m.get("version")) or None)]


def _delta(m: _Message) -> list[EngineEvent]:
    return [TextDelta(text_of(m.get("text")), thinking=m.get("thinking") is True)]


def _text(m: _Message) -> list[EngineEvent]:
    return [Text(text_of(m.get("text")), thinking=m.get("thinking") is True)]


def _tool(m: _Message) -> list[EngineEvent]:
    return [ToolCall(text_of(m.get("id")), text_of(m.get("name")), table_of(m.get("input")))]


def _tool_result(m: _Message) -> list[EngineEvent]:
    return [ToolResult(text_of(m.get("id")), m.get("ok") is True, text_of(m.get("text")))]


def _claim(m: _Message) -> UsageClaim:
    return UsageClaim(
        input_tokens=count_of(m.get("input_tokens")),
        output_tokens=count_of(m.get("output_tokens")),
        cache_read_tokens=count_of(m.get("cache_read_tokens")),
        cache_creation_tokens=count_of(m.get("cache_creation_tokens")),
        session_cost_usd=number_of(m.get("session_cost_usd")),
    )


def _context(m: _Message) -> list[EngineEvent]:
    tokens = count_of(m.get("tokens"))
    return [] if tokens is None else [ContextSize(tokens, count_of(m.get("window")))]


def _retry(m: _Message) -> list[EngineEvent]:
    return [Retry(count_of(m.get("attempt")) or 1, error=text_of(m.get("error")) or None), DropPartial()]


def _rate_limited(m: _Message) -> list[EngineEvent]:
    return [RateLimited(number_of(m.get("retry_after")), text_of(m.get("detail")))]


def _compaction(m: _Message) -> list[EngineEvent]:
    return [Compaction(count_of(m.get("before")), count_of(m.get("after")))]


def _answered(m: _Message) -> list[EngineEvent]:
    return [Answered(text_of(m.get("request")), m.get("ok") is True, table_of(m.get("data")))]


def _result(m: _Message) -> list[EngineEvent]:
    outcome = cast("Outcome", m.get("outcome") if m.get("outcome") in get_args(Outcome) else "failed")
    return [
        Result(
            outcome,
            text=text_of(m.get("text")),
            detail=text_of(m.get("detail")),
            session=text_of(m.get("session")) or None,
            usage=_claim(table_of(m.get("usage"))),
        )
    ]


_READERS: dict[str, Callable[[_Message], list[EngineEvent]]] = {
    "session": _session,
    "delta": _delta,
    "text": _text,
    "tool": _tool,
    "tool_result": _tool_result,
    "usage": lambda m: [_claim(m)],
    "context": _context,
    "retry": _retry,
    "rate_limited": _rate_limited,
    "compaction": _compaction,
    "answered": _answered,
    "result": _result,
}
