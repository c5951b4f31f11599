"""Statements of the `agents` table. Each is an operation of a connection, in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text, update

from melipona.agents.model import LIVE, Agent, Role, Wish
from melipona.clock import Micros
from melipona.ids import AgentId, AgentName
from melipona.mail.recipients import no_agent
from melipona.store import events
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import agents

_a = agents.c
_COLUMNS = tuple(agents.c[field.name] for field in fields(Agent))
_NAMES = tuple(field.name for field in fields(Agent))

BY_ID = Hot(select(*_COLUMNS).where(_a.id == bindparam("p_id")))
_no_crashes = Hot(
    update(agents).where(_a.id == bindparam("p_id"), text("agents.crashes > 0")).values(crashes=text("0"))
)
BY_NAME = Hot(select(*_COLUMNS).where(_a.name == bindparam("p_name"), text("agents.wish <> 'purged'")))


# ---- looks --------------------------------------------------------------------------------------------------------


def by_id(c: Connection, identifier: AgentId) -> Agent | None:
    """The agent of an id, whatever its wish."""
    row = BY_ID.one(c, p_id=identifier)
    return None if row is None else _agent(row)


def by_name(c: Connection, name: str) -> Agent | None:
    """The agent that has a name now; tombstones too, purged ones not."""
    row = BY_NAME.one(c, p_name=name)
    return None if row is None else _agent(row)


def named(c: Connection, name: str) -> Agent:
    """The same.

    Raises:
        NotFound: nobody has the name; with the one that was probably meant.
    """
    found = by_name(c, name)
    if found is None:
        raise no_agent(c, name)
    return found


def listing(c: Connection) -> list[Agent]:
    """All agents but tombstones and purged ones, by name."""
    return _all(c, LIVE)


def tombstones(c: Connection) -> list[Agent]:
    """Destroyed agents whose files are kept (TB-1), by name."""
    return _all(c, (Wish.DESTROYED.value,))


def troubled(c: Connection, codes: Collection[str]) -> list[AgentId]:
    """Agents, tombstones and purged ones apart, that run no turns for one of these reasons."""
    query = select(_a.id).where(_a.trouble.in_(codes), _a.wish.in_(LIVE)).order_by(_a.name)
    return [AgentId(identifier) for identifier in c.execute(query).scalars()]


def manager(c: Connection) -> Agent | None:
    """The agent with the role, if there is one."""
    query = select(*_COLUMNS).where(_a.role == Role.MANAGER.value, _a.wish.in_(LIVE))
    row = c.execute(query).first()
    return None if row is None else _agent(tuple(row))


# ---- changes ------------------------------------------------------------------------------------------------------


def add(c: Connection, values: Mapping[str, Any]) -> None:
    """Insert a row; `values` are columns."""
    at = now(c)
    c.execute(insert(agents).values(dict(values) | {"created_at": at, "entered_at": at}))


def change(c: Connection, identifier: AgentId, **values: Any) -> None:
    """Set columns, and nothing else: the event is the caller's."""
    c.execute(update(agents).where(_a.id == identifier).values(values))


def set_trouble(
    c: Connection, identifier: AgentId, code: str, detail: str | None, *, until: Micros | None = None
) -> bool:
    """Note why an agent runs no turns: until a time, or (None) until a person acts. False when that stood already."""
    agent = by_id(c, identifier)
    if agent is None or (agent.trouble, agent.trouble_detail, agent.wake_at) == (code, detail, until):
        return False
    since = agent.entered_at if agent.trouble == code else now(c)
    change(c, identifier, trouble=code, trouble_detail=detail, wake_at=until, entered_at=since)
    events.record(c, "agent.trouble", agent=agent.name, data={"code": code, "detail": detail, "until": until})
    return True


def clear_trouble(c: Connection, identifier: AgentId) -> bool:
    """Whatever was wrong is over. False when nothing was."""
    agent = by_id(c, identifier)
    if agent is None or agent.trouble is None:
        return False
    change(c, identifier, trouble=None, trouble_detail=None, wake_at=None, entered_at=now(c))
    events.record(c, "agent.trouble_over", agent=agent.name, data={"code": agent.trouble})
    return True


def ended_well(c: Connection, identifier: AgentId, name: str) -> None:
    """A turn ended well: crashes in a row are forgotten, and so is trouble."""
    clear_trouble(c, identifier)
    if _no_crashes.run(c, p_id=identifier):
        events.record(c, "agent.changed", agent=name, data={"crashes": 0})


def hold(c: Connection, identifier: AgentId) -> None:
    """After an interrupt: what was given back wakes the agent no more until the operator acts (D-18)."""
    agent = by_id(c, identifier)
    if agent is not None:
        change(c, identifier, held_at=now(c))
        events.record(c, "agent.changed", agent=agent.name, data={"held": True})


def set_session(c: Connection, identifier: AgentId, session: str | None) -> None:
    """Remember the engine's session; None forgets it."""
    c.execute(update(agents).where(_a.id == identifier, _a.session.is_distinct_from(session)).values(session=session))


def record_session_lost(c: Connection, identifier: AgentId, name: str) -> None:
    """The engine did not find its session and begins a new one (D-26)."""
    events.record(c, "agent.session_lost", agent=name, data={"id": identifier})


def set_status(c: Connection, identifier: AgentId, status: str | None) -> None:
    """What the agent says it is doing; None says nothing (ASK-2)."""
    agent = by_id(c, identifier)
    if agent is not None and agent.status_text != status:
        change(c, identifier, status_text=status, status_at=None if status is None else now(c))
        events.record(c, "agent.status_set", agent=agent.name, by=agent.name, data={"text": status})


def _all(c: Connection, wishes: Sequence[str]) -> list[Agent]:
    query = select(*_COLUMNS).where(_a.wish.in_(wishes)).order_by(_a.name)
    return [_agent(tuple(row)) for row in c.execute(query)]


def _agent(row: Sequence[Any]) -> Agent:
    values = dict(zip(_NAMES, row, strict=True))
    values["name"] = AgentName(values["name"])
    values["role"], values["wish"] = Role(values["role"]), Wish(values["wish"])
    values["has_run"] = bool(values["has_run"])
    values["send_allow"] = None if values["send_allow"] is None else tuple(json.loads(values["send_allow"]))
    return Agent(**values)
