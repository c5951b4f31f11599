"""Logins over HTTP: who one is, making links, using them (from the page), listing and revoking sessions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from melipona.access.cookies import before_of, give_session, take_session, visitor_of
from melipona.access.logins import Logins
from melipona.access.passkey_routes import StepUpHeader, visitor_in
from melipona.access.step_up import Decision
from melipona.access.store import list_sessions
from melipona.clock import rfc3339
from melipona.views.request import Asker, room_router


class Token(BaseModel):
    """The token of a link."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=16, max_length=200)


class NewLink(BaseModel):
    """For whom a link is, and from where it is good."""

    model_config = ConfigDict(extra="forbid")

    person: str | None = Field(default=None, max_length=32, description="A person's name; null is the hive's owner.")
    outside: bool = Field(default=False, description="Good from elsewhere than the hive's own machine too.")


class LinkView(TypedDict):
    """A one-time link; shown this once."""

    url: str
    ends_at: str


class Me(TypedDict):
    """Who asks."""

    person: str
    role: str
    """`viewer`, `operator` or `admin`."""
    owner: bool
    """Whoever has the hive's unix socket is this person."""
    method: str
    """`socket`, `session` or `token`."""
    login: str | None
    """The public id of the session or token."""
    may: list[str]
    """Of `read`, `own`, `act`, `approve`, `admin`: what each route needs stands in docs/reference/api.md."""
    outside: bool
    verified_at: str | None
    """When they last proved themselves by a passkey, or once more at the provider."""


class SessionView(TypedDict):
    """Somebody is logged in."""

    id: str
    person: str
    role: str
    method: str
    user_agent: str
    address: str | None
    outside: bool
    """They came from elsewhere than the hive's own machine."""
    created_at: str
    seen_at: str
    ends_at: str
    current: bool
    """It is the one that asks."""


class Sessions(TypedDict):
    """Sessions that go on."""

    items: list[SessionView]
    next: None


def access_routes(logins: Logins, url: str, local_url: str) -> APIRouter:
    """The routes of login. `url` is where a browser finds the hive, `local_url` where one on this machine does."""
    router = room_router("login")
    access = logins.access

    @router.get("/me", response_model=Me)
    async def me(by: Asker) -> Any:
        """Who asks, and what they may."""
        return {
            "person": by.person,
            "role": by.role.value,
            "owner": by.person_id == access.owner.id,
            "method": by.method,
            "login": by.login,
            "may": sorted(authority.value for authority in by.authorities if authority != "open"),
            "outside": by.outside,
            "verified_at": None if by.verified_at is None else rfc3339(by.verified_at),
        }

    @router.post("/login-links", status_code=201, response_model=LinkView)
    async def make_link(
        request: Request, by: Asker, wanted: NewLink | None = None, confirmed: StepUpHeader = None
    ) -> Any:
        """Make a one-time login link: ten minutes, one use. The owner's only over the unix socket. Needs step-up."""
        given = wanted or NewLink()
        words = f"Make a login link for {given.person or access.owner.name}"
        decision = Decision("link:make", words, {"person": given.person, "outside": given.outside})
        await logins.step_up.require(by, decision, confirmed, visitor_in(request))
        link = await access.make_link(by, given.person, outside=given.outside)
        return {"url": f"{url if given.outside else local_url}/login#{link.token}", "ends_at": rfc3339(link.ends_at)}

    @router.post("/login", response_model=dict[str, str])
    async def login(request: Request, given: Token) -> Response:
        """Use a link up and get a session."""
        secret = await access.use_link(given.token, before_of(request), visitor_of(request))
        response = JSONResponse({"next": "/"})
        give_session(request, response, secret)
        return response

    @router.get("/sessions", response_model=Sessions)
    async def sessions(by: Asker) -> Any:
        """Sessions that go on: everybody's for an admin, else one's own."""
        return await access.store.read(list_sessions, by)

    @router.delete("/sessions/{session}", status_code=204)
    async def end(session: str, by: Asker) -> Response:
        """Revoke a session; its streams close within a second."""
        await access.revoke(session, by)
        return Response(status_code=204)

    @router.post("/logout", status_code=204)
    async def logout(request: Request, by: Asker) -> Response:
        """Revoke the session that asks."""
        response = Response(status_code=204)
        if by.session is not None:
            await access.revoke(by.session, by)
            take_session(request, response)
        return response

    del me, make_link, login, sessions, end, logout
    return router
