"""Logging in by a provider over HTTP, whose accounts are linked to whom, and which ways in there are."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from melipona.access import identity_rows, passkey_rows, ways
from melipona.access.cookies import before_of, give_session, visitor_of
from melipona.access.logins import Logins
from melipona.access.oidc import refused
from melipona.access.oidc_service import Answer
from melipona.access.passkey_routes import Given, Next, PlaceView, StepUpHeader, landed, visitor_in
from melipona.access.step_up import Decision
from melipona.views.request import Asker, room_router

Json = dict[str, Any]


class OidcLoginBody(Given):
    """What the provider sent the browser back with."""

    state: str = Field(max_length=200)
    code: str = Field(default="", max_length=4000)
    iss: str | None = Field(default=None, max_length=2000)
    error: str = Field(default="", max_length=200)
    next: str = Next


class AgainStart(Given):
    """The challenge that is confirmed at the provider."""

    id: str = Field(max_length=100)


class AgainBody(Given):
    """The challenge, and what the provider sent the browser back with."""

    id: str = Field(max_length=100)
    state: str = Field(max_length=200)
    code: str = Field(default="", max_length=4000)
    iss: str | None = Field(default=None, max_length=2000)
    error: str = Field(default="", max_length=200)


class NewIdentity(Given):
    """An account at the provider: by its subject, or by a verified address."""

    subject: str | None = Field(default=None, max_length=255)
    email: str | None = Field(default=None, max_length=254)


class Address(TypedDict):
    """Where the browser goes."""

    url: str


class IdentityView(TypedDict):
    """An account that logs somebody in."""

    id: str
    issuer: str
    subject: str | None
    """Null until somebody first came with the address."""
    email: str | None
    created_at: str
    seen_at: str | None


class Identities(TypedDict):
    """Somebody's accounts."""

    items: list[IdentityView]
    next: None


class WaysIn(TypedDict):
    """How one can log in from the address that is asked."""

    passkeys: bool
    """Somebody has one."""
    place: PlaceView
    provider: str | None
    """What its button says; null without one."""
    links: bool


def oidc_routes(logins: Logins) -> APIRouter:
    """The routes of the provider."""
    router = room_router("login")
    store, oidc, step_up = logins.access.store, logins.oidc, logins.step_up

    @router.get("/login/ways", response_model=WaysIn)
    async def ways_in(request: Request) -> Any:
        """How one can log in here."""
        place = logins.places.at(visitor_of(request).origin)
        site = logins.places.site
        return {
            "passkeys": site is not None and await store.read(passkey_rows.any_here, site.id),
            "place": {"here": place.site is not None, "why": place.why, "address": place.address},
            "provider": oidc.label,
            "links": not await store.read(ways.links_are_off),
        }

    @router.post("/login/oidc/start", response_model=Address)
    async def start(request: Request) -> Any:
        """Where the browser goes to log in at the provider."""
        return {"url": await oidc.begin(before_of(request), visitor_of(request))}

    @router.post("/login/oidc", response_model=dict[str, str])
    async def finish(request: Request, given: OidcLoginBody) -> Response:
        """Log in by what the provider sent the browser back with."""
        answer = Answer(given.state, given.code, given.iss, given.error)
        secret = await oidc.finish(answer, before_of(request), visitor_of(request))
        return landed(request, secret, given.next)

    @router.post("/login/oidc/logout", status_code=200, response_model=dict[str, str])
    async def logged_out(request: Request) -> Response:
        """The provider's own: a logout token says who has logged out there, and their sessions here end."""
        await oidc.logged_out(logout_token(await request.body()), visitor_of(request))
        return JSONResponse({}, headers={"cache-control": "no-store"})

    @router.post("/step-up/provider/start", response_model=Address)
    async def again(request: Request, given: AgainStart, by: Asker) -> Any:
        """Where the browser goes to confirm a decision at the provider."""
        return {"url": await logins.again.begin(by, given.id, visitor_of(request))}

    @router.post("/step-up/provider", status_code=204)
    async def confirm(request: Request, given: AgainBody, by: Asker) -> Response:
        """Confirm a decision by what the provider sent the browser back with. The session gets a new id."""
        answer = Answer(given.state, given.code, given.iss, given.error)
        secret = await logins.again.finish(by, given.id, answer, visitor_of(request))
        response = Response(status_code=204)
        give_session(request, response, secret)
        return response

    @router.get("/people/{name}/identities", response_model=Identities)
    async def accounts(name: str) -> Any:
        """A person's accounts at the provider."""
        return {"items": await store.read(identity_rows.listed, name), "next": None}

    @router.post("/people/{name}/identities", status_code=201, response_model=IdentityView)
    async def link(request: Request, name: str, given: NewIdentity, by: Asker, confirmed: StepUpHeader = None) -> Any:
        """Let whoever has an account come in as a person. Needs step-up."""
        about = {"person": name, "subject": given.subject, "email": given.email, "issuer": oidc.issuer}
        words = f"Let {given.email or given.subject} come in as {name}"
        await step_up.require(by, Decision("identity:link", words, about), confirmed, visitor_in(request))
        return await store.reserved.write(
            identity_rows.link, name, oidc.issuer, subject=given.subject, email=given.email
        )

    @router.delete("/people/{name}/identities/{identity}", status_code=204)
    async def unlink(request: Request, name: str, identity: str, by: Asker, confirmed: StepUpHeader = None) -> Response:
        """Take an account from a person. Needs step-up."""
        decision = Decision("identity:unlink", f"Take an account from {name}", {"person": name, "identity": identity})
        await step_up.require(by, decision, confirmed, visitor_in(request))
        await store.reserved.write(identity_rows.unlink, name, identity)
        return Response(status_code=204)

    del ways_in, start, finish, logged_out, again, confirm, accounts, link, unlink
    return router


def logout_token(body: bytes) -> str:
    """The token in the form that a provider posts.

    Raises:
        Refused: there is none.
    """
    try:
        form = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=8)
    except ValueError:
        form = {}
    given = form.get("logout_token", [])
    if len(given) != 1:
        raise refused("there is no logout token in this")
    return given[0]
