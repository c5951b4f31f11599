"""Budgets over a real store: days, limits, what is set aside, and what a dead daemon left (D-30, BL)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from melipona.budgets.model import BudgetBusy, BudgetSpent, Usage, Verdict, day_of, end_of_day, verdict, zone
from melipona.budgets.service import Budgets
from melipona.clock import ManualClock, micros
from melipona.errors import Invalid
from melipona.ids import AgentId
from melipona.settings import BudgetSettings
from melipona.store.engine import Store, now
from melipona.store.schema import agents, spend, turns

ANA, BEN = AgentId("id-ana"), AgentId("id-ben")
MODEL = "claude-opus-4-5"  # 5 and 25 micro-USD a token


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock, anyio_backend: str) -> AsyncGenerator[Store]:
    opened = await Store.open(tmp_path / "hive.db", clock, force_place=True)
    for name in ("ana", "ben"):
        row = {"id": f"id-{name}", "name": name, "role": "worker", "engine": "claude", "wish": "running"}
        await opened.write(
            lambda c, row=row: c.execute(insert(agents).values(**row, created_at=now(c), entered_at=now(c)))
        )
    yield opened
    await opened.close()


def budgets(hive: float = 0, agent: float = 0, turns_per_hour: int = 0, timezone: str = "UTC") -> Budgets:
    settings = BudgetSettings(hive_usd_per_day=hive, agent_usd_per_day=agent, turns_per_hour=turns_per_hour)
    return Budgets(settings, timezone=timezone)


async def rows(store: Store) -> list[Any]:
    return await store.read(lambda c: list(c.execute(select(spend).order_by(spend.c.id)).mappings()))


@pytest.mark.parametrize(
    ("limit", "settled", "reserved", "wanted", "said"),
    [
        (0, 10**9, 10**9, 10**9, Verdict.YES),
        (100, 0, 0, 100, Verdict.YES),
        (100, 50, 40, 10, Verdict.YES),
        (100, 50, 40, 11, Verdict.BUSY),
        (100, 99, 0, 50, Verdict.YES),
        (100, 0, 0, 500, Verdict.YES),
        (100, 99, 1, 1, Verdict.BUSY),
        (100, 100, 0, 0, Verdict.SPENT),
        (100, 100, 50, 1, Verdict.SPENT),
    ],
)
def test_parallel_calls_fit_beside_each_other_and_the_last_may_go_alone(
    limit: int, settled: int, reserved: int, wanted: int, said: Verdict
) -> None:
    """T33: spending stops within one call of the limit; 0 = no limit."""
    assert verdict(limit, settled, reserved, wanted) is said


@pytest.mark.anyio
async def test_what_is_set_aside_is_bytes_by_three_and_max_tokens_at_prices(store: Store) -> None:
    """D-30: and settling puts the true cost in its place."""
    b = budgets()
    reservation = await store.write(b.reserve, ANA, MODEL, 3001, 100, epoch=1)
    assert reservation.micro_usd == 1001 * 10 + 100 * 25  # the whole prompt may be written to the hour's cache
    assert await store.read(b.spent_today) == reservation.micro_usd
    cost = await store.write(b.settle, reservation, Usage(10, 20, 30, 40, 50), status=200)
    assert cost == 10 * 5 + 20 * 25 + 30 * 0.5 + 40 * 6.25 + 50 * 10
    assert await store.read(b.spent_today, ANA) == cost
    assert await store.read(b.spent_today, BEN) == 0
    await store.write(b.settle_unknown, reservation, None, status=None)
    assert await store.read(b.spent_today) == cost  # settled once


@pytest.mark.anyio
async def test_a_budget_of_the_hive_holds_for_all_and_one_of_an_agent_for_it_alone(store: Store) -> None:
    """D-30: the agent's own budget comes before the default for agents."""
    b = budgets(hive=1.0, agent=0.1)
    await store.write(lambda c: c.execute(update(agents).where(agents.c.id == BEN).values(budget_micro_usd=300_000)))
    for who, dollars in ((ANA, 0.1), (BEN, 0.3)):
        reservation = await store.write(b.reserve, who, MODEL, 0, int(dollars * 1e6 / 25), epoch=1)
        with pytest.raises(BudgetBusy):
            await store.write(b.reserve, who, MODEL, 3, 1, epoch=1)
        assert await store.write(b.may_run, who) is None
        await store.write(b.settle, reservation, Usage(output=int(dollars * 1e6 / 25)), status=200)
        with pytest.raises(BudgetSpent) as caught:
            await store.write(b.reserve, who, MODEL, 3, 1, epoch=1)
        assert caught.value.scope == "agent"
        blocked = await store.read(b.may_run, who)
        assert blocked is not None
        assert (blocked.reason, blocked.until) == ("budget_spent", micros(datetime(2026, 11, 22, tzinfo=UTC)))
    tight = budgets(hive=0.4)
    with pytest.raises(BudgetSpent) as caught:
        await store.write(tight.reserve, ANA, MODEL, 3, 1, epoch=1)
    assert caught.value.scope == "hive"


