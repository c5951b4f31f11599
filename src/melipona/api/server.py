"""Serving the API in this process: uvicorn's HTTP protocol on our own sockets, without its server and its signals.

`serve` runs until it is cancelled. Connections on the unix socket are looked at before their first byte is read.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Any, cast

import anyio
import uvicorn
from anyio.abc import TaskStatus
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from melipona.api.app import Api, make_api
from melipona.api.authority import AGENT_PAGE
from melipona.api.guard import OPEN_PREFIX
from melipona.api.listen import Listeners
from melipona.api.live import Write
from melipona.api.peers import OUTSIDE, check_peer
from melipona.api.problems import MEDIA_TYPE, problem_response
from melipona.api.protocol import HEADERS, embedded_headers
from melipona.api.services import Services
from melipona.api.sse import CONNECTION
from melipona.errors import Refused

CONNECTIONS = 512
KEEP_ALIVE_SECONDS = 75
HEADER_SECONDS = 10
END_SECONDS = 2


class State(ServerState):
    """What the connections of one transport share. `agent_page` goes out with the one address that may be embedded."""

    def __init__(self, embed_origins: Sequence[str] = ()) -> None:
        super().__init__()
        self.default_headers = list(HEADERS)
        self.agent_page = embedded_headers(embed_origins)


class Connection(HttpToolsProtocol):
    """A connection whose request can cut it, and that is cut when the head of a request does not arrive in time."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect()
        cast("dict[str, Any]", self.scope)[CONNECTION] = self

    def on_headers_complete(self) -> None:
        self._arrived()
        if not self.url.startswith(b"/"):
            raise ValueError("only paths are served: an absolute address would name a second host (T15)")
        super().on_headers_complete()
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and self.scope["path"].startswith(OPEN_PREFIX):
            # Files of the page are the one thing that browsers may keep: those answers say themselves how long.
            cycle.default_headers = [pair for pair in HEADERS if pair[0] != b"cache-control"]
        elif cycle is not None and AGENT_PAGE.fullmatch(self.scope["path"]):
            cycle.default_headers = cast("State", self.server_state).agent_page

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Drop the connection with everything that waits to be written."""
        self.transport.abort()

    def pieces(self) -> Write:
        """Writes pieces of the answer that is under way, without the task that makes it; False while it cannot."""
        cycle, flow, transport = self.cycle, self.flow, self.transport

        def write(data: bytes) -> bool:
            if transport.is_closing():
                return True
            if flow.write_paused or not cycle.chunked_encoding or cycle.response_complete:
                return False
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
            return True

        return write

    def _expect(self) -> None:
        self._arrived()
        self._waiting = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _arrived(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class OwnersConnection(Connection):
    """A connection on the unix socket; a peer that is not the owner's own process gets a reason and no more."""

    _no: Refused | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # A descriptor of our own: the socket of uvloop's transports knows no options.
        peer = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        try:
            check_peer(peer)
        except Refused as refused:
            self._no = refused
        except OSError:
            self._no = Refused("the caller cannot be told", remedy=OUTSIDE)
        finally:
            peer.close()

    def data_received(self, data: bytes) -> None:
        if self._no is None:
            super().data_received(data)
        elif not self.transport.is_closing():  # answered only now: a close with unread bytes would lose the reason
            self.transport.write(_refusal(self._no))
            self.transport.close()


def _refusal(refused: Refused) -> bytes:
    body = bytes(problem_response(403, refused.code, refused.message, refused.remedy).body)
    head = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    lines = b"".join(b"%s: %s\r\n" % pair for pair in (*HEADERS, *head))
    return b"HTTP/1.1 403 Forbidden\r\n" + lines + b"\r\n" + body


async def serve(
    services: Services, listeners: Listeners, *, task_status: TaskStatus[Api] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Serve on both sockets until cancelled; ready once both accept."""
    api = await make_api(services)
    loop = asyncio.get_running_loop()
    # Apart, so that strangers who fill the loopback port's connections do not keep the owner from the socket.
    own, page = State(services.settings.hive.embed_origins), State(services.settings.hive.embed_origins)
    unix = await loop.create_unix_server(_factory(OwnersConnection, api.guarded("socket"), own), sock=listeners.unix)
    tcp = await loop.create_server(_factory(Connection, api.guarded("tcp"), page), sock=listeners.tcp)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api.broadcaster.run)
            tasks.start_soon(api.board.run)
            tasks.start_soon(api.lag.measure)
            task_status.started(api)
            await anyio.sleep_forever()
    finally:
        unix.close()
        tcp.close()
        with anyio.CancelScope(shield=True, deadline=anyio.current_time() + END_SECONDS):
            await _finish(own, page)


def _factory(kind: type[Connection], app: Any, state: ServerState) -> Any:
    config = uvicorn.Config(
        app,
        http=kind,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.load()
    return lambda: kind(config, state, {})


async def _finish(*states: ServerState) -> None:
    """Let requests that run come to their end, then cut what is left."""
    connections = [connection for state in states for connection in state.connections]
    for connection in connections:
        connection.shutdown()
    try:
        while tasks := [task for state in states for task in state.tasks]:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for connection in connections:
            connection.transport.abort()
