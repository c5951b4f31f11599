"""The model route is an exact table (T12, T13): every other call of the provider, and every other wish, is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from gate.hive import Hive, message, open_hive
from melipona.errors import AskedWrongly
from melipona.gate.table import MODEL_MOST, FieldRefused, check, load_table
from melipona.settings import ModelSettings

pytestmark = [pytest.mark.anyio, pytest.mark.threat("T12", "T13")]

TABLE = load_table(ModelSettings())
MESSAGES = TABLE.routes["POST", "/v1/messages"]
COUNT = TABLE.routes["POST", "/v1/messages/count_tokens"]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATHS = (
    *("/v1/messages", "/v1/messages/count_tokens", "/v1/complete", "/v1/responses", "/v1/chat/completions"),
    *("/v1/messages/batches", "/v1/messages/batches/b", "/v1/messages/batches/b/cancel"),
    *("/v1/messages/batches/b/results", "/v1/models", "/v1/models/claude-opus-4-5", "/v1/usage"),
    *("/v1/files", "/v1/files/f", "/v1/files/f/content", "/v1/skills", "/v1/skills/s", "/v1/skills/s/versions"),
    *("/v1/skills/s/versions/1", "/v1/agents", "/v1/agents/a", "/v1/agents/a/archive", "/v1/environments"),
    *("/v1/environments/e", "/v1/environments/e/archive", "/v1/sessions", "/v1/sessions/s", "/v1/sessions/s/events"),
    *("/v1/sessions/s/events/stream", "/v1/sessions/s/resources", "/v1/vaults", "/v1/vaults/v/credentials"),
    *("/v1/memory_stores", "/v1/memory_stores/m/memories", "/v1/containers", "/v1/containers/c", "/v1/deployments"),
    *("/v1/fine_tuning/jobs", "/v1/embeddings", "/v1/code_execution", "/v1/mcp", "/v1/mcp/servers", "/v1/admin"),
    *("/v1/organizations/me", "/v1/organizations/users", "/v1/organizations/users/u", "/v1/organizations/invites"),
    *("/v1/organizations/workspaces", "/v1/organizations/workspaces/w/members", "/v1/organizations/api_keys"),
    *("/v1/organizations/api_keys/k", "/v1/organizations/usage_report/messages", "/v1/organizations/cost_report"),
    *("/v1/organizations/usage_report/claude_code", "/v1/organizations/rate_limits", "/v1/oauth/token", "/oauth/token"),
    *("/v1/experimental/generate_prompt", "/v1/experimental/improve_prompt", "/v1/experimental/templatize_prompt"),
    *("/api/event_logging/batch", "/api/oauth/profile", "/api/claude_code/settings", "/metrics", "/debug", "/admin"),
    *(
        "/v1",
        "/v1/",
        "/v1/messages/",
        "/v1/messages/x",
        "/v1/messages;a=b",
        "/V1/MESSAGES",
        "/v2/messages",
        "/messages",
    ),
    *("/v1/messages/count_tokens/", "/v1//messages", "/v1/messages.json"),
)
"""The provider's API as its documents name it, what gateways add to it, and near misses."""


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Hive]:
    async with open_hive(tmp_path) as hive:
        yield hive


async def test_t12_model_route_abuse(hive: Hive) -> None:
    """T12, line 12: of all paths and methods two pass; no other sends a byte upstream or sets money aside."""
    passed: list[tuple[str, str]] = []
    async with hive.client("ana") as box:
        for path in PATHS:
            for method in METHODS:
                url = box.base_url.copy_with(raw_path=b"/model/anthropic" + path.encode())
                answer = await box.request(method, url, json=message())
                if answer.status_code not in (400, 403, 404, 429):
                    passed.append((method, path))
    assert set(passed) <= {("POST", "/v1/messages")}
    assert {request["path"] for request in hive.stub.requests} <= {"/v1/messages"}
    assert len(hive.stub.requests) == 1


def _with(place: str, value: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "messages": {"messages": value},
        "message": {"messages": [value]},
        "content": {"messages": [{"role": "user", "content": value}]},
        "block": {"messages": [{"role": "user", "content": [value]}]},
        "inner": {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [value]}]}]},
        "source": {"messages": [{"role": "user", "content": [{"type": "document", "source": value}]}]},
        "added": {"messages": [{"role": "user", "content": [{"type": "tool_addition", "tool": value}]}]},
        "added many": {"messages": [{"role": "user", "content": [{"type": "text", "text": "", "tools": value}]}]},
        "system": {"system": value},
        "tools": {"tools": value},
        "tool": {"tools": [value]},
    }
    return {"model": "claude-opus-4-5", "max_tokens": 1, **content[place]}


PLACES = (
    "messages",
    "message",
    "content",
    "block",
    "inner",
    "source",
    "added",
    "added many",
    "system",
    "tools",
    "tool",
)
FETCH = {"type": "image", "source": {"type": "url", "url": "https://evil.example"}}
WISHES: tuple[Any, ...] = (
    *({"type": kind} for kind in ("url", "file", "container_upload", "mcp_toolset", "server_tool_use")),
    *({"type": f"{kind}_20260101"} for kind in ("web_fetch", "web_search", "code_execution", "computer", "memory")),
    *({"type": kind} for kind in (["text"], {"type": "text"}, 1, True, "TEXT", " text", "text\0", "")),
    FETCH,
)
SHAPES: tuple[Any, ...] = (1, True, 0.5, {}, {"0": FETCH}, [1], ["text"], [[FETCH]], [None])


