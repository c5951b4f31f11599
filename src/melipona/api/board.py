"""What a page shows of the hive as a whole, kept current: changed rows are pushed beside the events (DB-2, I-37).

A row of the roster follows from many things: mail, money, a slot that another agent gave back, a time that has come.
So the whole view is made afresh after a burst of events, compared with what was published, and what differs goes out,
encoded once for all. Each row is kept with the number of the newest event that it was made at: a client that comes
back names the last event it saw and gets the rows that are not older. Nothing runs while nobody looks.

A hive of more agents than a page holds is not looked at as a whole each time: those that events named and those that
have a box are, and of the others a page, in turn, until all were seen since the last event.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from sqlalchemy import Connection

from melipona.api.live import Broadcaster, Client
from melipona.api.roster import Roster
from melipona.api.services import Services
from melipona.store.engine import Event
from melipona.views.agents import AGENTS_PAGE, agent_views, some_agents
from melipona.views.hive import Place, StateView, snapshot

SOONEST_SECONDS = 0.1
"""Between two looks."""
SHARE = 10
"""A look is followed by a pause so many times as long as its work: about a tenth of a core goes into it at most."""
LATEST_SECONDS = 2.0
"""But no page waits longer than this for a change."""
BUSY_SECONDS = 1.0
"""The next look while a turn runs: which tool is in flight is no event."""
QUIET_SECONDS = 10.0
NAMED_MOST = 5000
"""Agents that are remembered to have changed."""
HIVE_KEYS = ("mail", "turns", "operations", "spent", "checked")


@dataclass(slots=True)
class _Row:
    data: str | None
    """JSON; None when the agent is gone."""
    version: int


@dataclass(frozen=True, slots=True)
class _Look:
    """The hive at one moment, encoded."""

    event: int
    agents: dict[str, str]
    hive: str
    busy: bool
    """A turn runs."""
    work_seconds: float
    """Of a processor, not of the clock: on a busy machine pages must not wait the longer for it."""
    after: str | None
    """The name after which its page of agents begins."""
    seen: str | None
    """The last name of that page, None when no page follows."""
    named: frozenset[str]

    @property
    def whole(self) -> bool:
        """Every agent was looked at."""
        return self.after is None and self.seen is None

    def covers(self, name: str) -> bool:
        """Whether an agent of this name that was not found is not there."""
        in_page = (self.after is None or name > self.after) and (self.seen is None or name <= self.seen)
        return in_page or name in self.named


@dataclass(slots=True)
class Board:
    """The published rows. `run` must run as long as clients are served."""

    services: Services
    broadcaster: Broadcaster
    roster: Roster
    place: Callable[[], Place]
    _agents: dict[str, _Row] = field(default_factory=dict[str, _Row])
    _hive: _Row = field(default_factory=lambda: _Row(None, 0))
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _named: set[str] = field(default_factory=set[str])
    """Agents that events named since the last look, also while nobody looked."""
    _seen: str | None = None
    """Where the next page of a large hive begins."""
    _left: int = 0
    """Pages to look at until every agent was seen since the last event."""

    def join(self, client: Client, after: int) -> None:
        """From now on `client`, whose snapshot or last event has the number `after`, gets what changes."""
        client.rows = True
        known = {name: row for name, row in self._agents.items() if row.version >= after}
        hive = self._hive.data if self._hive.version >= after else None
        if known or hive is not None:
            client.give(0, _message(after, known, hive))
        self._news.set()  # what changed while nobody looked is not published yet

    async def run(self) -> None:
        """Publish changes until cancelled."""
        end = self.services.store.subscribe(self._on_events)
        pause = QUIET_SECONDS
        try:
            while True:
                await self._until_wanted(pause)
                look = await self._publish()
                await anyio.sleep(min(LATEST_SECONDS, max(SOONEST_SECONDS, SHARE * look.work_seconds)))
                pause = BUSY_SECONDS if look.busy or self._left else QUIET_SECONDS
        finally:
            end()

    async def _until_wanted(self, pause: float) -> None:
        """Wait for news; while somebody looks, at most `pause` seconds, because time itself changes rows."""
        watched = any(client.rows for client in self.broadcaster.clients)
        with anyio.move_on_after(pause if watched else None):
            await self._news.wait()
        self._news.clear()

    def _on_events(self, events: Sequence[Event]) -> None:
        if self._agents:
            self._named.update(event.agent for event in events if event.agent is not None)
        if len(self._named) > NAMED_MOST:  # all are looked at anyway, page by page
            self._named.clear()
        if events and any(client.rows for client in self.broadcaster.clients):
            self._news.set()

    async def _publish(self) -> _Look:
        """Look, and send what differs from what was sent."""
        after, named = self._seen, sorted(self._named)[:AGENTS_PAGE]
        self._named.difference_update(named)
        running = tuple(self.services.facts.process())
        look = await self.services.store.read(self._look, after, named, running)
        self._seen = look.seen
        self._left = 0 if look.whole else len(self._agents) // AGENTS_PAGE + 1 if named else max(0, self._left - 1)
        changed = {
            name: _Row(data, look.event)
            for name, data in look.agents.items()
            if (known := self._agents.get(name)) is None or known.data != data
        }
        for name, row in self._agents.items():
            if name not in look.agents and row.data is not None and look.covers(name):
                changed[name] = _Row(None, look.event)
        self._agents |= changed
        hive = look.hive if look.hive != self._hive.data else None
        if hive is not None:
            self._hive = _Row(hive, look.event)
        if changed or hive is not None:
            message = _message(look.event, changed, hive)
            for client in tuple(self.broadcaster.clients):
                if client.rows:
                    client.give(0, message)
        return look

    def _look(self, c: Connection, after: str | None, named: Sequence[str], running: Sequence[str]) -> _Look:
        began = time.thread_time()
        place = self.place()
        view = snapshot(c, place, self.roster.statuses, following=after)
        seen = view["agents_next"]
        agents = {agent["name"]: _encoded(agent) for agent in view["agents"]}
        if after is not None or seen is not None:  # a large hive: also what is likely to have changed
            rows = [row for row in some_agents(c, names=named, ids=running) if row.name not in agents]
            more = agent_views(c, rows, self.roster.statuses, place.day)
            agents |= {agent["name"]: _encoded(agent) for agent in more}
        hive = _encoded(rest_of(view))
        work = time.thread_time() - began
        return _Look(view["event"], agents, hive, view["turns"] > 0, work, after, seen, frozenset(named))


def rest_of(view: StateView) -> dict[str, Any]:
    """What is pushed of a snapshot besides its agents. How many bytes are free changes all the time and is left out."""
    disk = view["disk"]
    level = None if disk is None else {"level": disk["level"], "detail": disk["detail"]}
    return {key: view[key] for key in HIVE_KEYS} | {"disk": level}


def _message(event: int, agents: dict[str, _Row], hive: str | None) -> bytes:
    """Whole rows, names of agents that are gone, and the rest of the snapshot if it changed; no id: it is no event."""
    there = ",".join(row.data for row in agents.values() if row.data is not None)
    gone = _encoded([name for name, row in agents.items() if row.data is None])
    data = f'{{"event":{event},"agents":[{there}],"gone":{gone},"hive":{hive or "null"}}}'
    return b"event: rows\ndata: %s\n\n" % data.encode("utf-8", "replace")


def _encoded(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
