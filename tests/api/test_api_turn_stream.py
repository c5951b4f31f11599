"""A turn's stream over HTTP (D-34)."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from melipona.client import Problem
from melipona.testing.served import ServedHive


def _line(text: str) -> str:
    return json.dumps({"offset": 1, "at": 2, "event": {"type": "text", "text": text}}) + "\n"


@pytest.fixture
def turn(hive: ServedHive) -> int:
    """A running turn of ana."""
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    return hive.open_turn("ana")


def _texts(pieces: list[tuple[str, str | None, Any]]) -> list[str]:
    return [data["event"]["text"] for name, _, data in pieces if name == "message"]


def test_a_stream_follows_a_turn_to_its_end(hive: ServedHive, turn: int) -> None:
    """What was there, what is added, whole lines only, then the end."""
    hive.grow(turn, _line("one") + _line("two")[:10])
    pieces: list[tuple[str, str | None, Any]] = []
    got = threading.Semaphore(0)

    def follow() -> None:
        for piece in hive.client.stream(f"/turns/t{turn}/stream"):
            pieces.append(piece)
            got.release()

    thread = threading.Thread(target=follow)
    thread.start()
    assert got.acquire(timeout=20)
    hive.grow(turn, _line("two")[10:])
    assert got.acquire(timeout=20)
    hive.grow(turn, _line("three"))
    hive.end_turn(turn)
    thread.join(20)
    assert not thread.is_alive()
    assert _texts(pieces) == ["one", "two", "three"]
    assert pieces[-1][0] == "end"


def test_a_stream_goes_on_after_a_position(hive: ServedHive, turn: int) -> None:
    """The id of each piece is where the next one begins, as parameter and as Last-Event-ID."""
    hive.grow(turn, "".join(_line(str(number)) for number in range(5)))
    hive.end_turn(turn)
    pieces = list(hive.client.stream(f"/turns/{turn}/stream"))
    assert _texts(pieces) == ["0", "1", "2", "3", "4"]
    assert pieces[0][2]["at"] == "1970-01-01T00:00:00.000002Z"
    third = pieces[2][1]
    assert _texts(list(hive.client.stream(f"/turns/{turn}/stream", after=third))) == ["3", "4"]
    assert _texts(list(hive.client.stream(f"/turns/{turn}/stream", last=third))) == ["3", "4"]


def test_without_following_a_running_turn_is_shown_as_it_is(hive: ServedHive, turn: int) -> None:
    """`mel log` without -f ends."""
    hive.grow(turn, _line("so far"))
    assert _texts(list(hive.client.stream(f"/turns/{turn}/stream", follow="false"))) == ["so far"]


def test_a_long_log_comes_whole(hive: ServedHive, turn: int) -> None:
    """Lines longer than a read, and many reads."""
    texts = ["x" * 700_000, *[f"{number}" * 50_000 for number in range(10)]]
    hive.grow(turn, "".join(map(_line, texts)))
    hive.end_turn(turn)
    assert _texts(list(hive.client.stream(f"/turns/{turn}/stream"))) == texts


def test_a_turn_without_a_log_and_one_that_does_not_exist(hive: ServedHive, turn: int) -> None:
    """Nothing to show is no error; no such turn is one."""
    hive.end_turn(turn)
    assert [piece[0] for piece in hive.client.stream(f"/turns/{turn}/stream")] == ["end"]
    with pytest.raises(Problem, match="no turn t99"):
        list(hive.client.stream("/turns/t99/stream"))
