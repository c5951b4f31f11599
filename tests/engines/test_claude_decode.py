"""The decoder of the claude engine against recorded lines of the real command line, and against lines made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from melipona.engines.claude_decode import ClaudeDecoder
from melipona.engines.engine import (
    Answered,
    Compaction,
    ContextSize,
    Demand,
    DropPartial,
    EngineEvent,
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
)

RECORDED = Path(__file__).parent / "recorded"


def decoded(name: str) -> list[EngineEvent]:
    """Events of a recorded file (`record.py` makes them)."""
    decoder = ClaudeDecoder()
    return [event for line in (RECORDED / f"{name}.jsonl").read_bytes().splitlines() for event in decoder.feed(line)]


def story(name: str) -> list[str]:
    """The events in a word each, text deltas left out."""
    return [word for event in decoded(name) if (word := _word(event))]


def _word(event: EngineEvent) -> str:
    match event:
        case TextDelta() | ContextSize():
            return ""
        case Text():
            return f"text {event.text}"
        case ToolCall():
            return f"call {event.name}"
        case ToolResult():
            return f"result {'ok' if event.ok else 'failed'}"
        case Answered():
            return f"answered {event.request} {'ok' if event.ok else 'failed'}"
        case Retry():
            return f"retry {event.attempt} {event.status}"
        case Result():
            return f"end {event.outcome}"
        case _:
            return type(event).__name__


def read(**message: object) -> list[EngineEvent]:
    """Events of one made-up line."""
    return list(ClaudeDecoder().feed(json.dumps(message).encode()))


BEGIN = ["answered initialize ok", "SessionStarted"]


def test_a_good_turn() -> None:
    assert story("good_turn") == [
        *BEGIN,
        "call mcp__melipona__send",
        "result ok",
        "call Bash",
        "result failed",
        "text all done",
        "end ok",
    ]


def test_partial_text_of_a_broken_stream_is_dropped() -> None:
    assert story("broken_stream") == [*BEGIN, "retry 1 None", "DropPartial", "text whole", "end ok"]


def test_a_rate_limit_is_an_event_and_an_outcome() -> None:
    """LE-2."""
    retried = ["retry 1 429", "DropPartial", "RateLimited", "text on", "end ok"]
    assert story("rate_limit") == [*BEGIN, *retried, "SessionStarted", "RateLimited", "end rate_limited"]


@pytest.mark.parametrize(
    ("name", "status", "outcome"), [("login", 401, "login_expired"), ("overloaded", 529, "upstream")]
)
def test_a_refusal_that_lasts_ends_the_turn_with_its_outcome(name: str, status: int, outcome: str) -> None:
    retries = [word for n in range(1, 6) for word in (f"retry {n} {status}", "DropPartial")]
    assert story(name) == [*BEGIN, *retries, f"end {outcome}"]


def test_a_prompt_that_is_too_long_is_told_by_the_terminal_reason() -> None:
    assert story("too_long") == [*BEGIN, "end too_long"]


def test_interrupts_are_answered_and_end_their_turns() -> None:
    assert story("interrupted") == [
        *BEGIN,
        "answered stop-1 ok",
        "text tick tick ",
        "end interrupted",
        "SessionStarted",
        "call Bash",
        "answered stop-2 ok",
        "result failed",
        "end interrupted",
    ]


def test_model_context_and_compaction() -> None:
    assert story("controls") == [
        *BEGIN,
        "text one",
        "end ok",
        "answered model-1 ok",
        "answered context-1 ok",
        "SessionStarted",
        "text two",
        "end ok",
        "SessionStarted",
        "Compaction",
        "end ok",
    ]
    sessions = [event.model for event in decoded("controls") if isinstance(event, SessionStarted)]
    assert sessions[1:] == ["claude-haiku-4-5"] * 2
    (compaction,) = [event for event in decoded("controls") if isinstance(event, Compaction)]
    assert compaction.before_tokens


def test_a_session_that_does_not_exist() -> None:
    """D-26."""
    assert story("no_session") == ["end no_session"]


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_no_recorded_line_is_unknown(path: Path) -> None:
    assert [event for event in decoded(path.stem) if isinstance(event, Unknown)] == []


def test_what_the_model_writes_decides_nothing() -> None:
    """LE-2: words about limits, logins and sessions in a text are words."""
    words = "No conversation found with session ID: x. rate_limit_error 429 Prompt is too long. Failed to authenticate."
    message = {"role": "assistant", "content": [{"type": "text", "text": words}]}
    assert read(type="assistant", message=message) == [Text(words)]
    (good,) = read(type="result", subtype="success", is_error=False, num_turns=1, result=words, errors=[words])
    assert isinstance(good, Result)
    assert good.outcome == "ok"
    (failed,) = read(type="result", subtype="error_during_execution", is_error=True, num_turns=3, errors=[words])
    assert isinstance(failed, Result)
    assert failed.outcome == "failed"


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        ({"subtype": "success", "is_error": True}, "failed"),
        ({"subtype": "success"}, "failed"),
        ({"subtype": "error_max_turns", "is_error": False}, "failed"),
        ({"terminal_reason": "api_error"}, "upstream"),
        ({"terminal_reason": "api_error", "api_error_status": 500}, "upstream"),
        ({"terminal_reason": "api_error", "api_error_status": 400}, "failed"),
        ({"terminal_reason": "aborted_by_the_future"}, "interrupted"),
        ({"api_error_status": "429"}, "failed"),
        ({}, "failed"),
    ],
)
def test_only_success_without_error_is_good(result: dict[str, object], outcome: str) -> None:
    """D-17."""
    (event,) = read(type="result", **result)
    assert isinstance(event, Result)
    assert event.outcome == outcome


def test_requests_of_the_engine_get_an_answer_or_a_refusal() -> None:
    asked = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "ls"}}
    assert read(type="control_request", request_id="r", request=asked) == [
        PermissionRequest("r", "Bash", {"command": "ls"})
    ]
    for subtype, answer in (("hook_callback", "success"), ("mcp_message", "error"), ("from the future", "error")):
        (demand,) = read(type="control_request", request_id="r", request={"subtype": subtype})
        assert isinstance(demand, Demand)
        assert json.loads(demand.line)["response"]["subtype"] == answer
    assert read(type="control_cancel_request", request_id="r") == []


def test_subagents_text_is_not_streamed_and_their_prompt_is_not_the_context() -> None:
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}
    assert read(type="stream_event", event=delta, parent_tool_use_id="toolu_1") == []
    assert read(type="stream_event", event=delta, parent_tool_use_id=None) == [TextDelta("x")]
    message = {"content": [], "usage": {"input_tokens": 5}}
    assert read(type="assistant", message=message, parent_tool_use_id="toolu_1") == []
    assert read(type="assistant", message=message) == [ContextSize(5)]


def test_an_account_limit_is_told_only_when_it_refuses() -> None:
    assert read(type="rate_limit_event", rate_limit_info={"status": "allowed_warning"}) == []
    (limit,) = read(type="rate_limit_event", rate_limit_info={"status": "rejected", "rateLimitType": "five_hour"})
    assert limit == RateLimited(None, "five_hour")


def test_a_retry_drops_what_was_written_so_far() -> None:
    retry = read(type="system", subtype="api_retry", attempt=2, error_status=None, error="unknown")
    assert retry == [Retry(2, None, "unknown"), DropPartial()]


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b"7", b'"text"', b"{}", b'{"type": []}', b'{"type": "new"}', b"\xff"]
)
def test_what_is_not_known_is_kept(line: bytes) -> None:
    """LE-15."""
    assert ClaudeDecoder().feed(line) == [Unknown(line.decode(errors="replace"))]


def test_new_kinds_of_system_and_stream_events_are_kept() -> None:
    assert isinstance(read(type="system", subtype="task_notification")[0], Unknown)
    assert isinstance(read(type="stream_event", event={"type": "new"})[0], Unknown)
