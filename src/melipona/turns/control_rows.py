"""What persons ask of an agent between its turns, as rows: compacting its conversation, beginning a new session.

Each is an operation in flight (`YIELDING`) from the moment it is asked for: no mail begins a turn meanwhile, a turn
that runs may finish, and a new daemon finds the row. A compaction is then a turn of its own, without mail, and its
operation ends with it in one transaction. A new session needs no turn: the old one is forgotten, and its engine ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, literal_column, or_, select

from melipona.agents import store as agent_rows
from melipona.clock import Micros
from melipona.ids import AgentId, ProgramId
from melipona.operations import store as operation_rows
from melipona.operations.model import COMPACTING
from melipona.store import events
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import agents, boxes, operations, programs, turns
from melipona.turns import program_rows

_running = operations.c.state == literal_column("'running'")
_between_turns = (
    ~select(turns.c.id)
    .where(turns.c.agent_id == operations.c.agent_id, turns.c.state != literal_column("'ended'"))
    .exists()
)
DUE_COMPACTIONS = Hot(
    select(operations.c.id, operations.c.agent_id, operations.c.principal, operations.c.started_at)
    .select_from(operations.join(agents, operations.c.agent_id == agents.c.id))
    .where(
        _running,
        operations.c.kind == literal_column("'compacting'"),
        agents.c.wish == literal_column("'running'"),
        agents.c.paused_at.is_(None),
        or_(agents.c.trouble.is_(None), agents.c.wake_at <= bindparam("p_now")),
        _between_turns,
    )
    .order_by(operations.c.started_at)
    .limit(bindparam("n"))
)
DUE_RENEWALS = Hot(
    select(operations.c.id, operations.c.agent_id, operations.c.principal).where(
        _running, operations.c.kind == literal_column("'renewing'"), _between_turns
    )
)
_engine = Hot(
    select(programs.c.id)
    .select_from(programs.join(boxes, programs.c.box_id == boxes.c.id))
    .where(
        programs.c.agent_id == bindparam("p_agent"),
        programs.c.state != literal_column("'ended'"),
        boxes.c.state != literal_column("'gone'"),
    )
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A compaction that can begin."""

    operation: str
    agent_id: AgentId
    by: str
    since: Micros


@dataclass(frozen=True, slots=True)
class Replaced:
    """An engine program whose session was ended: its row is, and the program is still to be."""

    agent_id: AgentId
    program: ProgramId


def due_compactions(c: Connection, limit: int) -> list[Asked]:
    """Compactions whose agents could run a turn now, in the order in which they were asked for."""
    return [
        Asked(operation, AgentId(agent), by, Micros(since))
        for operation, agent, by, since in DUE_COMPACTIONS.all(c, p_now=now(c), n=limit)
    ]


def compaction_over(c: Connection, agent: AgentId, ending: Mapping[str, object]) -> None:
    """The turn of a compaction has ended, whichever way: so has its operation."""
    found = operation_rows.of_agent(c, agent)
    if found is None or found.kind != COMPACTING:
        return  # it was taken back meanwhile
    told = ending.get("note") or ending.get("reason") or ending["result"]
    operation_rows.finish(c, found.id, error=None if ending["result"] == "ok" else str(told))


def renew_due(c: Connection, free: Callable[[AgentId], bool]) -> list[Replaced]:
    """Have agents forget their sessions that were to, between turns: the next one begins a new one."""
    replaced: list[Replaced] = []
    for operation, agent_id, by in DUE_RENEWALS.all(c):
        agent = agent_rows.by_id(c, agent_id)
        if agent is None or not free(agent.id):
            continue
        for (program,) in _engine.all(c, p_agent=agent.id):
            program_rows.end_program(c, ProgramId(program))
            replaced.append(Replaced(agent.id, ProgramId(program)))
        agent_rows.set_session(c, agent.id, None)
        events.record(c, "agent.session_renewed", agent=agent.name, by=by, data={"id": agent.id})
        operation_rows.finish(c, operation)
    return replaced
