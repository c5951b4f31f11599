"""A turn's stream: its log file from any byte on, then what is appended, until the turn ends (D-34).

The id of each piece is the position in the log after it, so a client that comes again misses nothing and reads nothing
twice. Whole lines only: a torn last line belongs to nobody yet.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from melipona.api.guard import Send
from melipona.api.live import Broadcaster, Client
from melipona.api.services import Services, Turns
from melipona.api.sse import HELLO, Stream, write
from melipona.clock import rfc3339
from melipona.ids import TurnId
from melipona.store.engine import Event
from melipona.turns.log import log_path as usual_path
from melipona.views.request import Number, room_router, turn_number
from melipona.views.turns import log_path, one_turn

BEAT_SECONDS = 15.0
"""A comment after this long without anything, so that a dead connection is noticed."""
CHUNK = 256 << 10
_AT = re.compile(rb'^(\{"offset":\s?\d+,\s?"at":\s?)(\d+)')
"""The time at the head of a line, in microseconds; outside it is RFC 3339 like every other (D-38)."""


class TurnStream(Stream):
    """The log of one turn from byte `after` on; with `follow` until the turn ends."""

    def __init__(
        self, broadcaster: Broadcaster, turns: Turns, turn: int, path: Path, after: int, *, follow: bool
    ) -> None:
        super().__init__(broadcaster, deaf=True)
        self._turns, self._turn, self._path, self._position, self._live = turns, turn, path, after, follow

    async def pump(self, client: Client, send: Send) -> None:
        over = asyncio.Event()

        def look(events: Sequence[Event]) -> None:
            if any(event.kind == "turn.ended" and event.subject == f"t{self._turn}" for event in events):
                over.set()

        end = self.broadcaster.store.subscribe(look)
        self.broadcaster.add(client)  # it closes with its session
        try:
            await self.broadcaster.check(client)
            await write(send, HELLO)
            if not self._live or (await self.broadcaster.store.read(one_turn, self._turn))["state"] == "ended":
                over.set()
            await self._follow(over, send)
            await write(send, b"event: end\ndata: {}\n\n")
        finally:
            end()

    async def _follow(self, over: asyncio.Event, send: Send) -> None:
        """Send what there is, until the turn is over and everything was sent."""
        while True:
            last_look = over.is_set()
            async with _both(self._turns.log_grew(self._turn, BEAT_SECONDS), over.wait()) as news:
                # Listening begins before the look, so that growth in between is not missed.
                pieces, self._position = await asyncio.to_thread(_pieces, self._path, self._position)
                if not pieces and not last_look:
                    await asyncio.wait(news, return_when=asyncio.FIRST_COMPLETED)
                    quiet = not over.is_set() and not any(task.done() and task.result() for task in news)
                    pieces = b":\n\n" if quiet else b""
                elif not pieces:
                    return
            if pieces:
                await write(send, pieces)


@asynccontextmanager
async def _both(*waits: Coroutine[Any, Any, bool]) -> AsyncGenerator[list[asyncio.Task[bool]]]:
    """Tasks that wait for different things, ended with the block."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.sleep(0)  # each has begun to listen
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _pieces(path: Path, position: int) -> tuple[bytes, int]:
    """Whole lines of the log from `position` on, in the form of the stream, and the position after them."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return b"", position
    try:
        size = os.fstat(descriptor).st_size
        position = min(position, size)
        data = bytearray(os.pread(descriptor, CHUNK, position))
        while b"\n" not in data and position + len(data) < size:
            data += os.pread(descriptor, CHUNK, position + len(data))
    finally:
        os.close(descriptor)
    pieces: list[bytes] = []
    for line in data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]:
        position += len(line) + 1
        pieces.append(b"id: %d\ndata: %s\n\n" % (position, _AT.sub(_as_time, line, count=1)))
    return b"".join(pieces), position


def _as_time(found: re.Match[bytes]) -> bytes:
    return b'%s"%s"' % (found[1], rfc3339(int(found[2])).encode())


def turn_stream_routes(services: Services, broadcaster: Broadcaster) -> APIRouter:
    """The stream of a turn."""
    router = room_router("turns")

    @router.get(
        "/turns/{turn}/stream",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def stream(
        turn: str,
        after: Annotated[Number, Query(description="The id of the last piece that was received.")] = 0,
        follow: Annotated[bool, Query(description="False: what there is by now.")] = True,
        last_event: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    ) -> Any:
        """What the turn says and does, from its beginning or from `after` on, until it ends."""
        number = turn_number(turn)
        known = await services.store.read(log_path, number)
        path = services.data / known if known else usual_path(services.data / "turns", TurnId(number))
        given = last_event or ""
        start = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else after
        return TurnStream(broadcaster, services.turns, number, path, start, follow=follow)

    del stream
    return router