@pytest.mark.anyio
async def test_a_new_day_brings_new_money(store: Store, clock: ManualClock) -> None:
    """D-30: a day is the operator's local day."""
    b = budgets(hive=0.001, timezone="America/New_York")
    reservation = await store.write(b.reserve, ANA, MODEL, 3, 1, epoch=1)
    await store.write(b.settle, reservation, Usage(output=10_000), status=200)
    blocked = await store.read(b.may_run, ANA)
    assert blocked is not None
    assert blocked.until == micros(datetime(2026, 11, 22, 5, tzinfo=UTC))
    clock.advance(timedelta(hours=16, minutes=59))
    assert await store.read(b.may_run, ANA) is not None
    clock.advance(timedelta(minutes=1))
    assert await store.read(b.may_run, ANA) is None


def test_days_end_at_local_midnight_also_when_clocks_change() -> None:
    """D-30: 25 hours in autumn, 23 in spring; a zone that is none is a mistake of the settings."""
    berlin = zone("Europe/Berlin")
    autumn = micros(datetime(2026, 10, 24, 22, tzinfo=UTC))
    assert day_of(autumn, berlin).isoformat() == "2026-10-25"
    assert end_of_day(autumn, berlin) - autumn == timedelta(hours=25) / timedelta(microseconds=1)
    spring = micros(datetime(2026, 3, 28, 23, tzinfo=UTC))
    assert end_of_day(spring, berlin) - spring == timedelta(hours=23) / timedelta(microseconds=1)
    with pytest.raises(Invalid, match="time zone"):
        zone("Mars/Olympus")


@pytest.mark.anyio
async def test_turns_an_hour_are_counted_for_each_agent(store: Store, clock: ManualClock) -> None:
    """D-30: the agent waits until the oldest of them is an hour old; its own number comes before the hive's."""
    b = budgets(turns_per_hour=2)
    began = clock.now()
    for _ in range(2):
        assert await store.read(b.may_run, ANA) is None
        await store.write(
            lambda c: c.execute(
                insert(turns).values(
                    agent_id=ANA,
                    agent="ana",
                    state="ended",
                    cause="{}",
                    epoch=1,
                    host="h",
                    wake_source="mail",
                    started_at=now(c),
                    entered_at=now(c),
                )
            )
        )
        clock.advance(timedelta(minutes=1))
    blocked = await store.read(b.may_run, ANA)
    assert blocked is not None
    assert (blocked.reason, blocked.until) == ("turns_per_hour", began + 3600 * 1_000_000)
    assert await store.read(b.may_run, BEN) is None
    for own, may in ((0, True), (3, True), (1, False)):
        await store.write(lambda c, own=own: c.execute(update(agents).values(turns_per_hour=own)))
        assert (await store.read(b.may_run, ANA) is None) is may
    clock.advance(timedelta(hours=1))
    assert await store.read(b.may_run, ANA) is None


@pytest.mark.anyio
async def test_what_a_dead_daemon_left_open_is_settled_by_the_most_that_it_can_have_cost(
    store: Store, clock: ManualClock
) -> None:
    """D-30: once, never more than was set aside, and never what this daemon has open."""
    b = budgets()
    old = await store.write(b.reserve, ANA, MODEL, 300, 1_000_000, epoch=1)
    mine = await store.write(b.reserve, ANA, MODEL, 300, 100, epoch=2)
    clock.advance(timedelta(seconds=9))
    assert await store.write(b.settle_stale, 2) == 1
    assert await store.write(b.settle_stale, 2) == 0
    first, second = await rows(store)
    assert (first["state"], first["estimated"], first["id"]) == ("settled", 1, old.id)
    assert first["cost_micro_usd"] == 100 * 10 + 10 * 500 * 25  # nobody writes more than 500 tokens a second
    assert (second["state"], second["id"]) == ("reserved", mine.id)
    long_ago = await store.write(b.reserve, ANA, MODEL, 300, 100, epoch=2)
    clock.jump_wall(-timedelta(days=1))
    await store.write(b.settle_stale, 3)
    assert (await rows(store))[-1]["cost_micro_usd"] == long_ago.micro_usd  # a clock that went back proves nothing


@pytest.mark.anyio
async def test_budget_spent_is_told_once_a_day_and_agent(store: Store, clock: ManualClock) -> None:
    """D-30: also after a restart, since the event itself is the memory."""
    b = budgets(hive=0.001)
    spent = BudgetSpent("hive", 5, 4, clock.now())
    assert [await store.write(b.record_spent, "ana", spent) for _ in range(2)] == [True, False]
    assert await store.write(budgets(hive=0.001).record_spent, "ana", spent) is False
    assert await store.write(b.record_spent, "ben", spent) is True
    clock.advance(timedelta(days=1))
    assert await store.write(b.record_spent, "ana", spent) is True
