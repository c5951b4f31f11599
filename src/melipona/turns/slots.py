"""The hive's slots for running turns: a cap, and turns that give theirs back while they wait in `receive`.

The rows are the truth: a turn in state `running` holds a slot. In memory there is only the order of those who want
theirs back; they come before new turns (D-19). After a daemon restart the parked calls are made again by boxd's relay
and park again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import Connection

from melipona.clock import later
from melipona.ids import AgentId
from melipona.store.engine import Event, Store
from melipona.turns import store as rows
from melipona.turns.model import OpenTurn, TurnState

LOOK_AGAIN = timedelta(seconds=5)
"""A lost notification costs this much."""


class ParkedCall:
    """A call that waits for news of its agent (`tool.Park`)."""

    def __init__(self, news: asyncio.Event, until: float) -> None:
        self._news, self._until = news, until

    async def changed(self) -> bool:
        """Wait for news; False when the time is up."""
        left = self._until - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        try:
            async with asyncio.timeout(min(left, LOOK_AGAIN.total_seconds())):
                await self._news.wait()
        except TimeoutError:
            return asyncio.get_running_loop().time() < self._until
        self._news.clear()
        return True


class Slots:
    """Who may run. `cap` is the number of turns that run at once in the whole hive."""

    def __init__(self, store: Store, cap: int, epoch: int) -> None:
        self._store, self.cap, self._epoch = store, cap, epoch
        self._returning: deque[asyncio.Event] = deque()
        self.wanting: set[AgentId] = set()
        """Agents whose parked turn has news and waits for a slot."""
        self._news: dict[str, set[asyncio.Event]] = {}
        self.freed = asyncio.Event()
        """Set when a slot may have become free; the turn loop waits for it."""
        store.subscribe(self._on_events)

    @property
    def wanted_back(self) -> int:
        """How many parked turns stand before all new ones."""
        return len(self._returning)

    @asynccontextmanager
    async def parked(self, agent: AgentId, seconds: float) -> AsyncGenerator[ParkedCall]:
        """Give the slot of the agent's turn back while inside; leave with a slot again."""
        turn = await self._store.read(rows.open_turn_of, agent)
        news = asyncio.Event()
        name = turn.agent if turn else ""
        self._news.setdefault(name, set()).add(news)
        if turn is not None:
            until = later(self._store.clock.now(), timedelta(seconds=seconds))
            await self._store.write_when_possible(rows.set_state, turn.id, self._epoch, TurnState.WAITING, until=until)
        try:
            yield ParkedCall(news, asyncio.get_running_loop().time() + seconds)
        finally:
            waiting = self._news.get(name, set())
            waiting.discard(news)
            if not waiting:
                self._news.pop(name, None)
            if turn is not None:
                await asyncio.shield(self._take_back(turn))

    async def _take_back(self, turn: OpenTurn) -> None:
        mine = asyncio.Event()
        self._returning.append(mine)
        self.wanting.add(turn.agent_id)
        try:
            while not await self._store.write_when_possible(self._try_take, turn, first=self._returning[0] is mine):
                mine.clear()
                try:
                    async with asyncio.timeout(LOOK_AGAIN.total_seconds()):
                        await mine.wait()
                except TimeoutError:
                    pass
        finally:
            self._returning.remove(mine)
            self.wanting.discard(turn.agent_id)
            self._pass_on()

    def _try_take(self, c: Connection, turn: OpenTurn, *, first: bool) -> bool:
        """True when the turn runs again, or has ended meanwhile."""
        found = rows.open_turn_of(c, turn.agent_id)
        if found is None or found.id != turn.id or found.state is TurnState.RUNNING:
            return True
        if not first or rows.running(c) >= self.cap:
            return False
        return rows.set_state(c, turn.id, self._epoch, TurnState.RUNNING)

    def _pass_on(self) -> None:
        if self._returning:
            self._returning[0].set()
        else:
            self.freed.set()

    def _on_events(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind in ("turn.ended", "turn.waiting"):
                self._pass_on()
            elif event.kind in ("message.sent", "message.given_back", "message.retried") and event.agent in self._news:
                for news in self._news[event.agent]:
                    news.set()
