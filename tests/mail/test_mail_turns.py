"""Mail and turns: leased, handled, given back, parked; and what the operator does with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from melipona.errors import Conflict, NotFound
from melipona.mail import looks
from melipona.mail import store as rows
from melipona.mail.model import MessageState
from melipona.testing.rooms import OPERATOR, HeldTurn, Rooms, temporary_rooms
from melipona.turns.store import due, next_wake

pytestmark = pytest.mark.anyio


async def test_a_turn_that_ends_well_handles_what_it_held_and_nothing_else(hive: Rooms) -> None:
    """LE-1, I-1: mail that came during the turn still waits."""
    ana = await hive.agent("ana")
    first = await hive.send(OPERATOR, "ana", "one")
    turn = await hive.begin(ana)
    second = await hive.send(OPERATOR, "ana", "two")
    await hive.end(turn, good=True)
    assert (await hive.message(first.id)).state is MessageState.HANDLED
    assert (await hive.message(second.id)).state is MessageState.WAITING
    assert await hive.store.read(rows.waiting, ana.id) == 1


async def test_messages_of_a_failed_turn_are_delivered_again_and_flagged(hive: Rooms) -> None:
    """Invariant 3, I-3: killed at any point between lease and end, it comes back, marked."""
    ana = await hive.agent("ana")
    await hive.send(OPERATOR, "ana", "build broke")
    first = await hive.begin(ana)
    assert [message.maybe_seen for message in first.messages] == [False]
    await hive.end(first, good=False)
    hive.later(seconds=5)
    again = await hive.begin(ana)
    assert [(message.body, message.maybe_seen, message.attempts) for message in again.messages] == [
        ("build broke", True, 2)
    ]


async def test_a_dead_turn_changes_nothing_any_more(hive: Rooms) -> None:
    """I-5: neither its good end nor its bad one touches what another turn holds by now."""
    ana = await hive.agent("ana")
    await hive.send(OPERATOR, "ana", "hello")
    dead = await hive.begin(ana)
    await hive.end(dead, good=False, failed=False)
    living = await hive.begin(ana)
    assert await hive.store.write(rows.acknowledge, dead.id, dead.generation) == 0
    await hive.store.write(hive.mail.give_back, dead.id, dead.generation, failed=True, reason="late")
    assert [m.state for m in await hive.store.read(rows.leased_by, living.id)] == [MessageState.LEASED]


async def test_another_generation_of_the_same_turn_cannot_end_its_leases(hive: Rooms) -> None:
    """D-16: the fence is turn and generation."""
    ana = await hive.agent("ana")
    await hive.send(OPERATOR, "ana", "hello")
    turn = await hive.begin(ana, generation=2)
    assert await hive.store.write(rows.acknowledge, turn.id, 1) == 0
    assert await hive.store.read(rows.leased, turn.id, 1) == []
    assert await hive.store.write(rows.acknowledge, turn.id, 2) == 1


async def test_a_message_waits_longer_after_each_failure_and_is_parked_after_the_fifth(hive: Rooms) -> None:
    """D-18, I-4: then it is visible, and the operator is told once."""
    ana = await hive.agent("ana")
    sent = await hive.send(OPERATOR, "ana", "poison")
    waits: list[int] = []
    for _ in range(5):
        turn = await hive.begin(ana)
        assert [message.id for message in turn.messages] == [sent.id]
        await hive.end(turn, good=False, reason="the engine died")
        message = await hive.message(sent.id)
        if message.wake_at is not None:
            waits.append((message.wake_at - hive.clock.now()) // 1_000_000)
        hive.later(minutes=10)
    assert waits == [5, 30, 120, 600]
    assert (await hive.message(sent.id)).state is MessageState.PARKED
    assert (await hive.begin(ana)).messages == ()
    assert [entry.id for entry in await hive.store.read(looks.parked)] == [sent.id]
    (notice,) = await hive.store.read(looks.unread)
    assert f"m{sent.id}" in notice.body
    assert "the engine died" in notice.body


async def test_a_back_off_is_not_handed_out_before_its_time(hive: Rooms) -> None:
    """D-18."""
    ana = await hive.agent("ana")
    await hive.send(OPERATOR, "ana", "hello")
    await hive.end(await hive.begin(ana), good=False)
    assert await hive.store.read(due, 9) == []
    assert await hive.store.read(next_wake) == hive.clock.now() + 5_000_000
    turn = await hive.begin(ana)
    assert turn.messages == ()
    await hive.end(turn, good=True)
    hive.later(seconds=5)
    assert [agent.id for agent in await hive.store.read(due, 9)] == [ana.id]


async def test_from_the_second_failure_on_a_message_is_alone_in_its_turn(hive: Rooms) -> None:
    """D-18: others do not share the fate of what may be poison, nor does a turn at work get it by receive."""
    ana = await hive.agent("ana")
    poison = await hive.send(OPERATOR, "ana", "poison")
    for _ in range(2):
        await hive.end(await hive.begin(ana), good=False)
        hive.later(hours=1)
    fine = [await hive.send(OPERATOR, "ana", f"fine {number}") for number in range(2)]
    alone = await hive.begin(ana)
    assert [message.id for message in alone.messages] == [poison.id]
    await hive.end(alone, good=False)
    together = await hive.begin(ana)
    assert [message.id for message in together.messages] == [sent.id for sent in fine]
    hive.later(hours=1)
    joined = await hive.store.write(rows.lease, ana.id, together.id, together.generation)
    assert joined == []


async def test_an_end_that_is_nobodys_fault_does_not_count(hive: Rooms) -> None:
    """D-18: rate limits, login, budget, upstream, daemon stop and interrupts give back without a failure."""
    ana = await hive.agent("ana")
    sent = await hive.send(OPERATOR, "ana", "hello")
    for attempt in range(1, 9):
        turn = await hive.begin(ana)
        assert [message.attempts for message in turn.messages] == [attempt]
        await hive.end(turn, good=False, failed=False, reason="rate limited")
    message = await hive.message(sent.id)
    assert (message.failures, message.state, message.wake_at) == (0, MessageState.WAITING, None)


async def test_mail_is_handed_out_oldest_first_and_at_most_32_at_a_time(hive: Rooms) -> None:
    """OP-9: in order."""
    ana = await hive.agent("ana")
    numbers = [(await hive.send(OPERATOR, "ana", f"{n}")).id for n in range(40)]
    turn = await hive.begin(ana)
    assert [message.id for message in turn.messages] == numbers[:32]


async def test_mail_of_a_paused_agent_waits_in_order(hive: Rooms) -> None:
    """OP-9: pausing loses and reorders nothing."""
    ana = await hive.agent("ana")
    await hive.agents.pause(OPERATOR, "ana")
    numbers = [(await hive.send(OPERATOR, "ana", f"{n}")).id for n in range(3)]
    await hive.agents.resume(OPERATOR, "ana")
    assert [message.id for message in (await hive.begin(ana)).messages] == numbers


async def test_mail_that_does_not_wake_rides_along_with_the_next_turn(hive: Rooms) -> None:
    """D-20."""
    ana = await hive.agent("ana")
    await hive.send(OPERATOR, "ana", "by the way", wake=False)
    assert await hive.store.read(due, 9) == []
    await hive.send(OPERATOR, "ana", "now")
    assert [agent.id for agent in await hive.store.read(due, 9)] == [ana.id]
    assert [message.body for message in (await hive.begin(ana)).messages] == ["by the way", "now"]


async def test_a_parked_message_is_retried_from_a_clean_count(hive: Rooms) -> None:
    """I-4: only the operator's act hands it out again; it stays flagged."""
    ana = await hive.agent("ana")
    sent = await hive.send(OPERATOR, "ana", "hello")
    await _park(hive, await hive.begin(ana), sent.id)
    await hive.store.write(hive.mail.retry, sent.id, by=OPERATOR)
    turn = await hive.begin(ana)
    assert [(message.failures, message.maybe_seen) for message in turn.messages] == [(0, True)]
    with pytest.raises(Conflict, match="is leased"):
        await hive.store.write(hive.mail.retry, sent.id, by=OPERATOR)
    with pytest.raises(NotFound):
        await hive.store.write(hive.mail.retry, 999, by=OPERATOR)


