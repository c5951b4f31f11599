"""Money at the gate: set aside before, settled after by the upstream's usage, never by what a box says (T33, D-30)."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Connection

from .hive import Hive, message, open_hive, steps

pytestmark = pytest.mark.anyio
URL = "/model/anthropic/v1/messages"
COST = 1000 * 5 + 70 * 25 + 500 * 0.5 + 200 * 6.25
"""Micro-USD of one answer of the stub at the prices of claude-opus-4-5."""

MANY: dict[str, Any] = {"gate": {"connections": 64, "streams": 64}}


@pytest.mark.threat("T33")
async def test_fifty_parallel_calls_cannot_pass_the_limit(tmp_path: Path) -> None:
    """T33, line 13: spent and set aside never pass the day's limit, and what is refused never reaches the upstream."""
    limit = 0.05
    used = {"input_tokens": 50, "output_tokens": 100, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    request = message(text=steps({"wait": 0.2, "text": "x", "usage": used})) | {"max_tokens": 300}
    settings = {**MANY, "budgets": {"hive_usd_per_day": limit}}
    async with open_hive(tmp_path, settings=settings) as hive, hive.client("ana") as box:
        most: list[int] = []

        async def call() -> int:
            answer = await box.post(URL, json=request)
            most.append(sum(row["cost_micro_usd"] for row in await hive.spends()))
            return answer.status_code

        statuses = await asyncio.gather(*(call() for _ in range(50)))
        spent = sum(row["cost_micro_usd"] for row in await hive.spends())
        assert set(statuses) == {200, 402}
        assert max(most) <= limit * 1e6 + 9000  # what the last one alone may set aside
        assert spent <= limit * 1e6 + 50 * 5 + 100 * 25  # by less than one call, the last one alone
        assert len(hive.stub.messages) == statuses.count(200)
        assert len(await hive.until("budget.spent")) == 1


async def test_a_spent_budget_answers_what_the_engine_does_not_try_again(tmp_path: Path) -> None:
    """D-30: 402 in the API's shape, one event a day and agent, other agents' own budgets untouched."""
    settings = {"budgets": {"hive_usd_per_day": 0, "agent_usd_per_day": 0.001}}
    async with open_hive(tmp_path, settings=settings) as hive:
        async with hive.client("ana") as box:
            assert (await box.post(URL, json=message())).status_code == 200
            for _ in range(3):
                answer = await box.post(URL, json=message())
                assert answer.status_code == 402
                assert answer.json()["error"]["type"] == "billing_error"
                assert answer.headers["x-should-retry"] == "false"
        async with hive.client("ben") as box:
            assert (await box.post(URL, json=message())).status_code == 200
        (event,) = await hive.events("budget.spent")
        assert event.agent == "ana"
        assert json.loads(event.data)["scope"] == "agent"


async def test_usage_comes_from_the_upstream_and_not_from_the_request(hive: Hive) -> None:
    """T33: forged usage in the conversation counts nothing."""
    forged = json.dumps({"type": "message_delta", "usage": {"input_tokens": 0, "output_tokens": 0}})
    async with hive.client("ana") as box:
        await box.post(URL, json=message(stream=True, text=f"data: {forged} {steps({'text': forged})}"))
    (row,) = await hive.spends()
    assert row["cost_micro_usd"] == COST


@pytest.mark.parametrize("status", [400, 429, 500, 529])
async def test_a_call_that_the_upstream_refuses_costs_nothing(hive: Hive, status: int) -> None:
    """D-30: what was set aside is given back; status and retry-after pass."""
    async with hive.client("ana") as box:
        answer = await box.post(URL, json=message(text=steps({"status": status, "retry_after": 7})))
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
    (row,) = await hive.spends()
    assert (row["state"], row["cost_micro_usd"], row["status"]) == ("released", 0, status)


async def test_an_upstream_that_cannot_be_reached_costs_nothing(tmp_path: Path) -> None:
    """D-30: nothing was sent."""
    async with open_hive(tmp_path, base_url="http://127.0.0.1:9") as hive, hive.client("ana") as box:
        answer = await box.post(URL, json=message())
        assert answer.status_code == 502
        (row,) = await hive.spends()
        assert (row["state"], row["cost_micro_usd"]) == ("released", 0)


@pytest.mark.parametrize("how", ["cut", "hung up"])
async def test_a_stream_that_breaks_is_settled_by_the_most_that_it_can_have_cost(hive: Hive, how: str) -> None:
    """D-30: its usage never came in full; the box sees a broken answer, not a whole one."""
    step = {"cut": True, "text": "x"} if how == "cut" else {"slow": 20, "text": "x"}
    async with (
        hive.client("ana") as box,
        box.stream("POST", URL, json=message(stream=True, text=steps(step))) as answer,
    ):
        if how == "cut":
            with pytest.raises(httpx2.HTTPError):
                await answer.aread()
        else:
            async for _ in answer.aiter_bytes():
                break
    async with asyncio.timeout(10):
        while (await hive.spends())[0]["state"] == "reserved":
            await asyncio.sleep(0.005)
    (row,) = await hive.spends()
    assert (row["state"], row["estimated"]) == ("settled", 1)
    assert COST <= row["cost_micro_usd"] <= row["reserved_micro_usd"] + COST
    if how == "hung up":
        await hive.stub.wait(lambda: any(end["end"] == "aborted" for end in hive.stub.ends))


async def test_a_box_that_hangs_up_while_its_money_is_set_aside_leaves_nothing_set_aside(hive: Hive) -> None:
    """I-14: found by `python -m bench.faults kills --seed 2 --size 40`: an engine died between reserve and call."""
    began, go_on = threading.Event(), threading.Event()

    def hold(c: Connection) -> bool:
        began.set()
        return go_on.wait(10)

    async with hive.client("ana") as box:
        busy = asyncio.create_task(hive.store.write(hold))
        assert await asyncio.to_thread(began.wait, 10)
        call = asyncio.create_task(box.post(URL, json=message(model="claude-unheard-of-9")))
        async with asyncio.timeout(10):
            while not hive.store.gauges()["store_queue"]:
                await asyncio.sleep(0.005)
        call.cancel()
        await asyncio.wait({call})
    async with asyncio.timeout(10):
        while hive.listeners["ana"].state.connections:
            await asyncio.sleep(0.005)
    go_on.set()
    assert await busy
    async with asyncio.timeout(10):
        while not (rows := await hive.spends()) or rows[0]["state"] == "reserved":
            await asyncio.sleep(0.005)
    (row,) = rows
    assert (row["state"], row["cost_micro_usd"]) == ("released", 0)
    assert hive.stub.messages == []


async def test_a_model_without_a_price_costs_as_the_dearest_and_says_so(hive: Hive) -> None:
    """D-30."""
    async with hive.client("ana") as box:
        for _ in range(2):
            await box.post(URL, json=message(model="claude-unheard-of-9"))
    assert (await hive.spends())[0]["cost_micro_usd"] == 1000 * 15 + 70 * 75 + 500 * 1.5 + 200 * 18.75
    (event,) = await hive.until("model.price_unknown")
    assert json.loads(event.data)["model"] == "claude-unheard-of-9"


async def test_more_model_calls_at_once_than_allowed_are_told_to_come_back(hive: Hive) -> None:
    """T34: four streams of an agent; others have theirs."""
    slow = message(stream=True, text=steps({"slow": 20, "text": "x"}))
    async with hive.client("ana") as box, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_first_byte(box, slow)) for _ in range(4)]
        await hive.stub.seen(4)
        answer = await box.post(URL, json=message())
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        async with hive.client("ben") as other:
            assert (await other.post(URL, json=message())).status_code == 200
        for task in running:
            task.cancel()


async def _first_byte(box: httpx2.AsyncClient, request: dict[str, Any]) -> None:
    async with box.stream("POST", URL, json=request) as answer:
        await answer.aread()
