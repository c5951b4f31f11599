"""Whatever a box sends, the daemon's parser gives valid data or `BoxProtocolError` (T8)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melipona.boxes.link import Exit, Gap, Output
from melipona.boxes.wire import FRAME_LIMIT, OUTSTANDING_LIMIT, Answer, BoxdParser, Delivery, Greeting, Message, frame
from melipona.errors import BoxProtocolError

HELLO = {"ev": "hello", "protocol": 1, "boxd": "1", "box": "b", "programs": []}
PROGRAM = {"id": "p", "pid": 7, "offset": 0, "next_seq": 1, "exit": None}


def _parser() -> BoxdParser:
    """One that has greeted, asked call 1 about program p, and follows as 2 from 100 to 200."""
    parser = BoxdParser()
    parser.feed(frame(HELLO))
    parser.asks(1, "p")
    parser.follows(2, 100, 200)
    return parser


def _deep(depth: int) -> bytes:
    return b'{"ev":"reply","re":1,"x":' + b"[" * depth + b"]" * depth + b"}"


def _framed(head: bytes, blob: bytes = b"") -> bytes:
    return len(head).to_bytes(4, "big") + len(blob).to_bytes(4, "big") + head + blob


VIOLATIONS: dict[str, bytes] = {
    "a frame over the limit": (FRAME_LIMIT).to_bytes(4, "big") + (1).to_bytes(4, "big"),
    "lengths of four gigabytes": b"\xff" * 8,
    "no JSON": _framed(b"hello"),
    "nothing": _framed(b""),
    "invalid UTF-8": _framed(b'{"ev":"reply","re":1,"error":"\xff"}'),
    "a list": _framed(b"[]"),
    "very deep JSON": _framed(_deep(100_000)),
    "an unknown event": frame({"ev": "boo"}),
    "no event": frame({"re": 1}),
    "a second hello": frame(HELLO),
    "an answer to nothing": frame({"ev": "reply", "re": 3}),
    "an answer to a number as text": frame({"ev": "reply", "re": "1"}),
    "an answer that repeats": frame({"ev": "reply", "re": 1}) * 2,
    "an answer with a blob": frame({"ev": "reply", "re": 1}, b"x"),
    "an answer about another program": frame({"ev": "reply", "re": 1, "program": {**PROGRAM, "id": "q"}}),
    "a negative offset": frame({"ev": "reply", "re": 1, "program": {**PROGRAM, "offset": -1}}),
    "an endless offset": frame({"ev": "reply", "re": 1, "program": {**PROGRAM, "offset": 1 << 70}}),
    "a pid of 0": frame({"ev": "reply", "re": 1, "program": {**PROGRAM, "pid": 0}}),
    "an exit of 4000": frame({"ev": "reply", "re": 1, "program": {**PROGRAM, "exit": 4000}}),
    "output for nobody": frame({"ev": "out", "fol": 9, "at": 100}, b"x"),
    "output before its offset": frame({"ev": "out", "fol": 2, "at": 99}, b"x"),
    "output after its offset": frame({"ev": "out", "fol": 2, "at": 101}, b"x"),
    "output twice": frame({"ev": "out", "fol": 2, "at": 100}, b"x") * 2,
    "empty output": frame({"ev": "out", "fol": 2, "at": 100}),
    "output beyond its credit": frame({"ev": "out", "fol": 2, "at": 100}, b"x" * 101),
    "a gap backwards": frame({"ev": "gap", "fol": 2, "at": 50}),
    "a gap to where it is": frame({"ev": "gap", "fol": 2, "at": 100}),
    "an exit elsewhere": frame({"ev": "exit", "fol": 2, "at": 101, "code": 0}),
    "an exit of no code": frame({"ev": "exit", "fol": 2, "at": 100, "code": None}),
    "too much error output": frame({"ev": "exit", "fol": 2, "at": 100, "code": 0}, b"x" * 70_000),
    "output after the exit": frame({"ev": "exit", "fol": 2, "at": 100, "code": 0})
    + frame({"ev": "out", "fol": 2, "at": 100}, b"x"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_each_breach_of_the_protocol_is_named(name: str) -> None:
    with pytest.raises(BoxProtocolError):
        _parser().feed(VIOLATIONS[name])


def test_nothing_is_heard_before_hello() -> None:
    with pytest.raises(BoxProtocolError, match="before its hello"):
        BoxdParser().feed(frame({"ev": "reply", "re": 1}))


def test_programs_of_one_name_in_a_hello_are_a_breach() -> None:
    with pytest.raises(BoxProtocolError):
        BoxdParser().feed(frame({**HELLO, "programs": [PROGRAM, PROGRAM]}))


def test_what_follows_the_hello_of_a_newer_protocol_is_not_read() -> None:
    """D-14: a newer box is let finish; we cannot know what its frames mean."""
    parser = BoxdParser()
    (greeting,) = parser.feed(frame({**HELLO, "protocol": 9, "news": [1]}) + b"\xff" * 100)
    assert isinstance(greeting, Greeting)
    assert greeting.newer
    assert parser.feed(b"\xff" * 1000) == []


def test_credit_moves_the_bound_and_output_goes_on() -> None:
    parser = _parser()
    parser.feed(frame({"ev": "out", "fol": 2, "at": 100}, b"x" * 100))
    parser.credits(2, 300)
    assert parser.feed(frame({"ev": "out", "fol": 2, "at": 200}, b"y" * 100)) == [Delivery(2, Output(200, b"y" * 100))]


def test_frames_for_a_muted_follower_are_dropped_and_still_checked() -> None:
    parser = _parser()
    parser.mute(2)
    assert parser.feed(frame({"ev": "out", "fol": 2, "at": 100}, b"x")) == []
    with pytest.raises(BoxProtocolError):
        parser.feed(frame({"ev": "out", "fol": 2, "at": 100}, b"x"))


def test_a_frame_too_long_for_boxd_is_never_sent() -> None:
    with pytest.raises(ValueError, match="too long"):
        frame({}, b"x" * FRAME_LIMIT)


def test_a_box_that_leaves_thousands_of_calls_unanswered_is_in_breach() -> None:
    parser = _parser()
    for number in range(10, 9 + OUTSTANDING_LIMIT):
        parser.asks(number)
    with pytest.raises(BoxProtocolError, match="unanswered"):
        parser.asks(9 + OUTSTANDING_LIMIT)


_numbers = st.one_of(st.integers(-3, 300), st.sampled_from([1, 2, 100, 200, 1 << 62, 1 << 63, -(1 << 70)]))
_values: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), _numbers, st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2)
)
_heads = st.fixed_dictionaries(
    {"ev": st.sampled_from(["hello", "reply", "out", "gap", "exit", "boo"])},
    optional={
        "re": _values,
        "fol": st.one_of(st.just(2), _values),
        "at": st.one_of(st.just(100), _values),
        "code": _values,
        "error": _values,
        "protocol": _values,
        "boxd": st.just("1"),
        "box": st.just("b"),
        "programs": st.one_of(_values, st.just([PROGRAM]), st.lists(_values, max_size=2)),
        "program": st.one_of(_values, st.just(PROGRAM), st.just({**PROGRAM, "offset": -4})),
    },
)


def _check(message: Message) -> None:
    if isinstance(message, Delivery):
        assert message.follower == 2
        assert 100 <= message.item.offset <= 1 << 62
        if isinstance(message.item, Output):
            assert 100 <= message.item.offset < message.item.offset + len(message.item.data) <= 200
        elif isinstance(message.item, Exit):
            assert -64 <= message.item.code <= 255
        else:
            assert isinstance(message.item, Gap)
    else:
        assert isinstance(message, Answer)
        assert message.number == 1


def _feed(parser: BoxdParser, data: bytes, cut: int) -> None:
    at = 100
    try:
        for part in (data[:cut], data[cut:]):
            for message in parser.feed(part):
                _check(message)
                if isinstance(message, Delivery):
                    assert message.item.offset >= at
                    at = message.item.offset
    except BoxProtocolError:
        pass


@given(st.lists(st.tuples(_heads, st.binary(max_size=120)), max_size=6), st.integers(0, 200))
@settings(max_examples=400, deadline=1000)
@pytest.mark.threat("T8")
def test_forged_frames_give_valid_data_or_a_protocol_error(frames: list[tuple[Any, bytes]], cut: int) -> None:
    """T8: within a second, whatever the frames hold."""
    data = b"".join(_framed(json.dumps(head).encode(), blob) for head, blob in frames)
    _feed(_parser(), data, min(cut, len(data)))


@given(st.binary(max_size=400), st.integers(0, 400))
@settings(max_examples=300, deadline=1000)
def test_noise_gives_nothing_or_a_protocol_error(data: bytes, cut: int) -> None:
    """T8: bytes of any kind, cut anywhere."""
    _feed(_parser(), data, cut)


@given(st.data())
@settings(max_examples=200, deadline=1000)
def test_a_conversation_with_one_byte_changed_gives_valid_data_or_a_protocol_error(data: st.DataObject) -> None:
    """T8: near misses go deeper than noise."""
    said = bytearray(
        frame({"ev": "reply", "re": 1, "program": PROGRAM})
        + frame({"ev": "out", "fol": 2, "at": 100}, b"x" * 20)
        + frame({"ev": "gap", "fol": 2, "at": 130})
        + frame({"ev": "exit", "fol": 2, "at": 130, "code": 1}, b"why")
    )
    said[data.draw(st.integers(0, len(said) - 1))] = data.draw(st.integers(0, 255))
    _feed(_parser(), bytes(said), data.draw(st.integers(0, len(said))))