async def test_mail_leased_by_a_turn_of_a_purged_agent_is_parked_at_its_end(hive: Rooms) -> None:
    """No message waits for somebody who can never come."""
    ana = await hive.agent("ana")
    held = await hive.send(OPERATOR, "ana", "held")
    turn = await hive.begin(ana)
    waits = await hive.send(OPERATOR, "ana", "waits")
    await hive.agents.purge(OPERATOR, "ana")
    await hive.end(turn, good=False, failed=False)
    for sent in (held, waits):
        assert (await hive.message(sent.id)).state is MessageState.PARKED
    with pytest.raises(Conflict, match="purged"):
        await hive.store.write(hive.mail.retry, held.id, by=OPERATOR)


async def test_recent_shows_the_newest_first_and_consumes_nothing(hive: Rooms) -> None:
    """BR-6: and a namesake never sees the mail of one that was purged (invariant 35)."""
    ana = await hive.agent("ana")
    for number in range(3):
        await hive.send(OPERATOR, "ana", f"{number}")
    assert [m.body for m in await hive.store.read(looks.recent, "ana", 2)] == ["2", "1"]
    assert await hive.store.read(rows.waiting, ana.id) == 3
    await hive.agents.purge(OPERATOR, "ana")
    await hive.settle_operations()
    await hive.agent("ana")
    assert await hive.store.read(looks.recent, "ana", 2) == []
    assert await hive.store.read(looks.recent, "nobody", 2) == []


