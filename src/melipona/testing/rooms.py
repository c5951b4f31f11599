"""The rooms mail, agents and operations over a real store, with short words for what tests do with them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.agents.model import Agent
from melipona.agents.service import Agents
from melipona.boxes.folders import Folders, box_owner
from melipona.clock import ManualClock
from melipona.files.references import Files
from melipona.ids import EpochId, TurnId
from melipona.mail import looks
from melipona.mail.bodies import FileBodies
from melipona.mail.model import Message, Sent
from melipona.mail.service import Mail
from melipona.operations.service import Operations
from melipona.principals import AgentPrincipal, OperatorPrincipal, Principal
from melipona.settings import MailSettings, Settings
from melipona.store import events
from melipona.store.engine import Event, Store
from melipona.testing.store import begin_turn, end_turn, open_epoch, temporary_store
from melipona.tool import Json, Tool

OPERATOR = OperatorPrincipal(method="test")


@dataclass(frozen=True, slots=True)
class HeldTurn:
    """An open turn and the mail it began with."""

    id: TurnId
    generation: int
    agent: AgentPrincipal
    messages: tuple[Message, ...]


class Rooms:
    """One hive without boxes and engines. Turns are rows that a test opens and ends."""

    def __init__(self, store: Store, clock: ManualClock, settings: Settings, data: Path, epoch: EpochId) -> None:
        self.store, self.clock, self.settings, self.data, self.epoch = store, clock, settings, data, epoch
        self.folders = Folders(data, box_owner())
        self.mail = Mail(store, settings.mail, FileBodies(data), Files(self.folders))
        self.operations = Operations(store, epoch, "testhost")
        self.agents = Agents(store, self.mail, settings, operations=self.operations)

    async def agent(self, name: str, *, has_run: bool = False, **options: Any) -> AgentPrincipal:
        """Make an agent."""
        made = await self.agents.create(OPERATOR, name, "playbook", **options)
        if has_run:
            await self.store.write(agent_rows.change, made.id, has_run=1)
        return AgentPrincipal(made.id, made.name)

    async def look(self, name: str) -> Agent:
        """The agent's row now."""
        return await self.store.read(agent_rows.named, name)

    async def send(self, by: Principal, to: str, body: str, **options: Any) -> Sent:
        """Send as a request does."""
        return await self.mail.post(by, to, body, **options)

    async def message(self, number: int) -> Message:
        """A message now."""
        return await self.store.read(looks.get, number)

    async def begin(self, agent: AgentPrincipal, *, limit: int = 32, generation: int = 1) -> HeldTurn:
        """Open a turn and lease what waits, as the turn loop does."""

        def op(c: Connection) -> HeldTurn:
            turn = begin_turn(c, agent.id, self.epoch, generation)
            return HeldTurn(turn, generation, agent, tuple(self.mail.lease(c, agent.id, turn, generation, limit=limit)))

        return await self.store.write(op)

    async def end(self, turn: HeldTurn, *, good: bool, failed: bool = True, reason: str = "it broke") -> None:
        """End a turn and settle its mail."""

        def op(c: Connection) -> None:
            end_turn(c, turn.id, "ok" if good else "failed")
            if good:
                self.mail.acknowledge(c, turn.id, turn.generation)
            else:
                self.mail.give_back(c, turn.id, turn.generation, failed=failed, reason=reason)

        await self.store.write(op)

    async def inbox(self, agent: AgentPrincipal) -> list[Message]:
        """The agent's newest messages, newest first."""
        return await self.store.read(looks.recent, agent.agent, 50)

    async def told(self, kind: str | None = None) -> list[Event]:
        """Every event so far, or those of a kind."""
        return await self.store.read(events.after, 0, kind=kind, limit=10_000)

    async def settle_operations(self) -> None:
        """Do what the reconciler would: end all operations in flight well."""
        for operation in await self.store.read(self.operations.running):
            await self.store.write(self.agents.finished, operation)

    def later(self, **by: float) -> None:
        """Move the clock."""
        self.clock.advance(timedelta(**by))

    async def call(self, tool: Tool, caller: AgentPrincipal, **arguments: Any) -> Json:
        """Call a tool as the gate does."""
        return await tool.handler(ToolCall(self.store, caller, arguments))


@dataclass(slots=True)
class ToolCall:
    """A call with a recorded answer, as the gate makes it. `time_is_up` ends its parks."""

    store: Store
    caller: AgentPrincipal
    arguments: Mapping[str, Any]
    time_is_up: asyncio.Event = field(default_factory=asyncio.Event)
    parks: list[float] = field(default_factory=list[float])
    parked_now: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Json | None = None

    async def once(self, op: Callable[..., Json | None], *args: Any, **kw: Any) -> Json | None:
        """Run `op` unless an answer is recorded."""
        if self.answer is None:
            answer = await self.store.write(op, *args, **kw)
            self.answer = None if answer is None else json.loads(json.dumps(answer))
        return self.answer

    async def read(self, op: Callable[..., Json], *args: Any, **kw: Any) -> Json:
        """Run a reading `op`."""
        return await self.store.read(op, *args, **kw)

    @asynccontextmanager
    async def parked(self, seconds: float) -> AsyncGenerator[StorePark]:
        """Park until the store has news or the test says that the time is up."""
        self.parks.append(seconds)
        park = StorePark(self.store, self.time_is_up)
        self.parked_now.set()
        try:
            yield park
        finally:
            park.close()


class StorePark:
    """Wakes at any event of the store."""

    def __init__(self, store: Store, time_is_up: asyncio.Event) -> None:
        self._news, self._over = asyncio.Event(), time_is_up
        self.close = store.subscribe(self._on_events)

    def _on_events(self, events: Sequence[Event]) -> None:
        self._news.set()

    async def changed(self) -> bool:
        """News, or the end of the time."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._news, self._over)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self._news.is_set():
            return False
        self._news.clear()
        return True


@asynccontextmanager
async def temporary_rooms(data: Path, **mail: Any) -> AsyncGenerator[Rooms]:
    """A hive below `data`; `mail` overrides settings of `[mail]`."""
    clock = ManualClock()
    await asyncio.to_thread(data.mkdir, 0o700, exist_ok=True)
    settings = replace_mail(Settings(), mail)
    async with temporary_store(data, clock) as store:
        epoch = await store.write(open_epoch)
        rooms = Rooms(store, clock, settings, data, epoch)
        rooms.folders.make_data()
        yield rooms


def replace_mail(settings: Settings, mail: Mapping[str, Any]) -> Settings:
    """`settings` with other values in `[mail]`."""
    return settings.model_copy(update={"mail": MailSettings(**mail)})
