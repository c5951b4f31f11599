"""The verbs as operations: each changes the wish, says so in an event, and leaves the acting to a reconciler (D-25).

A verb that finds its wish fulfilled changes nothing and is no error. Kicks: one each after `start`, `restart` and
`resume` of an agent that has run before, none after anything else (BR-7, BR-11, invariant 4). A restart's comes when
the box is down, in `finished`; the others come with the verb.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, update

from melipona.agents import store as rows
from melipona.agents.model import Agent, Wish
from melipona.errors import Conflict
from melipona.ids import AgentId
from melipona.mail.acts import park_all_of
from melipona.mail.service import Mail
from melipona.operations import store as operation_rows
from melipona.operations.model import YIELDING, Operation
from melipona.operations.service import Operations
from melipona.principals import Principal
from melipona.store import events
from melipona.store.engine import now
from melipona.store.schema import agents

FRESH: dict[str, Any] = {"trouble": None, "trouble_detail": None, "wake_at": None, "crashes": 0}
"""What a person's start or restart forgets."""
SILENT: dict[str, Any] = {"status_text": None, "status_at": None, "held_at": None, "paused_at": None, "paused_by": None}
"""What ends with the box of an agent that is stopped (ASK-2)."""


class Lifecycle:
    """The verbs. Who may ask is the service's to check."""

    def __init__(self, mail: Mail, operations: Operations) -> None:
        self._mail = mail
        self._operations = operations

    def start(self, c: Connection, by: Principal, agent: Agent) -> None:
        """Wish it running, and forget its trouble. No process starts before there is mail."""
        if agent.wish is Wish.RUNNING and agent.trouble is None:
            return
        rows.change(c, agent.id, wish=Wish.RUNNING.value, entered_at=now(c), **FRESH)
        _record(c, "agent.started", agent, by)
        self._kick(c, agent, "started")

    def stop(self, c: Connection, by: Principal, agent: Agent) -> None:
        """Wish it stopped: its box ends, it gets no turns, its mail waits."""
        if agent.wish is Wish.STOPPED:
            return
        rows.change(c, agent.id, wish=Wish.STOPPED.value, entered_at=now(c), **FRESH, **SILENT)
        _record(c, "agent.stopped", agent, by)
        self._end_box(c, "stopping", agent, by)

    def restart(self, c: Connection, by: Principal, agent: Agent) -> None:
        """End its box and have it run again; of a stopped one the same as start."""
        if agent.wish is Wish.STOPPED:
            self.start(c, by, agent)
            return
        rows.change(c, agent.id, entered_at=now(c), status_text=None, status_at=None, held_at=None, **FRESH)
        self._end_box(c, "restarting", agent, by)

    def pause(self, c: Connection, by: Principal, agent: Agent) -> None:
        """Let the running turn finish and start no other; box and mail stay (OP-9).

        Raises:
            Conflict: it is stopped.
        """
        if agent.paused_at is not None:
            return
        if agent.wish is not Wish.RUNNING:
            raise Conflict(f'agent "{agent.name}" is stopped', remedy="there is nothing to pause", code="stopped")
        rows.change(c, agent.id, paused_at=now(c), paused_by=by.name, entered_at=now(c))
        _record(c, "agent.paused", agent, by)

    def resume(self, c: Connection, by: Principal, agent: Agent) -> None:
        """End a pause, or the hold after an interrupt (D-18)."""
        if agent.paused_at is None and agent.held_at is None:
            return
        rows.change(c, agent.id, paused_at=None, paused_by=None, held_at=None, entered_at=now(c))
        _record(c, "agent.resumed", agent, by)
        self._kick(c, agent, "resumed")

    def destroy(self, c: Connection, by: Principal, agent: Agent) -> None:
        """End its box for good and keep its files: it becomes a tombstone (LC-7, TB-1)."""
        if agent.wish is Wish.DESTROYED:
            return
        rows.change(c, agent.id, wish=Wish.DESTROYED.value, entered_at=now(c), **FRESH, **SILENT)
        _record(c, "agent.destroyed", agent, by)
        self._end_box(c, "destroying", agent, by)
        record_tombstones(c, by)

    def purge(self, c: Connection, by: Principal, agent: Agent) -> None:
        """Destroy it with all its files and what it remembered (LC-8); its place in the history stays.

        The row is purged at once; the reconciler ends the box and removes the folders (invariant 36).

        Raises:
            Conflict: another operation on it is in flight.
        """
        take_back(c, agent.id, "it was purged")
        self._operations.begin(c, "purging", agent.id, by)
        forgotten = {"session": None, "playbook": None, "has_run": 0}
        rows.change(c, agent.id, wish=Wish.PURGED.value, entered_at=now(c), **FRESH, **SILENT, **forgotten)
        park_all_of(c, agent.id, "its recipient was purged")
        _record(c, "agent.purged", agent, by)
        record_tombstones(c, by)

    def finished(self, c: Connection, operation: Operation, error: str | None = None) -> None:
        """A reconciler is done with an operation: end it; a restart that worked is told and kicks."""
        if not operation_rows.finish(c, operation.id, error=error) or error is not None:
            return
        agent = None if operation.agent_id is None else rows.by_id(c, operation.agent_id)
        if agent is not None and operation.kind == "restarting" and agent.wish is Wish.RUNNING:
            events.record(c, "agent.restarted", agent=agent.name, by=operation.principal)
            self._kick(c, agent, "restarted")

    def _end_box(self, c: Connection, kind: str, agent: Agent, by: Principal) -> None:
        """Have the box ended, unless an operation in flight ends it anyway."""
        take_back(c, agent.id, f"{kind} was asked by {by.name}")
        if operation_rows.of_agent(c, agent.id) is None:
            self._operations.begin(c, kind, agent.id, by)

    def _kick(self, c: Connection, agent: Agent, reason: str) -> None:
        if agent.has_run:
            self._mail.kick(c, agent.id, reason)


def record_tombstones(c: Connection, by: Principal) -> None:
    """Publish the full list of tombstones (TB-4)."""
    names = [agent.name for agent in rows.tombstones(c)]
    events.record(c, "tombstones.changed", by=by.name, data={"names": names})


def take_back(c: Connection, agent: AgentId, why: str) -> Operation | None:
    """End what waits for the agent's turn to end (`YIELDING`) as failed: nobody does it any more. What it was."""
    found = operation_rows.of_agent(c, agent)
    if found is None or found.kind not in YIELDING:
        return None
    operation_rows.finish(c, found.id, error=f"taken back: {why}")
    return found


def count_crash(c: Connection, identifier: AgentId) -> int:
    """One more crash since the last good turn; how many that makes."""
    query = update(agents).where(agents.c.id == identifier).values(crashes=agents.c.crashes + 1)
    return int(c.execute(query.returning(agents.c.crashes)).scalar_one())


def _record(c: Connection, kind: str, agent: Agent, by: Principal) -> None:
    events.record(c, kind, agent=agent.name, by=by.name, data={"id": agent.id})
