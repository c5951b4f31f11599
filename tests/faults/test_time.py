"""Wall clocks that jump, machines that sleep, days of 23 and 25 hours, 49 days of running (T45, D-16, I-9)."""

from __future__ import annotations

import json
import os
import select
import zoneinfo
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, update

from melipona.access.model import IDLE, LINK_LIFE, Visitor
from melipona.access.people import owner
from melipona.access.service import Access
from melipona.boxes.inside import boxd
from melipona.budgets.model import day_of, end_of_day
from melipona.budgets.service import Budgets
from melipona.clock import ManualClock, Micros, micros
from melipona.errors import Refused
from melipona.operations import store as ops
from melipona.settings import BudgetSettings, EventSettings, Settings
from melipona.store import events
from melipona.store.engine import now
from melipona.store.epochs import begin_epoch, end_epoch
from melipona.store.jumps import ClockWatch, SteadyTime
from melipona.store.retention import Retention
from melipona.store.schema import agents, boxes, messages, operations
from melipona.store.seals import seal, verify
from melipona.testing.rooms import OPERATOR, Rooms, temporary_rooms
from melipona.testing.store import begin_turn, end_turn
from melipona.turns import box_rows
from melipona.turns import store as turn_rows

YEAR, HOUR = timedelta(days=365), timedelta(hours=1)
JUMPS = (-YEAR, -HOUR, HOUR, YEAR)


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Rooms]:
    async with temporary_rooms(tmp_path / "data", backoff=(5, 30, 120, 600)) as rooms:
        yield rooms


def jump(hive: Rooms, by: timedelta) -> None:
    hive.clock.jump_wall(by)


def waits(c: Connection) -> list[int]:
    """Every time that a row waits for, from now on, in seconds."""
    at, found = c.info["now"], list[int]()
    for table in (messages, agents, operations, boxes):
        query = f"SELECT wake_at FROM {table.name} WHERE wake_at IS NOT NULL"
        found += [round((row[0] - at) / 1e6) for row in c.exec_driver_sql(query)]
    return sorted(found)


