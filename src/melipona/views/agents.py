"""Agents as a person sees them: the row, with the state that `turns/status.py` derives from rows and facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, cast

from sqlalchemy import Connection, case, func, literal_column, select
from typing_extensions import TypedDict

from melipona.clock import rfc3339, rfc3339_or_none
from melipona.errors import NotFound
from melipona.store.schema import agents, spend, turns
from melipona.views.mail import waiting_by_agent
from melipona.views.page import listed
from melipona.views.turns import open_turns, usd

GONE = ("destroyed", "purged")
LAST_TURNS = 5


class Derived(Protocol):
    """What an agent's state is and why (D-37). Times are microseconds."""

    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def detail(self) -> str | None: ...
    @property
    def since(self) -> int: ...
    @property
    def until(self) -> int | None: ...


class AgentContext(TypedDict):
    """How full the model's context was at the end of the last turn that tells."""

    tokens: int | None
    window: int | None


class AgentView(TypedDict):
    """An agent."""

    id: str
    name: str
    engine: str
    role: str
    model: str | None
    state: str
    reason: str | None
    detail: str | None
    since: str
    until: str | None
    status: str | None
    status_at: str | None
    wish: str
    paused_by: str | None
    paused_at: str | None
    waiting: int
    turn: int | None
    context: AgentContext
    spent_usd: float
    budget_usd: float | None
    turns_per_hour: int | None
    send_allow: list[str] | None
    crashes: int
    created_at: str


class LimitView(TypedDict):
    """One limit of a box as it really binds on this machine, or why it does not."""

    name: str
    binds: bool
    how: str


class AgentDetail(AgentView):
    """One agent, with its folder on the host and the limits of its box."""

    work_folder: str
    limits: list[LimitView]


class Agents(TypedDict):
    """Every agent."""

    items: list[AgentView]
    next: int | None


class Facts:
    """What the views of all agents need, read once."""

    def __init__(self, c: Connection, day: str) -> None:
        self.waiting = waiting_by_agent(c)
        self.turns = open_turns(c)
        self.spent = spent_by_agent(c, day)
        self.context = _contexts(c)


def agent_rows(c: Connection, *, gone: bool = False) -> list[Any]:
    """Rows of all agents by name; tombstones too with `gone`, purged ones never."""
    query = select(agents).order_by(agents.c.name)
    query = query.where(agents.c.wish != "purged") if gone else query.where(agents.c.wish.not_in(GONE))
    return list(c.execute(query).all())


def agent_row(c: Connection, name: str) -> Any:
    """The row of the agent called `name`, tombstones included.

    Raises:
        NotFound: there is none.
    """
    row = c.execute(select(agents).where(agents.c.name == name, agents.c.wish != "purged")).first()
    if row is None:
        raise NotFound(f"there is no agent {name!r}", remedy="`mel agent list` shows all", code="no_such_agent")
    return row


def agent_id(c: Connection, name: str) -> str:
    """The id behind a name.

    Raises:
        NotFound: there is no such agent.
    """
    return str(agent_row(c, name).id)


def agent_view(row: Any, facts: Facts, derived: Derived) -> AgentView:
    """A row of `agents`, with what is known about it, as the world sees it."""
    turn = facts.turns.get(row.id)
    stopped = row.wish != "running"
    return {
        "id": row.id,
        "name": row.name,
        "engine": row.engine,
        "role": row.role,
        "model": row.model,
        "state": str(derived.state),
        "reason": None if derived.reason is None else str(derived.reason),
        "detail": derived.detail,
        "since": rfc3339(derived.since),
        "until": rfc3339_or_none(derived.until),
        # An old text of a stopped agent would be stale (ASK-2).
        "status": None if stopped else row.status_text,
        "status_at": None if stopped else rfc3339_or_none(row.status_at),
        "wish": row.wish,
        "paused_by": row.paused_by,
        "paused_at": rfc3339_or_none(row.paused_at),
        "waiting": facts.waiting.get(row.id, 0),
        "turn": None if turn is None else turn.id,
        "context": facts.context.get(row.id, {"tokens": None, "window": None}),
        "spent_usd": usd(facts.spent.get(row.id, 0)) or 0.0,
        "budget_usd": usd(row.budget_micro_usd) if row.budget_micro_usd else None,
        "turns_per_hour": None if row.turns_per_hour < 0 else row.turns_per_hour,
        "send_allow": _names(row.send_allow),
        "crashes": row.crashes,
        "created_at": rfc3339(row.created_at),
    }


def list_agents(c: Connection, statuses: Mapping[str, Derived], day: str, *, gone: bool = False) -> dict[str, Any]:
    """Every agent whose status is given, by name."""
    facts = Facts(c, day)
    rows = agent_rows(c, gone=gone)
    return listed([agent_view(row, facts, statuses[row.name]) for row in rows if row.name in statuses])


def spent_by_agent(c: Connection, day: str) -> dict[str, int]:
    """What each agent spent on the operator's day `day`, open reservations included, in micro-USD."""
    reserved = spend.c.state == literal_column("'reserved'")
    amount = func.sum(case((reserved, spend.c.reserved_micro_usd), else_=spend.c.cost_micro_usd))
    query = select(spend.c.agent_id, amount).where(spend.c.day == day).group_by(spend.c.agent_id)
    return {str(row[0]): int(row[1]) for row in c.execute(query)}


def _contexts(c: Connection) -> dict[str, AgentContext]:
    """Of each agent's last turns the newest that tells; older ones are not looked at, so that no history is scanned."""
    last = (
        select(turns.c.id, turns.c.context_tokens)
        .where(turns.c.agent_id == agents.c.id)
        .order_by(turns.c.id.desc())
        .limit(LAST_TURNS)
        .correlate(agents)
        .subquery()
    )
    newest = select(func.max(last.c.id)).where(last.c.context_tokens.is_not(None)).correlate(agents).scalar_subquery()
    query = select(turns.c.agent_id, turns.c.context_tokens, turns.c.context_window).where(
        turns.c.id.in_(select(newest).select_from(agents))
    )
    return {row.agent_id: {"tokens": row.context_tokens, "window": row.context_window} for row in c.execute(query)}


def _names(text: str | None) -> list[str] | None:
    try:
        value = json.loads(text) if text else None
    except ValueError:
        return None
    return [str(name) for name in cast("list[object]", value)] if isinstance(value, list) else None
