"""Agents with their derived states, for the routes: rows from the store, states from `turns/status.py`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from melipona.api.services import Services
from melipona.ids import AgentId
from melipona.store.engine import now
from melipona.turns.status import Status, derive, facts
from melipona.views.agents import AGENTS_PAGE, AgentDetail, agent_row, agent_rows, agent_views, list_agents


class Roster:
    """Shows agents."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @property
    def day(self) -> str:
        """The operator's present local day."""
        return self._services.facts.limits().day

    def statuses(self, c: Connection, ids: Sequence[str] | None = None) -> Mapping[str, Status]:
        """The status of every agent that is not purged, by name, or of those with these ids."""
        sources, at = self._services.facts, now(c)
        found = facts(c, at, sources.cap, limits=sources.limits(), process=sources.process(), among=ids)
        return {each.name: derive(each, at) for each in found}

    async def page(self, *, gone: bool = False, limit: int = AGENTS_PAGE, following: str | None = None) -> bytes:
        """A page of agents by name, as JSON; tombstones too with `gone`. Made and encoded beside the event loop."""

        def look(c: Connection) -> bytes:
            return encoded(list_agents(c, self.statuses, self.day, gone=gone, limit=limit, following=following))

        return await self._services.store.read(look)

    async def states(self) -> Counter[str]:
        """How many agents are in each state, tombstones too; read by pages, so that no read takes long."""
        states: Counter[str] = Counter()
        following: str | None = None
        while True:
            found, following = await self._services.store.read(self._states, following)
            states.update(found)
            if following is None:
                return states

    def _states(self, c: Connection, following: str | None) -> tuple[Counter[str], str | None]:
        rows, after = agent_rows(c, gone=True, following=following)
        statuses = self.statuses(c, [row.id for row in rows])
        return Counter(str(status.state) for status in statuses.values()), after

    async def one(self, name: str) -> AgentDetail:
        """One agent, tombstones included.

        Raises:
            NotFound: there is none.
        """

        def look(c: Connection) -> AgentDetail:
            [view] = agent_views(c, [agent_row(c, name)], self.statuses, self.day)
            folder = self._services.work_folder(AgentId(view["id"]))
            return {**view, "work_folder": str(folder), "limits": self._services.limits()}

        return await self._services.store.read(look)


def encoded(value: object) -> bytes:
    """JSON as the API writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
