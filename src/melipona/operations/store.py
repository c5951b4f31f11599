"""Statements of the `operations` table. Each is an operation of a connection, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, insert, select, update

from melipona.clock import Micros
from melipona.errors import Conflict
from melipona.ids import AgentId, EpochId, OperationId
from melipona.operations.model import RESUMABLE, Operation, OperationState
from melipona.store import events
from melipona.store.engine import now
from melipona.store.schema import agents, operations

_COLUMNS = tuple(operations.c[field.name] for field in fields(Operation))


def begin(
    c: Connection,
    identifier: OperationId,
    kind: str,
    agent_id: AgentId | None,
    *,
    by: str,
    epoch: EpochId,
    host: str,
    detail: str | None = None,
) -> Operation:
    """Record that `kind` is in flight for an agent (or, with None, for the hive).

    Raises:
        Conflict: another operation of that agent is in flight.
    """
    busy = None if agent_id is None else of_agent(c, agent_id)
    name = _name(c, agent_id)
    if busy is not None:
        raise Conflict(
            f'agent "{name}": {busy.kind} is in flight since it was asked by {busy.principal}',
            remedy="repeat when it has ended",
            code="operation_in_flight",
        )
    at = now(c)
    operation = Operation(
        identifier, kind, agent_id, OperationState.RUNNING, detail, None, by, epoch, host, 0, at, at, None
    )
    row = {field.name: getattr(operation, field.name) for field in fields(Operation)}
    c.execute(insert(operations).values(row | {"state": operation.state.value}))
    events.record(c, "operation.started", agent=name, by=by, data={"id": identifier, "kind": kind})
    return operation


def finish(
    c: Connection, identifier: OperationId, *, error: str | None = None, state: OperationState | None = None
) -> bool:
    """End a running operation: `done`, or `failed` with an `error`. False when it had ended already."""
    found = get(c, identifier)
    if found is None or found.state is not OperationState.RUNNING:
        return False
    ended = state or (OperationState.FAILED if error else OperationState.DONE)
    c.execute(
        update(operations)
        .where(operations.c.id == identifier)
        .values(state=ended.value, error=error, entered_at=now(c), wake_at=None)
    )
    data = {"id": identifier, "kind": found.kind, "state": ended.value, "error": error}
    events.record(c, "operation.ended", agent=_name(c, found.agent_id), by=found.principal, data=data)
    return True


def postpone(c: Connection, identifier: OperationId, until: Micros, detail: str) -> None:
    """Note that a running operation is tried again at `until`, and why."""
    c.execute(
        update(operations)
        .where(operations.c.id == identifier, operations.c.state == OperationState.RUNNING.value)
        .values(wake_at=until, detail=detail)
    )


def takeover(c: Connection, epoch: EpochId, *, resumable: Collection[str] = RESUMABLE) -> list[Operation]:
    """Settle what older epochs left running (invariant 31) and return what this epoch must go on with.

    Kinds in `resumable` get this epoch and the next generation; all others end as `lost`.
    """
    for stale in [operation for operation in running(c) if operation.epoch < epoch]:
        if stale.kind in resumable:
            c.execute(
                update(operations)
                .where(operations.c.id == stale.id)
                .values(epoch=epoch, generation=operations.c.generation + 1, wake_at=None)
            )
        else:
            finish(c, stale.id, error="the daemon that held it is gone", state=OperationState.LOST)
    return [operation for operation in running(c) if operation.epoch == epoch]


def get(c: Connection, identifier: OperationId) -> Operation | None:
    """One operation."""
    row = c.execute(select(*_COLUMNS).where(operations.c.id == identifier)).first()
    return None if row is None else _operation(row)


def of_agent(c: Connection, agent_id: AgentId) -> Operation | None:
    """What is in flight for an agent."""
    query = select(*_COLUMNS).where(
        operations.c.agent_id == agent_id, operations.c.state == OperationState.RUNNING.value
    )
    row = c.execute(query).first()
    return None if row is None else _operation(row)


def running(c: Connection) -> list[Operation]:
    """All that is in flight, oldest first."""
    query = select(*_COLUMNS).where(operations.c.state == OperationState.RUNNING.value)
    return [_operation(row) for row in c.execute(query.order_by(operations.c.started_at, operations.c.id))]


def _operation(row: Any) -> Operation:
    values: dict[str, Any] = dict(row._mapping)
    values["state"] = OperationState(values["state"])
    return Operation(**values)


def _name(c: Connection, agent_id: AgentId | None) -> str | None:
    if agent_id is None:
        return None
    return c.execute(select(agents.c.name).where(agents.c.id == agent_id)).scalar_one_or_none()
