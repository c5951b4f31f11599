"""The gate: the one application that a box sees, `/mcp`, `/api` and `/model`. It has no route of the operator's (T11).

Who asks is what the listener put into the scope. Routes are exact paths; a path with an escape, a second or foreign
Host, or a wish to upgrade is refused before anything is looked at (T15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property

import structlog

from melipona.budgets.service import Budgets
from melipona.clock import Clock
from melipona.errors import Bug, MeliponaError, NotFound
from melipona.gate import model
from melipona.gate.api import PREFIX as TOOLS
from melipona.gate.api import ToolApi
from melipona.gate.calls import Parking
from melipona.gate.exchange import Exchange, Gone, Receive, Scope, Send, Times
from melipona.gate.mcp_route import McpRoute
from melipona.gate.model import ModelParts, ModelRoute
from melipona.gate.refusals import Refusals
from melipona.gate.table import load_table
from melipona.gate.toolbox import Toolbox
from melipona.gate.upstream import Upstream
from melipona.settings import Settings
from melipona.store.engine import Store, request_id
from melipona.tool import Tool

log = structlog.get_logger("gate")

Handler = Callable[[Exchange], Awaitable[None]]
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]", "gate"})
ROUTES = ("/mcp", TOOLS, TOOLS + "/NAME", model.PREFIX, model.PREFIX + "/", model.PREFIX + "/v1/...")
"""Every path there is; those below /model are in anthropic.toml. Frozen by a test."""


class Gate:
    """The gate of all boxes of this daemon. One listener per box gives it each request with its agent."""

    def __init__(
        self,
        store: Store,
        tools: Sequence[Tool],
        parking: Parking,
        upstream: Upstream,
        budgets: Budgets,
        settings: Settings,
        clock: Clock,
        epoch: int,
    ) -> None:
        self.settings = settings.gate
        self.upstream = upstream
        self.refusals = Refusals(store, budgets, clock)
        toolbox = Toolbox(store, tools, parking, epoch=epoch)
        table = load_table(settings.models.anthropic)
        self._api = ToolApi(toolbox, self.settings.tool_body_bytes)
        self._mcp = McpRoute(toolbox, self.settings.tool_body_bytes)
        self._model = ModelRoute(ModelParts(store, upstream, table, budgets, self.refusals, self.settings, epoch))

    def warm(self) -> None:
        """Begin to load what the first request needs: when there is a box, which takes longer to come up."""
        self._mcp.begin()

    async def aclose(self) -> None:
        """End what the gate runs for itself; listeners are closed by who opened them."""
        await self._mcp.aclose()
        await self.upstream.aclose()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application. `melipona.agent` and `melipona.cut` are in the scope."""
        x = Exchange(scope, receive, send, self._times)
        request_id.set(None)
        try:
            async with asyncio.timeout(self._times.total or None):
                await self._answer(x)
        except (Gone, TimeoutError):
            x.cut()
        except MeliponaError as error:
            await self._failed(x, error)
        except Exception:
            log.exception("a request at the gate failed", agent=x.agent.name, method=x.method)
            await self._failed(x, Bug("a request at the gate failed"))

    @cached_property
    def _times(self) -> Times:
        return Times(idle=self.settings.idle_seconds, total=self.settings.stream_seconds)

    async def _failed(self, x: Exchange, error: MeliponaError) -> None:
        if x.started:
            x.cut()
            return
        try:
            await x.problem(error)
        except Gone:
            x.cut()

    async def _answer(self, x: Exchange) -> None:
        odd = _odd(x)
        if odd is not None:
            await x.json(400, {"title": "Bad Request", "status": 400, "detail": odd}, headers={"connection": "close"})
            return
        await self._handler(x.path)(x)

    def _handler(self, path: str) -> Handler:
        if path == "/mcp":
            return self._mcp
        if path == TOOLS or (path.startswith(TOOLS + "/") and "/" not in path[len(TOOLS) + 1 :]):
            return self._api
        if path == model.PREFIX or path.startswith(model.PREFIX + "/"):
            return self._model
        return _nothing


async def _nothing(x: Exchange) -> None:
    raise NotFound("the gate has no such path", remedy="there are /api/tools, /mcp and /model/anthropic")


def _odd(x: Exchange) -> str | None:
    """What is wrong with the form of a request, whatever it asks for."""
    if x.scope["type"] != "http":
        return "only HTTP is spoken here"
    if b"%" in x.scope["raw_path"] or x.scope["raw_path"] != x.path.encode("utf-8"):
        return "no path here has an escape"
    if x.headers("upgrade"):
        return "nothing is upgraded here"
    host = x.headers("host")
    if len(host) != 1 or host[0].rpartition(":")[0 if _has_port(host[0]) else 2] not in HOSTS:
        return "the Host header is not the gate's"
    return None


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isascii() and host.rpartition(":")[2].isdigit()
