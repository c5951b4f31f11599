"""One effect for each call, also when it is made again; calls that wait; the end of a box's connections."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from .hive import Hive, add_turn, mcp_call

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("modern", [False, True], ids=["2025", "2026-07-28"])
async def test_a_tool_call_again_after_a_new_daemon_has_one_effect(hive: Hive, modern: bool) -> None:
    """D-23: known again by the engine's id; without one by turn, tool and arguments."""
    await hive.box("ana")
    await hive.store.write(add_turn, "ana")
    for call_id in ("toolu_1", None):
        async with hive.client("ana") as box:
            first = await box.post("/mcp", **mcp_call("note", {"body": f"b {call_id}"}, call_id=call_id, modern=modern))
        hive.gate._api._toolbox._epoch += 1  # pyright: ignore[reportPrivateUsage] (as a new daemon would have)
        async with hive.client("ana") as box:
            again = await box.post("/mcp", **mcp_call("note", {"body": f"b {call_id}"}, call_id=call_id, modern=modern))
        assert first.json() == again.json()
    assert len(await hive.events("test.effect")) == 2


async def test_equal_calls_without_an_id_are_two_calls_within_a_daemon(hive: Hive) -> None:
    """D-23: only a record of an earlier daemon answers a call that has no id, and only once."""
    await hive.box("ana")
    await hive.store.write(add_turn, "ana")
    async with hive.client("ana") as box:
        for _ in range(2):
            await box.post("/api/tools/note", json={"body": "x"})
        hive.gate._api._toolbox._epoch += 1  # pyright: ignore[reportPrivateUsage]
        for _ in range(2):
            await box.post("/api/tools/note", json={"body": "x"})
    assert len(await hive.events("test.effect")) == 3


async def test_other_arguments_under_the_same_id_are_another_call(hive: Hive) -> None:
    """D-23: the key has the hash of the arguments."""
    async with hive.client("ana") as box:
        for body in ("a", "b"):
            await box.post("/api/tools/note", json={"body": body}, headers={"idempotency-key": "k"})
    assert len(await hive.events("test.effect")) == 2


async def test_a_duplicate_in_flight_waits_for_the_first(hive: Hive) -> None:
    """D-23: both get the first one's answer; there is one effect."""
    async with hive.client("ana") as box, hive.client("ana") as other:
        call = {"json": {"body": "x", "slow": True}, "headers": {"idempotency-key": "k"}}
        first = asyncio.create_task(box.post("/api/tools/note", **call))
        await hive.entered.wait()
        second = asyncio.create_task(other.post("/api/tools/note", **call))
        hive.go_on.set()
        answers = [(await first).json(), (await second).json()]
    assert answers[0] == answers[1]
    assert len(await hive.events("test.effect")) == 1


async def test_a_call_that_parks_does_not_hold_up_others(hive: Hive) -> None:
    """D-19: `receive` waits while other calls go on."""
    async with hive.client("ana") as box:
        waiting = asyncio.create_task(box.post("/api/tools/wait", json={}))
        await hive.entered.wait()
        async with hive.client("ana") as other:
            assert (await other.post("/api/tools/note", json={"body": "x"})).status_code == 200
        hive.news.set()
        assert (await waiting).json()["result"]["by"] == "ana"


@pytest.mark.parametrize("door", ["mcp", "mcp, 2026-07-28", "api"])
async def test_a_call_whose_asker_hangs_up_is_cancelled(hive: Hive, door: str) -> None:
    """D-19, I-1: a box that hangs up parks nothing; what waits for mail must not take it for nobody."""
    async with hive.client("ana") as box:
        if door == "api":
            asked = box.post("/api/tools/wait", json={})
        else:
            asked = box.post("/mcp", **mcp_call("wait", {}, modern=door != "mcp"))
        gone = asyncio.create_task(asked)
        await hive.entered.wait()
        assert hive.parked_agents == ["id-ana"]
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
    async with asyncio.timeout(5):
        while hive.parked_agents:
            await asyncio.sleep(0)


async def test_closing_a_listener_ends_its_connections_and_calls(hive: Hive) -> None:
    """D-8: a box that is gone keeps nothing open."""
    async with hive.client("ana") as box:
        waiting = asyncio.create_task(box.post("/api/tools/wait", json={}))
        await hive.entered.wait()
        await hive.listeners["ana"].aclose()
        with pytest.raises(Exception, match=r"disconnect|closed|reset|ReadError"):
            await waiting
    assert hive.parked_agents == []
