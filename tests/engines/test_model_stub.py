"""The stub of the Messages API does what a prompt scripts, and takes no key but the real one."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from melipona.testing.model_script import USAGE, choose
from melipona.testing.model_stub import ModelStub, model_stub

KEY = "sk-ant-real-key"


def request(text: str, **more: object) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": text}], **more}


async def ask(stub: ModelStub, body: dict[str, Any], key: str = KEY) -> tuple[int, dict[str, str], str]:
    def call() -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=20)
        try:
            connection.request("POST", "/v1/messages?beta=true", json.dumps(body), {"x-api-key": key})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, answer.read().decode()
        finally:
            connection.close()

    return await anyio.to_thread.run_sync(call)


@pytest.mark.anyio
async def test_a_call_without_the_real_key_is_refused_and_logged_without_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with model_stub(key=KEY, log=log) as stub:
        assert (await ask(stub, request("hi"), "placeholder"))[0] == 401
        assert (await ask(stub, request("hi")))[0] == 200
        assert [line["refused"] for line in stub.requests] == [True, False]
        assert len(stub.messages) == 1
    assert KEY not in log.read_text()
    assert len(log.read_text().splitlines()) == 3


@pytest.mark.anyio
async def test_usage_is_exact_in_streams_and_plain_answers() -> None:
    async with model_stub(key=KEY) as stub:
        status, _, text = await ask(stub, request("hi"))
        assert (status, json.loads(text)["usage"]) == (200, USAGE)
        _, _, stream = await ask(stub, request("hi", stream=True))
        assert '"output_tokens": 70' in stream
        assert stream.rstrip().endswith('{"type": "message_stop"}')


@pytest.mark.anyio
async def test_errors_and_cuts_happen_once_and_the_turn_goes_on() -> None:
    steps = [{"status": 429, "retry_after": 2}, {"cut": True}, {"text": "whole"}]
    body = request(f"STEPS: {json.dumps(steps)}", stream=True)
    async with model_stub(key=KEY) as stub:
        status, headers, _ = await ask(stub, body)
        assert (status, headers["retry-after"]) == (429, "2")
        assert "message_stop" not in (await ask(stub, body))[2]
        assert "whole" in (await ask(stub, body))[2]
        await stub.wait(lambda: len(stub.ends) == 3)
        assert [end["end"] for end in stub.ends] == ["status 429", "cut", "done"]


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["body", "header", "redirect", "401"])
async def test_a_hostile_upstream_leaks_the_key_on_request(how: str) -> None:
    """T14: what the gate must not pass on."""
    async with model_stub(key=KEY) as stub:
        for stream in (False, True):
            status, headers, text = await ask(stub, request(f'STEPS: [{{"echo_key": "{how}"}}]', stream=stream))
            assert KEY in text + json.dumps(headers)
            assert status == {"redirect": 302, "401": 401}.get(how, 200)


@pytest.mark.anyio
async def test_closing_ends_every_wait() -> None:
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(10):
            async with model_stub(key=KEY) as stub:
                tasks.start_soon(ask, stub, request('STEPS: [{"wait": 100, "text": "late"}]'))
                await stub.seen(1)


@pytest.mark.anyio
async def test_it_runs_as_a_program(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "melipona.testing.model_stub", "--key", KEY, "--log", str(tmp_path / "log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = await anyio.to_thread.run_sync(process.stdout.readline)
            assert line.startswith("model stub at http://127.0.0.1:")
        finally:
            process.terminate()


def test_a_bare_prompt_is_answered_by_mail_to_the_operator() -> None:
    wake = "You have a message from ben.\n\n<mail-0a1b> m1 from ben | 2026\nhow are you?\nwell?\n</mail-0a1b>"
    asked = request(wake, tools=[{"name": "Bash"}, {"name": "mcp__melipona__send"}])
    assert choose(asked, {}) == {
        "tool": "mcp__melipona__send",
        "input": {"to": "operator", "body": "heard: how are you?\nwell?"},
    }
    asked["messages"] += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "mcp__melipona__send", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "sent"}]},
    ]
    assert choose(asked, {}) == {"text": "done"}


def test_steps_go_on_after_tool_results_and_end_with_their_turn() -> None:
    asked = request(
        'STEPS: [{"tool": "send", "input": {}}, {"text": "end"}] and so on', tools=[{"name": "mcp__m__send"}]
    )
    assert choose(asked, {})["tool"] == "mcp__m__send"
    reminder = {"type": "text", "text": "<system-reminder>be nice</system-reminder>"}
    asked["messages"] += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "mcp__m__send", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "sent"}, reminder]},
    ]
    assert choose(asked, {}) == {"text": "end"}
    asked["messages"] += [
        {"role": "assistant", "content": [{"type": "text", "text": "end"}]},
        {"role": "user", "content": "a new turn"},
    ]
    assert choose(asked, {})["tool"] == "mcp__m__send"
    assert choose(request("STEPS: nonsense"), {})["text"].startswith("STEPS cannot be read")
