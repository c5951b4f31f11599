"""A gate over a real store, with boxes' sockets, a stub of the model API and small tools of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import Connection, insert, select

from melipona.boxes.sockets import listen_unix
from melipona.budgets.service import Budgets
from melipona.clock import SystemClock
from melipona.errors import Refused
from melipona.gate.app import Gate
from melipona.gate.listener import BoxListener, serve_box
from melipona.gate.upstream import Upstream
from melipona.ids import AgentId, AgentName
from melipona.principals import AgentPrincipal
from melipona.settings import Settings, parse_settings
from melipona.store import events
from melipona.store.engine import Event, Store, now
from melipona.store.schema import agents, epochs, spend, turns
from melipona.testing.model_stub import ModelStub, model_stub
from melipona.tool import Call, Json, Park, Tool

KEY = "sk-ant-canary-0123456789abcdef"
TEXT = {"type": "string"}
MCP = {"accept": "application/json, text/event-stream"}
FOREIGN_HEADERS = {
    "x-agent": "ben",
    "x-melipona-agent": "id-ben",
    "melipona.agent": "ben",
    "x-forwarded-for": "ben",
    "x-forwarded-user": "ben",
    "forwarded": "for=ben",
    "authorization": "Bearer ben",
    "cookie": "agent=ben",
    "mcp-session-id": "session-of-ben",
    "from": "ben",
    "idempotency-key": "key-of-ben",
}
"""Other agents' names wherever a request can hold one."""


class Parked(Park):
    """Sleeps until `Hive.news` is set."""

    def __init__(self, news: asyncio.Event) -> None:
        self._news = news

    async def changed(self) -> bool:
        await self._news.wait()
        return True


@dataclass
class Hive:
    """What a test works with."""

    store: Store
    gate: Gate
    folder: Path
    budgets: Budgets
    stub: ModelStub
    settings: Settings
    epoch: int = 1
    news: asyncio.Event = field(default_factory=asyncio.Event)
    parked_agents: list[str] = field(default_factory=list)
    listeners: dict[str, BoxListener] = field(default_factory=dict)
    effects: list[tuple[str, str]] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def box(self, name: str) -> Path:
        """Make an agent with a box; the path of its gate socket."""
        await self.store.write(add_agent, name)
        folder = self.folder / name
        folder.mkdir()
        self.listeners[name] = await serve_box(self.gate, listen_unix(folder, "gate.sock"), principal(name))
        return folder / "gate.sock"

    @asynccontextmanager
    async def client(self, name: str) -> AsyncGenerator[httpx2.AsyncClient]:
        """A client in the agent's box."""
        path = self.folder / name / "gate.sock"
        if not path.exists():
            await self.box(name)
        transport = httpx2.AsyncHTTPTransport(uds=str(path))
        base = "http://127.0.0.1:4141"
        async with httpx2.AsyncClient(transport=transport, base_url=base, timeout=30, trust_env=False) as client:
            yield client

    async def events(self, kind: str | None = None) -> Sequence[Event]:
        return await self.store.read(events.after, 0, kind=kind)

    async def until(self, kind: str, count: int = 1) -> Sequence[Event]:
        """The events of a kind, once there are `count`."""
        async with asyncio.timeout(10):
            while len(found := await self.events(kind)) < count:
                await asyncio.sleep(0.005)
        return found

    async def spends(self) -> list[Any]:
        return await self.store.read(lambda c: list(c.execute(select(spend).order_by(spend.c.id)).mappings()))

    @asynccontextmanager
    async def parked(self, agent: AgentId, seconds: float) -> AsyncGenerator[Park]:
        """`calls.Parking`."""
        del seconds
        self.parked_agents.append(agent)
        self.entered.set()
        try:
            yield Parked(self.news)
        finally:
            self.parked_agents.remove(agent)

    def tools(self) -> list[Tool]:
        """Small tools of the tests' own."""

        def effect(c: Connection, caller: str, arguments: Json) -> Json:
            number = events.record(c, "test.effect", agent=caller, by=caller, data={"body": arguments["body"]})
            return {"by": caller, "number": number}

        async def note(call: Call) -> Json:
            answer = await call.once(effect, call.caller.name, dict(call.arguments))
            if call.arguments.get("slow"):
                self.entered.set()
                await self.go_on.wait()
            return answer or {}

        async def wait(call: Call) -> Json:
            async with call.parked(60) as park:
                await park.changed()
            return await call.read(lambda c: {"at": now(c) > 0, "by": call.caller.name})

        async def refuse(call: Call) -> Json:
            raise Refused("no, never", remedy="ask the operator")

        async def broken(call: Call) -> Json:
            raise RuntimeError("a secret of the inside")

        schema = {
            "properties": {"body": TEXT, "slow": {"type": "boolean"}, "from": TEXT, "agent_id": TEXT, "agent": TEXT},
            "required": ["body"],
        }
        return [
            Tool("note", "Write a note.\n\nIt is kept.", schema, note),
            Tool("wait", "Wait for news.", {"properties": {}}, wait, read_only=True),
            Tool("refuse", "Says no.", {"properties": {}}, refuse),
            Tool("broken", "Fails.", {"properties": {}}, broken),
        ]


