"""The real tools behind the real gate, with one socket per agent and no boxes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from melipona.agents.tools import agent_tools
from melipona.boxes.sockets import listen_unix
from melipona.budgets.service import Budgets
from melipona.clock import SystemClock
from melipona.gate.app import Gate
from melipona.gate.listener import BoxListener, serve_box
from melipona.gate.upstream import Upstream
from melipona.ids import AgentId
from melipona.mail.tools import mail_tools
from melipona.principals import AgentPrincipal
from melipona.testing.rooms import Rooms, StorePark, temporary_rooms
from melipona.tool import Park


@dataclass
class Gated:
    """Agents with a socket each."""

    rooms: Rooms
    gate: Gate
    folder: Path
    listeners: list[BoxListener] = field(default_factory=list)

    async def agent(self, name: str) -> AgentPrincipal:
        """Make an agent with its folders and its socket."""
        agent = await self.rooms.agent(name)
        self.rooms.folders.make_agent(agent.id, agent.agent)
        folder = self.folder / name
        folder.mkdir()
        self.listeners.append(await serve_box(self.gate, listen_unix(folder, "gate.sock"), agent))
        return agent

    @asynccontextmanager
    async def client(self, name: str) -> AsyncGenerator[httpx2.AsyncClient]:
        """A client that speaks on the agent's socket."""
        transport = httpx2.AsyncHTTPTransport(uds=str(self.folder / name / "gate.sock"))
        base = "http://127.0.0.1:4141"
        async with httpx2.AsyncClient(transport=transport, base_url=base, timeout=30, trust_env=False) as client:
            yield client


@dataclass
class NoWait:
    """`calls.Parking` in which the time is up at once."""

    rooms: Rooms

    @asynccontextmanager
    async def parked(self, agent: AgentId, seconds: float) -> AsyncGenerator[Park]:
        """As `Parking.parked`."""
        del agent, seconds
        over = asyncio.Event()
        over.set()
        park = StorePark(self.rooms.store, over)
        try:
            yield park
        finally:
            park.close()


@asynccontextmanager
async def open_gates(tmp_path: Path, **mail: Any) -> AsyncGenerator[Gated]:
    """A hive of rooms and gate for as long as the context lasts."""
    async with contextlib.AsyncExitStack() as stack:
        rooms = await stack.enter_async_context(temporary_rooms(tmp_path / "data", **mail))
        tools = [*mail_tools(rooms.mail), *agent_tools(rooms.agents, rooms.folders)]
        budgets = Budgets(rooms.settings.budgets, timezone="UTC")
        upstream = Upstream("http://127.0.0.1:9", "")
        gate = Gate(rooms.store, tools, NoWait(rooms), upstream, budgets, rooms.settings, SystemClock(), rooms.epoch)
        stack.push_async_callback(gate.aclose)
        folder = tmp_path / "sockets"
        folder.mkdir()
        gated = Gated(rooms, gate, folder)
        try:
            yield gated
        finally:
            for listener in gated.listeners:
                await listener.aclose()
