"""`/api`: the agent's tools for scripts in the box and for the command `mel` there. The same tools as at `/mcp`."""

from __future__ import annotations

import json

from melipona.errors import Invalid, NotFound
from melipona.gate.exchange import Exchange
from melipona.gate.toolbox import Toolbox, check_body, schema_of
from melipona.gate.watch import while_there

PREFIX = "/api/tools"


class ToolApi:
    """`GET /api/tools` and `POST /api/tools/NAME`."""

    def __init__(self, toolbox: Toolbox, body_limit: int) -> None:
        self._toolbox, self._body_limit = toolbox, body_limit

    async def __call__(self, x: Exchange) -> None:
        body = await x.body(self._body_limit)
        if x.path == PREFIX:
            await (self._list(x) if x.method in ("GET", "HEAD") else _only(x, "GET"))
        elif x.method != "POST":
            await _only(x, "POST")
        else:
            await self._call(x, x.path.removeprefix(PREFIX + "/"), body)

    async def _list(self, x: Exchange) -> None:
        tools = [
            {"name": t.name, "description": t.description, "parameters": schema_of(t), "read_only": t.read_only}
            for t in self._toolbox.tools.values()
        ]
        await x.json(200, {"tools": tools})

    async def _call(self, x: Exchange, name: str, body: bytes) -> None:
        if name not in self._toolbox.tools:
            raise NotFound(
                "there is no such tool", remedy=f"there are: {', '.join(self._toolbox.tools)}", code="no_such_tool"
            )
        check_body(body)
        try:
            arguments = json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            raise Invalid("the body is not JSON", remedy="send the arguments as a JSON object") from error
        answer = await while_there(x, self._toolbox.call(x.agent, name, arguments, x.header("idempotency-key")))
        await x.json(200, {"result": answer})


async def _only(x: Exchange, method: str) -> None:
    await x.json(405, {"title": "Method Not Allowed", "status": 405}, headers={"allow": method})
