"""Who asks is the listener, and nothing that a request says changes it (T10, T11)."""

from __future__ import annotations

import pytest

from melipona.gate import app

from .hive import FOREIGN_HEADERS, MCP, Hive, mcp_call

pytestmark = pytest.mark.anyio

FOREIGN_FIELDS = ({}, {"from": "ben"}, {"agent": "ben"}, {"agent_id": "id-ben"})


@pytest.mark.parametrize("field", FOREIGN_FIELDS, ids=lambda f: "".join(f) or "none")
@pytest.mark.parametrize("door", ["api", "mcp", "mcp-2026"])
async def test_every_foreign_id_is_ignored(hive: Hive, door: str, field: dict[str, str]) -> None:
    """T10, BR-16: every door with another agent's ids in headers, query, body and `_meta` is recorded for the owner."""
    await hive.box("ben")
    arguments = {"body": "x", **field}
    async with hive.client("ana") as box:
        if door == "api":
            answer = await box.post("/api/tools/note?agent=ben", json=arguments, headers=FOREIGN_HEADERS)
            result = answer.json()["result"]
        else:
            answer = await box.post("/mcp?agent=ben", **mcp_call("note", arguments, modern=door == "mcp-2026"))
            result = answer.json()["result"]["structuredContent"]
    assert result["by"] == "ana", answer.text
    (event,) = await hive.events("test.effect")
    assert (event.agent, event.principal) == ("ana", "ana")


async def test_a_session_of_one_agent_means_nothing_on_anothers_socket(hive: Hive) -> None:
    """T10: there are no sessions: none is given out, and a claimed one is ignored."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    async with hive.client("ana") as box:
        answer = await box.post("/mcp", json=request, headers=MCP)
        assert answer.status_code == 200
        assert "mcp-session-id" not in answer.headers
        assert answer.json()["result"]["serverInfo"]["name"] == "melipona"
        ended = await box.request("DELETE", "/mcp", headers={**MCP, "mcp-session-id": "s"})
        assert ended.status_code >= 400


async def test_calls_of_two_agents_with_the_same_id_are_two_calls(hive: Hive) -> None:
    """T10, D-23: the record of one agent's call never answers another's."""
    for name in ("ana", "ben"):
        async with hive.client(name) as box:
            answer = await box.post("/mcp", **mcp_call("note", {"body": "x"}, call_id="toolu_1"))
            assert answer.json()["result"]["structuredContent"]["by"] == name
    assert [event.agent for event in await hive.events("test.effect")] == ["ana", "ben"]


async def test_both_doors_list_the_same_tools(hive: Hive) -> None:
    """HN-5: one set of tools, the same schemas, however it is asked for."""
    async with hive.client("ana") as box:
        by_api = (await box.get("/api/tools")).json()["tools"]
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        by_mcp = (await box.post("/mcp", json=request, headers=MCP)).json()["result"]["tools"]
    assert [(t["name"], t["description"], t["parameters"]) for t in by_api] == [
        (t["name"], t["description"], t["inputSchema"]) for t in by_mcp
    ]
    assert {t["name"]: t["annotations"]["readOnlyHint"] for t in by_mcp}["wait"] is True


async def test_mistakes_in_arguments_are_told_so_that_a_model_can_mend_them(hive: Hive) -> None:
    """HN-5: the message names the argument, what is wrong and what the tool takes; nothing runs."""
    async with hive.client("ana") as box:
        for arguments, said in (
            ({}, "'body' is a required property"),
            ({"body": 1}, "body: 1 is not of type 'string'"),
            ({"body": "x", "tooo": 1}, "'tooo' was unexpected"),
            ({"body": {"a": "b" * 9000}}, "is not of type 'string'"),
        ):
            result = (await box.post("/mcp", **mcp_call("note", arguments))).json()["result"]
            text = result["content"][0]["text"]
            assert result["isError"] is True
            assert "note takes: body" in text
            assert said in text or len(text) > 300
            assert len(text) < 1000
            answer = await box.post("/api/tools/note", json=arguments)
            assert answer.status_code == 422
            assert answer.json()["code"] == "bad_arguments"
        refused = (await box.post("/mcp", **mcp_call("refuse", {}))).json()["result"]
        assert refused["content"][0]["text"] == "no, never; ask the operator"
        assert (await box.post("/mcp", **mcp_call("nothing", {}))).json()["result"]["isError"] is True
    assert await hive.events("test.effect") == []


async def test_a_bug_in_a_tool_shows_nothing_of_the_inside(hive: Hive) -> None:
    """T14: no traceback and no message of an unexpected error reaches a box."""
    async with hive.client("ana") as box:
        for answer in (await box.post("/api/tools/broken", json={}), await box.post("/mcp", **mcp_call("broken", {}))):
            assert "secret of the inside" not in answer.text
            assert "internal error" in answer.text


@pytest.mark.threat("T11")
def test_the_gates_routes_are_these_and_no_other() -> None:
    """T11, line 25: a frozen list; the operator's routes do not exist here."""
    assert app.ROUTES == (
        "/mcp",
        "/api/tools",
        "/api/tools/NAME",
        "/model/anthropic",
        "/model/anthropic/",
        "/model/anthropic/v1/...",
    )


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/api", "/api/", "/api/agents", "/api/events", "/api/tools/note/x", "/git/x", "/healthz", "/mcp/"),
        *("/docs", "/openapi.json", "/login", "/model", "/model/", "/model/openai/v1/chat/completions", "/metrics"),
    ],
)
async def test_nothing_else_answers(hive: Hive, path: str) -> None:
    """T11: neither the operator's routes nor later ones."""
    async with hive.client("ana") as box:
        for method in ("GET", "POST", "DELETE"):
            assert (await box.request(method, path)).status_code == 404
