"""The key of the model API never comes back: not by body, header, redirect, error, event, log or database (T14)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from melipona.errors import Invalid
from melipona.gate.scan import REMOVED, KeyScanner
from melipona.gate.upstream import Upstream
from melipona.settings import ModelSettings

from .hive import KEY, Hive, message, open_hive, steps

URL = "/model/anthropic/v1/messages"
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("how", ["body", "header", "redirect", "401"])
@pytest.mark.threat("T14")
async def test_an_upstream_that_echoes_the_key_does_not_get_it_into_the_box(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str, stream: bool
) -> None:
    """T14, R-3: every way that the stub knows, and then the whole of the store's bytes, events and logs."""
    caplog.set_level(logging.DEBUG)
    async with open_hive(tmp_path, hostile=how) as hive, hive.client("ana") as box:
        answer = await box.post(URL, json=message(stream=stream))
        seen = f"{answer.status_code} {answer.headers} {answer.text}"
        assert KEY not in seen
        assert "location" not in answer.headers
        assert "set-cookie" not in answer.headers
        assert "x-echo" not in answer.headers
        assert answer.status_code == {"redirect": 502, "401": 401}.get(how, 200)
        assert len(hive.stub.requests) == 1  # no redirect was followed
        if how == "body":
            assert REMOVED.decode() in answer.text
        if how in ("body", "header"):
            assert [json.loads(e.data)["reason"] for e in await hive.until("model.refused")] == ["key_in_answer"]
        if how == "401":
            assert [json.loads(e.data)["code"] for e in await hive.events("agent.trouble")] == ["login_expired"]
        assert KEY not in str(await hive.events())
        assert KEY not in repr(hive.gate.upstream)
    assert KEY not in caplog.text
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file


@pytest.mark.anyio
async def test_a_key_split_over_pieces_of_a_stream_is_taken_out(tmp_path: Path) -> None:
    """T14: also across chunk borders, at each place that it can be cut."""
    event = f'data: {{"type":"ping","text":"{KEY}"}}\n\n'.encode()
    begins = event.index(KEY.encode())
    for cut in (begins + 1, begins + len(KEY) // 2, begins + len(KEY) - 1):
        pieces = [event[:cut], event[cut:] + STOP]
        folder = tmp_path / str(cut)
        folder.mkdir()
        async with upstream_of(pieces) as url, open_hive(folder, base_url=url) as hive, hive.client("ana") as box:
            answer = await box.post(URL, json=message(stream=True))
        assert KEY not in answer.text
        assert answer.text == (event + STOP).decode().replace(KEY, REMOVED.decode())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_scanner_takes_out_only_the_key(size: int) -> None:
    """T14: whatever the pieces, nothing else changes and nothing is lost."""
    secret = b"sk-sk-key"
    data = b"sk-" * 5 + secret + b"sk-sk-ke" + secret + secret + b"rest sk-sk-k"
    scanner = KeyScanner(secret)
    out = b"".join(scanner.feed(data[i : i + size]) for i in range(0, len(data), size)) + scanner.end()
    assert out == data.replace(secret, REMOVED)
    assert scanner.found == 3


def test_the_scanner_does_not_hold_back_what_cannot_be_the_key() -> None:
    """A stream is not delayed by the scan."""
    assert KeyScanner(b"sk-key").feed(b"event: ping\n\n") == b"event: ping\n\n"


@asynccontextmanager
async def upstream_of(
    pieces: list[bytes], head: bytes = b"content-type: text/event-stream\r\n", after: Callable[[], None] | None = None
) -> AsyncGenerator[str]:
    """An upstream that answers with these pieces, each in a packet of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n" + head + b"\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.close()
        if after:
            after()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


# ---- where the key comes from ---------------------------------------------------------------------------------------


def test_the_key_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """D-29: read once, removed from the daemon's own environment."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "tok")
    environ = dict(os.environ)
    upstream = Upstream.from_settings(ModelSettings(base_url="https://api.example"), environ)
    assert upstream.has_key
    for place in (environ, os.environ):
        assert "ANTHROPIC_API_KEY" not in place
        assert "ANTHROPIC_AUTH_TOKEN" not in place
    assert KEY not in repr(upstream)


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "header"), [("ANTHROPIC_API_KEY", "x-api-key"), ("ANTHROPIC_AUTH_TOKEN", "bearer")])
async def test_an_api_key_and_a_token_go_by_their_own_headers(hive: Hive, name: str, header: str) -> None:
    """D-29."""
    upstream = Upstream.from_settings(ModelSettings(), {name: KEY, "ANTHROPIC_BASE_URL": hive.stub.url + "/"})
    response = await upstream.send("POST", "/v1/messages", "", json.dumps(message()).encode(), [])
    await response.aread()
    await response.aclose()
    await upstream.aclose()
    assert response.status_code == 200
    sent = hive.stub.requests[0]["headers"]
    assert ("x-api-key" in sent, "authorization" in sent) == (header == "x-api-key", header == "bearer")


def test_a_key_file_must_be_private(tmp_path: Path) -> None:
    """D-29: 0600, ours, no link, no key elsewhere."""
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    file.chmod(0o644)
    settings = ModelSettings(key_file=str(file))
    with pytest.raises(Invalid, match="private"):
        Upstream.from_settings(settings, {})
    file.chmod(0o600)
    assert Upstream.from_settings(settings, {}).secret == KEY.encode()
    (tmp_path / "link").symlink_to(file)
    with pytest.raises(Invalid):
        Upstream.from_settings(ModelSettings(key_file=str(tmp_path / "link")), {})
    file.write_text("")
    with pytest.raises(Invalid, match="empty"):
        Upstream.from_settings(settings, {})


@pytest.mark.parametrize(
    "url", ["http://api.example", "ftp://x", "https://user:pw@x", "https://x?y=1", "x", "http://127.0.0.1.evil.example"]
)
def test_an_address_that_would_leak_the_key_is_refused(url: str) -> None:
    """D-29: plain http only to loopback."""
    with pytest.raises(Invalid):
        Upstream(url, KEY)


@pytest.mark.anyio
async def test_without_a_key_a_call_is_refused_and_the_agent_is_in_trouble(tmp_path: Path) -> None:
    """D-29: the hive runs; the claude agent is stuck with reason no_key; the engine does not try again for ever."""
    async with open_hive(tmp_path, key="") as hive, hive.client("ana") as box:
        answer = await box.post(URL, json=message(text=steps({"text": "x"})))
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.headers["x-should-retry"] == "false"
        assert [json.loads(e.data)["code"] for e in await hive.events("agent.trouble")] == ["no_key"]
        assert hive.stub.requests == []
