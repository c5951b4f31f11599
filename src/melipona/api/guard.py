"""One layer before routing that decides whether a request is heard at all, the same for every route (SECURITY.md 5).

On TCP a browser may be made to speak for a stranger's page: so the Host must be ours, the Origin of everything that
acts or streams must be that Host's, bodies are JSON, and only a session makes a person. A program shows a token
instead; then cookies are ignored. On the unix socket the peer was checked when it connected; a request there that
carries a browser's headers came through somebody's proxy and is refused. Whoever it is must have the authority that the
route needs. Fails closed: what is not plainly right is answered here, and no route sees it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

import anyio

from melipona.access.model import Visitor
from melipona.access.service import Access
from melipona.api.authority import OF_SERVERS, Authorities, is_page, refusal
from melipona.api.problems import problem_response
from melipona.api.sites import Sites
from melipona.errors import LimitReached
from melipona.faults import fault
from melipona.ids import new_id
from melipona.principals import Authority, OperatorPrincipal
from melipona.store.engine import Actor, acting, request_id
from melipona.views.request import PRINCIPAL, VISITOR

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Transport = Literal["socket", "tcp"]

BODY_LIMIT = 1 << 20
BODY_SECONDS = 30
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
SAFE = frozenset({"GET", "HEAD"})
OPEN_PREFIX = "/assets/"


class _No(Exception):
    """The answer is no."""

    def __init__(self, status: int, code: str, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.remedy = status, code, detail, remedy


class Guard:
    """Wraps the application for one transport."""

    def __init__(self, app: App, transport: Transport, access: Access, sites: Sites, authorities: Authorities) -> None:
        self._app, self._transport, self._access, self._sites = app, transport, access, sites
        self._authorities = authorities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served here")
        identifier = new_id()
        token = request_id.set(identifier)
        actor = acting.set(acting.get())
        try:
            headers = _Headers(scope["headers"])
            visitor = self._visitor(scope, headers)
            self._check_source(scope, headers, visitor)
            by = await self._principal(headers, visitor)
            self._check_authority(scope, by)
            body = await _body(scope, headers, receive)
            scope[PRINCIPAL], scope[VISITOR] = by, visitor
        except _No as no:
            await problem_response(no.status, no.code, no.detail, no.remedy)(scope, receive, send)
        else:
            if by is not None:
                acting.set(Actor(by.person, by.via))
            await fault("api.request.before_handling")
            await self._app(scope, body, _marked(send, identifier))
            await fault("api.request.after_handling")
        finally:
            acting.reset(actor)
            request_id.reset(token)

    def _visitor(self, scope: Scope, headers: _Headers) -> Visitor:
        host, agent = headers.one("host"), headers.one("user-agent") or ""
        if self._transport == "socket":
            if host == "localhost":
                return self._sites.visitor(f"http://127.0.0.1:{self._sites.port}", "127.0.0.1", (), agent)
            origin = None
        else:
            origin = self._sites.origin(host)
        if origin is None:
            raise _No(
                421, "wrong_host", "this hive does not go by that name", "use the address that `mel status` shows"
            )
        client = scope.get("client")
        peer = client[0] if client else None
        if self._sites.is_direct(peer):
            raise _No(403, "not_by_proxy", "this hive is reached by its address alone", "use the address of its proxy")
        return self._sites.visitor(origin, peer, headers.all("x-forwarded-for"), agent)

    def _check_source(self, scope: Scope, headers: _Headers, visitor: Visitor) -> None:
        origin, site = headers.one("origin"), headers.one("sec-fetch-site")
        if self._transport == "socket":
            if origin is not None or site is not None:
                raise _No(403, "browser_on_socket", "the unix socket is not for browsers", "open the address instead")
            return
        acts = scope["method"] not in SAFE or _streams(scope["path"])
        if scope["path"] in OF_SERVERS:
            right = origin is None and site is None
        elif origin is not None:
            right = origin == visitor.origin
        elif site is not None:
            right = site == "same-origin" or (not acts and (site == "none" or _opens_page(scope, headers)))
        else:  # no browser: a program, whose token no page of a stranger can have
            right = not acts or headers.one("authorization") is not None
        if not right:
            raise _No(403, "foreign_origin", "the request comes from another page", "use the hive's own page or `mel`")

    async def _principal(self, headers: _Headers, visitor: Visitor) -> OperatorPrincipal | None:
        given = headers.one("authorization")
        if given is not None:
            return await self._of_token(given, visitor)
        if self._transport == "socket":
            return self._access.of_socket()
        cookie = headers.cookie(visitor.session_cookie)
        return await self._access.of_session(cookie) if cookie else None

    async def _of_token(self, given: str, visitor: Visitor) -> OperatorPrincipal:
        kind, _, token = given.partition(" ")
        try:
            by = await self._access.of_token(token.strip(), visitor) if kind.lower() == "bearer" else None
        except LimitReached as error:
            raise _No(429, error.code, error.message, error.remedy) from error
        if by is None:
            raise _No(401, "bad_token", "this token is wrong, revoked or has ended", "make a new one: `mel token new`")
        return by

    def _check_authority(self, scope: Scope, by: OperatorPrincipal | None) -> None:
        needed = self._authorities.of(scope["method"], scope["path"])
        if needed is Authority.OPEN:
            return
        if by is None:
            raise _No(401, "no_session", "no session, or it has ended", "run `mel login` and open the link it prints")
        if needed is None:
            if self._authorities.knows(scope["path"]):
                raise _No(405, "method_not_allowed", "Method Not Allowed")
            raise _No(404, "no_such_route", "Not Found")
        if not by.may(needed):
            raise _No(403, "role", *refusal(by, needed))


class _Headers:
    """The request's headers. A header that decides something must not stand there twice."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def one(self, name: str) -> str | None:
        values = [value for key, value in self._raw if key == name.encode()]
        if len(values) > 1:
            raise _No(400, "repeated_header", f"the header {name} is given more than once")
        return values[0].decode("latin-1") if values else None

    def all(self, name: str) -> list[str]:
        return [value.decode("latin-1") for key, value in self._raw if key == name.encode()]

    def cookie(self, name: str) -> str | None:
        for pair in (self.one("cookie") or "").split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
        return None


