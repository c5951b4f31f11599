"""Every tool of agents against foreign ids and hostile arguments, through the real gate (T10, T34, invariant 11)."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from .gates import Gated, open_gates

pytestmark = pytest.mark.anyio

FOREIGN = ("agent", "agent_id", "from", "sender", "as", "by", "caller", "principal", "name", "_meta")
TOOLS: dict[str, dict[str, Any]] = {
    "send": {"to": "operator", "body": "mine"},
    "receive": {},
    "recent": {},
    "whoami": {},
    "list_agents": {},
    "set_status": {"text": "busy"},
    "publish": {"path": "report.md"},
}
ODD: tuple[Any, ...] = (
    *("", "\0", "\ud800", "../../etc/passwd", "/ws/../../ben/ws/x", "a\nb", "x" * 100_000, "m" * 30, "-1", "m1"),
    *(0, -1, 10**18, 10**19, 10**40, 1.5, 1e308, -0.0, True, None, [], {}, ["a"], {"a": {"b": []}}),
)


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Gated]:
    async with open_gates(tmp_path, sends_per_minute=0) as gated:
        yield gated


async def test_the_matrix_knows_every_tool(hive: Gated) -> None:
    """Line 11: a tool that is added has to be added here."""
    await hive.agent("ana")
    async with hive.client("ana") as box:
        listed = (await box.get("/api/tools")).json()["tools"]
    assert {tool["name"] for tool in listed} == set(TOOLS)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.threat("T10")
async def test_a_tool_acts_for_the_owner_of_the_socket_whatever_it_is_told(hive: Gated, tool: str) -> None:
    """T10, BR-16: a foreign id in an argument is a mistake, in a header or a query it is nothing."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    (hive.rooms.folders.work(ana.id) / "report.md").write_text("of ana")
    (hive.rooms.folders.work(ben.id) / "report.md").write_text("of ben")
    await hive.rooms.mail.post(ben, "operator", "bens own")
    await hive.rooms.begin(ana)
    headers = {f"x-{name}": "ben" for name in FOREIGN} | {"authorization": "Bearer ben", "cookie": "agent=ben"}
    async with hive.client("ana") as box:
        for name in FOREIGN:
            refused = await box.post(f"/api/tools/{tool}", json={**TOOLS[tool], name: "ben"})
            assert refused.status_code == 422, refused.text
        answer = await box.post(f"/api/tools/{tool}?agent=ben", json=TOOLS[tool], headers=headers)
    assert answer.status_code == 200, answer.text
    if tool == "whoami":
        assert answer.json()["result"]["name"] == "ana"
    if tool == "publish":
        assert (hive.rooms.data / "shared/ana/report.md").read_text() == "of ana"
    made = [event for event in await hive.rooms.told() if event.kind not in ("agent.created", "daemon.started")]
    assert {event.principal for event in made if event.subject != "m1"} <= {"ana", "operator", "system"}
    assert "ben" not in {event.principal for event in made if event.kind != "message.sent" or event.subject != "m1"}


@pytest.mark.parametrize("tool", TOOLS)
async def test_hostile_arguments_are_told_as_mistakes_and_meet_no_bug(hive: Gated, tool: str) -> None:
    """T34: whatever value stands wherever, the answer is an answer or a refusal: never an internal error."""
    ana = await hive.agent("ana")
    await hive.rooms.begin(ana)
    async with hive.client("ana") as box:
        listed = {t["name"]: t for t in (await box.get("/api/tools")).json()["tools"]}
        for name in listed[tool]["parameters"].get("properties", {}):
            for value in ODD:
                body = json.dumps({**TOOLS[tool], name: value})
                for headers in ([], [(b"idempotency-key", b"\xff" * 300)]):
                    answer = await box.post(f"/api/tools/{tool}", content=body, headers=headers)
                    assert answer.status_code < 500, (name, value, answer.text)
        for body in (
            b"[]",
            b"1",
            b"\xff",
            b'{"a":' * 5000,
            b"[" * 100_000,
            b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
            b'{"to":' + b"9" * 5000 + b"}",
            b"NaN",
        ):
            answer = await box.post(f"/api/tools/{tool}", content=body)
            assert answer.status_code in (400, 422), answer.text


@pytest.mark.threat("T23")
async def test_published_paths_never_leave_the_agents_own_folders(hive: Gated) -> None:
    """T23: links, hard links, devices, other agents' files, the daemon's own."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    work, other = hive.rooms.folders.work(ana.id), hive.rooms.folders.work(ben.id)
    (other / "secret").write_text("of ben")
    (work / "link").symlink_to(other / "secret")
    (work / "folder").symlink_to(other)
    os.link(other / "secret", work / "hard")
    os.mkfifo(work / "pipe")
    (work / "sub").mkdir()
    paths = ["link", "folder/secret", "hard", "pipe", "sub", "../secret", "/ws/../../../mel.db", "sub/../link"]
    paths += ["/proc/self/environ", "/agents/ben/state/x", f"{other}/secret", "/ws", "/ws/", ".", "//etc/passwd"]
    async with hive.client("ana") as box:
        for path in paths:
            answer = await box.post("/api/tools/publish", json={"path": path})
            assert answer.status_code in (404, 422), (path, answer.text)
    shelf = hive.rooms.data / "shared" / "ana"
    assert not shelf.exists() or not any(shelf.iterdir())


async def test_a_call_of_very_many_parts_is_refused_before_it_is_read(hive: Gated) -> None:
    """T34: two megabytes of brackets cost the loop a fifth of a second, and a box can send them for ever."""
    await hive.agent("ana")
    many = b'{"text":[' + b"[]," * 500_000 + b"[]]}"
    long = json.dumps({"text": '[{,"' * 10, "to": "operator", "body": "a,b,[{" * 100_000})
    async with hive.client("ana") as box:
        for path in ("/api/tools/set_status", "/mcp"):
            answer = await box.post(path, content=many, headers={"accept": "application/json, text/event-stream"})
            assert answer.status_code == 422
            assert "too many parts" in answer.text
        answer = await box.post("/api/tools/send", content=long)
        assert "too many parts" not in answer.text
