"""Every benchmark runs from its beginning to its end, at tiny sizes; what it measures is judged nowhere here."""

from __future__ import annotations

import io
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from bench import __main__ as command
from bench.figures import OURS, Figure, load_goals
from bench.rounds import Benchmark, Contender, Run, Unable, measure


def test_every_goal_belongs_to_a_figure() -> None:
    """A goal for a figure that was renamed would never be judged."""
    known = {(name, figure.name) for name in command.NAMES for figure in import_module(f"bench.{name}").FIGURES}
    assert set(load_goals()) <= known


class Counting:
    """Counts."""

    FIGURES = (Figure("n", "", "floor"),)

    def __init__(self) -> None:
        self.order: list[str] = []
        self.closed = False

    @contextmanager
    def contenders(self, run: Run) -> Generator[Mapping[str, Contender]]:
        def one(name: str) -> dict[str, float]:
            self.order.append(name)
            return {"n": len(self.order)}

        yield {"floor": lambda: one("floor"), OURS: lambda: one(OURS)}
        self.closed = True


def test_floor_and_product_alternate_and_every_other_round_goes_backwards(tmp_path: Path) -> None:
    """Interleaved in the same run: a machine that warms up or slows down favours nobody."""
    counting, out = Counting(), io.StringIO()
    (one,) = measure("count", cast("Benchmark", counting), Run(tmp_path, rounds=3, out=out), {})
    assert counting.order == ["floor", OURS, OURS, "floor", "floor", OURS]
    assert counting.closed
    assert (one.rounds, one.ratio and one.ratio.median) == (3, 6 / 5)
    assert "count: round 3/3, ours" in out.getvalue()


def test_the_command_writes_the_document_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole way: `python -m bench commit --quick --json FILE`."""
    file = tmp_path / "out.json"
    command.main(["commit", "--quick", "--rounds", "1", "--json", str(file), "--folder", str(tmp_path / "b")])
    figures = json.loads(file.read_text())["figures"]
    assert {figure["figure"] for figure in figures} >= {"p50_1", "rate_256"}
    assert {figure["machine"]["python"] for figure in figures}
    assert "commit" in capsys.readouterr().out
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize("error", [Unable("no strace"), ValueError("boom")])
def test_a_benchmark_that_cannot_run_is_named_and_only_a_failure_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    @contextmanager
    def broken(run: Run) -> Generator[Mapping[str, Contender]]:
        raise error
        yield {}

    monkeypatch.setattr(import_module("bench.commit"), "contenders", broken)
    code = command.main(["commit", "--quick", "--folder", str(tmp_path)])
    assert code == (0 if isinstance(error, Unable) else 1)
    assert str(error) in capsys.readouterr().out


QUICKEST = ("commit", "hop", "gateway", "sse", "syncs", "page")
"""The rest starts daemons again and again: `.ci/run` runs all by `python -m bench --quick`."""


@pytest.mark.parametrize("name", QUICKEST)
def test_a_benchmark_measures_every_figure(tmp_path: Path, name: str) -> None:
    """One round at the smallest sizes."""
    benchmark = cast("Benchmark", import_module(f"bench.{name}"))
    run = Run(tmp_path, rounds=1, quick=True, tiny=True, out=io.StringIO())
    try:
        outcomes = measure(name, benchmark, run, load_goals())
    except Unable as reason:
        pytest.skip(str(reason))
    measured = {one.figure.name for one in outcomes}
    assert measured == {figure.name for figure in benchmark.FIGURES if not figure.optional}
    assert all(one.floor is not None for one in outcomes if one.figure.floor is not None)
