"""One live connection of boxd: calls matched with their answers, output handed to its followers under credit.

Reconnecting, deadlines and who may connect are `link_unix.py`'s; what a valid frame is, `wire.py`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from melipona.boxes.link import Exit, Gap, Hello, Output, ProgramInfo
from melipona.boxes.wire import PROTOCOL, Answer, BoxdParser, Delivery, Greeting, Message, frame
from melipona.errors import (
    BoxError,
    BoxLost,
    BoxProtocolError,
    Conflict,
    Invalid,
    LimitReached,
    MeliponaError,
    NotFound,
)
from melipona.ids import ProgramId

WINDOW = 1 << 20
"""Bytes of output that boxd may send one follower ahead of what it has taken."""

PIECE = 64 << 10
"""Waiting output is joined up to this: a box may send it byte by byte, and each piece costs a hundredfold (T8)."""

GAPS_MOST = 64
"""Gaps that may wait to be taken: a ring of 64 MiB that overflows leaves one or two in a window."""

UNSENT_LIMIT = 16 << 20
HELLO_WITHIN = 10.0

_FAILURES: dict[str, type[MeliponaError]] = {
    "no_program": NotFound,
    "no_offset": BoxProtocolError,
    "bad_request": Invalid,
    "sequence": Conflict,
    "no_terminal": Conflict,
    "input_full": LimitReached,
    "too_many": LimitReached,
    "stopping": BoxLost,
}


class Disconnected(Exception):
    """The connection went before the call was answered: it may or may not have been done."""


@dataclass(slots=True)
class _Piece:
    """Output that waits to be taken."""

    offset: int
    data: bytearray


class Feed:
    """The output of one program on this connection, as one reader takes it."""

    def __init__(self, connection: BoxdConnection, number: int, at: int) -> None:
        self._connection, self._number = connection, number
        self._taken = at
        self.credit = at + WINDOW
        self._items: deque[_Piece | Gap | Exit] = deque()
        self._gaps = 0
        self._ready = asyncio.Event()
        self._closed = False

    async def next(self) -> Output | Gap | Exit | None:
        """The next item; None when the connection is gone and everything that came was taken."""
        while not self._items:
            if self._closed:
                return None
            self._ready.clear()
            await self._ready.wait()
        first = self._items.popleft()
        self._gaps -= isinstance(first, Gap)
        item = Output(first.offset, bytes(first.data)) if isinstance(first, _Piece) else first
        self._taken = item.offset + (len(item.data) if isinstance(item, Output) else 0)
        if not self._closed and not isinstance(item, Exit) and self.credit - self._taken <= WINDOW // 2:
            self.credit = self._taken + WINDOW
            self._connection.give_credit(self._number, self.credit)
        return item

    def put(self, item: Output | Gap | Exit) -> None:
        """Keep an item until it is taken.

        Raises:
            BoxProtocolError: too many gaps wait.
        """
        last = self._items[-1] if self._items else None
        if isinstance(item, Output):
            if isinstance(last, _Piece) and len(last.data) + len(item.data) <= PIECE:
                last.data += item.data
            else:
                self._items.append(_Piece(item.offset, bytearray(item.data)))
        elif isinstance(item, Gap) and isinstance(last, Gap):
            self._items[-1] = item  # the later one says all
        else:
            self._gaps += isinstance(item, Gap)
            if self._gaps > GAPS_MOST:
                raise BoxProtocolError(f"boxd sent {self._gaps} gaps that nobody has taken yet")
            self._items.append(item)
        self._ready.set()

    def hang_up(self) -> None:
        """The connection is gone."""
        self._closed = True
        self._ready.set()

    def close(self) -> None:
        """Nobody takes from it any more."""
        if not self._closed:
            self._closed = True
            self._connection.unfollow(self._number)


class BoxdConnection(asyncio.Protocol):
    """An accepted socket of the box's init. The three callbacks tell its link of hello, end and violation."""

    def __init__(
        self,
        greeted: Callable[[BoxdConnection, Greeting], None],
        lost: Callable[[BoxdConnection], None],
        violated: Callable[[BoxProtocolError], None],
    ) -> None:
        self._greeted, self._lost, self._violated = greeted, lost, violated
        self._parser = BoxdParser()
        self._transport: asyncio.Transport | None = None
        self._greeting: Greeting | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._calls: dict[int, asyncio.Future[Answer]] = {}
        self._feeds: dict[int, Feed] = {}
        self._last = 0
        self._gone = False

    @property
    def hello(self) -> Hello:
        assert self._greeting is not None, "only a connection that has said hello is handed out"
        return self._greeting.hello

    @property
    def ports(self) -> tuple[int, ...]:
        return self._greeting.ports if self._greeting is not None else ()

    @property
    def newer(self) -> bool:
        return self._parser.newer

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._patience = asyncio.get_running_loop().call_later(HELLO_WITHIN, self._expire)

    def data_received(self, data: bytes) -> None:
        if self._gone:
            return
        try:
            for message in self._parser.feed(data):
                self._take(message)
        except BoxProtocolError as error:
            self.abort()
            self._violated(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hang_up()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()
        self._hang_up()

    def _expire(self) -> None:
        if self._greeting is None:
            self.abort()

    def _hang_up(self) -> None:
        if self._gone:
            return
        self._gone = True
        if self._patience is not None:
            self._patience.cancel()
        for call in self._calls.values():
            if not call.done():
                call.set_exception(Disconnected())
        self._calls.clear()
        for feed in self._feeds.values():
            feed.hang_up()
        self._feeds.clear()
        self._lost(self)

    def _take(self, message: Message) -> None:
        if isinstance(message, Greeting):
            self._greeting = message
            self.tell({"op": "welcome", "protocol": PROTOCOL})
            self._greeted(self, message)
        elif isinstance(message, Answer):
            call = self._calls.pop(message.number, None)
            if call is not None and not call.done():
                call.set_result(message)
        else:
            self._deliver(message)

    def _deliver(self, message: Delivery) -> None:
        feed = self._feeds.get(message.follower)
        if feed is not None:
            feed.put(message.item)
            if isinstance(message.item, Exit):
                del self._feeds[message.follower]
                feed.hang_up()

    # what the link asks

    def tell(self, head: dict[str, Any], blob: bytes = b"") -> None:
        """Send without waiting for an answer. A box that does not read loses its connection."""
        if self._gone or self._transport is None:
            return
        self._transport.write(frame(head, blob))
        if self._transport.get_write_buffer_size() > UNSENT_LIMIT:
            self.abort()

    async def call(self, head: dict[str, Any], blob: bytes = b"") -> ProgramInfo | None:
        """Send and wait for the answer.

        Raises:
            Disconnected: the connection went first.
            MeliponaError: boxd could not do it, translated.
        """
        if self._gone:
            raise Disconnected
        self._last += 1
        number = self._last
        try:
            framed = frame({**head, "n": number}, blob)
        except ValueError as error:
            raise Invalid(str(error), code="too_long") from None
        self._parser.asks(number, head.get("id"))
        answered = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            if self._transport is not None:
                self._transport.write(framed)
            answer = await answered
        finally:
            self._calls.pop(number, None)
        if answer.failure is not None:
            code, text = answer.failure
            raise _FAILURES.get(code, BoxError)(f"boxd could not {head['op']}: {text!r:.300}")
        return answer.program

    async def follow(self, program: ProgramId, at: int) -> Feed:
        """The output of `program` from `at`, or what is left of it (a gap tells)."""
        self._last += 1
        number = self._last
        feed = self._feeds[number] = Feed(self, number, at)
        self._parser.follows(number, at, feed.credit)
        try:
            await self.call({"op": "follow", "id": program, "fol": number, "at": at, "to": feed.credit})
        except BaseException:
            feed.close()
            raise
        return feed

    def give_credit(self, number: int, to: int) -> None:
        self._parser.credits(number, to)
        self.tell({"op": "credit", "fol": number, "to": to})

    def unfollow(self, number: int) -> None:
        self._feeds.pop(number, None)
        self._parser.mute(number)
        self.tell({"op": "unfollow", "fol": number})
