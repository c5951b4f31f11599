"""Statements about turns, and about who should run one: plain functions of a connection.

Every write of a turn carries the epoch of the daemon that runs it; a daemon that lost it changes nothing (I-5, D-16).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from melipona.clock import Micros
from melipona.ids import AgentId, AgentName, TurnId
from melipona.store import events
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import agents, boxes, messages, operations, programs, spend, turns
from melipona.store.schema import events as event_rows
from melipona.turns import control_rows
from melipona.turns.model import COMPACT, Cause, OpenTurn, TurnState

NEWEST = 200
"""How many of an agent's newest events are looked through."""

_OPEN = turns.c.state != literal_column("'ended'")


@dataclass(frozen=True, slots=True)
class DueAgent:
    """An agent with mail that may wake it, and since when its oldest message waits."""

    id: AgentId
    name: AgentName
    since: Micros


_due = (
    select(agents.c.id, agents.c.name, func.min(messages.c.entered_at).label("since"))
    .select_from(messages.join(agents, messages.c.agent_id == agents.c.id))
    .where(
        messages.c.state == literal_column("0"),
        messages.c.wake == literal_column("1"),
        or_(messages.c.wake_at.is_(None), messages.c.wake_at <= bindparam("now")),
        agents.c.wish == literal_column("'running'"),
        agents.c.paused_at.is_(None),
        or_(
            agents.c.held_at.is_(None),
            and_(messages.c.sender == literal_column("'operator'"), messages.c.sent_at > agents.c.held_at),
        ),
        or_(agents.c.trouble.is_(None), agents.c.wake_at <= bindparam("now")),
        ~select(turns.c.id).where(turns.c.agent_id == agents.c.id, _OPEN).exists(),
        ~select(operations.c.id)
        .where(operations.c.agent_id == agents.c.id, operations.c.state == literal_column("'running'"))
        .exists(),
    )
    .group_by(agents.c.id, agents.c.name)
)
DUE = Hot(_due.order_by(literal_column("since")).limit(bindparam("n")))
DUE_ONE = Hot(_due.where(agents.c.id == bindparam("p_agent")))
RUNNING = Hot(select(func.count()).select_from(turns).where(turns.c.state == literal_column("'running'")))
NEXT_WAKES = (
    Hot(
        select(func.min(messages.c.wake_at)).where(
            messages.c.state == literal_column("0"), messages.c.wake_at > bindparam("p_now")
        )
    ),
    Hot(select(func.min(agents.c.wake_at)).where(agents.c.wake_at > bindparam("p_now"))),
    Hot(select(func.min(boxes.c.wake_at)).where(boxes.c.state != literal_column("'gone'"))),
    Hot(select(func.min(programs.c.wake_at)).where(programs.c.state != literal_column("'ended'"))),
)
_begin = Hot(
    insert(turns).values(
        agent_id=bindparam("p_agent"),
        agent=bindparam("p_name"),
        state=literal_column("'running'"),
        cause=literal_column("'{}'"),
        wake_source=literal_column("'mail'"),
        epoch=bindparam("p_epoch"),
        host=bindparam("p_host"),
        generation=literal_column("1"),
        started_at=bindparam("p_now"),
        entered_at=bindparam("p_now"),
        compacted=literal_column("0"),
    )
)
_never_ran = agents.c.has_run == literal_column("0")
_has_run = Hot(
    update(agents)
    .where(agents.c.id == bindparam("p_id"), or_(_never_ran, agents.c.held_at.is_not(None)))
    .values(held_at=literal_column("NULL"), has_run=literal_column("1"))
)
_has_run_held = Hot(update(agents).where(agents.c.id == bindparam("p_id"), _never_ran).values(has_run=1))
_cause = Hot(
    update(turns)
    .where(turns.c.id == bindparam("p_id"))
    .values(cause=bindparam("p_cause"), wake_source=bindparam("p_by"))
)
_OPEN_COLUMNS = (
    turns.c.id,
    turns.c.agent_id,
    turns.c.agent,
    turns.c.state,
    turns.c.epoch,
    turns.c.generation,
    turns.c.program_id,
    turns.c.prompt_seq,
    turns.c.compacted,
    turns.c.interrupt_by,
    turns.c.started_at,
    turns.c.log_path,
    turns.c.wake_source,
)
OPEN_TURN_OF = Hot(select(*_OPEN_COLUMNS).where(turns.c.agent_id == bindparam("p_agent"), _OPEN))
OPEN_TURNS = Hot(select(*_OPEN_COLUMNS).where(_OPEN))  # with an ORDER BY all turns would be read
_prompt = Hot(
    update(turns)
    .where(turns.c.id == bindparam("p_id"), turns.c.epoch == bindparam("p_epoch"), _OPEN)
    .values(
        program_id=bindparam("p_program"),
        prompt_seq=bindparam("p_seq"),
        model=bindparam("p_model"),
        log_path=bindparam("p_log"),
    )
)
_SPENT = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "cost_micro_usd")
SPENT_IN = Hot(select(*(func.sum(spend.c[name]) for name in _SPENT)).where(spend.c.turn == bindparam("p_turn")))
COUNTED_MOST = 1000
"""Waiting messages whose threads are counted at the end of a turn."""
_waits = (
    select(func.coalesce(messages.c.thread, messages.c.id).label("thread"))
    .where(messages.c.state == literal_column("0"), messages.c.agent_id == bindparam("p_agent"))
    .limit(literal_column(str(COUNTED_MOST)))
    .subquery()
)
_count_open = Hot(
    update(turns)
    .where(turns.c.id == bindparam("p_id"))
    .values(open_threads=select(func.count(_waits.c.thread.distinct())).scalar_subquery())
)
UNSETTLED = Hot(
    select(func.count())
    .select_from(spend)
    .where(spend.c.turn == bindparam("p_turn"), spend.c.state == literal_column("'reserved'"))
)
_STATISTICS = (
    "result",
    "reason",
    "note",
    "model",
    "duration_ms",
    "tool_calls",
    "tools",
    "context_tokens",
    "context_window",
    *_SPENT,
)
_end = Hot(
    update(turns)
    .where(turns.c.id == bindparam("p_id"), turns.c.epoch == bindparam("p_epoch"), _OPEN)
    .values(
        {
            "state": literal_column("'ended'"),
            "ended_at": bindparam("p_now"),
            "entered_at": bindparam("p_now"),
            "wake_at": literal_column("NULL"),
            **{name: bindparam(f"p_{name}") for name in _STATISTICS},
        }
    )
    .returning(turns.c.agent, turns.c.wake_source, turns.c.agent_id)
)


