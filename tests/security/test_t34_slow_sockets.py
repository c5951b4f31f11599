"""Connections that a box holds for ever cost others nothing (T34), and calls at once pass no limit (T33)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from gate.hive import Hive, message, open_hive, steps

pytestmark = [pytest.mark.anyio, pytest.mark.threat("T34")]

SOCKETS = 500
ROUNDS = 4
"""Seconds: each connection says a byte in each."""
SLOWEST = 5.0
"""Seconds that another agent's call may take meanwhile on a machine under load; it takes some milliseconds."""
REQUEST = b"POST /model/anthropic/v1/messages HTTP/1.1\r\nHost: 127.0.0.1:4141\r\nContent-Length: 100000\r\n\r\n{"


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Hive]:
    async with open_hive(tmp_path) as hive:
        yield hive


@pytest.mark.parametrize("begun", [b"", REQUEST], ids=["heads", "bodies"])
async def test_t34_five_hundred_sockets_at_a_byte_a_second_hold_up_nobody(hive: Hive, begun: bytes) -> None:
    """T34: sixteen are heard, the rest is told 429; descriptors are bounded, another agent's calls are quick."""
    path = await hive.box("ana")
    before = len(os.listdir("/proc/self/fd"))
    sockets: list[socket.socket] = []
    slowest = 0.0
    async with hive.client("ben") as other:
        assert (await other.post("/api/tools/note", json={"body": "warm"})).status_code == 200
        for _ in range(SOCKETS):
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            with contextlib.suppress(OSError):
                one.connect(str(path))
                one.send(begun or b"P")
            sockets.append(one)
            await asyncio.sleep(0)
        for _ in range(ROUNDS):
            for one in sockets:
                with contextlib.suppress(OSError):
                    one.send(b"x")
            tick = asyncio.get_running_loop().time() + 1
            while asyncio.get_running_loop().time() < tick:
                began = time.monotonic()
                assert (await other.post("/api/tools/note", json={"body": "x"})).status_code == 200
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(0.05)
            assert len(hive.listeners["ana"].state.connections) <= hive.settings.gate.connections
            assert len(os.listdir("/proc/self/fd")) - before - len(sockets) < 40
    assert slowest < SLOWEST
    for one in sockets:
        one.close()
    async with hive.client("ana") as box, asyncio.timeout(30):
        while (await box.get("/api/tools")).status_code != 200:
            await asyncio.sleep(0.01)


@pytest.mark.threat("T33")
async def test_t33_a_lying_engine_and_fifty_calls_at_once_pass_no_limit(tmp_path: Path) -> None:
    """T33: what is spent passes the limit by less than one call, whatever usage the conversation claims."""
    limit = 0.05
    used = {"input_tokens": 50, "output_tokens": 100, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    lie = '{"usage":{"input_tokens":-1000000,"output_tokens":-1000000}}'
    wide = {"gate": {"connections": 64, "streams": 64}, "budgets": {"hive_usd_per_day": limit}}
    async with open_hive(tmp_path, settings=wide) as hive, hive.client("ana") as box:

        async def call(n: int) -> int:
            text = f"{n} {lie} {steps({'text': lie, 'usage': used})}"
            answer = await box.post("/model/anthropic/v1/messages", json=message(text=text, stream=n % 2 == 0))
            return answer.status_code

        statuses = await asyncio.gather(*(call(n) for n in range(50)))
        later = [await call(100 + n) for n in range(30)]
        spent = sum(row["cost_micro_usd"] for row in await hive.spends())
    assert set(statuses) <= {200, 402}
    assert later[-1] in (200, 402)
    assert limit * 1e6 * 0.2 < spent <= limit * 1e6 + 50 * 5 + 100 * 25