def _streams(path: str) -> bool:
    return path == "/api/v1/events" or path.endswith("/stream")


def _opens_page(scope: Scope, headers: _Headers) -> bool:
    """Somebody followed a link to one of our pages, which hold no data."""
    return is_page(scope["path"]) and headers.one("sec-fetch-mode") == "navigate"


async def _body(scope: Scope, headers: _Headers, receive: Receive) -> Receive:
    """Read the whole body, at most `BODY_LIMIT`, checked to be JSON, or a form from servers; safe methods have none."""
    length = headers.one("content-length")
    if length is not None and (not length.isdigit() or int(length) > BODY_LIMIT):
        raise _too_large()
    kind = (headers.one("content-type") or "").partition(";")[0].strip().lower()
    wanted = FORM if scope["path"] in OF_SERVERS else JSON
    if scope["method"] not in SAFE and kind not in ("", wanted):
        raise _not_json()
    if scope["method"] in SAFE:
        if length not in (None, "0") or headers.one("transfer-encoding") is not None:
            raise _No(400, "body_refused", f"{scope['method']} takes no body")
        return receive
    try:
        with anyio.fail_after(BODY_SECONDS):
            data = await _read(receive)
    except TimeoutError:
        raise _No(408, "too_slow", f"the body did not arrive within {BODY_SECONDS} s") from None
    if data and kind != wanted:
        raise _not_json()
    return _replayed(data, receive)


async def _read(receive: Receive) -> bytes:
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _No(400, "disconnected", "the request did not arrive whole")
        data += message.get("body", b"")
        if len(data) > BODY_LIMIT:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(data)


def _replayed(data: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": data, "more_body": False}

    return again


def _marked(send: Send, identifier: str) -> Send:
    async def with_id(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await fault("api.answer.before_start")
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", identifier.encode())]
        await send(message)

    return with_id


def _too_large() -> _No:
    return _No(413, "too_large", f"a request's body is at most {BODY_LIMIT} bytes")


def _not_json() -> _No:
    return _No(415, "not_json", "only application/json is read here")
