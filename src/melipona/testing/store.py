"""A real store for tests: SQLite below a temporary folder, a clock moved by hand, and its events collected."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from melipona.clock import Clock, ManualClock
from melipona.ids import AgentId, EpochId, TurnId
from melipona.store.engine import Store, now
from melipona.store.schema import agents, epochs, turns


@asynccontextmanager
async def temporary_store(folder: Path, clock: Clock | None = None) -> AsyncGenerator[Store]:
    """An open, empty store at `folder/hive.db`; closed at the end."""
    store = await Store.open(folder / "hive.db", clock or ManualClock(), force_place=True)
    try:
        yield store
    finally:
        await store.close()


def open_epoch(c: Connection, host: str = "testhost") -> EpochId:
    """Begin a life of a daemon."""
    row = c.execute(insert(epochs).values(host=host, pid=1, started_at=now(c)).returning(epochs.c.id))
    return EpochId(row.scalar_one())


def begin_turn(c: Connection, agent_id: AgentId, epoch: int = 1, generation: int = 0) -> TurnId:
    """Open a turn row as the turn loop does."""
    name = c.execute(select(agents.c.name).where(agents.c.id == agent_id)).scalar_one()
    at = now(c)
    values = {
        "agent_id": agent_id,
        "agent": name,
        "state": "running",
        "cause": "{}",
        "epoch": epoch,
        "host": "testhost",
        "generation": generation,
        "wake_source": "mail",
        "started_at": at,
        "entered_at": at,
    }
    return TurnId(c.execute(insert(turns).values(values).returning(turns.c.id)).scalar_one())


def end_turn(c: Connection, turn: TurnId, result: str = "ok") -> None:
    """Close a turn row; mail is not touched."""
    c.execute(update(turns).where(turns.c.id == turn).values(state="ended", result=result, entered_at=now(c)))