async def something_waits(hive: Rooms) -> None:
    """A message in its back-off, an agent that is rate limited, an operation that failed, an idle box."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    await hive.send(OPERATOR, "ana", "hello")
    await hive.end(await hive.begin(ana), good=False)
    at = hive.clock.now()

    def op(c: Connection) -> None:
        c.execute(update(agents).where(agents.c.id == ben.id).values(trouble="rate_limited", wake_at=at + 300_000_000))
        box_rows.add_box(c, "b1", ana.id, "ana", driver="d", host="testhost")  # type: ignore[arg-type]
        box_rows.box_up(c, "b1", "ana", {})  # type: ignore[arg-type]
        box_rows.set_box_wake(c, "b1", Micros(at + 600_000_000))  # type: ignore[arg-type]
        operation = hive.operations.begin(c, "stopping", ben.id, OPERATOR)
        ops.postpone(c, operation.id, Micros(at + 10_000_000), "it failed")

    await hive.store.write(op)


@pytest.mark.anyio
@pytest.mark.parametrize("by", JUMPS, ids=str)
async def test_no_wait_becomes_longer_when_the_clock_jumps(hive: Rooms, by: timedelta) -> None:
    """I-9, T45: back, all waits go back with it; forward, they end, each once."""
    await something_waits(hive)
    watch = ClockWatch(hive.store)
    assert await hive.store.read(waits) == [5, 10, 300, 600]
    jump(hive, by)
    hive.clock.advance(timedelta(seconds=2))
    assert await watch.look() == by / timedelta(microseconds=1)
    if by < timedelta():
        assert await hive.store.read(waits) == [3, 8, 298, 598]
    else:
        assert max(await hive.store.read(waits)) <= 598
    [told] = await hive.told("clock.jumped")
    assert json.loads(told.data)["seconds"] == by.total_seconds()
    hive.clock.advance(timedelta(seconds=2))
    assert await watch.look() == 0, "a jump is seen once"


@pytest.mark.anyio
@pytest.mark.parametrize("by", [-YEAR, -HOUR], ids=str)
async def test_a_clock_that_went_back_while_no_daemon_ran_starves_nobody(hive: Rooms, by: timedelta) -> None:
    """I-9: the next daemon knows by the last event of the one before; the daemon after that finds nothing to mend."""
    await something_waits(hive)
    jump(hive, by)
    for _ in range(2):
        await hive.store.write(begin_epoch, host="testhost", pid=1, version="v")
        assert await hive.store.read(waits) == [5, 10, 300, 600]
    assert len(await hive.told("clock.jumped")) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("by", JUMPS, ids=str)
@pytest.mark.threat("T45")
async def test_no_lease_is_lost_and_no_message_is_given_out_twice_over_a_jump(hive: Rooms, by: timedelta) -> None:
    """D-16: a lease is no time. T45: no storm: what waits is handed out once, when it is due."""
    ana = await hive.agent("ana")
    sent = await hive.send(OPERATOR, "ana", "hello")
    turn = await hive.begin(ana)
    watch = ClockWatch(hive.store)
    jump(hive, by)
    await watch.look()
    message = await hive.message(sent.id)
    assert (message.state, message.turn) == ("leased", turn.id)
    await hive.end(turn, good=True)
    assert (await hive.message(sent.id)).state == "handled"
    again = await hive.send(OPERATOR, "ana", "more")
    assert [due.name for due in await hive.store.read(turn_rows.due, 9)] == ["ana"], "mail after a jump is due at once"
    second = await hive.begin(ana)
    assert [m.id for m in second.messages] == [again.id]
    await hive.end(second, good=False)
    assert await hive.store.read(turn_rows.due, 9) == []
    hive.later(seconds=5)
    assert [due.name for due in await hive.store.read(turn_rows.due, 9)] == ["ana"]


@pytest.mark.anyio
async def test_a_machine_that_slept_goes_on_where_it_was(hive: Rooms) -> None:
    """The steady clock stops in a sleep: to us a jump forward. Waits are over, none is doubled, and it is told."""
    await something_waits(hive)
    watch = ClockWatch(hive.store)
    jump(hive, timedelta(hours=9))
    await watch.look()
    assert max(await hive.store.read(waits)) < 0
    assert len(await hive.told("clock.jumped")) == 1


@pytest.mark.anyio
async def test_small_steps_of_the_clock_are_no_news(hive: Rooms) -> None:
    watch = ClockWatch(hive.store)
    for _ in range(50):
        jump(hive, timedelta(milliseconds=-900))
        hive.clock.advance(timedelta(seconds=2))
        await watch.look()
    assert await hive.told("clock.jumped") == []


@pytest.mark.anyio
@pytest.mark.parametrize("by", [-YEAR, -HOUR], ids=str)
async def test_turns_of_the_future_do_not_count_for_this_hour(hive: Rooms, by: timedelta) -> None:
    """D-30: an agent that had its turns of an hour would wait until the clock has caught up."""
    ana = await hive.agent("ana")
    budgets = Budgets(BudgetSettings(turns_per_hour=2), timezone="UTC")
    for _ in range(2):
        await hive.store.write(lambda c: end_turn(c, begin_turn(c, ana.id)))
    blocked = await hive.store.read(budgets.may_run, ana.id)
    assert blocked is not None
    jump(hive, by - timedelta(seconds=1))
    assert await hive.store.read(budgets.may_run, ana.id) is None


# ---- days -----------------------------------------------------------------------------------------------------------

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "Factory"})
LATEST = micros(datetime(2040, 1, 1, tzinfo=UTC))


@settings(max_examples=400, deadline=None, database=None, derandomize=True)
@given(st.sampled_from(ZONES), st.integers(0, LATEST))
def test_every_day_of_every_zone_ends_after_it_began(name: str, at: int) -> None:
    """D-30: midnights that are left out, come twice, or fall into another day."""
    check_day(name, at)


def test_midnights_that_strike_twice_or_never() -> None:
    """St John's set clocks back a minute after midnight; Apia left a day out; Beirut has no midnight in spring."""
    for name, moment in (
        ("America/St_Johns", datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC)),
        ("America/St_Johns", datetime(2010, 11, 7, 2, 45, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 30, 9, 59, tzinfo=UTC)),
        ("Asia/Beirut", datetime(2024, 3, 30, 12, tzinfo=UTC)),
        ("America/Sao_Paulo", datetime(2018, 2, 18, 1, 30, tzinfo=UTC)),
    ):
        for minutes in range(-120, 121, 7):
            check_day(name, micros(moment + timedelta(minutes=minutes)))


