"""Engines and boxes that stop, do not listen or speak no sense: the turn ends with a reason, its mail comes back, the
next turn goes on, and a neighbour answers meanwhile (T7, SECURITY.md 3.5 and 6.3 D; times are shortened settings)."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from melipona.testing import box_faults
from melipona.testing.hive import HiveProcess
from melipona.testing.neighbours import Neighbour

pytestmark = pytest.mark.boxes

CONFIG = """
[boxes]
orphan_busy = 60
orphan_idle = 60
[mail]
backoff = [0.05]
sends_per_minute = 0
[watch]
every = 0.2
ping = 2.5
backoff = [0.05]
[turns]
total = 30
silence = 1.5
interrupt_grace = 0.5
"""

ONCE = """
[[rule]]
body = "break"
nth = 1
steps = [{ shell = "touch /ws/ready" }, %s]

[[rule]]
from = "system"
steps = [{ say = "seen" }]

[[rule]]
steps = [{ send = "heard: {body}" }]
"""
WAITS, HOLDS, CLOSES = "{ wait = 100 }", '{ hold = "/ws/never", timeout = 100 }', '{ say = "close the pipes" }'

NO_FREEZER = box_faults.no_freezer()


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    folder = tmp_path_factory.mktemp("frozen")
    inside = box_faults.broken_inside(folder)
    made = HiveProcess(folder / "hive", config=CONFIG, program=("-c", box_faults.BROKEN_BOXES, str(inside)))
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def neighbour(hive: HiveProcess) -> Neighbour:
    found = Neighbour(hive)
    found.settle(5)
    return found


def began(hive: HiveProcess, name: str, step: str) -> tuple[int, int]:
    """A new agent in the middle of its turn: its message, and the init of its box."""
    hive.agent(name, playbook=ONCE % step)
    message = hive.send(name, "break")
    hive.wait_for("box.up", lambda e: e["agent"] == name)
    box_faults.until((hive.work(name) / "ready").exists)
    return message, box_faults.init_of(hive, name)


def ended(hive: HiveProcess, name: str) -> tuple[str, str]:
    """How the agent's first turn ended."""
    event = hive.wait_for("turn.ended", lambda e: e["agent"] == name)
    assert event["data"]["reason"] in hive.client.get(f"/why/{event['subject']}")["text"]
    return event["data"]["result"], event["data"]["reason"]


def goes_on(hive: HiveProcess, name: str, message: int) -> None:
    """The message is handled by the next turn, flagged as maybe seen."""
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
    seen = hive.message(message)
    assert (seen["maybe_seen"], seen["attempts"]) == (True, 2)
    assert "heard: break" in hive.answers(name)


def test_an_engine_that_was_stopped_is_ended_for_its_silence(hive: HiveProcess, neighbour: Neighbour) -> None:
    """ "Stopped for ten minutes": it hears no interrupt either; the kill reaches it, and the box stays."""
    meanwhile = neighbour.meanwhile()
    message, init = began(hive, "stopped", WAITS)
    box_faults.stop_engine(init)
    meanwhile.answer(3)
    assert ended(hive, "stopped") == ("failed", "time_silence")
    goes_on(hive, "stopped", message)
    assert box_faults.init_of(hive, "stopped") == init
    assert meanwhile.ratio < 2, (meanwhile.during, meanwhile.usual)


def test_an_engine_that_ignores_an_interrupt_is_killed_after_the_grace(hive: HiveProcess) -> None:
    """D-18: the operator's interrupt holds its mail; with the next word it goes on in the same box."""
    message, init = began(hive, "deaf", HOLDS)
    box_faults.stop_engine(init)
    hive.client.post("/agents/deaf/interrupt")
    assert hive.wait_for("turn.ended", lambda e: e["agent"] == "deaf")["data"]["result"] == "interrupted"
    hive.client.post("/agents/deaf/resume")
    goes_on(hive, "deaf", message)
    assert box_faults.init_of(hive, "deaf") == init


def test_an_engine_that_closes_its_pipes_and_stays_is_ended(hive: HiveProcess) -> None:
    """Neither output nor an end: silence; its input cannot be written, so the interrupt is lost and the kill is not."""
    message, init = began(hive, "closed", CLOSES)
    assert ended(hive, "closed") == ("failed", "time_silence")
    goes_on(hive, "closed", message)
    assert box_faults.init_of(hive, "closed") == init


def test_a_box_that_is_frozen_or_speaks_half_a_frame_is_ended(hive: HiveProcess, neighbour: Neighbour) -> None:
    """SECURITY.md 3.5 trap 5: it looks alive; boxd does not answer the ping. At once: a box that was stopped whole, and
    one whose boxd stopped in the middle of a frame."""
    meanwhile = neighbour.meanwhile()
    inits = {name: began(hive, name, HOLDS) for name in ("frozen", "half")}
    box_faults.stop_all(inits["frozen"][1])
    (hive.work("half") / "half").touch()
    meanwhile.answer(5)
    for name, (_, init) in inits.items():
        assert ended(hive, name) == ("lost", "box_frozen")
        box_faults.until(lambda init=init: not Path(f"/proc/{init}").exists())
    (hive.work("half") / "half").unlink()
    for name, (message, init) in inits.items():
        ends_as_a_crash(hive, name, message, init)
    assert meanwhile.ratio < 2, (meanwhile.during, meanwhile.usual)


@pytest.mark.skipif(NO_FREEZER is not None, reason=str(NO_FREEZER))
def test_a_box_in_a_frozen_control_group_is_let_go_of_and_dies_when_it_thaws(hive: HiveProcess) -> None:
    """Where not even a kill takes effect: its agent goes on in another box meanwhile."""
    message, init = began(hive, "group", HOLDS)
    with box_faults.frozen_group(init):
        assert ended(hive, "group") == ("lost", "box_frozen")
        ends_as_a_crash(hive, "group", message, init)
    box_faults.until(lambda: not Path(f"/proc/{init}").exists())


def ends_as_a_crash(hive: HiveProcess, name: str, message: int, init: int) -> None:
    """Told once, and the message is handled in another box."""
    goes_on(hive, name, message)
    assert box_faults.init_of(hive, name) != init
    crashed = hive.wait_for("agent.crashed", lambda e: e["agent"] == name)
    assert "frozen" in str(crashed["data"])
