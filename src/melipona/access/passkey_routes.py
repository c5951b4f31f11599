"""Passkeys, recovery codes and step-up over HTTP: one's own in Settings, everybody's for an admin, and logging in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from melipona.access import passkey_rows, ways
from melipona.access.cookies import before_of, give_session, visitor_of
from melipona.access.landing import landing
from melipona.access.logins import Logins
from melipona.access.model import Visitor
from melipona.access.passkeys import label_of
from melipona.access.step_up import Decision
from melipona.views.request import VISITOR, Asker, room_router

Json = dict[str, Any]
StepUpHeader = Annotated[
    str | None, Header(alias="melipona-step-up", max_length=100, description="The confirmation, from POST /step-up.")
]
Next = Field(default="/", max_length=300, description="The page to open then; anything else than a page is `/`.")


class Given(BaseModel):
    """What a request's body holds, and nothing else."""

    model_config = ConfigDict(extra="forbid")


class NewPasskey(Given):
    """A passkey that the browser has just made."""

    label: str = Field(max_length=200)
    answer: Json = Field(description="`PublicKeyCredential.toJSON()`.")


class Label(Given):
    """What somebody calls a passkey."""

    label: str = Field(max_length=200)


class PasskeyLogin(Given):
    """A login by a passkey."""

    answer: Json
    next: str = Next


class RecoveryLogin(Given):
    """A login by a recovery code."""

    code: str = Field(min_length=8, max_length=100)
    next: str = Next


class Confirmation(Given):
    """A passkey's answer to the challenge of a decision."""

    id: str = Field(max_length=100)
    answer: Json


class Switch(Given):
    """Whether one-time links log people in."""

    on: bool


class PasskeyView(TypedDict):
    """A passkey."""

    id: str
    label: str
    site: str
    """The name that it is bound to."""
    transports: list[str]
    created_at: str
    last_used_at: str | None


class PlaceView(TypedDict):
    """Whether passkeys work at the address that is asked."""

    here: bool
    why: str
    address: str
    """Where they do; empty: nowhere."""


class PasskeyList(TypedDict):
    """Somebody's passkeys, and what else lets them in."""

    items: list[PasskeyView]
    next: None
    codes: int
    """Recovery codes that are left."""
    links: bool
    """One-time links log people in."""
    place: PlaceView


class Codes(TypedDict):
    """New recovery codes; shown this once."""

    codes: list[str]


class Landing(TypedDict):
    """Where the page goes now."""

    next: str


