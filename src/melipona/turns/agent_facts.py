"""What is known about agents at one moment, gathered from rows by a few indexed queries, for `turns/status.py`.

Nothing here is stored, and nothing is read off an engine's text. What only the daemon's process knows (is the box
connected, does a parked call want its slot back) is handed in as `Process`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection, and_, case, func, literal_column, or_, select

from melipona.clock import Micros
from melipona.errors import NotFound
from melipona.ids import AgentId, AgentName
from melipona.store.schema import agents, boxes, messages, operations, spend, turns

HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Process:
    """What only the daemon's process knows of one agent. None = not known."""

    link: bool | None = None
    """Its box is connected."""
    tool: str | None = None
    """The tool that is in flight."""
    wants_slot: bool = False
    """Its parked turn has news and waits for a slot."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of money and turns that apply now. 0 = no limit; money is micro-USD."""

    day: str
    day_ends: Micros
    hive_micro_usd: int = 0
    agent_micro_usd: int = 0
    turns_per_hour: int = 0
    disk: str = ""
    """Why the disk lets no turn begin; empty when it does."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A running operation."""

    kind: str
    by: str
    since: Micros
    detail: str | None
    again_at: Micros | None


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """The turn that has not ended."""

    id: int
    waiting: bool
    """Parked in `receive`."""
    started_at: Micros
    entered_at: Micros
    wake_at: Micros | None
    senders: tuple[str, ...]
    interrupt_by: str | None
    compacts: bool = False
    """A person asked for it, to have the conversation compacted."""


@dataclass(frozen=True, slots=True)
class MailFacts:
    """The mail of one agent that is not handled."""

    waiting: int = 0
    waking: int = 0
    """Of them, those that may wake it."""
    due: int = 0
    """Of those, the ones that may be handed out now."""
    due_since: Micros | None = None
    next_at: Micros | None = None
    """When the next back-off ends."""
    leased: int = 0
    parked: int = 0
    parked_since: Micros | None = None


@dataclass(frozen=True, slots=True)
class Money:
    """What was spent on the operator's day, in micro-USD. Open reservations are not spent yet (D-30)."""

    spent: int = 0
    limit: int = 0
    hive_spent: int = 0
    hive_limit: int = 0
    day_ends: Micros | None = None
    last_at: Micros | None = None


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """All that a status is derived from. `wake_at` is when a trouble is tried again; `behind` how many stand before it
    for a slot, None when it does not stand in the queue; `turns_until` when the hourly limit of turns lets it go on."""

    id: AgentId
    name: AgentName
    wish: str
    created_at: Micros
    entered_at: Micros
    has_run: bool = False
    paused_at: Micros | None = None
    paused_by: str | None = None
    held_at: Micros | None = None
    trouble: str | None = None
    trouble_detail: str | None = None
    wake_at: Micros | None = None
    crashes: int = 0
    operation: InFlight | None = None
    box: str | None = None
    """State of its box that is not gone."""
    turn: OpenTurn | None = None
    mail: MailFacts = MailFacts()
    money: Money = Money()
    turns_until: Micros | None = None
    last_ended_at: Micros | None = None
    behind: int | None = None
    running: int = 0
    cap: int = 0
    process: Process | None = None
    disk: str = ""
    """Why the disk lets no turn begin."""


def facts(
    c: Connection,
    now: Micros,
    cap: int,
    *,
    limits: Limits | None = None,
    process: Mapping[str, Process] | None = None,
    among: Sequence[str] | None = None,
) -> list[AgentFacts]:
    """Facts of every agent that is not purged, by name, or of those whose ids are `among` some. `cap` is the hive's
    number of slots; `process` is by id. What is read grows with the agents that are asked for, not with all."""
    query = select(agents).where(agents.c.wish != literal_column("'purged'")).order_by(agents.c.name)
    return _gather(c, c.execute(_narrowed(query, agents.c.id, among)).all(), among, now, cap, limits, process or {})


def facts_of(
    c: Connection,
    agent_id: str,
    now: Micros,
    cap: int,
    *,
    limits: Limits | None = None,
    process: Mapping[str, Process] | None = None,
) -> AgentFacts:
    """The same of one agent.

    Raises:
        NotFound: there is none with this id.
    """
    rows = c.execute(select(agents).where(agents.c.id == agent_id)).all()
    if not rows:
        raise NotFound(f"there is no agent with the id {agent_id}", code="no_such_agent")
    return _gather(c, rows, [agent_id], now, cap, limits, process or {})[0]


