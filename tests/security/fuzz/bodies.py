"""The gate's check of a request to a model (T12): what it lets pass, every strict reader reads in the same way, and
nothing of it asks the provider to fetch, to run or to connect to anything.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from melipona.errors import Invalid
from melipona.gate.table import Asked, FieldRefused, Table, check, load_table
from melipona.settings import ModelSettings

from .draw import Draw, as_json

READ = ("content", "source", "tool", "tools")
"""Where the provider looks for blocks, sources and tools within a message; the rest is data of the model's."""
WISHES = (
    *("url", "file", "container_upload", "mcp_toolset", "server_tool_use", "web_fetch_20250910"),
    *("web_search_20250305", "code_execution_20250825", "computer_20250124", "mcp_tool_use", "tool_definition"),
)
TYPES = ("text", "image", "document", "tool_result", "tool_use", "tool_addition", "tool_reference", "base64", "content")
KEYS = ("type", "text", "content", "source", "tool", "tools", "input", "name", "url", "cache_control", "id", "role")
TOP = (
    *("model", "max_tokens", "messages", "system", "tools", "stream", "metadata", "mcp_servers", "container"),
    *("api_base", "base_url", "tool_choice", "thinking", "temperature", "Model", "messages ", "service_tier"),
)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
TABLE: Table = load_table(ModelSettings())
PLAIN: dict[str, Any] = {"model": "claude-opus-4-5", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}


def target(data: bytes) -> None:
    """One body, as it is or built by the choices in `data`, against both routes of the table."""
    draw = Draw(data)
    body = draw.rest() if draw.byte() & 3 == 0 else _body(draw)
    for route in TABLE.routes.values():
        asked: Asked | None = None
        said = ""
        try:
            asked = check(TABLE, route, body)
        except (Invalid, FieldRefused) as error:
            said = str(error)
        if asked is None:
            assert len(said) < 2000
            continue
        request = json.loads(body)
        if not _HALF.search(body):  # half a character: strict readers refuse it, and so does the provider
            assert _same(msgspec.json.decode(body), request), "two readers read it in two ways"
        assert set(request) <= route.fields
        assert asked.model == request["model"]
        assert asked.model.startswith("claude-")
        assert 0 <= asked.max_tokens <= 10_000_000
        _no_wish([request.get("system"), request.get("tools")])
        _no_wish([message.get("content") for message in request.get("messages") or []])


def _same(one: Any, other: Any) -> bool:
    """Whether two readers read the same; very large numbers they may round each in its own way."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)  # pyright: ignore
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))  # pyright: ignore
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)]
    return all(numbers) or (type(one) is type(other) and one == other)  # pyright: ignore


def _no_wish(part: Any) -> None:
    if isinstance(part, list):
        for item in part:  # pyright: ignore[reportUnknownVariableType]
            _no_wish(item)
    elif isinstance(part, dict):
        assert part.get("type") not in WISHES, part  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        for name in READ:
            _no_wish(part.get(name))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


def _body(draw: Draw) -> bytes:
    request = dict(PLAIN)
    for _ in range(draw.some(3)):
        name = draw.pick(TOP)
        if name in ("messages", "system", "tools"):
            request[name] = _tree(draw, 4)
        elif draw.byte() & 1:
            request[name] = draw.value()
        else:
            request.pop(name, None)
    body = as_json(request)
    kind = draw.some(15)
    if kind == 0:
        return body.decode().encode(draw.pick(("utf-16", "utf-32", "utf-8-sig", "utf-16-be")))
    if kind == 1:
        at = draw.byte() * 3 % len(body)
        return body[:at] + draw.take(draw.some(6)) + body[at + draw.some(2) :]
    if kind == 2:
        return body[:-1] + b"," + as_json({draw.pick(TOP): draw.value()})[1:]  # a name that may stand there twice
    return body


def _tree(draw: Draw, depth: int) -> Any:
    kind = draw.some(5)
    if kind == 0 or not depth:
        return draw.value(1)
    if kind <= 2:
        return [_tree(draw, depth - 1) for _ in range(1 + draw.some(1))]
    node: dict[str, Any] = {"type": draw.pick(TYPES) if draw.byte() & 3 else draw.pick(WISHES)}
    for _ in range(draw.some(3)):
        node[draw.pick(KEYS)] = _tree(draw, depth - 1)
    if draw.byte() & 1:
        node["role"] = "user"
    return node


def seeds() -> list[bytes]:
    """Where mutation begins: requests that pass, requests that wish for something, and odd forms."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    rows: list[Any] = [PLAIN, PLAIN | {"stream": True, "system": [{"type": "text", "text": "s"}]}]
    rows += [PLAIN | {"messages": [{"role": "user", "content": [block]}]} for block in (image, result)]
    rows += [PLAIN | {"tools": [{"name": "x", "input_schema": {"type": "object"}}]}, PLAIN | {"mcp_servers": []}]
    rows += [PLAIN | {"tools": [{"type": wish, "name": "x"}]} for wish in WISHES]
    rows += [PLAIN | {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url"}}]}]}]
    raw = [b"\x00" + as_json(row) for row in rows]
    raw += [b'\x00{"model":"claude-x","model":"gpt"}', b"\x00[[[[[[", b'\x00{"max_tokens":NaN,"model":"claude-x"}']
    return [*raw, *(bytes([1, n, n * 7 % 256, 3, 1]) + bytes(range(n, n + 60)) for n in range(0, 180, 9))]