@pytest.mark.parametrize("place", PLACES)
def test_t12_no_wish_passes_wherever_it_stands(place: str) -> None:
    """T12: fetching, running and connecting at the provider, in every place where it reads a type."""
    for wish in WISHES:
        if place == "message":  # a message has no type of its own; what it holds is looked at below
            wish = {"role": "user", "content": [wish]}
        for route in (MESSAGES, COUNT):
            request = _with(place, wish if place not in ("content", "system", "tools", "added many") else [wish])
            if route is COUNT:
                del request["max_tokens"]
            with pytest.raises(AskedWrongly):
                check(TABLE, route, json.dumps(request).encode())


@pytest.mark.parametrize("place", ["messages", "content", "system", "tools", "added many"])
def test_t12_another_shape_is_refused_and_not_passed_on_unread(place: str) -> None:
    """T12, found by the fuzz target: an object where a list belongs was not looked into."""
    for shape in SHAPES:
        with pytest.raises(AskedWrongly):
            check(TABLE, MESSAGES, json.dumps(_with(place, shape)).encode())


@pytest.mark.parametrize(
    "tools",
    [
        [{"name": "a", "input_schema": {}, "source": {"type": "url"}}],
        [{"name": "a", "input_schema": {}, "tools": [{"type": "computer_20250124"}]}],
        [{"name": "a", "input_schema": {}, "content": [{"type": "container_upload"}]}],
    ],
)
def test_t12_what_a_tool_never_holds_is_not_passed_on_unread(tools: list[object]) -> None:
    """T12, found by the fuzz target in CI, like a source within a source."""
    block = {"type": "text", "text": "x", "source": {"type": "text", "source": {"type": "web_fetch_20250910"}}}
    for place, value in (("tools", tools), ("system", [block]), ("content", [block])):
        with pytest.raises(AskedWrongly):
            check(TABLE, MESSAGES, json.dumps(_with(place, value)).encode())


@pytest.mark.parametrize(
    "name",
    [
        *("mcp_servers", "container", "api_base", "base_url", "api_key", "api_version", "custom_llm_provider"),
        *("service_tier", "speed", "inference_geo", "betas", "extra_body", "extra_headers", "fallbacks", "user"),
        *("anthropic_beta", "messages ", "Messages", "MODEL", "max_tokens_to_sample", "prompt", "callback_url", ""),
    ],
)
def test_t12_no_other_field_passes(name: str) -> None:
    """T12, CVE-2024-6587: at the top only what the table names, letter by letter."""
    for value in (None, "https://evil.example", [], {}):
        with pytest.raises(FieldRefused):
            check(TABLE, MESSAGES, json.dumps({**message(), name: value}).encode())


@pytest.mark.parametrize(
    "model", ["gpt-5", "Claude-opus-4-5", "", "anthropic/claude-x", "x claude-", "claude-" + "x" * MODEL_MOST]
)
def test_t12_no_other_model_passes(model: str) -> None:
    """T12, T35: nor one whose name would fill the table of what calls cost."""
    with pytest.raises(FieldRefused):
        check(TABLE, MESSAGES, json.dumps(message(model=model)).encode())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le"])
def test_t12_a_body_in_another_encoding_is_invalid(encoding: str) -> None:
    """T12: Python's reader guesses encodings, the provider's does not: both must read the same."""
    with pytest.raises(AskedWrongly):
        check(TABLE, MESSAGES, json.dumps(message()).encode(encoding))


@pytest.mark.parametrize(
    "body", [b'{"max_tokens":NaN}', b'{"temperature":Infinity}', b'{"x":-Infinity}', b'{"a":1}x', b"\xff{}"]
)
def test_t12_what_only_one_reader_reads_is_invalid(body: bytes) -> None:
    """T12: numbers that are none in JSON, and something behind the end."""
    whole = json.dumps(message()).encode()[:-1] + b"," + body[1:]
    with pytest.raises(AskedWrongly):
        check(TABLE, MESSAGES, whole)


async def test_t13_an_attackers_own_key_is_dropped_and_no_other_host_can_be_named(hive: Hive) -> None:
    """T13: whoever's key a box sends, ours goes to our upstream; neither Host nor path names another."""
    sent = {
        "x-api-key": "sk-of-the-attacker",
        "authorization": "Bearer theirs",
        "cookie": "k=v",
        "proxy-authorization": "x",
    }
    async with hive.client("ana") as box:
        assert (await box.post("/model/anthropic/v1/messages", json=message(), headers=sent)).status_code == 200
        for host in ("api.anthropic.com", "api.openai.com", "127.0.0.1.evil.example", "127.0.0.1:4141@evil.example"):
            answer = await box.post("/model/anthropic/v1/messages", json=message(), headers={"host": host})
            assert answer.status_code == 400
    (seen,) = hive.stub.requests
    assert seen["headers"]["x-api-key"] == "(present)"
    assert not {"authorization", "cookie", "proxy-authorization"} & set(seen["headers"])
