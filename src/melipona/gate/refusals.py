"""Writes down what agents asked of the model API and did not get, so that the operator sees it, within bounds.

An agent chooses how often it is refused, so it could fill the store with events: only so many a minute are recorded.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from melipona.agents import store as agents
from melipona.budgets.model import BudgetSpent
from melipona.budgets.service import Budgets
from melipona.clock import Clock
from melipona.gate.table import FieldRefused
from melipona.principals import AgentPrincipal
from melipona.store import events
from melipona.store.engine import Store
from melipona.text import visible

A_MINUTE = 20
UPSTREAM_A_MINUTE = 60
"""Calls of one agent that the upstream may refuse within a minute: they cost nothing, but each is a row (T35)."""
SHOWN = 200
BETA_NAMES = 200


class Refusals:
    """The record of refusals. `dropped_betas` counts what was taken out of `anthropic-beta`."""

    def __init__(self, store: Store, budgets: Budgets, clock: Clock) -> None:
        self._store, self._budgets, self._clock = store, budgets, clock
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._upstream: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=UPSTREAM_A_MINUTE))
        self._priced: set[str] = set()
        self.dropped_betas: Counter[str] = Counter()

    async def field(self, agent: AgentPrincipal, refused: FieldRefused) -> None:
        """A field, model, tool type or the like that is not on the table."""
        await self._event(agent, "model.field_refused", {"field": refused.field, "setting": refused.setting})

    async def route(self, agent: AgentPrincipal, method: str, path: str) -> None:
        """A method and path that are not on the table."""
        await self._event(agent, "model.refused", {"reason": "route", "method": method, "path": path})

    async def no_key(self, agent: AgentPrincipal) -> None:
        """The hive has no key."""
        await self._trouble(agent, "no_key", "the hive has no key for the model API")

    async def key_refused(self, agent: AgentPrincipal, status: int) -> None:
        """The upstream refused the hive's key."""
        await self._trouble(agent, "login_expired", f"the model API refused the hive's key (status {status})")

    async def spent(self, agent: AgentPrincipal, spent: BudgetSpent) -> None:
        """A budget is spent; one event a day and agent."""
        if self._room(agent):
            await self._store.reserved.write(self._budgets.record_spent, agent.name, spent)

    async def key_seen(self, agent: AgentPrincipal) -> None:
        """The upstream sent the key back; it was taken out."""
        await self._event(agent, "model.refused", {"reason": "key_in_answer"})

    async def price_unknown(self, agent: AgentPrincipal, model: str) -> None:
        """A model is not in the price list and costs as the dearest one; told once in a daemon's life."""
        if model not in self._priced and len(self._priced) < A_MINUTE:
            self._priced.add(model)
            await self._event(agent, "model.price_unknown", {"model": model, "costs_as": "the dearest model"})

    def by_upstream(self, agent: AgentPrincipal) -> None:
        """The upstream refused a call."""
        self._upstream[agent.id].append(self._clock.monotonic())

    def too_often(self, agent: AgentPrincipal) -> bool:
        """Whether the upstream refused so much of that agent within a minute that nothing more goes there now."""
        recent = self._upstream[agent.id]
        return len(recent) == UPSTREAM_A_MINUTE and recent[0] > self._clock.monotonic() - 60

    def betas(self, dropped: list[str]) -> None:
        """Count dropped beta values."""
        for name in dropped:
            known = name in self.dropped_betas or len(self.dropped_betas) < BETA_NAMES
            self.dropped_betas[name[:SHOWN] if known else "(more)"] += 1

    async def _trouble(self, agent: AgentPrincipal, code: str, detail: str) -> None:
        if self._room(agent):
            await self._store.reserved.write(agents.set_trouble, agent.id, code, detail)

    async def _event(self, agent: AgentPrincipal, kind: str, data: Mapping[str, Any]) -> None:
        if self._room(agent):
            shown = {k: visible(v[:SHOWN], lines=False) if isinstance(v, str) else v for k, v in data.items()}
            await self._store.reserved.write(_record, kind, agent.name, shown)

    def _room(self, agent: AgentPrincipal) -> bool:
        recent, at = self._recent[agent.id], self._clock.monotonic()
        while recent and recent[0] < at - 60:
            recent.popleft()
        if len(recent) >= A_MINUTE:
            return False
        recent.append(at)
        return True


def _record(c: Connection, kind: str, agent: str, data: Mapping[str, Any]) -> None:
    events.record(c, kind, agent=agent, by=agent, data=data)
