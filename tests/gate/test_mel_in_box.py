"""`mel` inside a box: the tools as commands, against the real gate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import resources

import anyio
import pytest

from .hive import Hive

pytestmark = pytest.mark.anyio
MEL = str(resources.files("melipona.boxes").joinpath("inside/bin/mel"))


@asynccontextmanager
async def relay(hive: Hive, name: str, *, lose_answers: int = 0) -> AsyncGenerator[str]:
    """What boxd's relay does, in short: loopback to the gate socket; may lose the first answers of tool calls."""
    path = await hive.box(name)
    left = lose_answers

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_unix_connection(str(path))
        asked: list[bytes] = []
        back = asyncio.create_task(answers(up, writer, asked))
        try:
            while data := await reader.read(65536):
                asked.append(data)
                down.write(data)
        finally:
            back.cancel()
            down.close()
            writer.close()

    async def answers(up: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]) -> None:
        nonlocal left
        while data := await up.read(65536):
            if left and any(part.startswith(b"POST") for part in asked):
                left -= 1
                writer.close()
                return
            writer.write(data)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def mel(gate: str, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    done = await anyio.run_process([MEL, *words], env={"MELIPONA_GATE": gate}, input=stdin, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_values_fill_the_arguments_and_json_is_one_line(hive: Hive) -> None:
    """D-13, BR-16: the tools of the agent as commands."""
    async with relay(hive, "ana") as gate:
        code, out, err = await mel(gate, "note", "the build is green", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["by"] == "ana"
        code, out, _ = await mel(gate, "note", "-", stdin=b"from a pipe")
        assert code == 0
        assert "by: ana" in out
    bodies = [json.loads(event.data)["body"] for event in await hive.events("test.effect")]
    assert bodies == ["the build is green", "from a pipe"]


async def test_help_lists_the_tools_and_their_arguments(hive: Hive) -> None:
    """D-13: help comes from the gate itself."""
    async with relay(hive, "ana") as gate:
        code, out, _ = await mel(gate, "--help")
        assert code == 0
        assert "note    Write a note." in out
        code, out, _ = await mel(gate, "note", "--help")
        assert code == 0
        assert "--body  (string, required)" in out
        assert "It is kept." in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing"], 2, "there is no tool"),
        (["note"], 2, "'body' is a required property"),
        (["note", "a", "--wrong", "1"], 2, "no argument --wrong"),
        (["note", "a", "--slow=maybe"], 2, "must be boolean"),
        (["refuse"], 4, "no, never; ask the operator"),
        (["broken"], 1, "internal error"),
    ],
)
async def test_each_failure_has_its_exit_code(hive: Hive, words: list[str], code: int, said: str) -> None:
    """D-5: 1 failed, 2 usage, 4 refused."""
    async with relay(hive, "ana") as gate:
        found, out, err = await mel(gate, *words)
    assert found == code
    assert said in err
    assert out == ""


async def test_nobody_there_is_exit_code_5() -> None:
    """D-5: hive unreachable."""
    code, _, err = await mel("127.0.0.1:9", "note", "x")
    assert code == 5
    assert "does not answer" in err


async def test_a_lost_answer_is_asked_for_again_and_has_one_effect(hive: Hive) -> None:
    """D-23: mel repeats a call with its key, and the gate answers from the record."""
    async with relay(hive, "ana", lose_answers=2) as gate:
        code, out, err = await mel(gate, "note", "once", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["by"] == "ana"
    assert len(await hive.events("test.effect")) == 1
