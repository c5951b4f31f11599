"""The table of model calls: a recorded turn of the CLI passes, everything else is refused by name (T12, D-28)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from melipona.errors import Invalid
from melipona.gate.table import FieldRefused, check, load_table
from melipona.settings import ModelSettings

from .hive import Hive, message, open_hive

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent / "recorded/claude-2.1.329.jsonl").read_text(encoding="utf-8").splitlines()
]
TABLE = load_table(ModelSettings())
MESSAGES = TABLE.routes["POST", "/v1/messages"]
URL = "/model/anthropic/v1/messages"


@pytest.mark.parametrize("request_", RECORDED, ids=lambda r: f"{r['body']['model']}-{len(r['body']['messages'])}")
def test_every_request_of_a_recorded_turn_is_on_the_table(request_: Any) -> None:
    """D-28: with its betas, fields, tools and content blocks; a CLI that asks for more shows here first."""
    path = request_["path"].split("?")[0]
    route = TABLE.route(request_["method"], path)
    assert route is not None
    asked = check(TABLE, route, json.dumps(request_["body"]).encode())
    assert asked.model == request_["body"]["model"]
    assert TABLE.allowed_betas([request_["beta"]])[1] == []


BAD: list[tuple[str, dict[str, Any]]] = [
    ("mcp_servers", {"mcp_servers": [{"type": "url", "url": "https://evil.example"}]}),
    ("container", {"container": "c"}),
    ("api_base", {"api_base": "https://evil.example"}),
    ("base_url", {"base_url": "https://evil.example"}),
    ("api_key", {"api_key": "sk-other"}),
    ("service_tier", {"service_tier": "priority"}),
    ("speed", {"speed": "fast"}),
    ("inference_geo", {"inference_geo": "us"}),
    ("tools[].type web_fetch_20250910", {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
    ("tools[].type web_search_20250305", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("tools[].type code_execution_20250825", {"tools": [{"type": "code_execution_20250825", "name": "x"}]}),
    ("tools[].type mcp_toolset", {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}),
    ("tools[].type ?", {"tools": ["web_fetch"]}),
    ("model gpt-5", {"model": "gpt-5"}),
    ("model None", {"model": None}),
    ("source.type url", {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]}),
    (
        "source.type url",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "content": [{"type": "document", "source": {"type": "url", "url": "x"}}],
                        }
                    ],
                }
            ]
        },
    ),
    (
        "source.type file",
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file"}}]}]},
    ),
    ("content[].type container_upload", {"messages": [{"role": "user", "content": [{"type": "container_upload"}]}]}),
    (
        "tools[].type web_fetch_20250910",
        {
            "messages": [
                {"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "web_fetch_20250910"}}]}
            ]
        },
    ),
    ("content[].type tool_definition", {"messages": [{"role": "system", "content": [{"type": "tool_definition"}]}]}),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("field", "more"), BAD, ids=[f"{n}-{bad[0]}" for n, bad in enumerate(BAD)])
async def test_what_is_not_on_the_table_is_refused_by_name(hive: Hive, field: str, more: dict[str, Any]) -> None:
    """T12, D-28: 403 in the API's shape, an event that names field and setting, nothing sent."""
    async with hive.client("ana") as box:
        answer = await box.post(URL, json=message() | more)
    assert answer.status_code == 403
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["type"] == "error"
    (event,) = await hive.events("model.field_refused")
    assert json.loads(event.data)["field"] == field
    assert event.agent == "ana"
    assert hive.stub.requests == []
    assert await hive.spends() == []