def _gather(
    c: Connection,
    rows: Iterable[Any],
    only: Sequence[str] | None,
    now: Micros,
    cap: int,
    limits: Limits | None,
    process: Mapping[str, Process],
) -> list[AgentFacts]:
    in_flight, live = _operations(c, only), _boxes(c, only)
    turns_open, ended = _turns(c, only), _last_ended(c, only)
    mail = _mail(c, only, now)
    money = _Spending(c, limits)
    running = int(c.execute(select(func.count()).where(turns.c.state == literal_column("'running'"))).scalar_one())
    queue = _queue(c, now) if any(found.due for found in mail.values()) else {}
    return [
        AgentFacts(
            id=AgentId(row.id),
            name=AgentName(row.name),
            wish=row.wish,
            created_at=row.created_at,
            entered_at=row.entered_at,
            has_run=bool(row.has_run),
            paused_at=row.paused_at,
            paused_by=row.paused_by,
            held_at=row.held_at,
            trouble=row.trouble,
            trouble_detail=row.trouble_detail,
            wake_at=row.wake_at,
            crashes=row.crashes,
            operation=in_flight.get(row.id),
            box=live.get(row.id),
            turn=turns_open.get(row.id),
            mail=mail.get(row.id, MailFacts()),
            money=money.of(row.id, row.budget_micro_usd),
            turns_until=_turns_until(c, row, mail.get(row.id), limits, now),
            last_ended_at=ended.get(row.id),
            behind=queue.get(row.id),
            running=running,
            cap=cap,
            process=process.get(row.id),
            disk="" if limits is None else limits.disk,
        )
        for row in rows
    ]


def _narrowed(query: Any, column: Any, only: Sequence[str] | None) -> Any:
    if only is None:
        return query
    return query.where(column == only[0]) if len(only) == 1 else query.where(column.in_(only))


def _rows(c: Connection, query: Any, column: Any, only: Sequence[str] | None) -> list[Any]:
    return list(c.execute(_narrowed(query, column, only)).all())


def _operations(c: Connection, only: Sequence[str] | None) -> dict[str, InFlight]:
    o = operations.c
    query = select(o.agent_id, o.kind, o.principal, o.started_at, o.detail, o.wake_at).where(
        o.state == literal_column("'running'"), o.agent_id.is_not(None)
    )
    return {row[0]: InFlight(*row[1:]) for row in _rows(c, query, o.agent_id, only)}


def _boxes(c: Connection, only: Sequence[str] | None) -> dict[str, str]:
    query = select(boxes.c.agent_id, boxes.c.state).where(boxes.c.state != literal_column("'gone'"))
    return {row[0]: row[1] for row in _rows(c, query, boxes.c.agent_id, only)}


def _turns(c: Connection, only: Sequence[str] | None) -> dict[str, OpenTurn]:
    t = turns.c
    query = select(
        t.agent_id, t.id, t.state, t.started_at, t.entered_at, t.wake_at, t.cause, t.interrupt_by, t.wake_source
    ).where(t.state != literal_column("'ended'"))
    return {
        row.agent_id: OpenTurn(
            row.id,
            row.state == "waiting",
            row.started_at,
            row.entered_at,
            row.wake_at,
            senders_of(row.cause),
            row.interrupt_by,
            row.wake_source == "compact",
        )
        for row in _rows(c, query, t.agent_id, only)
    }


def senders_of(cause: str | None) -> tuple[str, ...]:
    """The names in a turn's cause; none for a cause that cannot be read (LE-15)."""
    try:
        value: object = json.loads(cause or "{}")
    except ValueError:
        return ()
    names = cast("dict[str, object]", value).get("from") if isinstance(value, dict) else None
    return tuple(str(name) for name in cast("list[object]", names)) if isinstance(names, list) else ()


def _last_ended(c: Connection, only: Sequence[str] | None) -> dict[str, Micros]:
    newest = select(func.max(turns.c.id)).where(turns.c.agent_id == agents.c.id).correlate(agents).scalar_subquery()
    ids = _narrowed(select(newest).select_from(agents), agents.c.id, only)
    query = select(turns.c.agent_id, turns.c.ended_at).where(turns.c.id.in_(ids), turns.c.ended_at.is_not(None))
    return {row[0]: row[1] for row in c.execute(query)}


def _due(now: Micros) -> Any:
    """A waiting message that may wake its agent now; an interrupt holds all but the operator's later words (D-18)."""
    return and_(
        messages.c.wake == literal_column("1"),
        or_(messages.c.wake_at.is_(None), messages.c.wake_at <= now),
        or_(
            agents.c.held_at.is_(None),
            and_(messages.c.sender == literal_column("'operator'"), messages.c.sent_at > agents.c.held_at),
        ),
    )


def _due_at() -> Any:
    """Since when a due message could be handed out."""
    return case((messages.c.wake_at > messages.c.entered_at, messages.c.wake_at), else_=messages.c.entered_at)


