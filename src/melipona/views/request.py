"""What the routes of all rooms share: their router, who asks, and the parameters of lists. Only routes import it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from melipona.ids import numbered
from melipona.principals import OperatorPrincipal
from melipona.views.page import LIMIT, LIMIT_MAX

PREFIX = "/api/v1"
PROBLEM_TYPE = "application/problem+json"
ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem document.",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


def room_router(tag: str) -> APIRouter:
    """A router whose routes are whole: they go into the application as they are (`create_app`).

    Included by `include_router` each would be built a second time, with all its models: a third of a daemon's start.
    """
    return APIRouter(prefix=PREFIX, tags=[tag], responses=ERRORS)


PRINCIPAL = "melipona.principal"
"""Key of the request's scope under which the guard puts who asks; nothing in a request can change it."""
VISITOR = "melipona.visitor"
"""The same for who is at the other end of a request over TCP."""


def _asker(request: Request) -> OperatorPrincipal:
    principal = request.scope[PRINCIPAL]
    assert isinstance(principal, OperatorPrincipal)
    return principal


Asker = Annotated[OperatorPrincipal, Depends(_asker)]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Most items of one page.")]
NUMBER_MOST = 10**18
"""What a row can hold; a larger number is a mistake of whoever sends it, and no bug of ours."""
Number = Annotated[int, Field(ge=0, le=NUMBER_MOST)]
Following = Annotated[Number | None, Query(alias="next", description="`next` of the page before.")]
LIMIT_DEFAULT = LIMIT


def message_number(text: str) -> int:
    """`12` or `m12`."""
    return numbered(text, "m")


def turn_number(text: str) -> int:
    """`7` or `t7`."""
    return numbered(text, "t")
