"""What is a crash, what is not, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melipona.agents import store as rows
from melipona.agents.watch import BoxFacts, GiveUp, RestartAt, Seen, after_crash, is_crash, tick
from melipona.clock import Micros
from melipona.ids import AgentId, BoxId
from melipona.mail import looks
from melipona.settings import WatchSettings
from melipona.testing.rooms import OPERATOR, Rooms

DEAD = BoxFacts(AgentId("a"), BoxId("b"), "up", alive=False, in_flight=False)


def test_a_box_that_is_gone_without_an_operation_has_crashed() -> None:
    """CW-7, invariant 32."""
    assert is_crash(DEAD)
    for other in (
        replace(DEAD, in_flight=True),
        replace(DEAD, alive=True),
        replace(DEAD, alive=None),
        replace(DEAD, row="stopping"),
        replace(DEAD, wanted=False),
    ):
        assert not is_crash(other), other


def test_the_first_tick_only_seeds_and_a_crash_is_told_once() -> None:
    """CW-3, invariant 33: nothing fires at daemon start for what was so already."""
    other = replace(DEAD, box=BoxId("c"))
    seen, news = tick(Seen(), [DEAD])
    assert news == []
    seen, news = tick(seen, [DEAD, replace(other, alive=True)])
    assert news == []
    seen, news = tick(seen, [DEAD, other])
    assert news == [other]
    seen, news = tick(seen, [DEAD, other])
    assert news == []


def test_a_box_that_came_and_died_between_two_ticks_is_a_crash() -> None:
    """CW-7: its row is evidence enough."""
    seen, _ = tick(Seen(), [])
    assert tick(seen, [DEAD])[1] == [DEAD]


facts = st.builds(
    BoxFacts,
    st.sampled_from([AgentId("a"), AgentId("b")]),
    st.sampled_from([BoxId("1"), BoxId("2"), BoxId("3")]),
    st.sampled_from(["starting", "up", "stopping"]),
    st.sampled_from([True, False, None]),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(st.lists(facts, max_size=3, unique_by=lambda box: box.box), max_size=8))
def test_what_is_told_is_always_a_crash_and_never_twice_in_a_row(history: list[list[BoxFacts]]) -> None:
    """CW-3, CW-7 over all histories."""
    seen = Seen()
    before: set[BoxId] = set()
    for number, boxes in enumerate(history):
        seen, news = tick(seen, boxes)
        assert number > 0 or not news
        assert all(is_crash(box) and box.box not in before for box in news)
        before = {box.box for box in boxes if is_crash(box)}


def test_restarts_back_off_and_end_after_the_bound() -> None:
    """CW: gives up visibly; the bound counts crashes since the last good turn."""
    settings = WatchSettings(restarts=3, backoff=(1, 5))
    at = Micros(0)
    decisions = [after_crash(crashes, settings, at) for crashes in range(1, 5)]
    assert decisions == [RestartAt(Micros(s * 1_000_000)) for s in (1, 5, 5)] + [GiveUp()]
    assert after_crash(1, WatchSettings(restarts=0), at) == GiveUp()
    assert after_crash(1, WatchSettings(backoff=()), at) == RestartAt(at)


@pytest.mark.anyio
async def test_a_crash_is_told_to_the_operator_and_the_manager_and_backs_off(hive: Rooms) -> None:
    """CW-7."""
    ana, mia = await hive.agent("ana"), await hive.agent("mia", role="manager")
    assert await hive.store.write(hive.agents.box_crashed, ana.id, "out of memory")
    agent = await hive.look("ana")
    assert (agent.trouble, agent.crashes, agent.wake_at) == ("crashed", 1, hive.clock.now() + 1_000_000)
    (told,) = await hive.store.read(looks.unread)
    assert "out of memory" in told.body
    assert [message.body for message in await hive.inbox(mia)] == [told.body]
    assert await hive.inbox(ana) == []


@pytest.mark.anyio
async def test_the_managers_own_crash_is_told_to_the_operator_only(hive: Rooms) -> None:
    """CW-7."""
    mia = await hive.agent("mia", role="manager")
    await hive.store.write(hive.agents.box_crashed, mia.id, "gone")
    assert await hive.inbox(mia) == []
    assert len(await hive.store.read(looks.unread)) == 1


@pytest.mark.anyio
async def test_after_too_many_crashes_in_a_row_a_person_must_restart_it(hive: Rooms) -> None:
    """CW: visible, and a good turn begins the count anew."""
    ana = await hive.agent("ana")
    for _ in range(3):
        await hive.store.write(hive.agents.box_crashed, ana.id, "gone")
    await hive.store.write(rows.ended_well, ana.id, "ana")
    assert ((await hive.look("ana")).crashes, (await hive.look("ana")).trouble) == (0, None)
    for _ in range(6):
        await hive.store.write(hive.agents.box_crashed, ana.id, "gone")
    agent = await hive.look("ana")
    assert (agent.trouble, agent.wake_at) == ("gave_up", None)
    assert len(await hive.told("agent.gave_up")) == 1
    assert "mel agent restart ana" in (await hive.store.read(looks.unread))[-1].body
    await hive.agents.restart(OPERATOR, "ana")
    assert ((await hive.look("ana")).crashes, (await hive.look("ana")).trouble) == (0, None)


@pytest.mark.anyio
async def test_a_box_that_ends_because_somebody_asked_is_no_crash(hive: Rooms) -> None:
    """Invariant 32."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    await hive.agents.restart(OPERATOR, "ana")
    await hive.agents.stop(OPERATOR, "ben")
    await hive.settle_operations()
    await hive.agents.restart(OPERATOR, "ana")
    for agent in (ana, ben):
        assert not await hive.store.write(hive.agents.box_crashed, agent.id, "gone")
    assert await hive.told("agent.crashed") == []