def check_day(name: str, at: int) -> None:
    zone = zoneinfo.ZoneInfo(name)
    end = end_of_day(at, zone)
    assert at < end <= at + 50 * 3_600_000_000, "a day ends, and soon"
    assert day_of(end, zone) > day_of(at, zone), "after its end it is another day"


@pytest.mark.anyio
@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)])
async def test_a_budget_rolls_over_at_local_midnight_when_clocks_change(
    tmp_path: Path, anyio_backend: str, day: str, hours: int
) -> None:
    """D-30: the money of a day of 23 and of 25 hours lasts that long."""
    del anyio_backend
    async with temporary_rooms(tmp_path / "data") as hive:
        ana = await hive.agent("ana")
        budgets = Budgets(BudgetSettings(hive_usd_per_day=0.001), timezone="Europe/Berlin")
        midnight = datetime.fromisoformat(day).replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
        jump(hive, timedelta(microseconds=micros(midnight) - hive.clock.now()))
        reservation = await hive.store.write(budgets.reserve, ana.id, "claude-opus-4-5", 3, 100_000, epoch=1)
        await hive.store.write(budgets.settle_unknown, reservation, None, status=200)
        for _ in range(hours):
            blocked = await hive.store.read(budgets.may_run, ana.id)
            assert blocked is not None
            assert blocked.until == micros(midnight) + hours * 3_600_000_000
            hive.later(hours=1)
        assert await hive.store.read(budgets.may_run, ana.id) is None


# ---- what cannot be undone ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_clock_that_runs_ahead_makes_nothing_old(hive: Rooms) -> None:
    """Retention deletes by age: not by a year that never passed, in a running daemon or at its start."""
    ana = await hive.agent("ana")
    await hive.send(OPERATOR, "ana", "hello")
    await hive.end(await hive.begin(ana), good=True)
    await hive.store.write(lambda c: seal(c, now(c)))
    kept = Settings(events=EventSettings(keep_days=7))
    retention = Retention(hive.store, hive.mail, kept, hive.data)
    assert not any((await retention.clean_up()).values())
    jump(hive, YEAR)
    assert not any((await retention.clean_up()).values()), "a jump of a running daemon's clock"
    jump(hive, -YEAR)
    await hive.store.write(end_epoch, hive.epoch, why="stopped")
    jump(hive, YEAR)
    await hive.store.write(begin_epoch, host="testhost", pid=2, version="v")
    started = Retention(hive.store, hive.mail, kept, hive.data)
    hive.later(days=6)
    assert not any((await started.clean_up()).values()), "a daemon that starts with a wrong clock"
    jump(hive, -YEAR)
    await ClockWatch(hive.store).look()
    hive.later(days=60)
    assert (await started.clean_up())["messages"] == 1, "time does pass"


@pytest.mark.anyio
@pytest.mark.parametrize("by", JUMPS, ids=str)
async def test_seals_hold_over_jumps(hive: Rooms, by: timedelta) -> None:
    """D-32: the chain knows no time."""
    for step in (timedelta(), by, -by):
        jump(hive, step)
        await hive.store.write(lambda c: [events.record(c, "test.happened") for _ in range(5)])
        await hive.store.write(lambda c: seal(c, now(c)))
    said = await hive.store.read(verify)
    assert said.ok, said


