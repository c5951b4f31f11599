"""Cutting an engine's output into lines: no byte lost, no byte twice, whatever the pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melipona.turns.lines import Lines, LineTooLong, well_formed


@given(st.binary(max_size=400), st.lists(st.integers(1, 40)), st.integers(0, 1 << 40))
def test_lines_and_offsets_do_not_depend_on_how_the_output_was_cut(data: bytes, cuts: list[int], start: int) -> None:
    whole = list(Lines(start).feed(data))
    pieces = Lines(start)
    found: list[tuple[bytes, int]] = []
    at = 0
    for size in [*cuts, len(data) or 1]:
        found += pieces.feed(data[at : at + size])
        at += size
    assert found == whole
    assert pieces.next_offset == start + len(data)
    assert b"".join(line + b"\n" for line, _ in found) == data[: pieces.offset - start]


def test_a_line_over_the_limit_is_refused() -> None:
    """D-15: the turn ends as `output limit`."""
    lines = Lines(0, limit=10)
    list(lines.feed(b"short\n"))
    with pytest.raises(LineTooLong):
        list(lines.feed(b"x" * 11))


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (rb'"plain \n text"', "plain \n text"),
        (rb'"\ud83d\ude00 whole"', "\U0001f600 whole"),
        (rb'"half \ud83d"', "half \ufffd"),
        (rb'"\uDE00 other half"', "\ufffd other half"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"a path C:\\ud83d"', "a path C:\\ud83d"),
        (rb'"\\\ud83d"', "\\\ufffd"),
    ],
)
def test_half_a_character_is_made_storable_and_nothing_else_is_changed(line: bytes, read: str) -> None:
    """T7: engines cut text inside a character, boxes write what they like; no file and no row can hold it."""
    assert json.loads(well_formed(line)) == read


@given(st.text(st.characters(), max_size=40))
def test_whatever_json_can_say_can_be_stored(text: str) -> None:
    read = json.loads(well_formed(json.dumps(text).encode()))
    read.encode()
    assert read == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") or "\ufffd" in read


@given(st.binary(max_size=60))
def test_any_line_passes(line: bytes) -> None:
    assert isinstance(well_formed(line), bytes)
