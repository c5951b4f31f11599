"""One HTTP exchange of a box with the gate: plain ASGI, with caps on size and time around every wait.

It knows nothing of what is asked. An answer given before the request's body was read to its end closes the connection,
so that what is left of the body cannot be taken for a request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from melipona import errors
from melipona.faults import fault
from melipona.principals import AgentPrincipal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STATUS: tuple[tuple[type[errors.MeliponaError], int], ...] = (
    (errors.Invalid, 422),
    (errors.NotFound, 404),
    (errors.Refused, 403),
    (errors.Conflict, 409),
    (errors.LimitReached, 429),
    (errors.AskedWrongly, 400),
    (errors.UpstreamError, 502),
    (errors.WorldFailed, 503),
)
"""Families of `errors.py`, the more special first; anything else is 500."""


_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Gone(Exception):
    """The other side hung up, or is too slow to count as there."""


@dataclass(frozen=True, slots=True)
class Times:
    """Limits in seconds; 0 means none. `idle` is for one wait on the other side, `total` for the whole exchange."""

    idle: float
    total: float


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, times: Times) -> None:
        self.scope = scope
        self.times = times
        self._receive, self._send = receive, send
        self._complete = False
        self.started = False
        self.finished = False

    @property
    def agent(self) -> AgentPrincipal:
        """Who asks: put there by the listener, never by the request (T10)."""
        principal = self.scope["melipona.agent"]
        assert isinstance(principal, AgentPrincipal)
        return principal

    @property
    def method(self) -> str:
        return self.scope["method"]

    @property
    def path(self) -> str:
        return self.scope["path"]

    def headers(self, name: str) -> list[str]:
        """Every value of the header of that lower-case name."""
        wanted = name.encode()
        return [value.decode("latin-1") for key, value in self.scope["headers"] if key == wanted]

    def header(self, name: str) -> str | None:
        """The header's value when it is there exactly once."""
        values = self.headers(name)
        return values[0] if len(values) == 1 else None

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            LimitReached: it is longer than `limit` bytes.
            Gone: the other side hung up, or sends too slowly.
        """
        if any(int(value) > limit for value in self.headers("content-length") if value.isdigit()):
            raise TooLong(limit)
        read = bytearray()
        async with _within(self.times.idle):
            while not self._complete:
                message = await self._receive()
                if message["type"] != "http.request":
                    raise Gone
                read += message.get("body", b"")
                if len(read) > limit:
                    raise TooLong(limit)
                self._complete = not message.get("more_body", False)
        return bytes(read)

    async def gone(self) -> None:
        """Return when the other side hangs up. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Begin an answer of unknown length."""
        raw = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers]
        if not self._complete:
            raw.append((b"connection", b"close"))
        self.started = True
        await fault("gate.answer.before_start")
        await self._put({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send a piece; waits while the other side does not read (back-pressure).

        Raises:
            Gone: it did not read for `times.idle` seconds.
        """
        await fault("gate.answer.before_piece" if more else "gate.answer.before_end")
        await self._put({"type": "http.response.body", "body": data, "more_body": more})
        await fault("gate.answer.after_piece" if more else "gate.answer.after_end")
        self.finished = not more

    async def answer(self, status: int, body: bytes, media: str, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer."""
        fields = {"content-type": media, "content-length": str(len(body)), **(headers or {})}
        await self.start(status, fields.items())
        await self.write(b"" if self.method == "HEAD" else body, more=False)

    def cut(self) -> None:
        """End the connection at once, so that an unfinished answer cannot be taken for a whole one."""
        cut: Callable[[], None] = self.scope["melipona.cut"]
        cut()

    async def json(
        self,
        status: int,
        content: object,
        *,
        media: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """A whole answer in JSON."""
        body = _text(content).encode("utf-8", "replace")
        await self.answer(status, body, media, headers)

    async def problem(self, error: errors.MeliponaError, *, status: int | None = None) -> None:
        """An error as RFC 9457 problem details."""
        status = status or status_of(error)
        detail, remedy = told(error)
        content = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "code": error.code,
            "remedy": remedy,
        }
        await self.json(status, content, media="application/problem+json")

    async def _put(self, message: Message) -> None:
        async with _within(self.times.idle):
            await self._send(message)


class TooLong(errors.LimitReached):
    """A request's body is longer than allowed."""

    code = "too_long"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is longer than {limit} bytes", remedy="send less at a time")


def told(error: errors.MeliponaError) -> tuple[str, str]:
    """What an agent may hear of an error, and what to do: of ours and the world's failures only that there was one."""
    if isinstance(error, errors.AskedWrongly):
        return error.message, error.remedy
    if isinstance(error, errors.WorldFailed):
        return f"the hive could not do that now ({error.code})", "try again in a moment"
    return "an internal error", "the operator finds it in the daemon's log"


def status_of(error: errors.MeliponaError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, TooLong):
        return 413
    return next((status for family, status in STATUS if isinstance(error, family)), 500)


class _within:  # noqa: N801 (reads as a word: async with _within(seconds))
    """A time-out that means the other side is gone; 0 means none."""

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(seconds or None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise Gone from error
