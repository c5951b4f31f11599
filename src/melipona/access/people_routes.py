"""People over HTTP: for admins."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from melipona.access import people
from melipona.access.logins import Logins
from melipona.access.passkey_routes import StepUpHeader, visitor_in
from melipona.access.step_up import Decision
from melipona.principals import Role
from melipona.views.request import Asker, room_router


class NewPerson(BaseModel):
    """Somebody who may come in from now on."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=32, description="1 to 32 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter.")
    role: Role = Role.VIEWER


class PersonChanges(BaseModel):
    """Changes of a person; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    disabled: bool | None = Field(default=None, description="True ends their sessions, links and tokens at once.")


class PersonView(TypedDict):
    """Somebody who may come in."""

    name: str
    role: str
    owner: bool
    created_at: str
    disabled_at: str | None


class People(TypedDict):
    """Everybody."""

    items: list[PersonView]
    next: None


def people_routes(logins: Logins) -> APIRouter:
    """The routes of people."""
    router = room_router("people")
    store, step_up = logins.access.store, logins.step_up

    @router.get("/people", response_model=People)
    async def everybody() -> Any:
        """Everybody by name, the disabled ones too."""
        found = await store.read(people.everybody)
        return {"items": [people.view(person) for person in found], "next": None}

    @router.post("/people", status_code=201, response_model=PersonView)
    async def add(request: Request, new: NewPerson, by: Asker, confirmed: StepUpHeader = None) -> Any:
        """Let somebody in. They need a way in: `POST /login-links` with their name. Needs step-up."""
        about = {"person": new.name, "role": new.role.value}
        decision = Decision("person:add", f"Let {new.name} in as {new.role.value}", about)
        await step_up.require(by, decision, confirmed, visitor_in(request))
        return people.view(await store.reserved.write(people.add, new.name, new.role))

    @router.patch("/people/{name}", response_model=PersonView)
    async def change(
        request: Request, name: str, changes: PersonChanges, by: Asker, confirmed: StepUpHeader = None
    ) -> Any:
        """Give somebody another role, shut them out, or let them in again. It counts at once. Needs step-up."""
        about = {"person": name, **changes.model_dump(mode="json")}
        decision = Decision("person:change", f"Change what {name} may", about)
        await step_up.require(by, decision, confirmed, visitor_in(request))
        if changes.role is not None:
            await store.reserved.write(people.set_role, name, changes.role)
        if changes.disabled is True:
            await store.reserved.write(people.disable, name)
        elif changes.disabled is False:
            await store.reserved.write(people.enable, name)
        return people.view(await store.read(people.named, name))

    del everybody, add, change
    return router
