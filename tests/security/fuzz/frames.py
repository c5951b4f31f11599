"""The parser of boxd's frames (T8): whatever comes, valid data or `BoxProtocolError`, within a second.

What is valid is kept here a second time, by a model that knows only what the daemon asked for.
"""

from __future__ import annotations

from typing import Any

from melipona.boxes.link import Exit, Gap, Output
from melipona.boxes.wire import FRAME_LIMIT, Answer, BoxdParser, Delivery, Greeting, Message
from melipona.errors import BoxProtocolError

from .draw import Draw, as_json

PROGRAM = {"id": "p", "pid": 7, "offset": 0, "next_seq": 1, "exit": None}
HELLO = {"ev": "hello", "protocol": 1, "boxd": "1", "box": "b", "programs": [], "ports": [4141]}
HEADS: tuple[dict[str, Any], ...] = (
    HELLO,
    HELLO | {"protocol": 9},
    HELLO | {"programs": [PROGRAM]},
    {"ev": "reply", "re": 1},
    {"ev": "reply", "re": 1, "program": PROGRAM},
    {"ev": "reply", "re": 2, "code": "no_program", "error": "there is none"},
    {"ev": "out", "fol": 1, "at": 100},
    {"ev": "out", "fol": 2, "at": 0},
    {"ev": "gap", "fol": 1, "at": 150},
    {"ev": "exit", "fol": 1, "at": 100, "code": 0},
    {"ev": "boo"},
)
KEYS = ("ev", "re", "fol", "at", "code", "error", "protocol", "boxd", "box", "programs", "ports", "program", "x")


def framed(head: bytes, blob: bytes = b"") -> bytes:
    """A frame as boxd sends it."""
    return len(head).to_bytes(4, "big") + len(blob).to_bytes(4, "big") + head + blob


class Model:
    """What may come: calls that were asked, followers with their place and their bound."""

    def __init__(self) -> None:
        self.greeted = False
        self.asked: dict[int, str | None] = {}
        self.at: dict[int, int] = {}
        self.to: dict[int, int] = {}
        self.muted: set[int] = set()

    def check(self, message: Message) -> None:
        """Fail unless `message` could come."""
        if isinstance(message, Greeting):
            assert not self.greeted
            self.greeted = True
            assert message.newer == (message.hello.protocol > 1)
            for program in message.hello.programs:
                assert program.offset >= 0
                assert program.pid > 0
        elif isinstance(message, Answer):
            assert self.greeted
            asked = self.asked.pop(message.number)
            assert message.program is None or message.program.id == asked
        else:
            self._delivery(message)

    def _delivery(self, message: Delivery) -> None:
        number, item = message.follower, message.item
        assert self.greeted
        assert number not in self.muted
        if isinstance(item, Gap):
            assert item.offset > self.at[number]
            self.at[number] = item.offset
        elif isinstance(item, Output):
            assert item.data
            assert item.offset == self.at[number]
            self.at[number] += len(item.data)
            assert self.at[number] <= self.to[number]
        else:
            assert isinstance(item, Exit)
            assert item.offset == self.at.pop(number)
            assert -64 <= item.code <= 255
            assert len(item.stderr) <= 64 << 10


def target(data: bytes) -> None:
    """One conversation: the daemon's requests and a box's frames as the bytes of `data` choose them."""
    draw, parser, model = Draw(data), BoxdParser(), Model()
    if draw.byte() & 1:
        _feed(parser, model, framed(as_json(HELLO)), 1 << 20)
        _ask(parser, model, draw)
    if not draw.byte() & 3:
        _feed(parser, model, draw.rest(), 1 + draw.some(64))
        return
    while draw:
        if draw.byte() & 3 == 0:
            _ask(parser, model, draw)
        elif not _feed(parser, model, _frame(draw), 1 + draw.byte()):
            return


def _ask(parser: BoxdParser, model: Model, draw: Draw) -> None:
    kind, number = draw.some(3), 1 + draw.some(3)
    if kind == 0 and len(model.asked) < 4000:
        program = draw.pick(("p", None, "q"))
        parser.asks(number, program)
        model.asked[number] = program
    elif kind == 1:
        at = draw.pick((0, 100, 1 << 61))
        parser.follows(number, at, at + draw.pick((100, 0, 1 << 20)))
        model.at[number], model.to[number] = at, parser._followers[number].to  # pyright: ignore[reportPrivateUsage]
        model.muted.discard(number)
    elif kind == 2 and number in model.at:
        model.to[number] += draw.byte()
        parser.credits(number, model.to[number])
    elif kind == 3 and number in model.at:
        parser.mute(number)
        model.muted.add(number)


def _frame(draw: Draw) -> bytes:
    head = dict(draw.pick(HEADS))
    for _ in range(draw.some(2)):
        key = draw.pick(KEYS)
        if draw.byte() & 1:
            head[key] = draw.value()
        else:
            head.pop(key, None)
    whole = framed(as_json(head), draw.take(draw.some(120)))
    if draw.byte() & 7:
        return whole
    at = draw.byte() % len(whole)  # a near miss
    return whole[:at] + bytes([draw.byte()]) + whole[at + draw.some(1) :]


def _feed(parser: BoxdParser, model: Model, data: bytes, size: int) -> bool:
    """Whether the connection goes on."""
    for at in range(0, len(data), size):
        try:
            messages = parser.feed(data[at : at + size])
        except BoxProtocolError:
            return False
        for message in messages:
            model.check(message)
        assert len(parser._buffer) <= FRAME_LIMIT + 8 + size  # pyright: ignore[reportPrivateUsage]
        _follow_muted(parser, model)
    return True


def _follow_muted(parser: BoxdParser, model: Model) -> None:
    """What is dropped for a muted follower moves its place all the same."""
    for number in tuple(model.muted):
        follower = parser._followers.get(number)  # pyright: ignore[reportPrivateUsage]
        if follower is None:
            model.muted.discard(number)
            model.at.pop(number, None)
        else:
            model.at[number] = follower.at


def seeds() -> list[bytes]:
    """Where mutation begins: an honest conversation, each head, noise."""
    honest = framed(as_json(HELLO)) + framed(as_json({"ev": "reply", "re": 1, "program": PROGRAM}))
    honest += framed(as_json({"ev": "out", "fol": 1, "at": 100}), b"some output\n")
    raw = [b"\x00\x00" + honest, b"\x01\x00\x00\x00" + honest, b"\x01\x01\x00\x00" + honest]
    raw += [b"\x00\x00" + framed(as_json(head)) for head in HEADS]
    chosen = [bytes([1, 1, 0, 1, 1, 1, n, 0, 5]) + bytes(range(n, n + 40)) for n in range(len(HEADS))]
    return [*raw, *chosen, b"\x00\x00" + b"\xff" * 16, b"\x01\x04" + bytes(range(200))]