def due(c: Connection, limit: int) -> list[DueAgent]:
    """Agents that should run a turn now, the longest waiting first (FIFO)."""
    return [DueAgent(*row) for row in DUE.all(c, now=now(c), n=limit)]


def due_one(c: Connection, agent: AgentId) -> DueAgent | None:
    """The agent, if it should run a turn now."""
    row = DUE_ONE.one(c, now=now(c), p_agent=agent)
    return None if row is None else DueAgent(*row)


def running(c: Connection) -> int:
    """How many turns hold a slot."""
    row = RUNNING.one(c)
    assert row is not None
    return int(row[0])


def next_wake(c: Connection) -> Micros | None:
    """The earliest future moment at which any row wants to be looked at again."""
    rows = [query.one(c, p_now=now(c)) for query in NEXT_WAKES]
    return min((row[0] for row in rows if row is not None and row[0] is not None), default=None)


# ---- turns ----------------------------------------------------------------------------------------------------------


def open_turn(c: Connection, agent: DueAgent, *, epoch: int, host: str, for_mail: bool = True) -> TurnId:
    """Begin a turn; `set_cause` completes it. The partial unique index refuses a second open one (I-7). One that is not
    `for_mail` leaves mail that an interrupt holds where it is (D-18)."""
    turn = _begin.insert(c, p_agent=agent.id, p_name=agent.name, p_epoch=epoch, p_host=host, p_now=now(c))
    (_has_run if for_mail else _has_run_held).run(c, p_id=agent.id)
    return TurnId(turn)


