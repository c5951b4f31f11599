"""The live stream of events: one broadcaster that encodes each event once and hands the same bytes to every client.

A client is a bounded queue. What waits in it is joined into one write; a client that cannot keep up is closed and
resumes by id (PERFORMANCE.md section 11, rule 12). A login that ends closes its streams (within a second). One timer
for all clients sends a comment now and then, so that a dead connection is noticed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence

import anyio

from melipona.access.service import Access
from melipona.principals import OperatorPrincipal
from melipona.store.engine import Event, Store
from melipona.views.events import event_json

QUEUE = 2000
"""Events that may wait for one client."""
BEAT_SECONDS = 15.0
BEAT = b":\n\n"


class Client:
    """One follower: of the events, or, when it is `deaf`, of something else that must close with its session too."""

    def __init__(
        self, by: OperatorPrincipal, scope: anyio.CancelScope, *, agent: str | None = None, deaf: bool = False
    ) -> None:
        self.by, self.agent, self.deaf, self._scope = by, agent, deaf, scope
        self.rows = False
        """It is also told what changes in the snapshot (`board.py`)."""
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._news = asyncio.Event()

    def give(self, number: int, data: bytes) -> None:
        """Queue bytes for it; past the bound it is closed."""
        if self.deaf:
            return
        if len(self._waiting) >= QUEUE:
            self.close()
            return
        self._waiting.append((number, data))
        self._news.set()

    async def taken(self, after: int) -> bytes:
        """Wait for news and take all of it, without events up to `after`; may be empty."""
        await self._news.wait()
        self._news.clear()
        joined = b"".join(data for number, data in self._waiting if number == 0 or number > after)
        self._waiting.clear()
        return joined

    def close(self) -> None:
        """End its stream."""
        self._scope.cancel()


class Broadcaster:
    """Hands committed events to all clients. `run` sends the beats and must run as long as clients are served."""

    def __init__(self, store: Store, store_id: str, access: Access) -> None:
        self.store, self.store_id = store, store_id
        self._access = access
        self._clients: set[Client] = set()
        self._end = store.subscribe(self._on_events)

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def clients(self) -> Collection[Client]:
        """Those that follow now."""
        return self._clients

    def add(self, client: Client) -> None:
        """From now on it gets every event."""
        self._clients.add(client)

    def remove(self, client: Client) -> None:
        """It has gone."""
        self._clients.discard(client)

    def encoded(self, event: Event) -> bytes:
        """An event in the form of the stream."""
        return b"id: %s-%d\ndata: %s\n\n" % (self.store_id.encode(), event.id, event_json(event).encode())

    async def run(self) -> None:
        """Beat, and close the streams of sessions that have ended by time, until cancelled."""
        try:
            while True:
                await anyio.sleep(BEAT_SECONDS)
                for client in tuple(self._clients):
                    client.give(0, BEAT)
                for method, login in {(client.by.method, client.by.login) for client in self._clients}:
                    if login is not None and not await self._access.alive(method, login):
                        self._close(lambda by, login=login: by.login == login)
        finally:
            self._end()
            for client in tuple(self._clients):
                client.close()

    def _on_events(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._clients:
                data = self.encoded(event)
                for client in tuple(self._clients):
                    if client.agent is None or client.agent == event.agent:
                        client.give(event.id, data)
            self._close_ended(event)

    def _close_ended(self, event: Event) -> None:
        """Whose login has ended, or who may do other things now, begins anew."""
        subject = event.subject
        if event.kind in ("session.revoked", "token.revoked"):
            self._close(lambda by: by.login == subject)
        elif event.kind == "person.role_changed":
            self._close(lambda by: by.person == subject)

    def _close(self, which: Callable[[OperatorPrincipal], bool]) -> None:
        for client in tuple(self._clients):
            if which(client.by):
                client.close()
