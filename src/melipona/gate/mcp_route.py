"""`/mcp`: the agent's tools as an MCP server, stateless and answering in JSON, for engines.

The library costs a second to import and 25 MiB, so that happens in a thread when the first box comes up (rule 22); a
call that comes sooner waits for it. There is no session and so none to steal: who calls is what the listener says,
each time.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from melipona import __version__
from melipona.errors import MeliponaError
from melipona.gate.exchange import Exchange, Message, told
from melipona.gate.toolbox import Toolbox, check_body, schema_of
from melipona.gate.watch import while_there
from melipona.principals import AgentPrincipal

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

log = structlog.get_logger("gate")

SERVER_NAME = "melipona"
CALL_ID = "claudecode/toolUseId"
"""Where the engine says which tool use of the model a call is (NOTES.md section 12)."""


class McpRoute:
    """The MCP server of all agents, in a task of its own from `begin` to `aclose`."""

    def __init__(self, toolbox: Toolbox, body_limit: int) -> None:
        self._toolbox, self._body_limit = toolbox, body_limit
        self._ready: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Future[StreamableHTTPSessionManager]:
        """Have the server come up, unless it does already."""
        if self._ready is None or (self._task is not None and self._task.done()):
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._serve(self._ready), name="mcp")
        return self._ready

    async def aclose(self) -> None:
        """End the server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        self._task = self._ready = None

    async def _serve(self, ready: asyncio.Future[StreamableHTTPSessionManager]) -> None:
        try:
            manager = await asyncio.to_thread(_make, self._toolbox, self._body_limit)
            async with manager.run():
                ready.set_result(manager)
                await asyncio.Event().wait()
        except Exception:
            log.exception("the MCP server ended")
        finally:
            ready.cancel()

    async def __call__(self, x: Exchange) -> None:
        body = await x.body(self._body_limit)
        check_body(body)
        manager = await asyncio.shield(self.begin())
        await while_there(x, manager.handle_request(_plain(x), _replay(body), _forward(x)))


def _plain(x: Exchange) -> dict[str, Any]:
    """The scope, without a session header: there are no sessions."""
    headers = [(name, value) for name, value in x.scope["headers"] if name != b"mcp-session-id"]
    return {**x.scope, "headers": headers}


def _replay(body: bytes) -> Callable[[], Any]:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _forward(x: Exchange) -> Callable[[Message], Any]:
    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in message.get("headers", [])]
            await x.start(message["status"], headers)
        elif message["type"] == "http.response.body":
            await x.write(message.get("body", b""), more=message.get("more_body", False))

    return send


def _make(toolbox: Toolbox, body_limit: int) -> StreamableHTTPSessionManager:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    manager = StreamableHTTPSessionManager(
        _server(toolbox), json_response=True, stateless=True, max_request_body_size=body_limit
    )
    gc.collect()
    gc.freeze()  # sixty thousand objects that stay: no collection looks at them again (rule 15)
    return manager


def _server(toolbox: Toolbox) -> Server[Any]:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel.server import Server

    listed = [
        types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=schema_of(tool),
            annotations=types.ToolAnnotations(read_only_hint=tool.read_only, open_world_hint=False),
        )
        for tool in toolbox.tools.values()
    ]

    async def on_list_tools(
        ctx: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        del ctx, params
        return types.ListToolsResult(tools=listed)

    async def on_call_tool(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        assert ctx.request is not None
        caller = ctx.request.scope["melipona.agent"]
        assert isinstance(caller, AgentPrincipal)
        own = (params.meta or {}).get(CALL_ID)
        try:
            answer = await toolbox.call(caller, params.name, params.arguments, own if isinstance(own, str) else None)
        except MeliponaError as error:
            text = "; ".join(part for part in told(error) if part)
            return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)
        text = json.dumps(answer, ensure_ascii=False)
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content=answer)

    return Server(SERVER_NAME, version=__version__, on_list_tools=on_list_tools, on_call_tool=on_call_tool)
