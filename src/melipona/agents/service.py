"""Agents: made, changed, and moved by verbs; and what happens when a box ends by itself.

Each use case is one transaction with its events. What must then be done outside the store (ending boxes, removing
folders) is an operation in flight that a reconciler finds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import Connection

from melipona.agents import store as rows
from melipona.agents.lifecycle import Lifecycle, count_crash, record_tombstones
from melipona.agents.model import Agent, Role, Wish, new_name
from melipona.agents.settings import as_columns, shown
from melipona.agents.watch import GiveUp, after_crash
from melipona.clock import rfc3339
from melipona.errors import Conflict, Invalid, Refused
from melipona.ids import OPERATOR, AgentId, AgentName, agent_name, new_id
from melipona.mail.service import Mail
from melipona.operations import store as operation_rows
from melipona.operations.model import Operation
from melipona.operations.service import Operations
from melipona.principals import AgentPrincipal, Principal
from melipona.settings import Settings
from melipona.store import events
from melipona.store.engine import Store, now

LIMITS = frozenset({"budget_spent", "turns_per_hour"})
"""Troubles that a new limit ends."""

Verb = Callable[[Connection, Principal, Agent], None]


class Agents:
    """The agents of one hive. `engines` are the names that an agent may have as its engine."""

    def __init__(
        self,
        store: Store,
        mail: Mail,
        settings: Settings,
        *,
        operations: Operations,
        engines: Collection[str] = ("claude", "playbook"),
    ) -> None:
        self.store = store
        self._mail = mail
        self.settings = settings
        self._engines = tuple(engines)
        self._verbs = Lifecycle(mail, operations)

    # ---- making and changing --------------------------------------------------------------------------------------

    async def create(self, by: Principal, name: str, engine: str, **options: Any) -> Agent:
        """Make an agent; it starts no process before there is mail. `options` are settings as in `set`.

        The name of a tombstone brings that agent back, with its notes, settings and what is waiting (TB-3).

        Raises:
            Invalid: the name, engine or an option.
            Conflict: the name is taken or being purged, or there is a manager already.
        """
        return await self.store.write(self.create_in, by, name, engine, options)

    def create_in(self, c: Connection, by: Principal, name: str, engine: str, options: Mapping[str, Any]) -> Agent:
        """`create` as an operation."""
        _persons_only(by)
        wanted = new_name(name)
        if engine not in self._engines:
            raise Invalid(f"there is no engine {engine!r}", remedy=f"engines are {', '.join(self._engines)}")
        columns = as_columns(options)
        old = rows.by_name(c, wanted)
        if old is not None and old.alive:
            raise Conflict(f'agent "{wanted}" exists already', remedy="choose another name", code="exists")
        _refuse_while_removed(c, wanted)
        self._check_manager(c, columns.get("role") or (old.role.value if old else None), but=old)
        if old is None:
            identifier = AgentId(new_id())
            values = {"role": Role.WORKER.value} | columns
            rows.add(c, values | {"id": identifier, "name": wanted, "engine": engine, "wish": Wish.RUNNING.value})
        else:
            identifier = old.id
            session = old.session if old.engine == engine else None
            values = columns | {"engine": engine, "session": session, "wish": Wish.RUNNING.value}
            rows.change(c, identifier, entered_at=now(c), **values)
        data = {"id": identifier, "engine": engine, "reused": old is not None}
        events.record(c, "agent.created", agent=wanted, by=by.name, data=data)
        if old is not None:
            record_tombstones(c, by)
        return rows.named(c, wanted)

    async def set(self, by: Principal, name: str, changes: Mapping[str, Any]) -> Agent:
        """Change settings: model, playbook, budget_usd, turns_per_hour, send_allow, role. None is the default.

        Raises:
            NotFound: no such agent. Invalid: nothing to change, an unknown setting or value.
            Conflict: there is another manager.
        """
        return await self.store.write(self.set_in, by, name, changes)

    def set_in(self, c: Connection, by: Principal, name: str, changes: Mapping[str, Any]) -> Agent:
        """`set` as an operation."""
        _persons_only(by)
        agent = _live(c, name)
        columns = as_columns(changes)
        if not columns:
            raise Invalid("there is nothing to change", remedy="name at least one setting", code="empty")
        self._check_manager(c, columns.get("role"), but=agent)
        rows.change(c, agent.id, **columns)
        if agent.trouble in ("budget_spent", "turns_per_hour") and {"budget_micro_usd", "turns_per_hour"} & set(
            columns
        ):
            rows.clear_trouble(c, agent.id)
        events.record(c, "agent.changed", agent=agent.name, by=by.name, data={"changed": shown(changes)})
        return rows.named(c, name)

    # ---- verbs ----------------------------------------------------------------------------------------------------

    async def start(self, by: Principal, name: str) -> Agent:
        """Wish it running, and forget what was wrong with it."""
        return await self.store.write(self._verb, self._verbs.start, by, name)

    async def stop(self, by: Principal, name: str) -> Agent:
        """Wish it stopped until `start`."""
        return await self.store.reserved.write(self._verb, self._verbs.stop, by, name)

    async def restart(self, by: Principal, name: str) -> Agent:
        """End its box, then wake it."""
        return await self.store.write(self._verb, self._verbs.restart, by, name)

    async def pause(self, by: Principal, name: str) -> Agent:
        """No new turns until `resume`."""
        return await self.store.reserved.write(self._verb, self._verbs.pause, by, name)

    async def resume(self, by: Principal, name: str) -> Agent:
        """End a pause or a hold."""
        return await self.store.write(self._verb, self._verbs.resume, by, name)

    async def destroy(self, by: Principal, name: str) -> Agent:
        """Make it a tombstone: no box, no mail, files kept."""
        return await self.store.reserved.write(self._verb, self._verbs.destroy, by, name, tombstone=True)

    async def purge(self, by: Principal, name: str) -> Agent:
        """Remove it with all its files; there is no undo."""
        return await self.store.reserved.write(self._verb, self._verbs.purge, by, name, tombstone=True)

    def _verb(self, c: Connection, verb: Verb, by: Principal, name: str, *, tombstone: bool = False) -> Agent:
        """Check who asks and whom they mean (the name first: LE-9), then do it."""
        _persons_only(by)
        wanted = agent_name(name)
        agent = rows.named(c, wanted) if tombstone else _live(c, wanted)
        verb(c, by, agent)
        after = rows.by_id(c, agent.id)
        assert after is not None
        return after

    def finished(self, c: Connection, operation: Operation, error: str | None = None) -> None:
        """The reconciler is done with an operation of a verb."""
        self._verbs.finished(c, operation, error)

    # ---- crashes --------------------------------------------------------------------------------------------------

    def box_crashed(self, c: Connection, identifier: AgentId, why: str) -> bool:
        """A box ended by itself: report it, back off, and after too often give up (CW-7).

        False when that was no crash: an operation of the agent is in flight, or it shall not run.
        """
        agent = rows.by_id(c, identifier)
        if agent is None or agent.wish is not Wish.RUNNING or operation_rows.of_agent(c, identifier) is not None:
            return False
        crashes = count_crash(c, identifier)
        decision = after_crash(crashes, self.settings.watch, now(c))
        data = {"why": why, "crashes": crashes, "restart_at": None if isinstance(decision, GiveUp) else decision.at}
        events.record(c, "agent.crashed", agent=agent.name, data=data)
        if isinstance(decision, GiveUp):
            self._give_up(c, agent, why, crashes)
        else:
            rows.set_trouble(c, identifier, "crashed", why, until=decision.at)
            text = f"The box of {agent.name} ended by itself: {why}. It may run again at {rfc3339(decision.at)}."
            self._report(c, agent.name, text)
        return True

    def _give_up(self, c: Connection, agent: Agent, why: str, crashes: int) -> None:
        rows.set_trouble(c, agent.id, "gave_up", f"{crashes} crashes in a row; the last: {why}")
        events.record(c, "agent.gave_up", agent=agent.name, data={"crashes": crashes, "why": why})
        text = (
            f"The box of {agent.name} ended by itself {crashes} times in a row, the last time: {why}. It is not "
            f"restarted any more; `mel agent restart {agent.name}` tries again."
        )
        self._report(c, agent.name, text)

    def _report(self, c: Connection, about: str, text: str) -> None:
        self._mail.notice(c, OPERATOR, text)
        self._mail.notice_manager(c, text, but=about)

    def _check_manager(self, c: Connection, role: str | None, *, but: Agent | None) -> None:
        if role != Role.MANAGER.value:
            return
        present = rows.manager(c)
        if present is not None and (but is None or present.id != but.id):
            raise Conflict(
                f'agent "{present.name}" is the manager', remedy="a hive has at most one", code="manager_exists"
            )


def _live(c: Connection, name: str) -> Agent:
    """The agent of a name, no tombstone.

    Raises:
        NotFound, Conflict: nobody has the name; it was destroyed.
    """
    agent = rows.named(c, name)
    if not agent.alive:
        raise Conflict(
            f'agent "{name}" was destroyed', remedy=f"`mel agent new {name}` brings it back", code="tombstone"
        )
    return agent


def _refuse_while_removed(c: Connection, name: AgentName) -> None:
    """A name is free when the folders of its last owner are gone (T44)."""
    for operation in operation_rows.running(c):
        owner = None if operation.agent_id is None else rows.by_id(c, operation.agent_id)
        if owner is not None and owner.name == name:
            raise Conflict(
                f'agent "{name}": {operation.kind} is in flight', remedy="repeat when it has ended", code="in_flight"
            )


def _persons_only(by: Principal) -> None:
    if isinstance(by, AgentPrincipal):
        raise Refused("only the operator may do that", remedy="ask the operator by mail", code="operator_only")