def _mail(c: Connection, only: Sequence[str] | None, now: Micros) -> dict[str, MailFacts]:
    m = messages.c
    query = (
        select(
            m.agent_id,
            func.count().label("waiting"),
            func.sum(m.wake).label("waking"),
            func.sum(case((_due(now), 1), else_=0)).label("due"),
            func.min(case((_due(now), _due_at()))).label("due_since"),
            func.min(case((and_(m.wake == literal_column("1"), m.wake_at > now), m.wake_at))).label("next_at"),
        )
        .select_from(messages.join(agents, m.agent_id == agents.c.id))
        .where(m.state == literal_column("0"))
        .group_by(m.agent_id)
    )
    waiting = {row.agent_id: row for row in _rows(c, query, m.agent_id, only)}
    leased = select(m.agent_id, func.count()).where(m.state == literal_column("1"), m.agent_id.is_not(None))
    held = {row[0]: row[1] for row in _rows(c, leased.group_by(m.agent_id), m.agent_id, only)}
    parked = select(m.agent_id, func.count(), func.min(m.entered_at)).where(
        m.state == literal_column("3"), m.agent_id.is_not(None)
    )
    put_by = {row[0]: row for row in _rows(c, parked.group_by(m.agent_id), m.agent_id, only)}
    found: dict[str, MailFacts] = {}
    for agent in waiting.keys() | held.keys() | put_by.keys():
        w, p = waiting.get(agent), put_by.get(agent)
        found[agent] = MailFacts(
            waiting=w.waiting if w else 0,
            waking=w.waking if w else 0,
            due=w.due if w else 0,
            due_since=w.due_since if w else None,
            next_at=w.next_at if w else None,
            leased=held.get(agent, 0),
            parked=p[1] if p else 0,
            parked_since=p[2] if p else None,
        )
    return found


def _queue(c: Connection, now: Micros) -> dict[str, int]:
    """Agents that wait for a slot, with how many stand before each: the order in which the turn loop takes them."""
    since = func.min(messages.c.entered_at).label("since")
    busy = select(turns.c.id).where(turns.c.agent_id == agents.c.id, turns.c.state != literal_column("'ended'"))
    changing = select(operations.c.id).where(
        operations.c.agent_id == agents.c.id, operations.c.state == literal_column("'running'")
    )
    query = (
        select(agents.c.id, since)
        .select_from(messages.join(agents, messages.c.agent_id == agents.c.id))
        .where(
            messages.c.state == literal_column("0"),
            _due(now),
            agents.c.wish == literal_column("'running'"),
            agents.c.paused_at.is_(None),
            or_(agents.c.trouble.is_(None), agents.c.wake_at <= now),
            ~busy.exists(),
            ~changing.exists(),
        )
        .group_by(agents.c.id)
        .order_by(since)
    )
    return {row[0]: place for place, row in enumerate(c.execute(query))}


def _turns_until(c: Connection, row: Any, mail: MailFacts | None, limits: Limits | None, now: Micros) -> Micros | None:
    """When an agent that has had its turns of this hour may run again; only asked for those with due mail."""
    most = row.turns_per_hour if row.turns_per_hour >= 0 else (limits.turns_per_hour if limits else 0)
    if not most or mail is None or not mail.due:
        return None
    query = select(turns.c.started_at).where(turns.c.agent_id == row.id).order_by(turns.c.id.desc())
    first = c.execute(query.limit(1).offset(most - 1)).scalar_one_or_none()
    return Micros(first + HOUR) if first is not None and first + HOUR > now else None


class _Spending:
    """The day's spending of every agent, read once."""

    def __init__(self, c: Connection, limits: Limits | None) -> None:
        self._limits = limits
        self._by_agent: dict[str, tuple[int, Micros]] = {}
        self._whole = 0
        if limits is None:
            return
        s = spend.c
        query = select(s.agent_id, func.sum(s.cost_micro_usd), func.max(s.at)).where(
            s.day == limits.day, s.state != literal_column("'reserved'")
        )
        self._by_agent = {row[0]: (int(row[1]), row[2]) for row in c.execute(query.group_by(s.agent_id))}
        self._whole = sum(spent for spent, _ in self._by_agent.values())

    def of(self, agent: str, own_limit: int) -> Money:
        if self._limits is None:
            return Money()
        spent, last = self._by_agent.get(agent, (0, None))
        return Money(
            spent=spent,
            limit=own_limit or self._limits.agent_micro_usd,
            hive_spent=self._whole,
            hive_limit=self._limits.hive_micro_usd,
            day_ends=self._limits.day_ends,
            last_at=last,
        )
