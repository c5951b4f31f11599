"""Nobody is another agent at the gate (T10, line 11): every tool, every field, every id of somebody else."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from melipona.principals import AgentPrincipal

from .gates import Gated, open_gates

pytestmark = [pytest.mark.anyio, pytest.mark.threat("T10")]

TABLES = ("agents", "messages", "turns", "events", "calls", "boxes", "operations", "spend")


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Gated]:
    async with open_gates(tmp_path, sends_per_minute=0, broadcasts_per_minute=0) as gated:
        yield gated


def rows_of(c: Connection, ben: str) -> dict[str, str]:
    """All that the store holds of an agent, but for mail that others sent it and the events of that."""
    found: dict[str, str] = {}
    for table in TABLES:
        for row in c.execute(text(f"SELECT * FROM {table}")).mappings():
            values = dict(row)
            if table == "messages" and values["sender"] == "ana" and values["recipient"] == "ben":
                continue
            if table == "events" and values["principal"] == "ana":
                assert values["agent"] != "ben" or values["kind"] == "message.sent", values
                continue
            if "ben" in values.values() or ben in values.values():
                found[f"{table} {values.get('id', values.get('key'))}"] = json.dumps(values, default=str)
    return found


async def test_t10_every_tool_with_every_field_of_somebody_else_acts_for_its_caller(hive: Gated) -> None:
    """T10, BR-16: nothing of ben's is read, changed or made, and what is made is ana's, at either door."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    (hive.rooms.folders.work(ben.id) / "secret.md").write_text("of ben")
    await hive.rooms.mail.post(ana, "ben", "hello")
    turn = await hive.rooms.begin(ben)
    theirs = await hive.rooms.mail.post(ben, "operator", "a secret of ben's", key="bens-key")
    waiting = await hive.rooms.mail.post(await hive.agent("cleo"), "ben", "a secret of cleo's")
    await hive.rooms.begin(ana)
    foreign: tuple[Any, ...] = (
        *("ben", ben.id, f"id-{ben.id}", f"m{theirs.id}", theirs.id, f"m{waiting.id}", waiting.id, f"t{turn.id}"),
        *(
            turn.id,
            "bens-key",
            "operator",
            "system",
            "/agents/ben/state/x",
            "/agents/ben/inbox/1.md",
            "../ben/secret.md",
        ),
        *("/shared/../agents/ben/state", str(hive.rooms.folders.work(ben.id) / "secret.md")),
    )
    before = await hive.rooms.store.read(rows_of, ben.id)
    assert len(before) > 5
    async with hive.client("ana") as box:
        tools = (await box.get("/api/tools")).json()["tools"]
        for tool in tools:
            plain = dict.fromkeys(tool["parameters"].get("required", []), "x")
            for field in tool["parameters"].get("properties", {}):
                for value in foreign:
                    arguments = {**plain, field: value}
                    by_api = await box.post(f"/api/tools/{tool['name']}", json=arguments)
                    by_mcp = await box.post("/mcp", **_mcp(tool["name"], arguments))
                    for answer in (by_api, by_mcp):
                        assert answer.status_code < 500, answer.text
                        assert "a secret of" not in answer.text, (tool["name"], arguments, answer.text)
                        assert "of ben" not in answer.text
    assert await hive.rooms.store.read(rows_of, ben.id) == before
    assert not (hive.rooms.data / "shared" / "ben").exists()
    await _made_by(hive, ana)


async def _made_by(hive: Gated, ana: AgentPrincipal) -> None:
    """The matrix made something, so it was no matrix of refusals alone, and all of it is ana's."""
    made = [event for event in await hive.rooms.told() if event.principal == "ana"]
    assert {"message.sent", "agent.status_set"} <= {event.kind for event in made}
    senders = await hive.rooms.store.read(
        lambda c: {row[0] for row in c.execute(text("SELECT DISTINCT sender FROM messages WHERE body = 'x'"))}
    )
    assert senders == {ana.agent}


def _mcp(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    meta = {"agent": "ben", "claudecode/agentId": "ben", "principal": "operator"}
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}
    headers |= {"mcp-session-id": "ben", "authorization": "Bearer ben", "cookie": "agent=ben", "x-agent": "ben"}
    return {"json": {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, "headers": headers}
