"""What was spent, by day, agent and model, as counted at the gate."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, case, func, literal_column, select
from typing_extensions import TypedDict

from melipona.clock import rfc3339
from melipona.store.engine import now
from melipona.store.schema import agents, spend
from melipona.views.turns import usd

HOUR = 3_600_000_000


class CostView(TypedDict):
    """Model calls of one agent with one model on one of the operator's days."""

    day: str
    agent: str
    model: str
    calls: int
    """Calls that reached the model, those in flight included."""
    usd: float
    """What is set aside for calls in flight included."""
    estimated: int
    """Calls whose true usage never came; they count by the most that they can have cost."""
    input: int
    output: int
    cache_read: int
    cache_creation: int


class Costs(TypedDict):
    """Costs from `since` on, newest day first."""

    items: list[CostView]
    since: str
    day: str
    """Today."""
    day_ends_at: str
    usd: float
    """Spent today."""
    last_hour_usd: float
    """Of that, in the last 60 minutes: what a forecast of the day goes by."""
    budget_usd: float | None
    agent_budget_usd: float | None
    """The default of agents without a budget of their own; null: no limit."""
    at: str


def costs(
    c: Connection, *, since: str, day: str, day_ends: int, hive_budget_usd: float, agent_budget_usd: float
) -> Costs:
    """Sums of model calls from the day `since` on (`2026-11-21`)."""
    reserved = spend.c.state == literal_column("'reserved'")
    amount = case((reserved, spend.c.reserved_micro_usd), else_=spend.c.cost_micro_usd)
    counted = spend.c.state != literal_column("'released'")
    query = (
        select(
            spend.c.day,
            agents.c.name,
            spend.c.model,
            func.count().label("calls"),
            func.sum(amount).label("amount"),
            func.sum(spend.c.estimated).label("estimated"),
            func.sum(spend.c.input_tokens).label("input"),
            func.sum(spend.c.output_tokens).label("output"),
            func.sum(spend.c.cache_read_tokens).label("cache_read"),
            func.sum(spend.c.cache_creation_tokens).label("cache_creation"),
        )
        .join(agents, agents.c.id == spend.c.agent_id)
        .where(spend.c.day >= since, counted)
        .group_by(spend.c.day, agents.c.name, spend.c.model)
        .order_by(spend.c.day.desc(), agents.c.name, spend.c.model)
    )
    at = now(c)
    hour = select(func.sum(amount)).where(spend.c.day == day, counted, spend.c.at > at - HOUR)
    items = [_view(row) for row in c.execute(query)]
    return {
        "items": items,
        "since": since,
        "day": day,
        "day_ends_at": rfc3339(day_ends),
        "usd": sum(item["usd"] for item in items if item["day"] == day),
        "last_hour_usd": usd(int(c.execute(hour).scalar_one() or 0)) or 0.0,
        "budget_usd": hive_budget_usd or None,
        "agent_budget_usd": agent_budget_usd or None,
        "at": rfc3339(at),
    }


def _view(row: Any) -> CostView:
    return {
        "day": row.day,
        "agent": row.name,
        "model": row.model,
        "calls": int(row.calls),
        "usd": usd(int(row.amount)) or 0.0,
        "estimated": int(row.estimated),
        "input": int(row.input),
        "output": int(row.output),
        "cache_read": int(row.cache_read),
        "cache_creation": int(row.cache_creation),
    }
