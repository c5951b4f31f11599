"""What boxd says on its control socket, parsed without any input or output: bytes in, checked messages out (D-14).

Everything here may be forged by the agent (T8). A frame that is too long, a head that is no such message, an answer to
nothing, an offset that does not follow the last one or output beyond what was asked for raises `BoxProtocolError`, and
nothing is kept of it. The frames themselves are described in `inside/boxd.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from melipona.boxes.link import Exit, Gap, Hello, Output, ProgramInfo
from melipona.errors import BoxProtocolError
from melipona.ids import ProgramId

PROTOCOL = 1
"""The protocol this daemon speaks. It serves its own and all older ones."""

FRAME_LIMIT = 1 << 20
STDERR_LIMIT = 64 << 10
OUTSTANDING_LIMIT = 4096

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
_Pid = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
_Code = Annotated[int, msgspec.Meta(ge=-64, le=255)]
_Short = Annotated[str, msgspec.Meta(max_length=200)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Program(msgspec.Struct):
    id: _Id
    pid: _Pid
    offset: _Count
    next_seq: Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]
    exit: _Code | None

    def info(self) -> ProgramInfo:
        return ProgramInfo(ProgramId(self.id), self.pid, self.offset, self.next_seq, self.exit)


class _Hello(msgspec.Struct, tag_field="ev", tag="hello"):
    protocol: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]
    boxd: _Short
    box: _Short
    programs: Annotated[list[_Program], msgspec.Meta(max_length=1024)]
    ports: Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=65535)]], msgspec.Meta(max_length=8)] = []


class _Reply(msgspec.Struct, tag_field="ev", tag="reply"):
    re: _Count
    program: _Program | None = None
    code: _Short | None = None
    error: str | None = None


class _Out(msgspec.Struct, tag_field="ev", tag="out"):
    fol: _Count
    at: _Count


class _Gap(msgspec.Struct, tag_field="ev", tag="gap"):
    fol: _Count
    at: _Count


class _Exit(msgspec.Struct, tag_field="ev", tag="exit"):
    fol: _Count
    at: _Count
    code: _Code


_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = msgspec.json.Decoder(_Hello | _Reply | _Out | _Gap | _Exit).decode


@dataclass(frozen=True, slots=True)
class Greeting:
    """boxd's hello. `newer` means that it speaks a protocol we do not know: nothing after it is read."""

    hello: Hello
    ports: tuple[int, ...]
    newer: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to call `number`; `failure` is boxd's (code, text) when it could not do it."""

    number: int
    program: ProgramInfo | None
    failure: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """Output for one follower."""

    follower: int
    item: Output | Gap | Exit


Message = Greeting | Answer | Delivery


@dataclass(slots=True)
class _Follower:
    at: int  # where the next output must begin
    to: int  # what boxd may send at most
    muted: bool = False  # nobody listens any more, but frames may be on their way


