"""What the benchmarks conclude from their rounds (PERFORMANCE.md section 12)."""

from __future__ import annotations

import json

import pytest

from bench import figures
from bench.figures import OURS, Figure, Goal, Outcome, Values, outcome
from bench.report import table

MACHINE = {"cores": 2}
P50 = Figure("p50", "us", "floor")


def rounds(*pairs: tuple[float, float], name: str = "p50") -> list[dict[str, Values]]:
    return [{"floor": {name: floor}, OURS: {name: ours}} for ours, floor in pairs]


def judged(goal: Goal | None, *pairs: tuple[float, float]) -> Outcome:
    one = outcome("commit", P50, rounds(*pairs), goal)
    assert one is not None
    return one


def test_the_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians() -> None:
    """A busy round slows both; dividing across rounds would say 300 / 100 = 3 where each round says 1 or 2."""
    one = judged(None, (100, 100), (300, 150), (900, 90))
    assert one.ratio is not None
    assert (one.ratio.median, one.ratio.min, one.ratio.max) == (2, 1, 10)
    assert one.ours.median / judged(None, (1, 100), (1, 100), (1, 100)).ours.median == 300


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal(max_ratio=2), True),
        (Goal(max_ratio=1.9), False),
        (Goal(min_ratio=2), True),
        (Goal(min_ratio=2.1), False),
        (Goal(max_abs=200), True),
        (Goal(max_abs=199), False),
        (Goal(min_abs=201), False),
        (Goal(max_ratio=2, max_abs=100), False),
        (Goal(max_ratio=1.5, plus=50), True),
        (Goal(max_ratio=1.4, plus=50), False),
        (None, None),
    ],
)
def test_every_limit_of_a_goal_has_to_hold(goal: Goal | None, met: bool | None) -> None:
    assert judged(goal, (200, 100)).met is met


def test_ci_fails_only_far_beyond_a_ratio_and_never_in_a_noisy_run() -> None:
    """Section 12: 1.5 x the goal; a floor that varied by more than its median proves nothing."""
    assert not judged(Goal(max_ratio=2), (299, 100)).fails
    assert judged(Goal(max_ratio=2), (301, 100)).fails
    assert judged(Goal(min_ratio=0.3), (19, 100)).fails
    assert not judged(Goal(min_ratio=0.3), (21, 100)).fails
    assert not judged(Goal(max_abs=1), (1000, 100)).fails
    assert not judged(Goal(max_ratio=2, ci_max_ratio=5), (499, 100)).fails
    assert judged(Goal(max_ratio=2, ci_max_ratio=5), (501, 100)).fails
    noisy = judged(Goal(max_ratio=2), (900, 100), (900, 100), (900, 210))
    assert noisy.noise == pytest.approx(1.1)
    assert (noisy.met, noisy.noisy, noisy.fails) == (False, True, False)


def test_a_peer_is_compared_round_by_round_when_it_was_measured() -> None:
    figure = Figure("p50", "us", "floor", peers=("redis",))
    goal = Goal(max_peer_ratio={"redis": 0.5})
    with_peer = [{**values, "redis": {"p50": 400.0}} for values in rounds((100, 50), (300, 50), (100, 50))]
    one = outcome("commit", figure, with_peer, goal)
    assert one is not None
    assert one.peers[0].ratio is not None
    assert (one.peers[0].ratio.median, one.met) == (0.25, True)
    without = outcome("commit", figure, rounds((100, 50)), goal)
    assert without is not None
    assert (without.peers, without.met) == ((), None)


def test_a_figure_that_nobody_measured_is_left_out_and_a_zero_floor_has_no_ratio() -> None:
    assert outcome("commit", Figure("other", "us"), rounds((1, 1)), None) is None
    one = judged(Goal(max_ratio=1), (5, 0))
    assert (one.ratio, one.met, one.fails, one.noise) == (None, None, False, None)


def test_the_document_has_the_shape_of_the_law() -> None:
    """Section 12 names the fields; results of releases are read by others."""
    document = json.loads(json.dumps(judged(Goal(max_ratio=2), (200, 100), (330, 110)).as_json(MACHINE, "abc")))
    assert document == {
        "benchmark": "commit",
        "figure": "p50",
        "unit": "us",
        "ours": {"median": 265.0, "min": 200.0, "max": 330.0},
        "floor": {"name": "floor", "median": 105.0, "min": 100.0, "max": 110.0},
        "ratio": {"median": 2.5, "min": 2.0, "max": 3.0},
        "goal": {"max_ratio": 2},
        "met": False,
        "peers": [],
        "rounds": 2,
        "machine": MACHINE,
        "noise": 0.095,
        "commit": "abc",
    }


def test_the_table_tells_goal_and_verdict() -> None:
    lines = table([judged(Goal(max_ratio=2, plus=3), (200, 100)), judged(Goal(max_ratio=1), (200, 100))]).splitlines()
    assert "<= 2 x + 3 us" in lines[2]
    assert lines[2].endswith("met")
    assert lines[3].endswith("FAILS")


def test_percentiles_are_values_that_were_measured() -> None:
    assert figures.percentile([3, 1, 2], 50) == 2
    assert figures.percentile(range(1, 101), 99) == 100
