"""Every limit of a box is hit once: the turn fails with that reason, `mel why` tells it, the agent goes on with the
next turn, and a neighbour answers meanwhile in less than twice its usual time (T6, SECURITY.md section 7 line 9)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from melipona.testing.greedy import DISK, FLOODS, FORKS, GREEDY, INODES
from melipona.testing.hive import HiveProcess, running_hive
from melipona.testing.neighbours import Neighbour

pytestmark = pytest.mark.boxes

MIB = 1 << 20
CONFIG = f"""
[boxes]
orphan_busy = 60
orphan_idle = 60
memory_bytes = {400 * MIB}
processes = 48
open_files = 128
file_size_bytes = {24 * MIB}
tmp_bytes = {8 * MIB}
disk_bytes = {48 * MIB}
inodes = 2000
disk_sweep = 0.3
[budgets]
turns_per_hour = 0
[mail]
sends_per_minute = 0
backoff = [0.05]
[turns]
output_bytes = {12 * MIB}
"""

ONCE = """
[[rule]]
body = "break"
nth = 1
steps = [{ say = "begun" }, { shell = %s, timeout = 100 }, { hold = "/ws/never", timeout = 100 }]

[[rule]]
from = "system"
steps = [{ say = "seen" }]

[[rule]]
steps = [{ send = "heard: {body}" }]
"""


def python(code: str) -> str:
    """A playbook with a `shell` step that runs Python code once."""
    return ONCE % json.dumps(f"python3 -c {shlex.quote(code)}")


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    with running_hive(tmp_path_factory.mktemp("limits"), config=CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def neighbour(hive: HiveProcess) -> Neighbour:
    found = Neighbour(hive)
    found.settle()
    return found


def binds(hive: HiveProcess, limit: str) -> None:
    """Skip, with the reason that `mel agent show` gives, where a limit does not bind."""
    limits: list[dict[str, Any]] = hive.client.get("/agents/neighbour")["limits"]
    found = next(one for one in limits if one["name"] == limit)
    if not found["binds"]:
        pytest.skip(f"{limit}: {found['how']}")


def break_once(hive: HiveProcess, neighbour: Neighbour, name: str, playbook: str) -> tuple[int, dict[str, Any]]:
    """Let a new agent run into its limit while the neighbour works; its message, and how its first turn ended."""
    meanwhile = neighbour.meanwhile()
    hive.agent(name, playbook=playbook)
    message = hive.send(name, "break")
    meanwhile.answer(5)
    ended = hive.wait_for("turn.ended", lambda e: e["agent"] == name)
    assert meanwhile.ratio < 2, (meanwhile.during, meanwhile.usual)
    assert ended["data"]["reason"] in hive.client.get(f"/why/{ended['subject']}")["text"]
    return message, ended["data"]


def goes_on(hive: HiveProcess, name: str, message: int) -> None:
    """The next turn handles the message: what it did not get through before, it gets through now."""
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
    assert hive.message(message)["failures"] == 1
    assert hive.answers(name) == ["heard: break"]


@pytest.mark.parametrize("reason", GREEDY)
def test_a_turn_fails_with_the_limit_it_hit(hive: HiveProcess, neighbour: Neighbour, reason: str) -> None:
    if reason == "out_of_memory":
        binds(hive, "memory_bytes")
    name = reason.replace("_", "-")
    message, ended = break_once(hive, neighbour, name, python(GREEDY[reason]))
    assert ended["result"] in ("failed", "lost")
    assert ended["reason"] == reason
    goes_on(hive, name, message)


@pytest.mark.parametrize(("name", "code", "word"), [("disk", DISK, "MiB"), ("inodes", INODES, "files")])
def test_a_box_that_fills_its_disk_is_ended_and_a_person_is_asked(
    hive: HiveProcess, neighbour: Neighbour, name: str, code: str, word: str
) -> None:
    """Measured while it runs (D-26); the agent is stuck until its files are fewer and somebody starts it."""
    message, ended = break_once(hive, neighbour, name, python(code))
    assert (ended["result"], ended["reason"]) == ("failed", "disk_limit")
    assert word in hive.client.get(f"/why/{name}")["text"]
    hive.wait_for("box.gone", lambda e: e["agent"] == name)
    assert hive.client.get(f"/agents/{name}")["reason"] == "disk_limit"
    for path in hive.work(name).iterdir():
        path.unlink()
    hive.client.post(f"/agents/{name}/start")
    goes_on(hive, name, message)


@pytest.mark.parametrize("kind", FLOODS)
def test_an_engine_that_floods_is_ended_with_the_output_limit(
    hive: HiveProcess, neighbour: Neighbour, kind: str
) -> None:
    """D-15, T7: at a gigabyte a second, in short lines, in whole records and in long lines; the daemon neither grows
    nor stops listening to others."""
    before = resident(hive.pid)
    message, ended = break_once(hive, neighbour, kind, ONCE % json.dumps(FLOODS[kind]))
    assert (ended["result"], ended["reason"]) == ("failed", "output_limit")
    goes_on(hive, kind, message)
    assert resident(hive.pid) - before < 100 * MIB


def test_a_box_that_forks_without_end_takes_nothing_from_its_neighbour(hive: HiveProcess, neighbour: Neighbour) -> None:
    """T6: what forks goes on forking for as long as its turn runs; an interrupt ends all of it."""
    binds(hive, "processes")
    meanwhile = neighbour.meanwhile()
    hive.agent("bomb", playbook=python(FORKS))
    hive.send("bomb", "break")
    hive.wait_for("turn.started", lambda e: e["agent"] == "bomb")
    meanwhile.answer(20)
    hive.client.post("/agents/bomb/interrupt")
    ended = hive.wait_for("turn.ended", lambda e: e["agent"] == "bomb")
    assert ended["data"]["result"] == "interrupted"
    assert meanwhile.ratio < 2, (meanwhile.during, meanwhile.usual)
    hive.client.post("/agents/bomb/resume")
    hive.wait_for("message.handled", lambda e: e["agent"] == "bomb")


def resident(pid: int) -> int:
    """Bytes of memory that a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