async def test_the_operators_unread_mail_is_waiting_until_it_is_marked_read(hive: Rooms) -> None:
    """D-39: showing changes nothing; reading makes it handled, once."""
    ana = await hive.agent("ana")
    first = await hive.send(ana, "operator", "one")
    await hive.send(ana, "operator", "two")
    assert [message.body for message in await hive.store.read(looks.unread)] == ["one", "two"]
    assert [message.body for message in await hive.store.read(looks.recent, "operator", 50)] == ["two", "one"]
    assert await hive.store.write(hive.mail.mark_read, [first.id]) == 1
    assert await hive.store.write(hive.mail.mark_read, [first.id]) == 0
    assert [message.body for message in await hive.store.read(looks.unread)] == ["two"]
    assert await hive.store.write(hive.mail.mark_read) == 1


async def test_marking_read_touches_no_agents_mail(hive: Rooms) -> None:
    """D-39."""
    ana = await hive.agent("ana")
    sent = await hive.send(OPERATOR, "ana", "hello")
    assert await hive.store.write(hive.mail.mark_read, [sent.id]) == 0
    assert await hive.store.read(rows.waiting, ana.id) == 1


async def test_only_handled_messages_are_deleted_after_their_time_with_their_files(hive: Rooms) -> None:
    """LE-1: waiting, leased and parked ones stay for ever."""
    ana = await hive.agent("ana")
    await hive.agent("ben")
    handled = await hive.send(OPERATOR, "ana", "x" * 5000)
    shared = await hive.send(OPERATOR, "*", "y" * 5000)
    await hive.end(await hive.begin(ana), good=True)
    waiting = await hive.send(OPERATOR, "ana", "waits")
    hive.later(days=31)
    recent = await hive.send(OPERATOR, "ana", "new")
    assert await hive.mail.clean_up(hive.clock.now()) == 2
    left = {message.id for message in await hive.store.read(looks.listing)}
    assert left == {waiting.id, recent.id, shared.ids[1]}
    assert not (hive.folders.inbox(ana.agent) / f"{handled.id}.md").exists()
    assert (hive.data / "shared" / "mail" / f"{shared.id}.md").exists(), "ben has not read the broadcast yet"


async def test_retention_can_be_turned_off(tmp_path: Path) -> None:
    """`mail.keep_days` 0 keeps them for ever."""
    async with temporary_rooms(tmp_path / "data", keep_days=0) as hive:
        ana = await hive.agent("ana")
        await hive.send(OPERATOR, "ana", "hello")
        await hive.end(await hive.begin(ana), good=True)
        hive.later(days=4000)
        assert await hive.mail.clean_up(hive.clock.now()) == 0


async def test_the_events_of_a_message_fold_to_its_row(hive: Rooms) -> None:
    """I-6."""
    ana = await hive.agent("ana")
    sent = await hive.send(OPERATOR, "ana", "hello")
    turn = await hive.begin(ana)
    await hive.end(turn, good=False)
    hive.later(seconds=5)
    second = await hive.begin(ana)
    await hive.end(second, good=True)
    story = [(event.kind, json.loads(event.data)) for event in await hive.told() if event.subject == f"m{sent.id}"]
    assert [kind for kind, _ in story] == [
        "message.sent",
        "message.leased",
        "message.given_back",
        "message.leased",
        "message.handled",
    ]
    assert story[3][1] == {"turn": second.id, "attempts": 2, "maybe_seen": True}
    assert (await hive.message(sent.id)).turn == second.id


async def _park(hive: Rooms, turn: HeldTurn, message: int) -> None:
    while True:
        await hive.end(turn, good=False)
        if (await hive.message(message)).state is MessageState.PARKED:
            return
        hive.later(hours=1)
        turn = await hive.begin(turn.agent)
