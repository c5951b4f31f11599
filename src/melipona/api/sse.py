"""Responses that stream: written on ASGI itself, because objects per client and event would cost four times as much."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from typing import Any

import anyio
import anyio.lowlevel
from starlette.responses import Response

from melipona.api.board import Board
from melipona.api.guard import Receive, Scope, Send
from melipona.api.live import Broadcaster, Client, Write
from melipona.principals import OperatorPrincipal
from melipona.store import events as log
from melipona.views.events import bounds
from melipona.views.request import PRINCIPAL

MEDIA_TYPE = "text/event-stream"
CONNECTION = "melipona.connection"
"""Where `server.py` puts what can cut the connection, and write to it; without it a reader that reads nothing would
stay for ever."""
HELLO = b"retry: 1000\n\n"


class Stream(Response, ABC):
    """A response that goes on until the client leaves, its session ends or `pump` returns."""

    media_type = MEDIA_TYPE

    def __init__(self, broadcaster: Broadcaster, *, agent: str | None = None, deaf: bool = False) -> None:
        super().__init__()
        self.broadcaster, self._agent, self._deaf = broadcaster, agent, deaf
        self._pieces: Write | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        whole = False
        async with anyio.create_task_group() as tasks:
            client = Client(_asker(scope), tasks.cancel_scope, agent=self._agent, deaf=self._deaf)
            self._pieces = scope[CONNECTION].pieces() if CONNECTION in scope else None
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            try:
                await self.pump(client, send)
                whole = True
            finally:
                self.broadcaster.remove(client)
                tasks.cancel_scope.cancel()
        if whole:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif (connection := scope.get(CONNECTION)) is not None:
            connection.abort()
            await anyio.lowlevel.checkpoint()  # the server hears of it, and does not take this for a forgotten answer

    @abstractmethod
    async def pump(self, client: Client, send: Send) -> None:
        """Write the stream; register `client` when its news are wanted."""


class EventStream(Stream):
    """All events above a number, first those that are stored, then live. `after` None means from now on (D-33).

    A store id that is not ours, or a number that is not there, is answered by `event: reset`: the client fetches the
    snapshot again. With `board` the client is told too what changes in the snapshot, as `event: rows`.
    """

    def __init__(
        self,
        broadcaster: Broadcaster,
        *,
        store: str | None,
        after: int | None,
        agent: str | None = None,
        board: Board | None = None,
    ) -> None:
        super().__init__(broadcaster, agent=agent)
        self._store, self._after, self._board = store, after, board

    async def pump(self, client: Client, send: Send) -> None:
        first = await self._begin(send)
        sent = await self._stored(first, send)
        self.broadcaster.add(client)
        if self._board is not None:
            self._board.join(client, first)
        await self.broadcaster.check(client)
        sent = await self._stored(sent, send)  # what was committed between the last look and joining
        if self._pieces is not None:
            client.flow(self._pieces, sent)
        while True:
            data = await client.taken(sent)
            if data:
                await write(send, data)

    async def _begin(self, send: Send) -> int:
        first, last = await self.broadcaster.store.read(bounds)
        ours = self._store in (None, self.broadcaster.store_id)
        if self._after is None and ours:
            await write(send, HELLO)
            return last
        if ours and self._after is not None and first - 1 <= self._after <= last:
            await write(send, HELLO)
            return self._after
        identifier = f"{self.broadcaster.store_id}-{last}"
        data = f'{{"store":"{self.broadcaster.store_id}","event":{last}}}'
        await write(send, HELLO + f"id: {identifier}\nevent: reset\ndata: {data}\n\n".encode())
        return last

    async def _stored(self, sent: int, send: Send) -> int:
        while page := await self.broadcaster.store.read(log.after, sent, agent=self._agent):
            await write(send, b"".join(self.broadcaster.encoded(event) for event in page))
            sent = page[-1].id
            if len(page) < log.PAGE:
                break
        return sent


async def write(send: Send, data: bytes) -> None:
    """One piece of a stream."""
    await send({"type": "http.response.body", "body": data, "more_body": True})


def last_event_id(text: str | None) -> tuple[str, int] | None:
    """`<store id>-<number>` taken apart; what is not of that form is a store that nobody knows."""
    if text is None:
        return None
    store, _, number = text.rpartition("-")
    return (store, int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else ("?", 0)


def _asker(scope: MutableMapping[str, Any]) -> OperatorPrincipal:
    principal = scope[PRINCIPAL]
    assert isinstance(principal, OperatorPrincipal)
    return principal


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