def principal(name: str) -> AgentPrincipal:
    return AgentPrincipal(AgentId(f"id-{name}"), AgentName(name))


def add_agent(c: Connection, name: str) -> None:
    at = now(c)
    c.execute(
        insert(agents).values(
            id=f"id-{name}",
            name=name,
            role="worker",
            engine="claude",
            wish="running",
            created_at=at,
            entered_at=at,
        )
    )


def add_turn(c: Connection, name: str) -> int:
    """Open a turn."""
    at = now(c)
    values = {"agent_id": f"id-{name}", "agent": name, "state": "running", "cause": "{}", "epoch": 1, "host": "h"}
    adding = insert(turns).values(**values, wake_source="mail", started_at=at, entered_at=at)
    return int(c.execute(adding.returning(turns.c.id)).scalar_one())


def add_epoch(c: Connection) -> int:
    adding = insert(epochs).values(host="h", pid=1, started_at=now(c))
    return int(c.execute(adding.returning(epochs.c.id)).scalar_one())


@asynccontextmanager
async def open_hive(
    tmp_path: Path,
    *,
    settings: dict[str, Any] | None = None,
    key: str = KEY,
    hostile: str | None = None,
    base_url: str | None = None,
) -> AsyncGenerator[Hive]:
    """A hive for as long as the context lasts."""
    parsed = parse_settings(settings or {})
    async with model_stub(key=KEY, hostile=hostile) as stub, contextlib.AsyncExitStack() as stack:
        store = await Store.open(tmp_path / "hive.db", SystemClock(), force_place=True)
        stack.push_async_callback(store.close)
        epoch = await store.write(add_epoch)
        budgets = Budgets(parsed.budgets, timezone="UTC")
        upstream = Upstream(base_url or stub.url, key)
        hive = Hive(store, None, tmp_path, budgets, stub, parsed, epoch)  # pyright: ignore[reportArgumentType]
        hive.gate = Gate(store, hive.tools(), hive, upstream, budgets, parsed, SystemClock(), epoch)
        stack.push_async_callback(hive.gate.aclose)
        try:
            yield hive
        finally:
            for listener in hive.listeners.values():
                await listener.aclose()


def message(*, stream: bool = False, model: str = "claude-opus-4-5", text: str = "hi", **more: Any) -> Json:
    """A request for a message, with `STEPS` in `text` as the stub reads them."""
    messages = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    return {"model": model, "max_tokens": 100, "messages": messages, "stream": stream, **more}


def mcp_call(tool: str, arguments: object, *, modern: bool = False, call_id: str | None = None) -> dict[str, Any]:
    """A tool call as JSON-RPC over HTTP, in the form of 2025 or of 2026-07-28."""
    meta: dict[str, object] = {"agent": "ben"}
    if call_id:
        meta["claudecode/toolUseId"] = call_id
    headers = {**FOREIGN_HEADERS, **MCP, "mcp-protocol-version": "2026-07-28" if modern else "2025-06-18"}
    if modern:
        headers |= {"mcp-method": "tools/call", "mcp-name": tool}
        meta |= {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "ben", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    return {"json": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, "headers": headers}


def steps(*steps: Json) -> str:
    return "STEPS:" + json.dumps(list(steps))


__all__ = [
    "FOREIGN_HEADERS",
    "KEY",
    "MCP",
    "Hive",
    "add_turn",
    "mcp_call",
    "message",
    "open_hive",
    "principal",
    "steps",
]