def set_cause(c: Connection, turn: TurnId, agent: AgentName, cause: Cause) -> None:
    """Write down what woke the turn, once its mail is leased: no turn without a cause."""
    _cause.run(c, p_id=turn, p_cause=json.dumps(cause.as_json()), p_by=cause.kind)
    data = {"id": turn, "cause": cause.as_json()}
    events.record(c, "turn.started", agent=agent, subject=f"t{turn}", data=data)


def as_begun(c: Connection, turn: TurnId, agent: DueAgent, *, epoch: int, cause: Cause) -> OpenTurn:
    """The turn that `open_turn` and `set_cause` have written in this transaction, as `open_turn_of` would read it."""
    return OpenTurn(
        id=turn,
        agent_id=agent.id,
        agent=agent.name,
        state=TurnState.RUNNING,
        epoch=epoch,
        generation=1,
        program=None,
        prompt_seq=None,
        compacted=0,
        interrupt_by=None,
        started_at=now(c),
        log_path=None,
        woken=cause.kind,
    )


def open_turns(c: Connection) -> list[OpenTurn]:
    """Every turn that has not ended, oldest first."""
    return sorted((_open_turn(row) for row in OPEN_TURNS.all(c)), key=lambda turn: turn.id)


def open_turn_of(c: Connection, agent: AgentId) -> OpenTurn | None:
    """The agent's open turn, if any."""
    row = OPEN_TURN_OF.one(c, p_agent=agent)
    return None if row is None else _open_turn(row)


def _open_turn(row: tuple[Any, ...]) -> OpenTurn:
    """A row selected as `_OPEN_COLUMNS`."""
    number, agent_id, agent, state, epoch, generation, program, seq, compacted, interrupt_by, started_at, *rest = row
    log, woken = rest
    return OpenTurn(
        id=TurnId(number),
        agent_id=AgentId(agent_id),
        agent=AgentName(agent),
        state=TurnState(state),
        epoch=epoch,
        generation=generation,
        program=program,
        prompt_seq=seq,
        compacted=compacted,
        interrupt_by=interrupt_by,
        started_at=started_at,
        log_path=log,
        woken=woken,
    )


def set_prompt(
    c: Connection, turn: TurnId, epoch: int, *, program: str, seq: int, model: str | None, log_path: str
) -> bool:
    """The turn's prompt is in the outbox as line `seq` of the program; False when this daemon holds it no more."""
    return _prompt.run(c, p_id=turn, p_epoch=epoch, p_program=program, p_seq=seq, p_model=model, p_log=log_path) == 1


def change_turn(c: Connection, turn: TurnId, epoch: int, **values: Any) -> bool:
    """Change an open turn that this daemon holds; False when it no longer does."""
    where = (turns.c.id == turn, turns.c.epoch == epoch, _OPEN)
    return c.execute(update(turns).where(*where).values(**values)).rowcount == 1


def set_state(c: Connection, turn: TurnId, epoch: int, to: TurnState, *, until: Micros | None = None) -> bool:
    """Park a turn (`until` its call's time is up) or give it a slot again (D-19)."""
    other = TurnState.WAITING if to is TurnState.RUNNING else TurnState.RUNNING
    where = (turns.c.id == turn, turns.c.epoch == epoch, turns.c.state == other.value)
    values = {"state": to.value, "entered_at": now(c), "wake_at": until}
    agent = c.execute(update(turns).where(*where).values(values).returning(turns.c.agent)).scalar_one_or_none()
    if agent is None:
        return False
    events.record(c, f"turn.{to.value}", agent=agent, subject=f"t{turn}", data={"id": turn})
    return True


