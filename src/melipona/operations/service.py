"""Holding an operation: the row begins and ends with a block of code, whichever way that ends (TG-2, invariant 31)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from anyio import move_on_after
from sqlalchemy import Connection

from melipona.errors import MeliponaError
from melipona.ids import AgentId, EpochId, OperationId, new_id
from melipona.operations import store as ops
from melipona.operations.model import Operation
from melipona.principals import Principal
from melipona.store.engine import Store

FINISH_SECONDS = 10.0
"""How long the end of a cancelled block may take. A row that could not be ended is taken over at the next start."""


class Operations:
    """Operations of one life of a daemon, known by its epoch and host."""

    def __init__(self, store: Store, epoch: EpochId, host: str) -> None:
        self._store = store
        self.epoch = epoch
        self.host = host

    @asynccontextmanager
    async def hold(
        self, kind: str, agent_id: AgentId | None, by: Principal, *, detail: str | None = None
    ) -> AsyncGenerator[OperationId]:
        """Have `kind` in flight inside the block. Its row ends on return, exception and cancellation alike.

        Raises:
            Conflict: another operation of the agent is in flight.
        """
        identifier = OperationId(new_id())
        error: str | None = "it never began"
        try:
            # The id is known beforehand: a cancellation while the row is on its way still ends the row.
            await self._store.write(self._begin, identifier, kind, agent_id, by, detail)
            error = "it was cancelled"
            yield identifier
            error = None
        except Exception as failure:
            error = failure.message if isinstance(failure, MeliponaError) else f"{type(failure).__name__}: {failure}"
            raise
        finally:
            with move_on_after(FINISH_SECONDS, shield=True):
                await self._store.reserved.write(ops.finish, identifier, error=error)

    def begin(
        self, c: Connection, kind: str, agent_id: AgentId | None, by: Principal, *, detail: str | None = None
    ) -> Operation:
        """Begin inside another transaction; a reconciler ends it with `finish`."""
        return self._begin(c, OperationId(new_id()), kind, agent_id, by, detail)

    def finish(self, c: Connection, identifier: OperationId, *, error: str | None = None) -> bool:
        """End a running operation; False when it had ended already."""
        return ops.finish(c, identifier, error=error)

    def takeover(self, c: Connection) -> list[Operation]:
        """Settle what older epochs left; what is returned is this daemon's to go on with."""
        return ops.takeover(c, self.epoch)

    def running(self, c: Connection) -> list[Operation]:
        """All that is in flight, oldest first."""
        return ops.running(c)

    def _begin(
        self,
        c: Connection,
        identifier: OperationId,
        kind: str,
        agent_id: AgentId | None,
        by: Principal,
        detail: str | None,
    ) -> Operation:
        return ops.begin(c, identifier, kind, agent_id, by=by.name, epoch=self.epoch, host=self.host, detail=detail)
