"""Engines that are kept idle hold a bounded amount of memory (PERFORMANCE.md section 11, rule 20)."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from melipona.clock import Micros
from melipona.ids import AgentId, BoxId, ProgramId
from melipona.testing.hive import QUICK, HiveProcess, running_hive
from melipona.turns.kept import held_bytes, too_many
from melipona.turns.program_rows import Program

A, B, C = AgentId("a"), AgentId("b"), AgentId("c")


def engine(agent: AgentId) -> Program:
    return Program(ProgramId(f"of {agent}"), BoxId("box"), agent, None, None, Micros(1))


@pytest.mark.parametrize(
    ("most", "stopped"), [(60, []), (59, [A]), (50, [A]), (49, [A, B]), (1, [A, B, C]), (0, [A, B, C])]
)
def test_those_idle_longest_are_stopped_until_the_rest_fits(most: int, stopped: list[AgentId]) -> None:
    idle = [engine(A), engine(B), engine(C)]
    assert [one.agent_id for one in too_many(idle, {A: 10, B: 20, C: 30}, most)] == stopped


def test_a_box_that_cannot_be_measured_counts_nothing() -> None:
    assert too_many([engine(A), engine(B)], {B: 5}, 5) == []


def test_a_box_holds_what_its_init_and_all_below_it_hold(tmp_path: Path) -> None:
    """The parent and the resident pages of each process; what is not below an init is nobody's; circles end."""
    for pid, parent, pages in ((10, 1, 3), (11, 10, 4), (12, 11, 5), (20, 1, 7), (30, 31, 9), (31, 30, 9)):
        (tmp_path / str(pid)).mkdir()
        fields = ["S", str(parent), *["0"] * 19, str(pages)]
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a ) name) {' '.join(fields)}")
    (tmp_path / "self").mkdir()
    page = os.sysconf("SC_PAGE_SIZE")
    assert held_bytes({A: 10, B: 20, C: 99}, tmp_path) == {A: 12 * page, B: 7 * page, C: 0}


@pytest.mark.boxes
def test_past_the_bound_an_idle_engine_is_stopped_and_comes_back_for_the_next_message(tmp_path: Path) -> None:
    """The box stays; the agent answers as before."""
    with running_hive(tmp_path, config=QUICK + "[turns]\nkept_bytes = 1\n") as hive:
        hive.agent("ana")
        for count in (1, 2):
            hive.send("ana", f"hello {count}")
            hive.wait_for("turn.ended", count=count)
            until(lambda count=count: states(hive) == ["ended"] * count)
        assert hive.answers("ana") == ["heard: hello 1", "heard: hello 2"]
        assert hive.count("box.up") == 1


def states(hive: HiveProcess) -> list[str]:
    with closing(sqlite3.connect(f"file:{hive.data / 'mel.db'}?mode=ro", uri=True)) as c:
        return [state for (state,) in c.execute("SELECT state FROM programs ORDER BY started_at")]


def until(look: Callable[[], bool], within: float = 30) -> None:
    """Rows change without an event here."""
    end = time.monotonic() + within
    while not look():
        assert time.monotonic() < end
        time.sleep(0.02)
