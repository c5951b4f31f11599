"""What one turn's engine may make the daemon store has bounds, whatever it writes (T6, T7)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from melipona.clock import ManualClock
from melipona.engines.claude import ClaudeEngineDriver
from melipona.engines.engine import SessionStarted, ToolCall
from melipona.turns.listener import ANSWERS_MOST, SESSIONS_MOST, TurnListener

pytestmark = pytest.mark.anyio


def listener(tmp_path: Path) -> tuple[TurnListener, list[Any], list[str]]:
    """A listener over a seat that only notes what is to be stored: sessions, and lines for the engine."""
    stored: list[Any] = []
    lines: list[str] = []

    async def write(_op: object, *args: Any) -> None:
        stored.append(args[-1])

    async def put(line: str) -> None:
        lines.append(line)

    turns = SimpleNamespace(log_bytes=1 << 20)
    parts = SimpleNamespace(
        clock=ManualClock(),
        turns_folder=tmp_path / "turns",
        settings=SimpleNamespace(turns=turns),
        store=SimpleNamespace(write_when_possible=write),
        grew=lambda _: None,
    )
    agent = SimpleNamespace(id="a1", session="first")
    seat = SimpleNamespace(p=parts, agent=agent, program="p1", offset=0, put=put, driver=ClaudeEngineDriver(environ={}))
    return TurnListener(cast("Any", SimpleNamespace(id=7, agent="ana")), cast("Any", seat)), stored, lines


async def hear(heard: TurnListener, line: dict[str, Any]) -> None:
    for event in heard.seat.driver.decoder().feed(json.dumps(line).encode()):
        await heard._take(1, event)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.threat("T6")
async def test_demands_of_one_turn_are_answered_up_to_a_number_and_a_length(tmp_path: Path) -> None:
    """T6: each answer is a row until the turn ends; a box could have filled the database with its own ids."""
    heard, _, lines = listener(tmp_path)
    await heard.open(adopted=False)
    await hear(heard, {"type": "control_request", "request_id": "x" * 100_000, "request": {"subtype": "odd"}})
    assert lines == []
    for number in range(ANSWERS_MOST + 50):
        kind = "can_use_tool" if number % 2 else "odd"
        await hear(heard, {"type": "control_request", "request_id": f"r{number}", "request": {"subtype": kind}})
    assert len(lines) == ANSWERS_MOST
    heard.close()


async def test_sessions_of_one_turn_are_remembered_up_to_a_number(tmp_path: Path) -> None:
    """T6: each is a transaction; the same one again is none."""
    heard, stored, _ = listener(tmp_path)
    await heard.open(adopted=False)
    for session in ("first", "second", "second", "x" * 10_000, *(f"s{n}" for n in range(1000))):
        await hear(heard, {"type": "system", "subtype": "init", "session_id": session})
    assert stored[:2] == ["second", "s0"]
    assert len(stored) == SESSIONS_MOST
    heard.close()


async def test_an_adopted_log_gives_progress_and_the_place_to_read_on_from(tmp_path: Path) -> None:
    """D-16: read a line at a time: a box decides how long the log is."""
    heard, _, _ = listener(tmp_path)
    await heard.open(adopted=False)
    for number in range(100):
        heard.log.add(number, ToolCall(f"c{number}", "Bash", {}))
    heard.log.add(4711, SessionStarted("s"))
    heard.close()
    again, _, _ = listener(tmp_path)
    await again.open(adopted=True)
    assert (again.offset, again.progress.tools["Bash"], len(again.progress.in_flight)) == (4711, 100, 100)
    again.close()
