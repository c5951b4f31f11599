"""A stand-in for the gate, so that an engine can be tried without a daemon and without a box.

It serves the paths that an engine program uses: `/api/tools/NAME`, `/mcp` with the same tools, and the model API behind
`/model/anthropic`, answered by the model stub. Tool calls are recorded; a repeated `Idempotency-Key` (or tool use id)
is answered from the record, as the real gate does (D-23).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import anyio.to_thread

from melipona.engines.base import PLACEHOLDER_KEY
from melipona.testing.model_script import Json
from melipona.testing.model_stub import ModelStub
from melipona.testing.model_stub_http import StubHandler

_STRING = {"type": "string"}
TOOLS: Mapping[str, Json] = {
    "send": {"type": "object", "properties": {"to": _STRING, "body": _STRING}, "required": ["to", "body"]},
    "whoami": {"type": "object", "properties": {}},
    "receive": {"type": "object", "properties": {"wait_seconds": {"type": "number"}}},
    "break_once": {"type": "object", "properties": {}},
    "refuse": {"type": "object", "properties": {}},
}


@dataclass(frozen=True, slots=True)
class StubCall:
    """One tool call that had an effect."""

    name: str
    arguments: Json
    key: str | None


class GateStub(ModelStub):
    """The stand-in; `calls` are the effects, oldest first; `mail` is what `receive` hands out.

    The tool `break_once` loses its first answer; `refuse` says no.
    """

    def __init__(self, *, slow: float = 0) -> None:
        self.calls: list[StubCall] = []
        self.repeats = 0
        self.slow = slow
        self.mail: list[Json] = []
        self._answers: dict[str, Json] = {}
        super().__init__(key=PLACEHOLDER_KEY, handler=GateHandler)

    @property
    def address(self) -> str:
        """`host:port`, as drivers take it."""
        return f"127.0.0.1:{self.port}"

    def effect(self, name: str, arguments: Json, key: str | None) -> tuple[Json, bool]:
        """The answer to a call, and whether the call is new."""
        if key is not None and key in self._answers:
            self.repeats += 1
            return self._answers[key], False
        self.calls.append(StubCall(name, arguments, key))
        answer: Json = {"ok": True, "number": len(self.calls)}
        if name == "receive":
            answer, self.mail = {"messages": self.mail, "empty": not self.mail}, []
        if key is not None:
            self._answers[key] = answer
        self.record({"method": "CALL", "path": f"tool {name}", "refused": False})
        return answer, True


class GateHandler(StubHandler):
    """One connection to the stand-in."""

    def other(self, body: bytes) -> bool:
        gate = cast("GateStub", self.stub)
        path = self.path.split("?")[0]
        if path == "/mcp":
            self._mcp(gate, body)
        elif path.startswith("/api/tools/"):
            self._tool(gate, path.removeprefix("/api/tools/"), json.loads(body or b"{}"))
        else:
            return False
        return True

    def has_key(self) -> bool:
        """The gate drops whatever key a box sends and adds the real one (D-28)."""
        return True

    def _tool(self, gate: GateStub, name: str, arguments: Json) -> None:
        if name not in TOOLS or name == "refuse":
            title = "Refused" if name in TOOLS else "Not found"
            problem = {"title": title, "detail": f"{name}: no", "code": "refused"}
            self.answer(403 if name in TOOLS else 404, problem, {"content-type": "application/problem+json"})
            return
        answer, new = gate.effect(name, arguments, self.headers.get("idempotency-key"))
        self.nap(gate.slow)
        if name == "break_once" and new:
            self.close_connection = True
            return
        self.answer(200, {"result": answer})

    def _mcp(self, gate: GateStub, body: bytes) -> None:
        message = cast("Json", json.loads(body or b"{}"))
        if "id" not in message:
            self.answer(202 if body else 405, {})
            return
        method, params = message.get("method"), cast("Json", message.get("params") or {})
        result = self._mcp_result(gate, str(method), params)
        error: Json = {"error": {"code": -32601, "message": f"{method} is not known"}}
        self.answer(
            200, {"jsonrpc": "2.0", "id": message["id"], **({"result": result} if result is not None else error)}
        )

    def _mcp_result(self, gate: GateStub, method: str, params: Json) -> Json | None:
        if method == "initialize":
            info = {"name": "melipona", "version": "0"}
            return {"protocolVersion": params.get("protocolVersion"), "capabilities": {"tools": {}}, "serverInfo": info}
        if method == "tools/list":
            return {"tools": [{"name": n, "description": n, "inputSchema": schema} for n, schema in TOOLS.items()]}
        if method == "tools/call":
            meta: dict[str, Any] = params.get("_meta") or {}
            answer, _ = gate.effect(
                str(params["name"]), params.get("arguments") or {}, meta.get("claudecode/toolUseId")
            )
            self.nap(gate.slow)
            return {"content": [{"type": "text", "text": json.dumps(answer)}], "structuredContent": answer}
        return {} if method == "ping" else None


@asynccontextmanager
async def gate_stub(*, slow: float = 0) -> AsyncGenerator[GateStub]:
    """A stand-in for as long as the context lasts; every tool call takes `slow` seconds."""
    stub = GateStub(slow=slow)
    try:
        yield stub
    finally:
        await anyio.to_thread.run_sync(stub.close)
