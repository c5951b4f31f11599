"""No box makes tables and files grow without bound (T35, T30): each quota is told as 429, with what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from gate.hive import message, open_hive, steps
from melipona.agents.tools import A_MINUTE
from melipona.errors import Refused
from melipona.gate.refusals import UPSTREAM_A_MINUTE
from melipona.mail.model import FILES_AN_HOUR, Tripped
from melipona.principals import AgentPrincipal
from melipona.testing.rooms import OPERATOR, Rooms, temporary_rooms

from .gates import Gated, open_gates

pytestmark = [pytest.mark.anyio, pytest.mark.threat("T35")]

MODEL = "/model/anthropic/v1/messages"


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Gated]:
    async with open_gates(tmp_path) as gated:
        yield gated


async def rows(gated: Gated, table: str) -> int:
    return await gated.rooms.store.read(lambda c: int(c.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()))


def said(answer: httpx2.Response) -> tuple[int, bool]:
    """The status, and whether it says what to do."""
    return answer.status_code, bool(answer.json().get("remedy"))


@pytest.mark.parametrize(("tool", "arguments"), [("set_status", {"text": "{n}"}), ("publish", {"path": "report.md"})])
async def test_t35_a_tool_that_leaves_an_event_has_a_pace(hive: Gated, tool: str, arguments: dict[str, str]) -> None:
    """T35: a million tiny events: sixty a minute pass, at both doors together, and others have their own."""
    for name in ("ana", "ben"):
        agent = await hive.agent(name)
        (hive.rooms.folders.work(agent.id) / "report.md").write_text("x")
    async with hive.client("ana") as box:
        for n in range(A_MINUTE):
            given = {key: value.format(n=n) for key, value in arguments.items()}
            headers = {"idempotency-key": f"k{n}"}
            assert (await box.post(f"/api/tools/{tool}", json=given, headers=headers)).status_code == 200
        before = await rows(hive, "events"), await rows(hive, "calls")
        refused = None
        for n in range(20):
            refused = await box.post(f"/api/tools/{tool}", json=arguments, headers={"idempotency-key": f"more{n}"})
            assert said(refused) == (429, True)
        assert refused is not None
        assert "within a minute" in refused.text
        assert (await rows(hive, "events"), await rows(hive, "calls")) == before
    async with hive.client("ben") as box:
        assert (await box.post(f"/api/tools/{tool}", json=arguments)).status_code == 200
    hive.rooms.clock.advance(timedelta(minutes=1, seconds=1))
    async with hive.client("ana") as box:
        assert (await box.post(f"/api/tools/{tool}", json=arguments)).status_code == 200


async def test_t35_a_receive_that_finds_nothing_leaves_no_row(hive: Gated) -> None:
    """T35: each call with an id of its own was kept for a week, and an agent can make thousands a second."""
    ana = await hive.agent("ana")
    await hive.rooms.begin(ana)
    before = await rows(hive, "calls")
    async with hive.client("ana") as box:
        for n in range(100):
            answer = await box.post("/api/tools/receive", json={}, headers={"idempotency-key": f"k{n}"})
            assert answer.json()["result"]["empty"] is True
    assert await rows(hive, "calls") == before


async def test_t35_calls_that_the_provider_refuses_are_bounded(tmp_path: Path) -> None:
    """T35: they cost nothing, but each is a row; after sixty within a minute nothing goes there any more."""

    def refused(n: int) -> Any:
        return message(text=f"{n} {steps({'status': 400})}")

    async with open_hive(tmp_path) as hive, hive.client("ana") as box:
        for n in range(UPSTREAM_A_MINUTE):
            assert (await box.post(MODEL, json=refused(n))).status_code == 400
        for n in range(10):
            answer = await box.post(MODEL, json=refused(100 + n))
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "60"
        assert len(hive.stub.messages) == UPSTREAM_A_MINUTE
        assert len(await hive.spends()) == UPSTREAM_A_MINUTE
        async with hive.client("ben") as other:
            assert (await other.post(MODEL, json=message())).status_code == 200


async def mailed(rooms: Rooms, size: int, count: int, to: str) -> int:
    """How many of `count` long messages of ana were taken."""
    ana = await rooms.agent("ana")
    await rooms.agent("ben")
    for taken in range(count):
        try:
            await rooms.send(ana, to, "x" * size)
        except Tripped as trip:
            return taken if trip.code == "send_bytes" and trip.remedy else -1
    return count


@pytest.mark.parametrize("to", ["operator", "ben", "*"])
async def test_t35_files_of_long_mail_are_bounded_by_the_hour(tmp_path: Path, to: str) -> None:
    """T35: 60 MiB a minute for each agent would fill any disk; they lie outside the agent's own limit."""
    free = {"sends_per_minute": 0, "broadcasts_per_minute": 0, "thread_per_minute": 0}
    async with temporary_rooms(tmp_path, **free) as rooms:
        assert await mailed(rooms, 1 << 20, 100, to) == FILES_AN_HOUR >> 20
        await rooms.send(OPERATOR, "ana", "x" * (1 << 20))  # people are not bound
        rooms.clock.advance(timedelta(hours=1, seconds=1))
        caller = await _principal(rooms, "ana")
        assert (await rooms.send(caller, to, "y" * (1 << 20))).id


async def test_t35_short_mail_is_bounded_by_its_number_alone(tmp_path: Path) -> None:
    """T35, D-21: bodies that make no file do not count to the hour."""
    async with temporary_rooms(tmp_path, sends_per_minute=0, thread_per_minute=0) as rooms:
        assert await mailed(rooms, 1000, 300, "operator") == 300


@pytest.mark.threat("T30")
async def test_t30_more_messages_a_minute_than_allowed_are_limited_and_told_once(hive: Gated) -> None:
    """T30: the 61st of a minute and all after it are refused, and the operator is told once."""
    await hive.agent("ana")
    codes: list[int] = []
    async with hive.client("ana") as box:
        for n in range(300):
            answer = await box.post("/api/tools/send", json={"to": "operator", "body": f"n{n}"})
            codes.append(answer.status_code)
    assert codes == [200] * 60 + [429] * 240
    told = [event for event in await hive.rooms.told() if event.kind == "thread.tripped"]
    assert len(told) == 1
    notices = await hive.rooms.store.read(
        lambda c: int(c.execute(text("SELECT count(*) FROM messages WHERE kind = 'notice'")).scalar_one())
    )
    assert notices == 1


@pytest.mark.threat("T30")
async def test_t30_who_may_write_to_whom_is_the_operators_list(tmp_path: Path) -> None:
    """T30: graph rule: A not allowed to write to B is refused, by name, by reply and by broadcast."""
    async with open_gates(tmp_path) as hive:
        await hive.agent("ben")
        ana = await hive.rooms.agent("ana", send_allow=["cleo"])
        await hive.rooms.send(await _principal(hive.rooms, "ben"), "ana", "hello")
        await hive.rooms.begin(ana)
        for to, more in (("ben", {}), ("ben", {"reply_to": 1}), ("*", {})):
            with pytest.raises(Refused) as refused:
                await hive.rooms.send(ana, to, "x", **more)
            assert refused.value.code == "send_not_allowed"
        senders = await hive.rooms.store.read(
            lambda c: json.dumps([row[0] for row in c.execute(text("SELECT sender FROM messages"))])
        )
        assert senders == '["ben"]'


async def _principal(rooms: Rooms, name: str) -> AgentPrincipal:
    agent = await rooms.look(name)
    return AgentPrincipal(agent.id, agent.name)