def passkey_routes(logins: Logins) -> APIRouter:
    """The routes of one's own passkeys, and of step-up."""
    router = room_router("login")
    passkeys, store, step_up = logins.passkeys, logins.access.store, logins.step_up

    @router.get("/passkeys", response_model=PasskeyList)
    async def mine(request: Request, by: Asker) -> Any:
        """One's own passkeys."""
        return await _list(request, by.person_id, logins)

    @router.post("/passkeys/options", response_model=Json)
    async def begin(request: Request, by: Asker, confirmed: StepUpHeader = None) -> Any:
        """What `navigator.credentials.create` is given, to add a passkey. Needs step-up."""
        decision = Decision("passkey:add", "Add a passkey", {"person": by.person})
        await step_up.require(by, decision, confirmed, visitor_in(request))
        return await passkeys.begin_adding(by, visitor_of(request))

    @router.post("/passkeys", status_code=201, response_model=PasskeyView)
    async def add(request: Request, given: NewPasskey, by: Asker) -> Any:
        """Keep the passkey that the browser made."""
        return await passkeys.add(by, given.label, given.answer, visitor_of(request))

    @router.patch("/passkeys/{passkey}", response_model=PasskeyView)
    async def rename(passkey: str, given: Label, by: Asker) -> Any:
        """Give a passkey another label."""
        return await store.reserved.write(passkey_rows.rename, by.person_id, passkey, label_of(given.label))

    @router.delete("/passkeys/{passkey}", status_code=204)
    async def revoke(request: Request, passkey: str, by: Asker, confirmed: StepUpHeader = None) -> Response:
        """Revoke a passkey. Needs step-up."""
        decision = Decision("passkey:revoke", "Revoke a passkey", {"person": by.person, "passkey": passkey})
        await step_up.require(by, decision, confirmed, visitor_in(request))
        await passkeys.revoke(by.person_id, passkey)
        return Response(status_code=204)

    @router.post("/recovery-codes", status_code=201, response_model=Codes)
    async def codes(request: Request, by: Asker, confirmed: StepUpHeader = None) -> Any:
        """Make recovery codes; older ones are good no more. Needs step-up."""
        decision = Decision("recovery:codes", "Make new recovery codes", {"person": by.person})
        await step_up.require(by, decision, confirmed, visitor_in(request))
        return {"codes": await passkeys.make_codes(by)}

    @router.post("/step-up", status_code=204)
    async def confirm(request: Request, given: Confirmation, by: Asker) -> Response:
        """Show the passkey's answer to a decision's challenge. The session gets a new id."""
        secret = await step_up.confirm(by, given.id, given.answer, visitor_of(request))
        response = Response(status_code=204)
        give_session(request, response, secret)
        return response

    @router.post("/login-links/switch", status_code=204)
    async def switch(request: Request, given: Switch, by: Asker, confirmed: StepUpHeader = None) -> Response:
        """Let one-time links log people in, or not. Needs step-up."""
        words = f"Switch login links {'on' if given.on else 'off'}"
        await step_up.require(by, Decision("links:switch", words, {"on": given.on}), confirmed, visitor_in(request))
        await store.reserved.write(ways.switch_links, on=given.on, rp_id=_rp_id(logins))
        return Response(status_code=204)

    @router.get("/people/{name}/passkeys", response_model=PasskeyList)
    async def theirs(request: Request, name: str) -> Any:
        """A person's passkeys."""
        return await _list(request, (await passkeys.of_person(name)).id, logins)

    @router.delete("/people/{name}/passkeys/{passkey}", status_code=204)
    async def end(request: Request, name: str, passkey: str, by: Asker, confirmed: StepUpHeader = None) -> Response:
        """Revoke a person's passkey. Needs step-up."""
        person = await passkeys.of_person(name)
        decision = Decision("passkey:revoke-of", f"Revoke a passkey of {name}", {"person": name, "passkey": passkey})
        await step_up.require(by, decision, confirmed, visitor_in(request))
        await passkeys.revoke(person.id, passkey)
        return Response(status_code=204)

    del mine, begin, add, rename, revoke, codes, confirm, switch, theirs, end
    return router


def passkey_login_routes(logins: Logins) -> APIRouter:
    """The routes of logging in by a passkey or a recovery code."""
    router = room_router("login")
    passkeys = logins.passkeys

    @router.post("/login/passkey/options", response_model=Json)
    async def options(request: Request) -> Any:
        """What `navigator.credentials.get` is given, on the login page."""
        return await passkeys.begin_login(before_of(request), visitor_of(request))

    @router.post("/login/passkey", response_model=Landing)
    async def login(request: Request, given: PasskeyLogin) -> Response:
        """Log in by a passkey."""
        secret = await passkeys.login(given.answer, before_of(request), visitor_of(request))
        return landed(request, secret, given.next)

    @router.post("/login/recovery", response_model=Landing)
    async def recover(request: Request, given: RecoveryLogin) -> Response:
        """Log in by a recovery code, which is used up."""
        secret = await passkeys.recover(given.code, before_of(request), visitor_of(request))
        return landed(request, secret, given.next)

    del options, login, recover
    return router


def landed(request: Request, secret: str, wanted: str) -> Response:
    """The browser is logged in and goes on to a page of ours."""
    response = JSONResponse({"next": landing(wanted)})
    give_session(request, response, secret)
    return response


def visitor_in(request: Request) -> Visitor | None:
    """Who is at the other end, if it is not a test's own call."""
    return request.scope.get(VISITOR)


def _rp_id(logins: Logins) -> str:
    return logins.places.site.id if logins.places.site else ""


async def _list(request: Request, person_id: str, logins: Logins) -> Json:
    store = logins.access.store
    place = logins.places.at(visitor_of(request).origin)
    return {
        "items": await store.read(passkey_rows.listed, person_id),
        "next": None,
        "codes": await store.read(ways.codes_left, person_id),
        "links": not await store.read(ways.links_are_off),
        "place": {"here": place.site is not None, "why": place.why, "address": place.address},
    }
