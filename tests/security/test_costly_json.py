"""What is costly to read is refused before it is read, so that no box stops the loop or takes the memory (T6, T7)."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melipona.engines.claude_decode import ClaudeDecoder
from melipona.engines.engine import Text, Unknown
from melipona.engines.playbook import PlaybookDecoder
from melipona.errors import Invalid
from melipona.gate.table import FieldRefused, check, load_table
from melipona.json_marks import too_intricate
from melipona.settings import ModelSettings
from melipona.turns.lines import well_formed

MIB = 1 << 20
QUICK = 4.0
"""Seconds of processor time: what is refused here took 6 to 15 s and up to 4 GiB when it was read."""

COSTLY = {
    "lists": b'{"type":"x","a":[' + b"[]," * (12 * MIB) + b"[]]}",
    "objects": b'{"type":"x","a":[' + b"{}," * (12 * MIB) + b"{}]}",
    "strings": b'{"type":"x","a":["' + b'","' * (12 * MIB) + b'"]}',
    "no JSON": b'""' * (16 * MIB) + b'"' + b"," * 300_000,
    "unended": b'"' + b'\\"' * (16 * MIB) + b"," * 300_000,
}
ESCAPES = {
    "backslashes": b'"' + b"\\\\" * (30 * MIB) + b'\\ud83d"',
    "half characters": b'"' + b"\\ud83d" * (10 * MIB) + b'"',
    "pairs": b'"' + b"\\ud83d\\ude00" * (5 * MIB) + b'"',
}


@pytest.mark.parametrize("what", COSTLY)
@pytest.mark.threat("T6", "T7")
def test_an_engines_line_of_very_many_parts_is_unknown_and_quickly_so(what: str) -> None:
    """T7: the line is kept as it is and means nothing."""
    for decoder in (ClaudeDecoder(), PlaybookDecoder()):
        began = time.process_time()
        (event,) = decoder.feed(COSTLY[what])
        assert time.process_time() - began < QUICK
        assert isinstance(event, Unknown)


@pytest.mark.parametrize("what", ESCAPES)
def test_a_line_of_very_many_escapes_is_made_storable_quickly(what: str) -> None:
    """T7: a run of 60 MiB of backslashes took 15 s and 4.5 GiB."""
    began = time.process_time()
    line = well_formed(ESCAPES[what])
    assert time.process_time() - began < QUICK
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode()
    except json.JSONDecodeError:
        pass


def test_long_text_is_no_costly_json() -> None:
    """A tool's result of 30 MiB of source text or a picture is read as ever."""
    text = 'if (a[0], {b: "c"}) { return [1, 2, 3]; }\n' * (MIB // 2)
    line = json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}).encode()
    (event,) = ClaudeDecoder().feed(line)
    assert event == Text(text)


@pytest.mark.parametrize("what", COSTLY)
def test_a_model_request_of_very_many_parts_is_refused_quickly(what: str) -> None:
    """T34: read, it would stop all agents for seconds and take a gigabyte, four at a time from each box."""
    table = load_table(ModelSettings())
    began = time.process_time()
    with pytest.raises(Invalid):
        check(table, table.routes["POST", "/v1/messages"], COSTLY[what])
    assert time.process_time() - began < QUICK


@pytest.mark.parametrize("odd", [[], {}, [[["x"]]], {"type": "text"}, 7, True], ids=repr)
def test_a_type_that_is_no_text_is_refused_like_any_other(odd: Any) -> None:
    """T12: it met a bug before, whose traceback a box could write into the log for ever."""
    table = load_table(ModelSettings())
    route = table.routes["POST", "/v1/messages"]
    plain = {"model": "claude-opus-4-5", "max_tokens": 1}
    block = {"type": "image", "source": {"type": odd}}
    for more in (
        {"messages": [{"role": "user", "content": [{"type": odd}]}]},
        {"messages": [{"role": "user", "content": [block]}]},
        {"messages": [], "tools": [{"name": "x", "type": odd}]},
        {"messages": [], "model": odd},
    ):
        with pytest.raises(FieldRefused):
            check(table, route, json.dumps({**plain, **more}).encode())


_json: Any = st.recursive(
    st.none() | st.integers() | st.text(), lambda c: st.lists(c, max_size=5) | st.dictionaries(st.text(), c, max_size=5)
)


@given(_json, st.integers(0, 40), st.booleans())
def test_marks_are_counted_outside_of_strings_only(value: Any, most: int, ascii_only: bool) -> None:
    """The count is the true one: of JSON with n parts exactly n are allowed."""

    def marks(part: Any) -> int:
        if isinstance(part, list):
            return 1 + max(0, len(part) - 1) + sum(map(marks, part))  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(part, dict):
            return 1 + max(0, len(part) - 1) + sum(map(marks, part.values()))  # pyright: ignore[reportUnknownArgumentType]
        return 0

    data = json.dumps(value, ensure_ascii=ascii_only).encode(errors="replace")
    assert too_intricate(data, most) == (marks(value) > most)


@given(st.text(alphabet='\\u"dD83fcae0x', max_size=40))
def test_what_is_well_formed_says_the_same_without_half_characters(text: str) -> None:
    """T7: valid JSON stays valid and only lone surrogates change."""
    line = b'"' + text.encode() + b'"'
    try:
        before = json.loads(line)
    except ValueError:
        return
    after = json.loads(well_formed(line))
    assert after == "".join("\ufffd" if 0xD800 <= ord(ch) <= 0xDFFF else ch for ch in before)
