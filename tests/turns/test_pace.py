"""How much of the daemon one engine's output may take (T7)."""

from __future__ import annotations

import asyncio

import pytest

from melipona.turns.pace import BURST, SHARE, SLICE, Pace

pytestmark = pytest.mark.anyio


class Hands:
    """A clock that a test moves, and that sleeping moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


async def test_a_flood_gets_a_burst_and_then_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds of work take about ten seconds divided by the share; what others need is left to them."""
    hands, slept = Hands(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        hands.at += seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = Pace(hands)  # type: ignore[arg-type]
    pace.begin()
    for _ in range(1000):
        hands.at += 0.01
        await pace.breathe()
    assert sum(slept) == pytest.approx((10 - BURST) / SHARE, rel=0.3)
    assert slept[0] == 0


async def test_work_that_is_seldom_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine as engines are: a hundredth of a second of work every tenth."""
    hands, slept = Hands(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = Pace(hands)  # type: ignore[arg-type]
    for _ in range(100):
        hands.at += 0.1
        pace.begin()
        hands.at += SLICE * 2
        await pace.breathe()
    assert set(slept) == {0.0}