def adopt(c: Connection, turn: TurnId, epoch: int) -> bool:
    """A restarted daemon takes over a turn of an older one; attempts of its mail stay as they are (D-18).

    False when this daemon opened it itself, while older boxes were still being accounted for.
    """
    values = {"epoch": epoch, "state": TurnState.RUNNING.value}
    where = (turns.c.id == turn, turns.c.epoch < epoch, _OPEN)
    agent = c.execute(update(turns).where(*where).values(values).returning(turns.c.agent)).scalar_one_or_none()
    if agent is None:
        return False
    events.record(c, "turn.adopted", agent=agent, subject=f"t{turn}", data={"id": turn})
    return True


def end_turn(c: Connection, turn: TurnId, epoch: int, values: Mapping[str, Any]) -> bool:
    """Write the turn's end and statistics, none of those that `values` leaves out; False when another daemon holds it
    or it has ended already."""
    known = dict.fromkeys(_STATISTICS) | spent_in(c, turn) | dict(values)
    row = _end.one(c, p_id=turn, p_epoch=epoch, p_now=now(c), **{f"p_{name}": known[name] for name in _STATISTICS})
    if row is None:
        return False
    agent, woken, agent_id = row
    data = {"id": turn, "result": values["result"], "reason": values["reason"]}
    events.record(c, "turn.ended", agent=agent, subject=f"t{turn}", data=data)
    if woken == COMPACT:
        control_rows.compaction_over(c, agent_id, values)
    return True


def count_open_threads(c: Connection, turn: TurnId, agent_id: AgentId) -> None:
    """Note how many threads have mail that waits for the agent now that its turn is over (TS-2)."""
    _count_open.run(c, p_id=turn, p_agent=agent_id)


def spent_in(c: Connection, turn: TurnId) -> dict[str, int | None]:
    """Tokens and cost of a turn as counted at the gate; all None when it made no model call (blank, not 0: LE-4)."""
    row = SPENT_IN.one(c, p_turn=turn)
    assert row is not None
    return dict(zip(_SPENT, row, strict=True))


def refused_field(c: Connection, agent: str, since: int) -> tuple[str, str] | None:
    """The field (or model) that the gate refused this agent since then, and the setting that would allow it."""
    newest = select(event_rows.c.kind, event_rows.c.at, event_rows.c.data).where(event_rows.c.agent == agent)
    recent = newest.order_by(event_rows.c.id.desc()).limit(NEWEST).subquery()
    found = select(recent.c.data).where(recent.c.kind == "model.field_refused", recent.c.at >= since).limit(1)
    data = c.execute(found).scalar_one_or_none()
    told: dict[str, str] = {} if data is None else json.loads(data)
    return (told.get("field", "something"), told.get("setting") or "no setting") if told else None


def unsettled(c: Connection, turn: TurnId) -> int:
    """Model calls of the turn whose cost is not known yet."""
    row = UNSETTLED.one(c, p_turn=turn)
    return 0 if row is None else int(row[0])


def ask_interrupt(c: Connection, turn: TurnId, by: str, agent: str) -> None:
    """Write down that somebody wants the turn interrupted: a person's own, recorded act."""
    c.execute(update(turns).where(turns.c.id == turn, _OPEN).values(interrupt_by=by))
    events.record(c, "turn.interrupt_asked", agent=agent, subject=f"t{turn}", by=by, data={"id": turn})


def listing(c: Connection, agent: AgentId | None, before: int | None, limit: int) -> Sequence[RowMapping]:
    """Turns, newest first, with ids below `before`."""
    query = select(turns).order_by(turns.c.id.desc()).limit(limit)
    if agent is not None:
        query = query.where(turns.c.agent_id == agent)
    if before is not None:
        query = query.where(turns.c.id < before)
    return c.execute(query).mappings().all()


def get(c: Connection, turn: TurnId) -> RowMapping | None:
    """One turn's row."""
    return c.execute(select(turns).where(turns.c.id == turn)).mappings().first()
