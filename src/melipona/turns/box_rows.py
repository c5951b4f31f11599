"""Statements about the boxes of a host, and about what has idled too long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, literal_column, select, update

from melipona.clock import Micros
from melipona.ids import AgentId, AgentName, BoxId, ProgramId
from melipona.store import events
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import agents, boxes, programs, turns
from melipona.turns.program_rows import Program, end_program, program_of

_wake = Hot(update(boxes).where(boxes.c.id == bindparam("p_id")).values(wake_at=bindparam("p_at")))
_due_programs = Hot(
    select(programs.c.id).where(programs.c.state != literal_column("'ended'"), programs.c.wake_at <= bindparam("p_now"))
)
_due_boxes = Hot(
    select(boxes.c.id).where(boxes.c.state != literal_column("'gone'"), boxes.c.wake_at <= bindparam("p_now"))
)


@dataclass(frozen=True, slots=True)
class BoxRow:
    """A box that is not gone."""

    id: BoxId
    agent_id: AgentId
    agent: AgentName
    state: str
    handle: Mapping[str, Any] | None
    host: str
    wake_at: Micros | None


def add_box(c: Connection, box: BoxId, agent: AgentId, name: str, *, driver: str, host: str) -> None:
    """Record the intent to start a box before it exists (LE-22)."""
    at = now(c)
    c.execute(
        insert(boxes).values(
            id=box, agent_id=agent, driver=driver, state="starting", host=host, created_at=at, entered_at=at
        )
    )
    events.record(c, "box.starting", agent=name, subject=box)


def box_up(c: Connection, box: BoxId, name: str, handle: Mapping[str, Any]) -> None:
    """The box runs and is known by its handle."""
    values = {"state": "up", "handle": json.dumps(dict(handle)), "entered_at": now(c)}
    c.execute(update(boxes).where(boxes.c.id == box).values(values))
    events.record(c, "box.up", agent=name, subject=box)


def box_gone(c: Connection, box: BoxId, name: str, why: str) -> None:
    """None of the box's processes is left; its programs went with it."""
    at = now(c)
    gone = update(boxes).where(boxes.c.id == box, boxes.c.state != literal_column("'gone'"))
    if c.execute(gone.values(state="gone", ended_why=why, entered_at=at, wake_at=None)).rowcount:
        for (program,) in c.execute(select(programs.c.id).where(programs.c.box_id == box)).all():
            end_program(c, ProgramId(program))
        events.record(c, "box.gone", agent=name, subject=box, data={"why": why})


def set_box_wake(c: Connection, box: BoxId, at: Micros | None) -> None:
    """When an idle box is to be stopped."""
    _wake.run(c, p_id=box, p_at=at)


def let_go_idle(c: Connection, box: BoxId) -> bool:
    """A box whose idle time is over is about to be stopped: nothing is given to its programs any more.

    False when its agent has been given a turn since somebody looked.
    """
    busy = select(turns.c.agent_id).where(turns.c.state != literal_column("'ended'"))
    idle = (boxes.c.id == box, boxes.c.state != literal_column("'gone'"), boxes.c.wake_at <= now(c))
    if c.execute(select(boxes.c.id).where(*idle, boxes.c.agent_id.not_in(busy))).first() is None:
        return False
    live = select(programs.c.id).where(programs.c.box_id == box, programs.c.state != literal_column("'ended'"))
    for (program,) in c.execute(live).all():
        end_program(c, ProgramId(program))
    return True


def live_boxes(c: Connection, host: str) -> list[BoxRow]:
    """Boxes of this host that are not gone."""
    query = (
        select(boxes, agents.c.name)
        .join(agents, boxes.c.agent_id == agents.c.id)
        .where(boxes.c.state != literal_column("'gone'"), boxes.c.host == host)
    )
    return [
        BoxRow(
            BoxId(row["id"]),
            AgentId(row["agent_id"]),
            AgentName(row["name"]),
            row["state"],
            None if row["handle"] is None else json.loads(row["handle"]),
            row["host"],
            row["wake_at"],
        )
        for row in c.execute(query).mappings()
    ]


def idle_programs(c: Connection, host: str) -> list[Program]:
    """Engine programs of this host that idle, the longest idle first."""
    query = (
        select(programs)
        .join(boxes, programs.c.box_id == boxes.c.id)
        .where(programs.c.state != literal_column("'ended'"), programs.c.wake_at.is_not(None), boxes.c.host == host)
        .order_by(programs.c.wake_at)
    )
    return [program_of(row) for row in c.execute(query).mappings()]


def due_idle(c: Connection, host: str) -> tuple[list[Program], list[BoxRow]]:
    """Engine programs and boxes whose idle time is over and whose agent has no open turn."""
    at = now(c)
    if _due_programs.one(c, p_now=at) is None and _due_boxes.one(c, p_now=at) is None:
        return [], []
    busy = select(turns.c.agent_id).where(turns.c.state != literal_column("'ended'"))
    query = select(programs).where(
        programs.c.state != literal_column("'ended'"), programs.c.wake_at <= at, programs.c.agent_id.not_in(busy)
    )
    engines = [program_of(row) for row in c.execute(query).mappings()]
    open_agents = set(c.execute(busy).scalars())
    idle = [
        b for b in live_boxes(c, host) if b.wake_at is not None and b.wake_at <= at and b.agent_id not in open_agents
    ]
    return engines, idle
