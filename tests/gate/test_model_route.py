"""The model route: what passes, what it costs, what is refused."""

from __future__ import annotations

import json

import pytest

from .hive import KEY, Hive, message, steps

pytestmark = pytest.mark.anyio
URL = "/model/anthropic/v1/messages"


async def test_a_call_reaches_the_upstream_with_the_hives_key_and_not_the_boxs(hive: Hive) -> None:
    """T13: authorization, x-api-key and cookies of the box are dropped; the daemon's key is added."""
    async with hive.client("ana") as box:
        sent = {"x-api-key": "sk-of-the-attacker", "authorization": "Bearer other", "cookie": "a=b", "x-evil": "1"}
        answer = await box.post(URL, json=message(text=steps({"text": "hello"})), headers=sent)
    assert answer.status_code == 200
    assert answer.json()["content"][0]["text"] == "hello"
    seen = hive.stub.messages[0]
    assert seen["headers"]["x-api-key"] == "(present)"
    assert not {"authorization", "cookie", "x-evil"} & set(seen["headers"])


async def test_a_stream_passes_and_is_settled_by_the_upstreams_usage(hive: Hive) -> None:
    """T33, D-30: the cost is what the upstream's own usage says."""
    async with hive.client("ana") as box, box.stream("POST", URL, json=message(stream=True)) as answer:
        text = (await answer.aread()).decode()
    assert "message_stop" in text
    (row,) = await hive.spends()
    assert (row["state"], row["input_tokens"], row["output_tokens"]) == ("settled", 1000, 70)
    assert (row["cache_read_tokens"], row["cache_creation_tokens"], row["estimated"]) == (500, 200, 0)
    assert row["cost_micro_usd"] == 1000 * 5 + 70 * 25 + 500 * 0.5 + 200 * 6.25


async def test_count_tokens_passes_and_costs_nothing(hive: Hive) -> None:
    """T12: the second of the two calls on the table."""
    request = {k: v for k, v in message().items() if k not in ("max_tokens", "stream")}
    async with hive.client("ana") as box:
        answer = await box.post(URL + "/count_tokens?beta=true", json=request)
    assert answer.status_code == 200
    assert answer.json()["input_tokens"] > 0
    assert await hive.spends() == []


@pytest.mark.parametrize("tool", ["mcp", "api"])
async def test_smoke_tools(hive: Hive, tool: str) -> None:
    async with hive.client("ana") as box:
        if tool == "api":
            answer = await box.post("/api/tools/note", json={"body": "x"})
            assert answer.json()["result"]["by"] == "ana"
            return
        head = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        params = {"name": "note", "arguments": {"body": "x"}}
        answer = await box.post("/mcp", json={**call, "params": params}, headers=head)
        assert answer.status_code == 200, answer.text
        assert answer.json()["result"]["structuredContent"]["by"] == "ana", answer.text
        assert KEY not in json.dumps(answer.json())
