"""Agents with their derived states, for the routes: rows from the store, states from `turns/status.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from melipona.api.services import Services
from melipona.ids import AgentId
from melipona.store.engine import now
from melipona.turns.status import Status, derive, facts
from melipona.views.agents import AgentDetail, Facts, agent_row, agent_view, list_agents


class Roster:
    """Shows agents."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def day(self) -> str:
        """The operator's present local day."""
        return self._services.facts.limits().day

    def statuses(self, c: Connection) -> Mapping[str, Status]:
        """The status of every agent that is not purged, by name."""
        sources, at = self._services.facts, now(c)
        found = facts(c, at, sources.cap, limits=sources.limits(), process=sources.process())
        return {each.name: derive(each, at) for each in found}

    async def all(self, *, gone: bool = False) -> dict[str, Any]:
        """Every agent by name; tombstones too with `gone`."""

        def look(c: Connection) -> dict[str, Any]:
            return list_agents(c, self.statuses(c), self.day, gone=gone)

        return await self._services.store.read(look)

    async def one(self, name: str) -> AgentDetail:
        """One agent, tombstones included.

        Raises:
            NotFound: there is none.
        """

        def look(c: Connection) -> AgentDetail:
            view = agent_view(agent_row(c, name), Facts(c, self.day), self.statuses(c)[name])
            folder = self._services.work_folder(AgentId(view["id"]))
            return {**view, "work_folder": str(folder), "limits": self._services.limits()}

        return await self._services.store.read(look)