@dataclass(slots=True)
class BoxdParser:
    """One connection of boxd. Tell it what was asked (`asks`, `follows`, `credits`) and `feed` it what comes."""

    newer: bool = False
    _greeted: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _asked: dict[int, str | None] = field(default_factory=dict[int, str | None])
    _followers: dict[int, _Follower] = field(default_factory=dict[int, _Follower])

    def asks(self, number: int, program: str | None = None) -> None:
        """Call `number` is being sent; its answer, if it describes a program, describes this one."""
        if len(self._asked) >= OUTSTANDING_LIMIT:
            raise BoxProtocolError(f"boxd has left {OUTSTANDING_LIMIT} calls unanswered")
        self._asked[number] = program

    def follows(self, follower: int, at: int, to: int) -> None:
        """Output is being asked for, from `at` and not beyond `to`."""
        self._followers[follower] = _Follower(at, to)

    def credits(self, follower: int, to: int) -> None:
        """The follower may be sent more, up to `to`."""
        if follower in self._followers:
            self._followers[follower].to = to

    def mute(self, follower: int) -> None:
        """Nobody listens to the follower any more: what still comes for it is dropped."""
        if follower in self._followers:
            self._followers[follower].muted = True

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with `data`.

        Raises:
            BoxProtocolError: this is not the protocol; the parser is of no further use.
        """
        messages: list[Message] = []
        if self.newer:
            return messages
        self._buffer += data
        while (frame := self._next_frame()) is not None:
            message = self._message(*frame)
            if message is not None:
                messages.append(message)
            if self.newer:
                self._buffer.clear()
        return messages

    def _next_frame(self) -> tuple[bytes, bytes] | None:
        if len(self._buffer) < 8:
            return None
        head = int.from_bytes(self._buffer[:4])
        end = 8 + head + int.from_bytes(self._buffer[4:8])
        if end - 8 > FRAME_LIMIT:
            raise BoxProtocolError(f"boxd announced a frame of {end - 8} bytes")
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[8 : 8 + head]), bytes(self._buffer[8 + head : end])
        del self._buffer[:end]
        return frame

    def _message(self, text: bytes, blob: bytes) -> Message | None:
        try:
            head = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BoxProtocolError(f"boxd sent a head that is no message: {error}") from None
        if isinstance(head, _Hello):
            return self._greeting(head, blob)
        if not self._greeted:
            raise BoxProtocolError("boxd spoke before its hello")
        if isinstance(head, _Reply):
            return self._answer(head, blob)
        return self._delivery(head, blob)

    def _greeting(self, head: _Hello, blob: bytes) -> Greeting:
        ids = [program.id for program in head.programs]
        if self._greeted or blob or len(set(ids)) != len(ids):
            raise BoxProtocolError("boxd sent a hello that is none, or a second one")
        self._greeted, self.newer = True, head.protocol > PROTOCOL
        hello = Hello(head.protocol, head.boxd, head.box, [program.info() for program in head.programs])
        return Greeting(hello, tuple(head.ports), self.newer)

    def _answer(self, head: _Reply, blob: bytes) -> Answer:
        if head.re not in self._asked or blob:
            raise BoxProtocolError(f"boxd answered call {head.re}, which was not asked")
        asked = self._asked.pop(head.re)
        if head.program is not None and head.program.id != asked:
            raise BoxProtocolError(f"boxd answered with program {head.program.id!r} instead of {asked!r}")
        failure = (head.code or "failed", (head.error or "")[:500]) if (head.error or head.code) is not None else None
        return Answer(head.re, head.program.info() if head.program else None, failure)

    def _delivery(self, head: _Out | _Gap | _Exit, blob: bytes) -> Delivery | None:
        follower = self._followers.get(head.fol)
        if follower is None:
            raise BoxProtocolError(f"boxd sent output for {head.fol}, which nobody follows")
        item = _item(head, blob, follower)
        if isinstance(item, Exit):
            del self._followers[head.fol]
        else:
            follower.at = item.offset + len(blob)
        return None if follower.muted else Delivery(head.fol, item)


def _item(head: _Out | _Gap | _Exit, blob: bytes, follower: _Follower) -> Output | Gap | Exit:
    """The checked item: offsets follow each other, and nothing comes that was not asked for."""
    if isinstance(head, _Gap):
        if head.at <= follower.at or blob:
            raise BoxProtocolError(f"boxd sent a gap to {head.at}, but {follower.at} is next")
        return Gap(head.at)
    if head.at != follower.at:
        raise BoxProtocolError(f"boxd sent output at {head.at}, but {follower.at} is next")
    if isinstance(head, _Exit):
        if len(blob) > STDERR_LIMIT:
            raise BoxProtocolError(f"boxd sent {len(blob)} bytes of error output")
        return Exit(head.code, head.at, blob)
    if not blob or head.at + len(blob) > follower.to:
        raise BoxProtocolError(f"boxd sent {len(blob)} bytes at {head.at}, but may send up to {follower.to}")
    return Output(head.at, blob)


def frame(head: dict[str, Any], blob: bytes = b"") -> bytes:
    """A frame for boxd.

    Raises:
        ValueError: it would be longer than a frame may be.
    """
    text = _encode(head).encode()
    if len(text) + len(blob) > FRAME_LIMIT:
        raise ValueError(f"a frame of {len(text) + len(blob)} bytes is too long for boxd")
    return len(text).to_bytes(4) + len(blob).to_bytes(4) + text + blob
