"""Tokens of programs over HTTP: made by a person's own login, shown once, listed, revoked."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from typing_extensions import TypedDict

from melipona.access.logins import Logins
from melipona.access.model import TOKEN_DAYS, TOKEN_DAYS_MOST, USUAL_SCOPES
from melipona.access.passkey_routes import StepUpHeader, visitor_in
from melipona.access.step_up import Decision
from melipona.access.tokens import list_tokens
from melipona.principals import Scope
from melipona.views.request import Asker, room_router


class NewToken(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w .@-]+$", description="What it is for.")
    scopes: set[Scope] = Field(default=set(USUAL_SCOPES), min_length=1, description="At most what you may yourself.")
    days: int = Field(default=TOKEN_DAYS, ge=1, le=TOKEN_DAYS_MOST, description="How long it is good.")


class TokenView(TypedDict):
    """A token, without its secret."""

    id: str
    name: str
    person: str
    scopes: list[str]
    created_at: str
    ends_at: str
    last_used_at: str | None
    """Written down every five minutes at most."""
    last_address: str | None


class Tokens(TypedDict):
    """Tokens that are good."""

    items: list[TokenView]
    next: None


class MadeToken(TypedDict):
    """A token that was just made."""

    token: str
    """The whole, for the header `Authorization: Bearer`; shown this once."""
    made: TokenView


def token_routes(logins: Logins) -> APIRouter:
    """The routes of tokens."""
    access = logins.access
    router = room_router("tokens")

    @router.get("/tokens", response_model=Tokens)
    async def every_token(by: Asker) -> Any:
        """Tokens that are good: everybody's for an admin, else one's own."""
        return await access.store.read(list_tokens, by)

    @router.post("/tokens", status_code=201, response_model=MadeToken)
    async def make(request: Request, new: NewToken, by: Asker, confirmed: StepUpHeader = None) -> Any:
        """Make a token of one's own. It is shown this once. Needs step-up, whatever it may: it outlives a session."""
        scopes = sorted(scope.value for scope in new.scopes)
        about = {"person": by.person, "name": new.name, "scopes": scopes, "days": new.days}
        words = f"Make the token {new.name}, which may {' and '.join(scopes)}"
        await logins.step_up.require(by, Decision("token:make", words, about), confirmed, visitor_in(request))
        text, made = await access.make_token(by, new.name, new.scopes, new.days)
        return {"token": text, "made": made}

    @router.delete("/tokens/{token}", status_code=204)
    async def end(token: str, by: Asker) -> Response:
        """Revoke a token, by its id, or one's own by its name; its streams close within a second."""
        await access.revoke_token(token, by)
        return Response(status_code=204)

    del every_token, make, end
    return router
