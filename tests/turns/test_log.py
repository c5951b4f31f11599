"""A turn's log: what a restarted daemon needs to go on (D-34)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from melipona.clock import ManualClock
from melipona.engines.engine import Result, TextDelta, ToolCall, ToolResult, Unknown, UsageClaim
from melipona.ids import TurnId
from melipona.turns.log import TurnLog, event_as_json, event_from_json, log_path, read_log

pytestmark = pytest.mark.anyio


def make(path: Path, limit: int = 0) -> TurnLog:
    return TurnLog(path, ManualClock(), limit_bytes=limit, on_growth=lambda: None)


async def test_events_come_back_as_they_were_with_the_offset_they_reach(tmp_path: Path) -> None:
    path = log_path(tmp_path, TurnId(1234))
    log = make(path)
    events = [ToolCall("c1", "Bash", {"command": "ls"}), Result("ok", "done", usage=UsageClaim(3, 4))]
    log.start(7, "p1")
    for number, event in enumerate(events):
        log.add(10 + number, event)
    log.close()
    lines = list(read_log(path))
    assert [(line.offset, line.event, line.program) for line in lines] == [
        (7, None, "p1"),
        (10, events[0], "p1"),
        (11, events[1], "p1"),
    ]


async def test_a_torn_last_line_is_cut_off_and_reading_goes_on_before_it(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    log = make(path)
    log.start(0, "p1")
    log.add(5, TextDelta("whole"))
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"offset": 9, "at": 1, "ev')
    assert [line.offset for line in read_log(path)] == [0, 5]
    assert path.read_bytes() == whole


async def test_text_is_written_within_the_flush_time_and_followers_hear_of_it(tmp_path: Path) -> None:
    grew = asyncio.Event()
    log = TurnLog(tmp_path / "1.jsonl", ManualClock(), limit_bytes=0, on_growth=grew.set)
    log.add(5, TextDelta("hello"))
    assert not grew.is_set()
    async with asyncio.timeout(5):
        await grew.wait()
    assert [line.event for line in read_log(tmp_path / "1.jsonl")] == [TextDelta("hello")]
    log.close()


async def test_past_its_limit_only_what_the_turn_needs_is_kept(tmp_path: Path) -> None:
    log = make(tmp_path / "1.jsonl", limit=2000)
    for number in range(200):
        log.add(number, TextDelta("x" * 50))
    log.add(300, Result("ok"))
    log.close()
    lines = list(read_log(tmp_path / "1.jsonl"))
    assert len(lines) < 50
    assert lines[-1].event == Result("ok")
    assert lines[-1].offset == 300


async def test_a_box_cannot_fill_the_hosts_disk_with_a_log(tmp_path: Path) -> None:
    """T6, D-26: past the limit calls lose their content, past twice the limit only the result is kept."""
    path = tmp_path / "1.jsonl"
    log = make(path, limit=10_000)
    for number in range(500):
        log.add(number, ToolCall(f"c{number}", "Bash", {"command": "x" * 1000}))
        log.add(number, ToolResult(f"c{number}", True, "y" * 1000))
    log.add(900, Result("ok", "z" * 100_000))
    log.close()
    assert path.stat().st_size < 25_000
    last = list(read_log(path))[-1]
    assert (last.offset, type(last.event)) == (900, Result)


async def test_what_cannot_be_written_down_is_told_without_its_content(tmp_path: Path) -> None:
    """T7: neither depth nor broken text of an engine's output fails the turn."""
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    log = make(tmp_path / "1.jsonl")
    log.add(1, ToolCall("c1", "Bash", deep))
    log.add(2, TextDelta("\ud800"))
    log.add(3, Result("ok"))
    log.close()
    lines = list(read_log(tmp_path / "1.jsonl"))
    assert [(line.offset, line.event) for line in lines] == [(1, None), (2, None), (3, Result("ok"))]


async def test_a_line_that_is_no_json_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    path.write_bytes(b'garbage\n{"offset": 3, "at": 1, "event": {"type": "text_delta", "text": "x"}}\n')
    assert [line.event for line in read_log(path)] == [TextDelta("x")]


def test_an_event_of_a_newer_version_is_kept_as_unknown() -> None:
    """LE-15: unknown values are kept as text."""
    event = event_from_json({"type": "telepathy", "text": "?"})
    assert isinstance(event, Unknown)
    assert "telepathy" in event.raw
    assert event_as_json(TextDelta("a"))["type"] == "text_delta"
