"""The snapshot as bytes, made and encoded beside the event loop, and once for all who wait for it.

After a restart every page loads it at once. One is made at a time; who asks meanwhile gets the next, which is begun
after they asked and so holds all that they have been told of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import Connection

from melipona.api.roster import Roster, encoded
from melipona.api.services import Services
from melipona.views.hive import Place, snapshot


class Snapshots:
    """Makes snapshots for as long as the API is served."""

    def __init__(self, services: Services, roster: Roster, place: Callable[[], Place]) -> None:
        self._services, self._roster, self._place = services, roster, place
        self._running: asyncio.Task[bytes] | None = None
        self._next: asyncio.Task[bytes] | None = None
        """Waits for the one that runs."""

    async def encoded(self) -> bytes:
        """Everything of this moment, as JSON."""
        if self._next is None:
            self._next = asyncio.create_task(self._make(self._running), name="snapshot")
        return await asyncio.shield(self._next)

    async def _make(self, before: asyncio.Task[bytes] | None) -> bytes:
        if before is not None and not before.done():
            await asyncio.wait((before,))
        self._running, self._next = self._next, None
        return await self._services.store.read(self._look)

    def _look(self, c: Connection) -> bytes:
        return encoded(snapshot(c, self._place(), self._roster.statuses))
