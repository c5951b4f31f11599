"""Reading what the upstream counts, from whole answers and from streams in any pieces (T33)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from melipona.budgets.model import Usage
from melipona.gate import usage as module
from melipona.gate.usage import StreamUsage, body_usage

STARTED = {
    "input_tokens": 10,
    "output_tokens": 1,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
}


def event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


STREAM = (
    event("message_start", message={"usage": STARTED})
    + event("ping")
    + event("content_block_delta", delta={"type": "text_delta", "text": 'data: {"type":"message_delta"}'})
    + event("message_delta", usage={"output_tokens": 5})
    + event("message_delta", usage={"output_tokens": 77})
    + event("message_stop")
)


@pytest.mark.parametrize("size", [1, 5, 64, 100_000])
def test_a_stream_is_counted_whatever_its_pieces(size: int) -> None:
    """T33: the newest words of the upstream hold; what the model writes is not read as an event."""
    stream = StreamUsage()
    for at in range(0, len(STREAM), size):
        stream.feed(STREAM[at : at + size])
    assert stream.usage == Usage(10, 77, 20, 10, 20)
    assert stream.final
    assert stream.stopped


def test_a_stream_without_its_end_is_not_final() -> None:
    """D-30: what was begun is known, what was written is not."""
    stream = StreamUsage()
    stream.feed(STREAM[: STREAM.index(b"event: message_delta")])
    assert stream.usage == Usage(10, 1, 20, 10, 20)
    assert not stream.final


def test_an_error_in_a_stream_ends_it_without_being_final() -> None:
    """D-30: the API's own error event in mid-stream."""
    stream = StreamUsage()
    stream.feed(event("error", error={"type": "overloaded_error"}))
    assert (stream.stopped, stream.final, stream.usage) == (True, False, None)


@pytest.mark.parametrize(
    "line",
    [
        b"data: message_delta",
        b'data: ["message_delta"]',
        b'data: {"type":"message_delta","usage":[]}',
        b'data: {"type":"message_start","message":"x"}',
        b'data: {"type":"message_delta","usage":{"output_tokens":-5}}',
        b'data: {"type":"message_delta","usage":{"output_tokens":"9","input_tokens":true}}',
        b'data: {"type":"message_delta","usage":{"output_tokens":1e99}}',
    ],
)
def test_nonsense_counts_nothing_and_breaks_nothing(line: bytes) -> None:
    """T33."""
    stream = StreamUsage()
    stream.feed(line + b"\n\n")
    assert stream.usage in (None, Usage())


def test_an_endless_line_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """T34: and the lines after it are read again."""
    monkeypatch.setattr(module, "LINE_MOST", 1000)
    stream = StreamUsage()
    for _ in range(10):
        stream.feed(b"x" * 500)
    stream.feed(b"\n" + STREAM)
    assert stream.usage == Usage(10, 77, 20, 10, 20)


def test_a_whole_answer_is_counted() -> None:
    """T33."""
    assert body_usage(json.dumps({"usage": STARTED}).encode()) == Usage(10, 1, 20, 10, 20)
    for body in (b"", b"{", b"[]", b"{}", b'{"usage":1}'):
        assert body_usage(body) is None


def test_nothing_heavy_is_imported_on_the_way_to_ready() -> None:
    """Rule 22: `mcp`, `httpx2` and `jsonschema` come with the first request that needs them."""
    code = (
        "import sys, melipona.gate.listener as l; print([m for m in ('mcp','httpx2','jsonschema') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
