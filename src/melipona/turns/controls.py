"""What a person may ask of an agent's conversation: compact it, begin a new one, or neither after all (HN-4, HN-7).

Each writes a row and returns; the turn loop acts when the agent is between two turns (`control_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.agents.lifecycle import take_back
from melipona.agents.model import Agent, Wish
from melipona.engines.engine import EngineDriver
from melipona.errors import Conflict, Refused
from melipona.ids import AgentName, OperationId
from melipona.operations.model import COMPACTING, RENEWING
from melipona.operations.service import Operations
from melipona.principals import AgentPrincipal, Principal
from melipona.store.engine import Store
from melipona.turns import store as turn_rows

Engines = Callable[[], Mapping[str, EngineDriver]]


class Controls:
    """Controls of agents' conversations. `engines` gives the drivers of this daemon."""

    def __init__(self, store: Store, operations: Operations, engines: Engines) -> None:
        self._store, self._operations, self._engines = store, operations, engines

    async def compact(self, by: Principal, name: AgentName) -> OperationId:
        """Have the agent's engine compact its conversation when no turn of it runs; what is in flight now.

        Raises:
            NotFound: no such agent. Refused: an agent asks, or its engine cannot.
            Conflict: it is stopped or gone, has no conversation yet, or something else of it is in flight.
        """
        return await self._store.write(self._compact, by, name)

    async def new_session(self, by: Principal, name: AgentName) -> OperationId:
        """Have the agent's next turn begin a new conversation; its files and mail stay.

        Raises:
            NotFound: no such agent. Refused: an agent asks.
            Conflict: it is gone, has no conversation yet, or something else of it is in flight.
        """
        return await self._store.write(self._renew, by, name)

    async def take_back(self, by: Principal, name: AgentName) -> OperationId:
        """Take back a compaction or a new session that has not begun.

        Raises:
            NotFound: no such agent. Refused: an agent asks. Conflict: there is none, or it runs already.
        """
        return await self._store.reserved.write(self._take_back, by, name)

    def _compact(self, c: Connection, by: Principal, name: AgentName) -> OperationId:
        agent = _with_session(c, by, name)
        if agent.wish is Wish.STOPPED:
            raise Conflict(f'agent "{name}" is stopped', remedy=f"mel agent start {name}", code="stopped")
        driver = self._engines().get(agent.engine)
        if driver is None or driver.compact_line() is None:
            raise Refused(
                f"the engine {agent.engine} cannot compact a conversation",
                remedy=f"mel agent new-session {name} begins another one",
                code="engine_cannot",
            )
        return self._operations.begin(c, COMPACTING, agent.id, by).id

    def _renew(self, c: Connection, by: Principal, name: AgentName) -> OperationId:
        return self._operations.begin(c, RENEWING, _with_session(c, by, name).id, by).id

    def _take_back(self, c: Connection, by: Principal, name: AgentName) -> OperationId:
        agent = _asked_by_person(c, by, name)
        turn = turn_rows.open_turn_of(c, agent.id)
        if turn is not None and turn.compacts:
            raise Conflict(f'agent "{name}" is compacting already', remedy=f"mel interrupt {name}", code="begun")
        taken = take_back(c, agent.id, f"by {by.name}")
        if taken is None:
            raise Conflict(f'nothing waits that could be taken back from agent "{name}"', code="nothing_waits")
        return taken.id


def _asked_by_person(c: Connection, by: Principal, name: AgentName) -> Agent:
    if isinstance(by, AgentPrincipal):
        raise Refused("only the operator may do that", remedy="ask the operator by mail", code="operator_only")
    agent = agent_rows.named(c, name)
    if not agent.alive:
        raise Conflict(
            f'agent "{name}" was destroyed', remedy=f"`mel agent new {name}` brings it back", code="tombstone"
        )
    return agent


def _with_session(c: Connection, by: Principal, name: AgentName) -> Agent:
    agent = _asked_by_person(c, by, name)
    if agent.session is None and turn_rows.open_turn_of(c, agent.id) is None:
        raise Conflict(
            f'agent "{name}" has no conversation yet',
            remedy="its first turn begins one",
            code="no_session",
        )
    return agent
