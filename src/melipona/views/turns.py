"""Turns as a person sees them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, literal_column, select
from typing_extensions import TypedDict

from melipona.clock import rfc3339, rfc3339_or_none
from melipona.errors import NotFound
from melipona.store.schema import turns
from melipona.views.page import LIMIT, as_object, listed, page

OPEN = turns.c.state != literal_column("'ended'")
"""With a literal, because only so does the partial index serve (PERFORMANCE.md section 11, rule 16)."""


class Tokens(TypedDict):
    """Tokens of a turn's model calls as the upstream counted them; null when nothing was counted."""

    input: int | None
    output: int | None
    cache_read: int | None
    cache_creation: int | None


class ContextView(TypedDict):
    """How full the model's context is: tokens of the last call's prompt, and the window if known."""

    tokens: int | None
    window: int | None


class TurnView(TypedDict):
    """A turn: one run of an engine, from what woke it to its result."""

    id: int
    agent: str
    state: str
    cause: dict[str, Any]
    result: str | None
    reason: str | None
    note: str | None
    model: str | None
    started_at: str
    ended_at: str | None
    duration_ms: int | None
    since: str
    tokens: Tokens
    context: ContextView
    cost_usd: float | None
    tool_calls: int | None
    tools: dict[str, int]
    open_threads: int | None
    """Threads with mail that waited for the agent when the turn was over."""
    interrupt_by: str | None
    compacted: bool


class Turns(TypedDict):
    """A page of turns, newest first."""

    items: list[TurnView]
    next: int | None


def turn_view(row: Any) -> TurnView:
    """A row of `turns` as the world sees it."""
    return {
        "id": row.id,
        "agent": row.agent,
        "state": row.state,
        "cause": as_object(row.cause),
        "result": row.result,
        "reason": row.reason,
        "note": row.note,
        "model": row.model,
        "started_at": rfc3339(row.started_at),
        "ended_at": rfc3339_or_none(row.ended_at),
        "duration_ms": row.duration_ms,
        "since": rfc3339(row.entered_at),
        "tokens": {
            "input": row.input_tokens,
            "output": row.output_tokens,
            "cache_read": row.cache_read_tokens,
            "cache_creation": row.cache_creation_tokens,
        },
        "context": {"tokens": row.context_tokens, "window": row.context_window},
        "cost_usd": usd(row.cost_micro_usd),
        "tool_calls": row.tool_calls,
        "tools": as_object(row.tools),
        "open_threads": row.open_threads,
        "interrupt_by": row.interrupt_by,
        "compacted": bool(row.compacted),
    }


def one_turn(c: Connection, number: int) -> TurnView:
    """The turn with this number.

    Raises:
        NotFound: there is none.
    """
    row = c.execute(select(turns).where(turns.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no turn t{number}", remedy="`mel turns` lists them")
    return turn_view(row)


def log_path(c: Connection, number: int) -> str | None:
    """Where the turn's log lies on this host, None for the usual place.

    Raises:
        NotFound: there is no such turn.
    """
    row = c.execute(select(turns.c.log_path).where(turns.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no turn t{number}", remedy="`mel turns` lists them")
    return None if row.log_path is None else str(row.log_path)


def list_turns(
    c: Connection, *, limit: int = LIMIT, following: int | None = None, agent_id: str | None = None
) -> dict[str, Any]:
    """Turns, newest first."""
    query: Select[Any] = select(turns).order_by(turns.c.id.desc()).limit(limit + 1)
    if following is not None:
        query = query.where(turns.c.id < following)
    if agent_id is not None:
        query = query.where(turns.c.agent_id == agent_id)
    return listed(*page(c.execute(query).all(), limit, turn_view, lambda row: row.id))


def open_turns(c: Connection) -> dict[str, Any]:
    """The turn that is not over of each agent that has one, by agent id."""
    rows = c.execute(select(turns).where(OPEN)).all()
    return {row.agent_id: row for row in rows}


def usd(micro: int | None) -> float | None:
    """Whole micro-USD as USD."""
    return None if micro is None else micro / 1_000_000
