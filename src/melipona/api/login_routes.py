"""Login over HTTP: making links (on the socket), using them (from the page), listing and revoking sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from melipona.api.auth import LINK_LIFE, SESSION_LIFE, Logins, list_sessions, revoke
from melipona.api.services import Services
from melipona.clock import rfc3339
from melipona.errors import Refused
from melipona.views.request import Asker, room_router


class Token(BaseModel):
    """The token of a link."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=16, max_length=200)


def cookie_name(port: int) -> str:
    """The session's cookie. Cookies do not know ports, so two hives of one machine need two names."""
    return f"mel-{port}"


def before_name(port: int) -> str:
    """The cookie that the login page sets."""
    return f"mel-{port}-before"


def set_cookie(response: Response, name: str, value: str, life: timedelta) -> None:
    """A cookie that no script reads and no other site sends."""
    seconds = int(life.total_seconds())
    response.set_cookie(name, value, max_age=seconds, path="/", httponly=True, samesite="strict")


def login_routes(services: Services, logins: Logins) -> APIRouter:
    """The routes of login."""
    router = room_router("login")
    port = services.port

    @router.post("/login-links", status_code=201, response_model=dict[str, str])
    async def make_link(by: Asker) -> Any:
        """Make a one-time login link: ten minutes, one use. Only over the unix socket."""
        if by.method != "socket":
            raise Refused("links are made on the machine itself", remedy="run `mel login` there")
        link = await logins.make_link(by.name)
        return {"url": f"{services.url}/login#{link.token}", "ends_at": rfc3339(link.ends_at)}

    @router.post("/login", response_model=dict[str, str])
    async def login(request: Request, given: Token) -> Response:
        """Use a link up and get a session."""
        agent = request.headers.get("user-agent", "")
        secret = await logins.open(given.token, request.cookies.get(before_name(port)), agent)
        response = JSONResponse({"next": "/"})
        set_cookie(response, cookie_name(port), secret, SESSION_LIFE)
        response.delete_cookie(before_name(port), path="/", httponly=True, samesite="strict")
        return response

    @router.get("/sessions", response_model=dict[str, Any])
    async def sessions(by: Asker) -> Any:
        """Sessions that go on."""
        return await services.store.read(list_sessions, by.session)

    @router.delete("/sessions/{session}", status_code=204)
    async def end(session: str) -> Response:
        """Revoke a session; its streams close within a second."""
        await services.store.reserved.write(revoke, session)
        return Response(status_code=204)

    @router.post("/logout", status_code=204)
    async def logout(by: Asker) -> Response:
        """Revoke the session that asks."""
        if by.session is not None:
            await services.store.reserved.write(revoke, by.session)
        response = Response(status_code=204)
        response.delete_cookie(cookie_name(port), path="/", httponly=True, samesite="strict")
        return response

    del make_link, login, sessions, end, logout
    return router


BEFORE_LIFE = LINK_LIFE
