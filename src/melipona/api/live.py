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
Write = Callable[[bytes], bool]
"""Writes a piece of a stream; False while the connection takes no more."""


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
        self._loop = asyncio.get_running_loop()
        self._write: Write | None = None
        self._after = 0
        self._sending = False
        """Its task sends what it took; whatever comes meanwhile must come after that."""
        self._over = False

    def flow(self, write: Write, after: int) -> None:
        """From now on have what is given written by `write`, without events up to `after`, past its task: to wake 500
        of them costs more than to write. What `write` does not take, the task takes."""
        self._write, self._after = write, after

    def give(self, number: int, data: bytes) -> None:
        """Queue bytes for it; past the bound it is closed."""
        if self.deaf or self._over:
            return
        if len(self._waiting) >= QUEUE:
            self.close()
            return
        self._waiting.append((number, data))
        if self._write is None:
            self._news.set()
        elif len(self._waiting) == 1:  # else it is on its way
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write all that waits, joined, once a turn of the loop."""
        if self._write is None or self._over or not self._waiting:
            return
        joined = self._joined(self._after)
        if self._sending or (joined and not self._write(joined)):
            self._news.set()
        else:
            self._waiting.clear()

    async def taken(self, after: int) -> bytes:
        """Wait for news and take all of it, without events up to `after`; may be empty. The next call says that it is
        sent."""
        self._sending = False
        await self._news.wait()
        self._news.clear()
        joined = self._joined(after)
        self._waiting.clear()
        self._sending = bool(joined)
        return joined

    def _joined(self, after: int) -> bytes:
        return b"".join(data for number, data in self._waiting if number == 0 or number > after)

    def end(self) -> None:
        """Nothing more is written."""
        self._over = True
        self._waiting.clear()

    def close(self) -> None:
        """End its stream."""
        self.end()
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

    async def check(self, client: Client) -> None:
        """Close a client whose login ended after it was let in and before it was added: it missed the event."""
        if not await self._access.goes_on(client.by):
            client.close()

    def remove(self, client: Client) -> None:
        """It has gone."""
        client.end()
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
                for by in {client.by for client in self._clients}:
                    if not await self._access.goes_on(by):
                        self._close(lambda other, by=by: other == by)
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
        if event.kind in ("session.revoked", "session.renewed", "token.revoked"):
            self._close(lambda by: by.login == subject)
        elif event.kind == "person.role_changed":
            self._close(lambda by: by.person == subject)

    def _close(self, which: Callable[[OperatorPrincipal], bool]) -> None:
        for client in tuple(self._clients):
            if which(client.by):
                client.close()
