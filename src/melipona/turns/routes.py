"""Turns over HTTP: list, one, interrupt. The live stream of a turn stands with the other streams in `api/`."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter
from typing_extensions import TypedDict

from melipona.ids import AgentName, agent_name
from melipona.principals import Principal
from melipona.store.engine import Store
from melipona.views.agents import agent_id
from melipona.views.request import LIMIT_DEFAULT, Asker, Following, Limit, room_router, turn_number
from melipona.views.turns import Turns, TurnView, list_turns, one_turn


class Interrupts(Protocol):
    """The part of the turn service that people call."""

    async def interrupt(self, by: Principal, name: AgentName) -> object:
        """Ask the agent's running turn to stop."""
        ...


class Controls(Protocol):
    """What people ask of an agent's conversation."""

    async def compact(self, by: Principal, name: AgentName) -> object:
        """Compact it."""
        ...

    async def new_session(self, by: Principal, name: AgentName) -> object:
        """Begin another."""
        ...

    async def take_back(self, by: Principal, name: AgentName) -> object:
        """Neither, after all."""
        ...


class AskedFor(TypedDict):
    """An operation that was asked for; the agent's `pending` shows it until it is over."""

    name: str
    operation: str


def turn_routes(store: Store, turns: Interrupts, controls: Controls) -> APIRouter:
    """The routes of this room."""
    router = room_router("turns")

    @router.get("/turns", response_model=Turns)
    async def every_turn(limit: Limit = LIMIT_DEFAULT, following: Following = None) -> Any:
        """Turns of all agents, newest first."""
        return await store.read(list_turns, limit=limit, following=following)

    @router.get("/turns/{turn}", response_model=TurnView)
    async def turn(turn: str) -> Any:
        """One turn, by `7` or `t7`."""
        return await store.read(one_turn, turn_number(turn))

    @router.get("/agents/{name}/turns", response_model=Turns)
    async def turns_of_agent(name: str, limit: Limit = LIMIT_DEFAULT, following: Following = None) -> Any:
        """Turns of one agent, newest first."""
        agent = await store.read(agent_id, name)
        return await store.read(list_turns, limit=limit, following=following, agent_id=agent)

    @router.post("/agents/{name}/interrupt", status_code=202, response_model=dict[str, str])
    async def interrupt(name: str, by: Asker) -> Any:
        """Ask the agent's running turn to stop; its mail is given back and waits for the operator (D-18)."""
        await turns.interrupt(by, agent_name(name))
        return {"name": name}

    @router.post("/agents/{name}/compact", status_code=202, response_model=AskedFor)
    async def compact(name: str, by: Asker) -> Any:
        """Compact the agent's conversation: at once when it is idle, else when its turn ends, before more mail."""
        return {"name": name, "operation": await controls.compact(by, agent_name(name))}

    @router.post("/agents/{name}/new-session", status_code=202, response_model=AskedFor)
    async def new_session(name: str, by: Asker) -> Any:
        """Have the agent's next turn begin a new conversation. Its files, notes and mail stay."""
        return {"name": name, "operation": await controls.new_session(by, agent_name(name))}

    @router.post("/agents/{name}/take-back", status_code=202, response_model=AskedFor)
    async def take_back(name: str, by: Asker) -> Any:
        """Take back a compaction or a new session that waits for the agent's turn to end."""
        return {"name": name, "operation": await controls.take_back(by, agent_name(name))}

    del every_turn, turn, turns_of_agent, interrupt, compact, new_session, take_back
    return router