def test_steady_time_is_never_ahead() -> None:
    """It follows the steady clock, begins at what is known, and never passes the wall clock."""
    clock = ManualClock()
    began = clock.now()
    steady = SteadyTime(clock, Micros(began - 5_000_000))
    assert steady.now() == began - 5_000_000
    clock.advance(timedelta(seconds=3))
    assert steady.now() == began - 2_000_000
    clock.jump_wall(YEAR)
    assert steady.now() == began - 2_000_000
    clock.jump_wall(-2 * YEAR)
    assert steady.now() == clock.now()


# ---- logins ---------------------------------------------------------------------------------------------------------


HERE = Visitor("127.0.0.1", False, "test", "http://127.0.0.1:1", "mel-1", "mel-1-before")


async def logins_of(hive: Rooms) -> Access:
    return Access(hive.store, hive.clock, await hive.store.read(owner))


@pytest.mark.anyio
@pytest.mark.parametrize("by", JUMPS, ids=str)
async def test_no_login_lives_longer_because_a_clock_jumped(hive: Rooms, by: timedelta) -> None:
    """SECURITY.md section 5: a link of ten minutes and an idle session of seven days end in time, or before."""
    logins = await logins_of(hive)
    link, other = [await logins.make_link(OPERATOR, None, outside=False) for _ in range(2)]
    secret = await logins.use_link(link.token, logins.before_login(), HERE)
    assert await logins.of_session(secret) is not None
    watch = ClockWatch(hive.store)
    jump(hive, by)
    if by < timedelta():
        assert await logins.of_session(secret) is None, "before the jump is known"
    await watch.look()
    assert (await logins.of_session(secret) is not None) == (by < IDLE), "afterwards it has what it had"
    hive.clock.advance(LINK_LIFE)
    with pytest.raises(Refused):
        await logins.use_link(other.token, logins.before_login(), HERE)
    hive.clock.advance(IDLE)
    assert await logins.of_session(secret) is None


@pytest.mark.anyio
async def test_small_corrections_of_the_clock_log_nobody_out(hive: Rooms) -> None:
    logins = await logins_of(hive)
    link, other = [await logins.make_link(OPERATOR, None, outside=False) for _ in range(2)]
    secret = await logins.use_link(link.token, logins.before_login(), HERE)
    jump(hive, timedelta(minutes=-1))
    assert await logins.of_session(secret) is not None
    assert await logins.use_link(other.token, logins.before_login(), HERE)


# ---- long lives -----------------------------------------------------------------------------------------------------


def test_boxd_can_wait_for_months() -> None:
    """49 days: a box may be left alone for as long as `boxes.orphan_busy` says; one poll takes 24 days at most."""
    with pytest.raises(OverflowError):
        select.poll().poll(49 * 86_400_000.0)
    assert 0 < boxd.POLL_MOST < 1 << 31
    loop = boxd.Loop()
    reached: list[str] = []
    loop.after(49 * 86400.0, lambda: reached.append("too soon"))
    loop.after(0.0, lambda: reached.append("in time"))
    reader, writer = os.pipe()
    loop.want(reader, select.POLLIN, None, lambda _: reached.append("woken"))
    os.write(writer, b"x")
    loop.run_once()
    assert reached == ["in time", "woken"]
    loop.unwatch(reader)
    for fd in (reader, writer):
        os.close(fd)


@pytest.mark.anyio
async def test_after_49_days_a_turn_goes_as_on_the_first(hive: Rooms) -> None:
    """Milliseconds in 32 bits would have come round."""
    ana = await hive.agent("ana")
    hive.later(days=49, hours=17, minutes=3)
    await hive.send(OPERATOR, "ana", "hello")
    assert len(await hive.store.read(turn_rows.due, 9)) == 1
    turn = await hive.begin(ana)
    await hive.end(turn, good=False)
    assert await hive.store.read(turn_rows.next_wake) == hive.clock.now() + 5_000_000
    assert await ClockWatch(hive.store).look() == 0