PATHS = [
    ("POST", "/v1/complete"),
    ("POST", "/v1/messages/batches"),
    ("GET", "/v1/messages/batches"),
    ("GET", "/v1/messages/batches/msgbatch_1"),
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/file_1/content"),
    ("DELETE", "/v1/files/file_1"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/claude-opus-5"),
    ("POST", "/v1/skills"),
    ("GET", "/v1/organizations/me"),
    ("GET", "/v1/organizations/usage_report/messages"),
    ("POST", "/v1/organizations/api_keys/key_1"),
    ("POST", "/v1/environments"),
    ("POST", "/v1/sessions"),
    ("POST", "/v1/experimental/generate_prompt"),
    ("POST", "/api/event_logging/batch"),
    ("GET", "/v1/messages"),
    ("PUT", "/v1/messages"),
    ("DELETE", "/v1/messages"),
    ("POST", "/v1/messages/"),
    ("POST", "/v1/messages/count_tokens/x"),
    ("POST", "/V1/messages"),
    ("POST", "/v1/messages;x"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.threat("T12")
async def test_every_other_path_of_the_provider_is_refused(hive: Hive, method: str, path: str) -> None:
    """T12: an exact table of (method, path)."""
    async with hive.client("ana") as box:
        answer = await box.request(method, "/model/anthropic" + path, json=message())
    assert answer.status_code == 403
    assert hive.stub.requests == []
    (event,) = await hive.events("model.refused")
    assert json.loads(event.data)["path"] == "/model/anthropic" + path


@pytest.mark.anyio
async def test_unlisted_betas_are_dropped_and_counted(hive: Hive) -> None:
    """D-28."""
    beta = "effort-2025-11-24, files-api-2025-04-14,mcp-client-2025-04-04"
    async with hive.client("ana") as box:
        await box.post(URL + "?beta=true&x=1", json=message(), headers={"anthropic-beta": beta})
    (seen,) = hive.stub.requests
    assert seen["headers"]["anthropic-beta"] == "effort-2025-11-24"
    assert seen["path"] == "/v1/messages?beta=true"
    assert dict(hive.gate.refusals.dropped_betas) == {"files-api-2025-04-14": 1, "mcp-client-2025-04-04": 1}


@pytest.mark.anyio
async def test_the_operator_can_widen_the_table(tmp_path: Path) -> None:
    """D-28: the setting that a refusal names allows it."""
    more = {"fields": ["service_tier"], "server_tools": ["web_search_20250305"], "allowed": ["*"], "betas": ["b-1"]}
    request = message(
        model="other-1", service_tier="auto", tools=[{"type": "web_search_20250305", "name": "web_search"}]
    )
    async with open_hive(tmp_path, settings={"models": {"anthropic": more}}) as hive, hive.client("ana") as box:
        answer = await box.post(URL, json=request, headers={"anthropic-beta": "b-1"})
    assert answer.status_code == 200
    assert hive.stub.messages[0]["headers"]["anthropic-beta"] == "b-1"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'"x"', b'{"model":"claude-x","model":"claude-y"}', b"[" * 100_000, b'{"model":"claude-x"}'],
    ids=["empty", "a list", "half", "a text", "a name twice", "deep", "no max_tokens"],
)
def test_a_body_that_is_no_request_is_invalid(body: bytes) -> None:
    """T12: also a name that is there twice, which two parsers could read in two ways."""
    with pytest.raises(Invalid):
        check(TABLE, MESSAGES, body)


def test_content_nested_without_end_is_invalid() -> None:
    """T12: the check ends."""
    content: list[Any] = []
    for _ in range(50):
        content = [{"type": "tool_result", "content": content}]
    with pytest.raises((Invalid, FieldRefused)):
        check(TABLE, MESSAGES, json.dumps(message() | {"messages": [{"content": content}]}).encode())


@pytest.mark.anyio
async def test_refusals_cannot_fill_the_store(hive: Hive) -> None:
    """T36: an agent that is refused all the time leaves only so many events a minute, each on one line."""
    async with hive.client("ana") as box:
        for n in range(40):
            answer = await box.post(URL, json=message() | {f'x{n}\n{{"event":"login"}}\x1b[2J': 1})
            assert answer.status_code == 403
    told = await hive.events("model.field_refused")
    assert len(told) == 20
    field = json.loads(told[0].data)["field"]
    assert "\n" not in field
    assert "\x1b" not in field
