"""The whole hive at one moment: the snapshot that a page loads once and `mel status` prints.

Rows and the number of the newest event come from one read transaction, so that whoever follows the events from that
number misses nothing and applies nothing twice (D-33).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, literal_column, select
from typing_extensions import TypedDict

from melipona.clock import rfc3339
from melipona.store.engine import now
from melipona.store.events import last_number
from melipona.store.schema import integrity_checks, operations, turns
from melipona.store.space import Space, short_of_room
from melipona.views.agents import AgentView, StatusesOf, count_agents, list_agents, spent_by_agent
from melipona.views.events import store_id
from melipona.views.mail import count_by_state
from melipona.views.turns import OPEN, usd


class DaemonView(TypedDict):
    """The daemon's process; null when none runs."""

    pid: int
    version: str
    started_at: str


class MailCounts(TypedDict):
    """Agents' mail by state, and what the operator has not read."""

    waiting: int
    leased: int
    parked: int
    unread: int


class Spent(TypedDict):
    """Money of the operator's day; `budget_usd` is null without a limit, and so is `agent_budget_usd`, the default of
    agents without a budget of their own."""

    day: str
    usd: float
    budget_usd: float | None
    agent_budget_usd: float | None


class OperationView(TypedDict):
    """Something in flight, and since when."""

    id: str
    kind: str
    agent_id: str | None
    detail: str | None
    by: str
    started_at: str


class DiskView(TypedDict):
    """Room on the disk of the data folder. `level` is `ok`, `low` (no new turns) or `full` (the hive only reads);
    `detail` is what that means, null when all is well."""

    level: str
    free_bytes: int
    floor_bytes: int
    detail: str | None


class CheckView(TypedDict):
    """The last look at the database's integrity: `ok`, `damaged` or `cut` (it took too long)."""

    at: str
    why: str
    result: str
    problem: str | None


class StateView(TypedDict):
    """The snapshot. Follow `/api/v1/events` from `<store>-<event>`."""

    store: str
    event: int
    at: str
    name: str
    data: str
    api: str | None
    daemon: DaemonView | None
    agents: list[AgentView]
    """The first, by name."""
    agents_next: str | None
    """The name after which `/agents?next=` goes on; null when these are all."""
    agents_total: int
    mail: MailCounts
    turns: int
    operations: list[OperationView]
    spent: Spent
    disk: DiskView | None
    checked: CheckView | None


@dataclass(frozen=True, slots=True)
class Place:
    """What a snapshot tells about the hive that no row holds."""

    name: str
    data: str
    api: str | None
    day: str
    hive_budget_usd: float
    agent_budget_usd: float
    daemon: DaemonView | None
    disk: DiskView | None = None


def snapshot(c: Connection, place: Place, statuses: StatusesOf, *, following: str | None = None) -> StateView:
    """Everything of this moment; of the agents a page, the first or the one after the name `following`."""
    page = list_agents(c, statuses, place.day, following=following)
    return {
        "store": store_id(c),
        "event": last_number(c),
        "at": rfc3339(now(c)),
        "name": place.name,
        "data": place.data,
        "api": place.api,
        "daemon": place.daemon,
        "agents": page["items"],
        "agents_next": page["next"],
        "agents_total": count_agents(c),
        "mail": _counts(c),
        "turns": int(c.execute(select(func.count()).select_from(turns).where(OPEN)).scalar_one()),
        "operations": running_operations(c),
        "spent": {
            "day": place.day,
            "usd": usd(sum(spent_by_agent(c, place.day).values())) or 0.0,
            "budget_usd": place.hive_budget_usd or None,
            "agent_budget_usd": place.agent_budget_usd or None,
        },
        "disk": place.disk,
        "checked": last_check(c),
    }


def disk_view(space: Space | None) -> DiskView | None:
    """The room as `space` finds it now."""
    if space is None:
        return None
    room = space.room()
    return {
        "level": room.level.value,
        "free_bytes": room.free,
        "floor_bytes": room.floor,
        "detail": short_of_room(space) or None,
    }


def last_check(c: Connection) -> CheckView | None:
    """What the last look at the database found, if there was one."""
    query = select(integrity_checks).order_by(integrity_checks.c.id.desc()).limit(1)
    row = c.execute(query).one_or_none()
    if row is None:
        return None
    return {"at": rfc3339(row.at), "why": row.why, "result": row.result, "problem": row.problem}


def running_operations(c: Connection) -> list[OperationView]:
    """What is in flight, oldest first."""
    rows = c.execute(
        select(operations).where(operations.c.state == literal_column("'running'")).order_by(operations.c.started_at)
    )
    return [
        {
            "id": row.id,
            "kind": row.kind,
            "agent_id": row.agent_id,
            "detail": row.detail,
            "by": row.principal,
            "started_at": rfc3339(row.started_at),
        }
        for row in rows
    ]


def _counts(c: Connection) -> MailCounts:
    counts = count_by_state(c)
    return {name: counts[name] for name in ("waiting", "leased", "parked", "unread")}  # type: ignore[return-value]
