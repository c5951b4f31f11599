"""What the stub of the Messages API answers: a pure choice from a request's messages. The server is `model_stub`.

A prompt scripts its turn with a JSON list after the word `STEPS:`; one step answers one model request:

    {"text": "hello"}                         a text, ends the turn
    {"tool": "Bash", "input": {...}}          a tool call (the last part of an MCP tool's name is enough: `send`)
    {"think": "hm"}                           beside a text or a tool: thinks that first
    {"slow": 3}                               a text streamed over that many seconds
    {"wait": 2}, {"wait_file": "/path"}       answer later; alone, or beside any of the others
    {"status": 429, "retry_after": 1}         an error; `times` (1), `error` and `message` may be set, and `final`:
                                              the client is told not to try again by itself; with `ever` the same
                                              steps in a later prompt do not begin to count anew
    {"cut": true}                             the stream breaks in its middle, once
    {"hang": 30}                              no byte for that long, then the connection closes, once
    {"stall": 30}                             status and headers, then the same, once
    {"garbage": "sse"}                        200 with nonsense: a stream, `json` that is cut off, `html`, once
    {"trickle": 1}                            beside any of the others: that many bytes of the stream a second
    {"echo_key": "body"}                      hostile upstream (T14): the key in a body, header, redirect or 401
    {"usage": {"input_tokens": 7}}            beside any of the others: other numbers than `USAGE`

Steps count from the newest prompt that has them. Without steps an agent behaves: it reports what it read to the
operator with the tool `send`, if it has that tool, and ends its turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

Step = dict[str, Any]
Json = dict[str, Any]

USAGE = {
    "input_tokens": 1000,
    "output_tokens": 70,
    "cache_read_input_tokens": 500,
    "cache_creation_input_tokens": 200,
}
"""Usage of every answer that is not told otherwise."""

ECHO_LIMIT = 500
_FENCED = re.compile(r"<(mail-[0-9a-f]+)> [^\n]*\n(.*?)\n</\1>", re.DOTALL)
"""A message in a wake prompt."""
_ONCE = ("status", "cut", "hang", "stall", "garbage")


def choose(request: Mapping[str, Any], spent: dict[str, int]) -> Step:
    """The step that answers `request`. `spent` counts steps that leave no trace in the conversation (errors, cuts)."""
    turn = _Turn(request.get("messages") or [])
    if turn.compacting:
        return {"text": "<summary>The agent and its operator talked.</summary>"}
    if turn.steps is None:
        return _polite(turn, tool_names(request))
    position = turn.answered
    for index, step in enumerate(turn.steps):
        if any(key in step for key in _ONCE):
            mark = f"{index} {turn.steps}" if step.get("ever") else f"{index} {turn.begins} {turn.prompt}"
            if position == 0 and spent.get(mark, 0) < int(step.get("times", 1)):
                spent[mark] = spent.get(mark, 0) + 1
                return step
        elif position == 0:
            return _with_full_name(step, tool_names(request))
        else:
            position -= 1
    return {"text": "end of steps"}


def tool_names(request: Mapping[str, Any]) -> list[str]:
    """Names of the tools that the request offers."""
    tools = cast("list[Json]", request.get("tools") or [])
    return [str(tool.get("name", "?")) for tool in tools]


def tool_results(request: Mapping[str, Any]) -> list[str]:
    """Text of every tool result in the conversation, oldest first."""
    return [
        _text_of(part.get("content")) for _, part in _parts(request.get("messages") or []) if _is(part, "tool_result")
    ]


def newest_text(request: Mapping[str, Any]) -> str:
    """The newest text that the user's side said."""
    texts = [p["text"] for role, p in _parts(request.get("messages") or []) if role == "user" and _is(p, "text")]
    return texts[-1] if texts else ""


class _Turn:
    """The running turn of a conversation: its prompt, its steps, and how many requests of it were answered."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        self.prompt = ""
        self.steps: list[Step] | None = None
        self.answered = 0
        self.begins = 0
        self.compacting = False
        ended = True
        for place, (role, part) in enumerate(_parts(messages)):
            if role == "assistant":
                ended = not _is(part, "tool_use")
                self.answered += 1 if _is(part, "tool_use") else 0
            elif _is(part, "text"):
                self._read(place, str(part["text"]), new_turn=ended)
                ended = False

    def _read(self, place: int, text: str, *, new_turn: bool) -> None:
        if text.lstrip().startswith("<system-reminder>"):
            return
        self.compacting = "detailed summary" in text
        if new_turn or "STEPS:" in text or text.startswith("[Request interrupted"):
            self.prompt, self.steps, self.answered, self.begins = text, _steps_in(text), 0, place
        else:
            self.prompt += "\n" + text


def _steps_in(text: str) -> list[Step] | None:
    before, found, after = text.rpartition("STEPS:")
    del before
    if not found:
        return None
    try:
        steps, _ = json.JSONDecoder().raw_decode(after.lstrip())
    except ValueError as error:
        return [{"text": f"STEPS cannot be read: {error}"}]
    return cast("list[Step]", steps) if isinstance(steps, list) else [{"text": "STEPS is not a list"}]


def _polite(turn: _Turn, tools: Sequence[str]) -> Step:
    send = _full_name("send", tools)
    if send is None or turn.answered:
        return {"text": "done" if turn.answered else f"heard: {turn.prompt[-ECHO_LIMIT:]}"}
    mail = _FENCED.findall(turn.prompt)
    said = mail[-1][1] if mail else turn.prompt
    return {"tool": send, "input": {"to": "operator", "body": f"heard: {said[-ECHO_LIMIT:]}"}}


def _with_full_name(step: Step, tools: Sequence[str]) -> Step:
    if "tool" not in step:
        return step
    return {**step, "tool": _full_name(str(step["tool"]), tools) or step["tool"]}


def _full_name(name: str, tools: Sequence[str]) -> str | None:
    return next((tool for tool in tools if tool == name or tool.endswith(f"__{name}")), None)


def _parts(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    for message in messages:
        content = message.get("content")
        role = str(message.get("role"))
        if isinstance(content, str):
            found.append((role, {"type": "text", "text": content}))
        else:
            found += [(role, part) for part in cast("list[Json]", content or [])]
    return found


def _is(part: Mapping[str, Any], kind: str) -> bool:
    return part.get("type") == kind


def _text_of(content: object) -> str:
    if isinstance(content, str):
        return content
    blocks = cast("list[Mapping[str, Any]]", content or [])
    return "".join(str(block.get("text", "")) for block in blocks)
