"""Turns over HTTP: list, one, interrupt. The live stream of a turn stands with the other streams in `api/`."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import APIRouter

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


def turn_routes(store: Store, turns: Interrupts) -> APIRouter:
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

    del every_turn, turn, turns_of_agent, interrupt
    return router
