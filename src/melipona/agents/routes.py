"""Agents over HTTP: the registry, the verbs, the settings of one agent (LC-1, D-25)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from melipona.agents.service import Agents as AgentsService
from melipona.ids import AgentName, agent_name
from melipona.views.agents import AGENTS_PAGE, AgentDetail, Agents
from melipona.views.request import Asker, room_router

Usd = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
ATurnCount = Annotated[int, Field(ge=0, le=1_000_000)]
VERBS = ("start", "stop", "restart", "pause", "resume", "destroy", "purge")


class Roster(Protocol):
    """Shows agents with the states that are derived elsewhere."""

    async def page(self, *, gone: bool = False, limit: int = ..., following: str | None = None) -> bytes:
        """A page of agents by name, as JSON; tombstones too with `gone`."""
        ...

    async def one(self, name: str) -> AgentDetail:
        """One agent, tombstones included."""
        ...


class NewAgent(BaseModel):
    """An agent to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="1 to 32 of a-z, 0-9 and dash.")
    engine: str = Field(description="`claude` or `playbook`.")
    role: Literal["worker", "manager"] = "worker"
    model: str | None = Field(default=None, max_length=200)
    playbook: str | None = Field(default=None, description="The text of a playbook file, for the engine of that name.")
    budget_usd: Usd | None = Field(default=None, description="A day; 0 means no limit, null the default.")
    turns_per_hour: ATurnCount | None = Field(default=None, description="0 means no limit, null the default.")
    send_allow: list[str] | None = Field(default=None, description="Names it may write to; null means everybody.")


class Changes(BaseModel):
    """Changes of an agent; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, max_length=200)
    playbook: str | None = None
    budget_usd: Usd | None = None
    turns_per_hour: ATurnCount | None = None
    send_allow: list[str] | None = None
    role: Literal["worker", "manager"] | None = None


def agent_routes(agents: AgentsService, roster: Roster, check_playbook: Callable[[str], object]) -> APIRouter:
    """The routes of this room. `check_playbook` raises Invalid for a text that is no playbook (D-27)."""
    router = room_router("agents")

    @router.get("/agents", response_model=Agents)
    async def every_agent(
        gone: bool = False,
        limit: Annotated[int, Query(ge=1, le=AGENTS_PAGE, description="Most agents of one page.")] = AGENTS_PAGE,
        following: Annotated[
            str | None, Query(alias="next", max_length=64, description="`next` of the page before.")
        ] = None,
    ) -> Response:
        """Agents by name; destroyed ones whose files are kept too with `gone`."""
        return Response(await roster.page(gone=gone, limit=limit, following=following), media_type="application/json")

    @router.get("/agents/{name}", response_model=AgentDetail)
    async def one(name: str) -> Any:
        """One agent."""
        return await roster.one(name)

    @router.post("/agents", status_code=201, response_model=AgentDetail)
    async def create(new: NewAgent, by: Asker) -> Any:
        """Make an agent. It starts no process before there is mail for it."""
        options = new.model_dump(exclude={"name", "engine"}, exclude_unset=True)
        if new.playbook is not None:
            check_playbook(new.playbook)
        await agents.create(by, agent_name(new.name), new.engine, **options)
        return await roster.one(new.name)

    @router.patch("/agents/{name}", response_model=AgentDetail)
    async def change(name: str, changes: Changes, by: Asker) -> Any:
        """Change an agent."""
        if changes.playbook is not None:
            check_playbook(changes.playbook)
        await agents.set(by, agent_name(name), changes.model_dump(exclude_unset=True))
        return await roster.one(name)

    for verb in VERBS:
        _verb(router, agents, roster, verb)
    del every_agent, one, create, change
    return router


def _verb(router: APIRouter, agents: AgentsService, roster: Roster, verb: str) -> None:
    act = getattr(agents, verb)

    @router.post(
        f"/agents/{{name}}/{verb}",
        name=verb,
        description=f"{verb.capitalize()} an agent. The wish is recorded; `changing` lasts until it is so.",
        response_model=AgentDetail | dict[str, str],
        status_code=202,
    )
    async def run(name: str, by: Asker) -> Any:
        wanted: AgentName = agent_name(name)
        await act(by, wanted)
        return {"name": name} if verb in ("destroy", "purge") else await roster.one(name)

    del run
