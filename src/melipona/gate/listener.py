"""One listener per box: the socket is the identity (BR-16, T10), and one box cannot use up the daemon (T34).

uvicorn's httptools protocol parses; this module adds who asks, counts connections and bytes, and ends what is slow.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from melipona.gate.app import Gate
from melipona.gate.exchange import Receive, Scope, Send
from melipona.principals import AgentPrincipal
from melipona.settings import GateSettings

HEAD_MOST = 64 << 10
"""Bytes of a request's line and headers; and of framing around its body, where more is allowed with the body."""

BUFFER = 64 << 10
CLOSE_SECONDS = 5.0

_TOO_MANY = b'{"title":"Too Many Requests","status":429,"detail":"too many connections of one box"}'
BUSY = (
    b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(_TOO_MANY), _TOO_MANY)
)


class BoxListener:
    """A box's gate, until `aclose`."""

    def __init__(self, gate: Gate, principal: AgentPrincipal) -> None:
        self.gate, self.principal = gate, principal
        self.settings: GateSettings = gate.settings
        self.config = _config(gate.settings)
        self.state = ServerState()
        self.server: asyncio.Server | None = None

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The gate's application, told who asks."""
        scope["melipona.agent"] = self.principal
        await self.gate.app(scope, receive, send)

    async def aclose(self) -> None:
        """Listen no more and end every connection with its request."""
        if self.server is not None:
            self.server.close()
        for connection in tuple(self.state.connections):
            connection.transport.abort()  # pyright: ignore[reportOptionalMemberAccess]
        tasks = tuple(self.state.tasks)
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in left:
                task.cancel()


class BoxProtocol(HttpToolsProtocol):
    """One connection of a box."""

    def __init__(self, listener: BoxListener) -> None:
        super().__init__(listener.config, listener.state, {})
        self.app: Any = listener.app
        self._settings = listener.settings
        self._in_head = True
        self._framing = 0
        self._body = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        if len(self.connections) >= self._settings.connections:
            transport.write(BUSY)
            transport.close()
            self.transport = transport
            self.data_received = _ignore
            return
        transport.set_write_buffer_limits(high=BUFFER)
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._framing += len(data)
        if self._in_head and self._timer is None and not self.pipeline:
            self._expect_head()
        super().data_received(data)
        if self._framing > HEAD_MOST + 8 * self._body + len(data):
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        parser: Any = self.parser
        if not self.url.startswith(b"/") or parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError("only paths over HTTP/1 are served")
        super().on_headers_complete()
        cycle: Any = self.cycle
        cycle.scope["melipona.cut"] = self.cut

    def on_body(self, body: bytes) -> None:
        self._framing -= len(body)
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._framing = self._body = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._end_soon()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)
            self._end_soon()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.abort()

    def cut(self) -> None:
        """End the connection now."""
        self.transport.abort()

    def _unsupported_upgrade_warning(self) -> None:
        """The application refuses upgrades; there is nothing to log."""

    def _expect_head(self) -> None:
        if self._settings.header_seconds:
            self._timer = self.loop.call_later(self._settings.header_seconds, self.cut)

    def _end_soon(self) -> None:
        """A closing transport waits for its buffer to be read: not for ever."""
        self._stop_timer()
        self._timer = self.loop.call_later(self._settings.idle_seconds or CLOSE_SECONDS, self.cut)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def serve_box(gate: Gate, sock: socket.socket, principal: AgentPrincipal) -> BoxListener:
    """Serve the gate of one box on its own listening socket, which is closed with the listener."""
    gate.warm()
    listener = BoxListener(gate, principal)
    listener.server = await asyncio.get_running_loop().create_unix_server(lambda: BoxProtocol(listener), sock=sock)
    return listener


def _config(settings: GateSettings) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a box's bad bytes are no news
    config = uvicorn.Config(
        _unset,
        http=HttpToolsProtocol,
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, round(settings.idle_seconds or 3600)),
    )
    config.load()
    return config


async def _unset(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("a protocol always has its listener's application")


def _ignore(data: bytes) -> None:
    del data
