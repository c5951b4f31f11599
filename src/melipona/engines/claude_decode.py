"""Reading the `stream-json` output of the Claude Code command line (2.1.x), as recorded in `tests/engines/recorded`.

Only structured fields decide: an error's status and type, a result's terminal reason. What the model or a repository
writes is never searched for words (LE-2). A line of an unknown kind is kept as `Unknown` (LE-15).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from melipona.engines.base import count_of, number_of, table_in, table_of, text_of
from melipona.engines.engine import (
    Answered,
    Compaction,
    ContextSize,
    Demand,
    DropPartial,
    EngineEvent,
    Outcome,
    PermissionRequest,
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

NO_SESSION = "No conversation found with session ID"
"""How the command line begins its only error before a first turn when the session to resume does not exist."""

_Message = Mapping[str, object]
_SILENT_SYSTEM = frozenset({"status", "hook_started", "hook_progress", "hook_response"})
_SILENT_STREAM = frozenset(
    {"message_start", "message_delta", "message_stop", "content_block_start", "content_block_stop", "ping"}
)
_OUTCOME_OF_STATUS: dict[int, Outcome] = {
    401: "login_expired",
    402: "upstream",
    403: "upstream",
    408: "upstream",
    413: "too_long",
    429: "rate_limited",
}


class ClaudeDecoder:
    """Turns lines into events. All it keeps is the size of the last prompt, to tell it again beside its window."""

    def __init__(self) -> None:
        self._prompt_tokens: int | None = None

    def feed(self, line: bytes) -> Sequence[EngineEvent]:
        """Events of one line; one that cannot be read is `Unknown`."""
        try:
            message = table_in(line)
            read = self._readers().get(text_of(message.get("type")))
            found = read(message) if read else None
        except (ValueError, RecursionError):
            found = None
        return [Unknown.of(line)] if found is None else found

    def _readers(self) -> Mapping[str, Callable[[_Message], list[EngineEvent] | None]]:
        return {
            "system": _system,
            "stream_event": _stream_event,
            "assistant": self._assistant,
            "user": _user,
            "result": self._result,
            "control_response": _control_response,
            "control_request": _control_request,
            "rate_limit_event": _rate_limit_event,
            "control_cancel_request": lambda _: [],
            "keep_alive": lambda _: [],
        }

    def _assistant(self, m: _Message) -> list[EngineEvent]:
        message = table_of(m.get("message"))
        if m.get("is_api_error_message") is True:
            status = count_of(m.get("api_error_status"))
            return [RateLimited(None, "the model API refuses for now")] if status == 429 else []
        events = [event for block in _list(message.get("content")) for event in _block(block)]
        tokens = _prompt_tokens(table_of(message.get("usage")))
        if tokens and m.get("parent_tool_use_id") is None:
            self._prompt_tokens = tokens
            events.append(ContextSize(tokens))
        return events

    def _result(self, m: _Message) -> list[EngineEvent]:
        usage = table_of(m.get("usage"))
        claim = UsageClaim(
            input_tokens=count_of(usage.get("input_tokens")),
            output_tokens=count_of(usage.get("output_tokens")),
            cache_read_tokens=count_of(usage.get("cache_read_input_tokens")),
            cache_creation_tokens=count_of(usage.get("cache_creation_input_tokens")),
            session_cost_usd=number_of(m.get("total_cost_usd")),
        )
        outcome = _outcome(m)
        said = text_of(m.get("result"))
        errors = "; ".join(text_of(error) for error in _list(m.get("errors")))
        result = Result(
            outcome,
            text=said if outcome == "ok" else "",
            detail="" if outcome == "ok" else said or errors or text_of(m.get("subtype")),
            session=text_of(m.get("session_id")) or None,
            usage=claim,
        )
        return [*self._window(m), result]

    def _window(self, m: _Message) -> list[EngineEvent]:
        models = [table_of(model) for model in table_of(m.get("modelUsage")).values()]
        windows = [window for model in models if (window := count_of(model.get("contextWindow")))]
        if self._prompt_tokens is None or not windows:
            return []
        return [ContextSize(self._prompt_tokens, windows[-1])]


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _prompt_tokens(usage: _Message) -> int:
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(count_of(usage.get(name)) or 0 for name in names)


def _outcome(m: _Message) -> Outcome:
    if m.get("subtype") == "success" and m.get("is_error") is False:
        return "ok"
    reason = text_of(m.get("terminal_reason"))
    if reason.startswith("aborted"):
        return "interrupted"
    if reason == "prompt_too_long":
        return "too_long"
    errors = _list(m.get("errors"))
    if m.get("num_turns") == 0 and errors and text_of(errors[0]).startswith(NO_SESSION):
        return "no_session"
    status = count_of(m.get("api_error_status"))
    if status is None:
        return "upstream" if reason == "api_error" else "failed"
    return _OUTCOME_OF_STATUS.get(status, "upstream" if status >= 500 else "failed")


def _block(block: object) -> list[EngineEvent]:
    part = table_of(block)
    kind = text_of(part.get("type"))
    if kind == "text":
        return [Text(text_of(part.get("text")))]
    if kind == "thinking":
        return [Text(text_of(part.get("thinking")), thinking=True)]
    if kind in ("tool_use", "server_tool_use"):
        return [ToolCall(text_of(part.get("id")), text_of(part.get("name")), table_of(part.get("input")))]
    return []


def _user(m: _Message) -> list[EngineEvent]:
    parts = [table_of(part) for part in _list(table_of(m.get("message")).get("content"))]
    return [
        ToolResult(text_of(part.get("tool_use_id")), part.get("is_error") is not True, _plain(part.get("content")))
        for part in parts
        if part.get("type") == "tool_result"
    ]


def _plain(content: object) -> str:
    if isinstance(content, str):
        return content
    return "".join(text_of(table_of(part).get("text")) for part in _list(content))


def _stream_event(m: _Message) -> list[EngineEvent] | None:
    event = table_of(m.get("event"))
    kind = text_of(event.get("type"))
    if kind != "content_block_delta":
        return [] if kind in _SILENT_STREAM else None
    delta = table_of(event.get("delta"))
    if m.get("parent_tool_use_id") is not None:
        return []
    if delta.get("type") == "text_delta":
        return [TextDelta(text_of(delta.get("text")))]
    if delta.get("type") == "thinking_delta":
        return [TextDelta(text_of(delta.get("thinking")), thinking=True)]
    return []


def _system(m: _Message) -> list[EngineEvent] | None:
    subtype = text_of(m.get("subtype"))
    if subtype == "init":
        return [_init(m)]
    if subtype == "compact_boundary":
        about = table_of(m.get("compact_metadata"))
        return [Compaction(count_of(about.get("pre_tokens")), count_of(about.get("post_tokens")))]
    if subtype == "api_retry":
        return _api_retry(m)
    return [] if subtype in _SILENT_SYSTEM else None


def _init(m: _Message) -> SessionStarted:
    servers = [table_of(server) for server in _list(m.get("mcp_servers"))]
    return SessionStarted(
        text_of(m.get("session_id")),
        model=text_of(m.get("model")) or None,
        version=text_of(m.get("claude_code_version")) or None,
        tools=tuple(text_of(tool) for tool in _list(m.get("tools"))),
        servers={text_of(server.get("name")): text_of(server.get("status")) for server in servers},
    )


def _api_retry(m: _Message) -> list[EngineEvent]:
    status, error = count_of(m.get("error_status")), text_of(m.get("error")) or None
    events: list[EngineEvent] = [Retry(count_of(m.get("attempt")) or 1, status, error), DropPartial()]
    if status == 429:
        delay = number_of(m.get("retry_delay_ms"))
        events.append(RateLimited(None if delay is None else delay / 1000, "the model API asks to wait"))
    return events


def _rate_limit_event(m: _Message) -> list[EngineEvent]:
    about = table_of(m.get("rate_limit_info"))
    if about.get("status") != "rejected":
        return []
    return [RateLimited(None, text_of(about.get("rateLimitType")) or "a limit of the account is reached")]


def _control_response(m: _Message) -> list[EngineEvent]:
    response = table_of(m.get("response"))
    request, ok = text_of(response.get("request_id")), response.get("subtype") == "success"
    data = table_of(response.get("response")) if ok else response
    plain = {name: value for name, value in data.items() if isinstance(value, str | int | float | bool)}
    tokens = count_of(data.get("totalTokens"))
    size = [] if tokens is None else [ContextSize(tokens, count_of(data.get("rawMaxTokens")))]
    return [*size, Answered(request, ok, plain)]


def _control_request(m: _Message) -> list[EngineEvent]:
    name, request = text_of(m.get("request_id")), table_of(m.get("request"))
    subtype = text_of(request.get("subtype"))
    if subtype == "can_use_tool":
        return [PermissionRequest(name, text_of(request.get("tool_name")), table_of(request.get("input")))]
    if subtype == "hook_callback":
        return [Demand(control_answer(name, {}))]
    refusal = {"subtype": "error", "request_id": name, "error": f"{subtype} is not supported"}
    return [Demand(json.dumps({"type": "control_response", "response": refusal}))]


def control_answer(request: str, response: Mapping[str, object]) -> str:
    """The line that answers a control request of the engine."""
    answer = {"subtype": "success", "request_id": request, "response": response}
    return json.dumps({"type": "control_response", "response": answer})
