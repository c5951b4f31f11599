"""A person's terminal in an agent's box: over HTTP and as `mel attach` (ASK-22, DB; T4, invariant 31)."""

from __future__ import annotations

import base64
import os
import pty
import re
import select
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from melipona.client import Problem
from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.boxes

WITHIN = 60.0


def opened(hive: HiveProcess, name: str = "ana") -> str:
    path = "/terminals/" + str(hive.client.post(f"/agents/{name}/terminals", {"rows": 30, "columns": 100})["id"])
    shown(hive, path, "$ ")  # what is typed before the shell is there may be lost to it
    return path


def typed(hive: HiveProcess, path: str, text: str) -> None:
    hive.client.post(f"{path}/input", {"data": base64.b64encode(text.encode()).decode()})


def shown(hive: HiveProcess, path: str, wanted: str) -> str:
    """What the terminal shows, until `wanted` is there or it is over."""
    text = ""
    for kind, _, piece in hive.client.stream(f"{path}/stream"):
        if kind == "end":
            return text + f"<end {piece['exit']}>"
        text += base64.b64decode(piece["data"]).decode(errors="replace")
        if wanted in text:
            return text
    raise AssertionError(f"the stream broke; it had shown {text!r}")


def state(hive: HiveProcess, name: str = "ana") -> tuple[str, str | None]:
    agent = hive.client.get(f"/agents/{name}")
    return agent["state"], agent["reason"]


def test_an_agent_begins_no_turn_while_a_person_is_at_its_terminal(hive: HiveProcess) -> None:
    """The shell has the box's own identity, size and folders; mail waits, and is worked on afterwards."""
    hive.agent("ana")
    path = opened(hive)
    assert state(hive) == ("paused", "attached")
    typed(hive, path, "stty size; pwd; id -u; echo $((6*7))\n")
    text = shown(hive, path, "42")
    assert "30 100" in text
    assert "/ws" in text
    hive.send("ana", "hello")
    with pytest.raises(Problem) as second:
        opened(hive)
    assert second.value.status == 409
    hive.client.post(f"{path}/size", {"rows": 50, "columns": 120})
    typed(hive, path, "stty size\n")
    assert "50 120" in shown(hive, path, "50 120")
    assert hive.count("turn.started") == 0
    hive.client.delete(path)
    hive.wait_for("turn.ended", lambda e: e["agent"] == "ana")
    assert hive.answers("ana") == ["heard: hello"]
    with pytest.raises(Problem) as gone:
        typed(hive, path, "x")
    assert gone.value.status == 404


def test_a_shell_that_ends_says_with_what_and_lets_the_agent_go_on(hive: HiveProcess) -> None:
    hive.agent("ana")
    path = opened(hive)
    typed(hive, path, "exit 7\n")
    assert shown(hive, path, "<never>").endswith("<end 7>")
    hive.wait_for("operation.ended", lambda e: e["data"]["kind"] == "attached")
    assert state(hive) == ("idle", None)


def test_a_terminal_ends_with_its_daemon_and_leaves_nothing_running(hive: HiveProcess) -> None:
    """Invariant 31: the operation is settled at the next start, and the shell's programs are ended there."""
    hive.agent("ana")
    path = opened(hive)
    typed(hive, path, "sleep 4711 & echo ready-$((1+1))\n")
    shown(hive, path, "ready-2")
    hive.kill()
    hive.start()
    ended = hive.wait_for("operation.ended", lambda e: e["data"]["kind"] == "attached")
    assert ended["data"]["state"] == "lost"
    end = time.monotonic() + WITHIN
    while any(b"sleep\x004711" in line for line in command_lines()):
        assert time.monotonic() < end, "the shell's program still runs"
        time.sleep(0.05)  # nothing tells of a process that ended
    hive.send("ana", "hello")
    hive.wait_for("turn.ended", lambda e: e["agent"] == "ana" and e["data"]["result"] == "ok")


def test_a_stopped_agent_has_no_terminal(hive: HiveProcess) -> None:
    hive.agent("ana")
    hive.client.post("/agents/ana/stop")
    hive.wait_for("operation.ended")
    with pytest.raises(Problem) as refused:
        opened(hive)
    assert refused.value.status == 409
    assert refused.value.remedy == "mel agent start ana"
    with pytest.raises(Problem) as unknown:
        opened(hive, "nobody")
    assert unknown.value.status == 404


def test_mel_attach_is_a_shell_in_the_box_and_leaves_the_terminal_as_it_was(hive: HiveProcess) -> None:
    hive.agent("ana")
    with attached(hive, "ana") as (screen, read_until):
        read_until("$ ")
        os.write(screen, b"echo in-$((40+2)); hostname\r")
        text = read_until("in-42")
        os.write(screen, b"\x1d")
        text += read_until("left the box of ana")
    assert re.search(r"\x1b\[\?1049l", text), "modes that a program left on are taken back"
    hive.wait_for("operation.ended", lambda e: e["data"]["kind"] == "attached")


@contextmanager
def attached(hive: HiveProcess, name: str) -> Generator:
    """`mel attach` on a terminal of its own."""
    pid, screen = pty.fork()
    if pid == 0:
        os.execv(
            sys.executable,
            [sys.executable, "-m", "melipona.cli.main", "--data", str(hive.data), "attach", name],
        )
    end = time.monotonic() + WITHIN

    def read_until(wanted: str) -> str:
        text = ""
        while wanted not in text:
            ready, _, _ = select.select([screen], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {wanted!r} in {text!r}"
            try:
                text += os.read(screen, 4096).decode(errors="replace")
            except OSError:
                break
        return text

    try:
        yield screen, read_until
    finally:
        os.waitpid(pid, 0)
        os.close(screen)


def command_lines() -> list[bytes]:
    lines: list[bytes] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    lines.append(file.read())
            except OSError:
                continue
    return lines
