"""Nothing that a box or the provider sends is inflated (T24), and what is too large is refused before it is read."""

from __future__ import annotations

import gzip
import resource
import zlib
from collections.abc import AsyncGenerator
from functools import cache
from pathlib import Path

import pytest

from gate.hive import Hive, message, open_hive
from gate.test_key_safety import upstream_of

pytestmark = [pytest.mark.anyio, pytest.mark.threat("T24")]

MODEL = "/model/anthropic/v1/messages"
INFLATED = 256 << 20
GROWTH_MOST = 64 << 10
"""KiB, as `getrusage` counts."""


@cache
def bomb(inflated: int) -> bytes:
    """`inflated` bytes of JSON as some thousandth of it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b'{"body":"'), *(packer.compress(b"x" * (1 << 20)) for _ in range(inflated >> 20))]
    return b"".join([*parts, packer.compress(b'"}'), packer.flush()])


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Hive]:
    async with open_hive(tmp_path) as hive:
        yield hive


@pytest.mark.parametrize("path", ["/api/tools/note", "/mcp", MODEL])
@pytest.mark.parametrize("encoding", ["gzip", "br, gzip"])
async def test_t24_a_box_cannot_send_what_grows(hive: Hive, path: str, encoding: str) -> None:
    """T24: a body that says it is packed is bytes that are no JSON; the daemon does not grow by what it says."""
    packed = bomb(INFLATED)
    assert len(packed) < 1 << 20
    headers = {"content-encoding": encoding, "accept": "application/json, text/event-stream"}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with hive.client("ana") as box:
        answer = await box.post(path, content=packed, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_MOST
    assert hive.stub.requests == []
    assert await hive.events("test.effect") == []


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_t24_an_answer_that_is_packed_unasked_is_refused(tmp_path: Path, kind: str) -> None:
    """T24: we ask for plain answers; one that comes packed is not unpacked, and none of it reaches the box."""
    head = f"content-type: {kind}\r\ncontent-encoding: gzip\r\n".encode()
    pieces = [bomb(INFLATED)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with upstream_of(pieces, head) as url, open_hive(tmp_path, base_url=url) as hive, hive.client("ana") as box:
        answer = await box.post(MODEL, json=message())
        assert answer.status_code == 502
        assert len(answer.content) < 1000
        (row,) = await hive.spends()
        assert row["state"] == "settled"  # it was answered: what it cost is not known
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH_MOST


async def test_t24_a_plain_answer_with_that_word_in_it_passes(hive: Hive) -> None:
    """The other way round: only the header decides."""
    async with hive.client("ana") as box:
        answer = await box.post(MODEL, json=message(text="content-encoding: gzip"))
    assert answer.status_code == 200
    assert gzip.compress(b"") not in answer.content
