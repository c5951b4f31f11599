"""What a page shows of the hive as a whole, kept current: changed rows are pushed beside the events (DB-2, I-37).

A row of the roster follows from many things: mail, money, a slot that another agent gave back, a time that has come.
So the whole view is made afresh after a burst of events, compared with what was published, and what differs goes out,
encoded once for all. Each row is kept with the number of the newest event that it was made at: a client that comes
back names the last event it saw and gets the rows that are not older. Nothing runs while nobody looks.
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
                pause = BUSY_SECONDS if look.busy else QUIET_SECONDS
        finally:
            end()

    async def _until_wanted(self, pause: float) -> None:
        """Wait for news; while somebody looks, at most `pause` seconds, because time itself changes rows."""
        watched = any(client.rows for client in self.broadcaster.clients)
        with anyio.move_on_after(pause if watched else None):
            await self._news.wait()
        self._news.clear()

    def _on_events(self, events: Sequence[Event]) -> None:
        if events and any(client.rows for client in self.broadcaster.clients):
            self._news.set()

    async def _publish(self) -> _Look:
        """Look, and send what differs from what was sent."""
        look = await self.services.store.read(self._look)
        changed = {
            name: _Row(data, look.event)
            for name, data in look.agents.items()
            if (known := self._agents.get(name)) is None or known.data != data
        }
        for name, row in self._agents.items():
            if name not in look.agents and row.data is not None:
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

    def _look(self, c: Connection) -> _Look:
        began = time.thread_time()
        view = snapshot(c, self.place(), self.roster.statuses)
        agents = {agent["name"]: _encoded(agent) for agent in view["agents"]}
        hive = _encoded(rest_of(view))
        work = time.thread_time() - began
        return _Look(view["event"], agents, hive, busy=view["turns"] > 0, work_seconds=work)


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
