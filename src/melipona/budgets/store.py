"""Statements about money: one `spend` row for each model call. While a call is under way its row's cost is what was set
aside for it, so that a sum over rows always is what is spent at worst.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, bindparam, case, func, insert, literal_column, select, update

from melipona.budgets.model import Reservation, Usage
from melipona.clock import Micros
from melipona.ids import AgentId
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import agents, events, spend, turns

_OPEN = spend.c.state == literal_column("'reserved'")
_settled = func.sum(case((_OPEN, None), else_=spend.c.cost_micro_usd))
_reserved = func.sum(case((_OPEN, spend.c.cost_micro_usd)))
_SUMS = select(_settled, _reserved).where(spend.c.day == bindparam("p_day"))
SUMS = Hot(_SUMS)
SUMS_OF = Hot(_SUMS.where(spend.c.agent_id == bindparam("p_agent")))
LIMITS = Hot(select(agents.c.budget_micro_usd, agents.c.turns_per_hour).where(agents.c.id == bindparam("p_agent")))
NTH_NEWEST_START = Hot(
    select(turns.c.started_at)
    .where(turns.c.agent_id == bindparam("p_agent"))
    .order_by(turns.c.id.desc())
    .limit(literal_column("1"))
    .offset(bindparam("p_before"))
)


@dataclass(frozen=True, slots=True)
class Sums:
    """Micro-USD of a day."""

    settled: int
    reserved: int

    @property
    def total(self) -> int:
        return self.settled + self.reserved


def sums(c: Connection, day: str, agent_id: AgentId | None = None) -> Sums:
    """What a day cost so far, of one agent or of all."""
    row = SUMS.one(c, p_day=day) if agent_id is None else SUMS_OF.one(c, p_day=day, p_agent=agent_id)
    assert row is not None
    return Sums(int(row[0] or 0), int(row[1] or 0))


def limits(c: Connection, agent_id: AgentId) -> tuple[int, int]:
    """The agent's own budget of a day in micro-USD (0: none of its own) and its turns an hour (-1: the hive's)."""
    row = LIMITS.one(c, p_agent=agent_id)
    return (int(row[0]), int(row[1])) if row else (0, -1)


def nth_newest_start(c: Connection, agent_id: AgentId, n: int) -> Micros | None:
    """When the agent's `n`th newest turn began; None when it had fewer."""
    row = NTH_NEWEST_START.one(c, p_agent=agent_id, p_before=n - 1)
    return None if row is None else Micros(row[0])


def add(c: Connection, row: Reservation, *, day: str, epoch: int) -> int:
    """Write a reservation down; its id."""
    open_turn = select(turns.c.id).where(turns.c.agent_id == row.agent_id, turns.c.state != "ended").limit(1)
    values = {
        "agent_id": row.agent_id,
        "turn": c.execute(open_turn).scalar(),
        "day": day,
        "model": row.model,
        "state": "reserved",
        "reserved_micro_usd": row.micro_usd,
        "cost_micro_usd": row.micro_usd,
        "input_tokens": row.prompt_tokens,
        "epoch": epoch,
        "at": row.at,
        "entered_at": row.at,
    }
    found = c.execute(insert(spend).values(values).returning(spend.c.id)).scalar_one()
    return int(found)


def close(
    c: Connection, number: int, state: str, cost: int, usage: Usage, *, estimated: bool, status: int | None
) -> bool:
    """End a reservation; False when it was ended before."""
    changed = c.execute(
        update(spend)
        .where(spend.c.id == number, _OPEN)
        .values(
            state=state,
            cost_micro_usd=cost,
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cache_read,
            cache_creation_tokens=usage.cache_write,
            estimated=int(estimated),
            status=status,
            entered_at=now(c),
        )
    )
    return changed.rowcount == 1


def open_before(c: Connection, epoch: int) -> list[RowMapping]:
    """Reservations that daemons before `epoch` left open."""
    query = select(spend).where(_OPEN, spend.c.epoch < epoch)
    return list(c.execute(query).mappings().all())


def newest_event(c: Connection, kind: str, agent: str) -> Micros | None:
    """When the newest event of that kind about `agent` was recorded."""
    query = select(events.c.at).where(events.c.agent == agent, events.c.kind == kind).order_by(events.c.id.desc())
    newest = c.execute(query.limit(1)).scalar()
    return None if newest is None else Micros(newest)
