"""Agents as a person sees them: the row, with the state that `turns/status.py` derives from rows and facts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from sqlalchemy import Connection, case, func, literal_column, or_, select
from typing_extensions import TypedDict

from melipona.clock import rfc3339, rfc3339_or_none
from melipona.errors import NotFound
from melipona.store.schema import agents, operations, spend, turns
from melipona.views.mail import waiting_by_agent
from melipona.views.turns import open_turns, usd

GONE = ("destroyed", "purged")
NOT_PURGED = agents.c.wish != literal_column("'purged'")
"""With a literal, because only so does the partial index serve (PERFORMANCE.md section 11, rule 16)."""
AGENTS_PAGE = 500
"""Agents of a page, and of a snapshot: all of a usual hive."""
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


class Pending(TypedDict):
    """What is in flight for an agent: a verb, a terminal, or what waits for its turn to end."""

    id: str
    kind: str
    by: str
    since: str
    detail: str | None


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
    pending: Pending | None
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
    """A page of agents, by name. `next` is the name after which the next page begins."""

    items: list[AgentView]
    next: str | None


StatusesOf = Callable[[Connection, Sequence[str]], Mapping[str, Derived]]
"""Derives the status of the agents with these ids, by name, in the transaction that it is given."""


class Facts:
    """What the views of some agents need, read once."""

    def __init__(self, c: Connection, day: str, ids: Sequence[str]) -> None:
        self.waiting = waiting_by_agent(c, ids)
        self.turns = open_turns(c)
        self.pending = _pending(c)
        self.spent = spent_by_agent(c, day)
        self.context = _contexts(c, ids)


def agent_rows(
    c: Connection, *, gone: bool = False, limit: int = AGENTS_PAGE, following: str | None = None
) -> tuple[list[Any], str | None]:
    """Rows of agents by name, at most `limit` of those after the name `following`; tombstones too with `gone`, purged
    ones never. With the name after which the next page begins, None at the end."""
    query = select(agents).where(NOT_PURGED).order_by(agents.c.name).limit(limit + 1)
    if not gone:
        query = query.where(agents.c.wish != literal_column("'destroyed'"))
    if following is not None:
        query = query.where(agents.c.name > following)
    rows = list(c.execute(query).all())
    return rows[:limit], str(rows[limit - 1].name) if len(rows) > limit else None


def some_agents(c: Connection, *, names: Sequence[str], ids: Sequence[str]) -> list[Any]:
    """Rows of agents with one of these names or ids, as far as they are there; tombstones are not."""
    wanted = or_(agents.c.name.in_(names), agents.c.id.in_(ids))
    query = select(agents).where(NOT_PURGED, agents.c.wish != literal_column("'destroyed'"), wanted)
    return list(c.execute(query.order_by(agents.c.name)).all())


def count_agents(c: Connection) -> int:
    """How many there are, tombstones left out."""
    query = select(func.count()).select_from(agents).where(agents.c.wish.not_in(GONE))
    return int(c.execute(query).scalar_one())


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
        "pending": facts.pending.get(row.id),
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


def list_agents(
    c: Connection,
    statuses: StatusesOf,
    day: str,
    *,
    gone: bool = False,
    limit: int = AGENTS_PAGE,
    following: str | None = None,
) -> Agents:
    """A page of agents, by name: what it costs grows with the page, not with the hive."""
    rows, after = agent_rows(c, gone=gone, limit=limit, following=following)
    return {"items": agent_views(c, rows, statuses, day), "next": after}


def agent_views(c: Connection, rows: Sequence[Any], statuses: StatusesOf, day: str) -> list[AgentView]:
    """Rows of `agents` as the world sees them."""
    ids = [row.id for row in rows]
    if not ids:
        return []
    facts, derived = Facts(c, day, ids), statuses(c, ids)
    return [agent_view(row, facts, derived[row.name]) for row in rows]


def spent_by_agent(c: Connection, day: str) -> dict[str, int]:
    """What each agent spent on the operator's day `day`, open reservations included, in micro-USD."""
    reserved = spend.c.state == literal_column("'reserved'")
    amount = func.sum(case((reserved, spend.c.reserved_micro_usd), else_=spend.c.cost_micro_usd))
    query = select(spend.c.agent_id, amount).where(spend.c.day == day).group_by(spend.c.agent_id)
    return {str(row[0]): int(row[1]) for row in c.execute(query)}


def _pending(c: Connection) -> dict[str, Pending]:
    o = operations.c
    query = select(o.agent_id, o.id, o.kind, o.principal, o.started_at, o.detail).where(
        o.state == literal_column("'running'"), o.agent_id.is_not(None)
    )
    return {
        row.agent_id: {
            "id": row.id,
            "kind": row.kind,
            "by": row.principal,
            "since": rfc3339(row.started_at),
            "detail": row.detail,
        }
        for row in c.execute(query)
    }


def _contexts(c: Connection, ids: Sequence[str]) -> dict[str, AgentContext]:
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
        turns.c.id.in_(select(newest).select_from(agents).where(agents.c.id.in_(ids)))
    )
    return {row.agent_id: {"tokens": row.context_tokens, "window": row.context_window} for row in c.execute(query)}


def _names(text: str | None) -> list[str] | None:
    try:
        value = json.loads(text) if text else None
    except ValueError:
        return None
    return [str(name) for name in cast("list[object]", value)] if isinstance(value, list) else None
