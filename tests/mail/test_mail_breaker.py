"""Threads, where mail came from, and the breaker that stops conversations that feed themselves (D-20, D-21, T30)."""

from __future__ import annotations

from pathlib import Path

import pytest

from melipona.errors import LimitReached
from melipona.mail import looks
from melipona.mail import store as rows
from melipona.mail.model import Tripped
from melipona.principals import AgentPrincipal
from melipona.testing.rooms import OPERATOR, HeldTurn, Rooms, temporary_rooms

pytestmark = pytest.mark.anyio


async def _answered(hive: Rooms, me: AgentPrincipal, to: str) -> HeldTurn:
    """A turn of `me` that writes to `to` and ends well."""
    turn = await hive.begin(me)
    try:
        await hive.send(me, to, "and you?")
    finally:
        await hive.end(turn, good=True)
    return turn


async def test_mail_in_a_turn_that_an_agent_woke_goes_on_with_its_thread(hive: Rooms) -> None:
    """D-21: also without reply_to."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    first = await hive.send(ana, "ben", "hello")
    await hive.begin(ben)
    to_ana = await hive.message((await hive.send(ben, "ana", "hi")).id)
    to_operator = await hive.message((await hive.send(ben, "operator", "ana wrote")).id)
    assert (to_ana.thread, to_ana.hop) == (first.id, 1)
    assert to_operator.thread == first.id


async def test_mail_in_a_turn_that_a_person_woke_begins_a_thread(hive: Rooms) -> None:
    """D-21: a person's request is the start of something new."""
    ana = await hive.agent("ana")
    await hive.agent("ben")
    first = await hive.send(OPERATOR, "ana", "ask ben")
    await hive.begin(ana)
    asked = await hive.message((await hive.send(ana, "ben", "please")).id)
    assert asked.thread == asked.id != first.id
    assert asked.hop == 0


async def test_mail_received_within_a_turn_goes_on_too(hive: Rooms) -> None:
    """D-21: agents that never end their turn do not escape the breaker."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    await hive.send(OPERATOR, "ana", "talk to ben")
    turn = await hive.begin(ana)
    first = await hive.send(ana, "ben", "hello")
    await hive.begin(ben)
    await hive.send(ben, "ana", "hi")
    await hive.store.write(rows.lease, ana.id, turn.id, turn.generation)
    third = await hive.message((await hive.send(ana, "ben", "how are you?")).id)
    assert (third.thread, third.hop) == (first.id, 2)


async def test_the_origin_of_mail_names_all_who_had_a_hand_in_it(hive: Rooms) -> None:
    """T30: provenance goes along from agent to agent."""
    ana, ben, _ = await hive.agent("ana"), await hive.agent("ben"), await hive.agent("cleo")
    await hive.send(OPERATOR, "ana", "ask ben")
    await hive.begin(ana)
    await hive.send(ana, "ben", "please")
    await hive.begin(ben)
    message = await hive.message((await hive.send(ben, "cleo", "please")).id)
    assert message.origin == ("operator", "ana", "ben")
    by_itself = await hive.message((await hive.send(AgentPrincipal(ana.id, ana.agent), "operator", "x")).id)
    assert by_itself.origin == ("operator", "ana")


async def test_a_conversation_of_agents_ends_at_its_number_of_hops(tmp_path: Path) -> None:
    """D-21: the refusal is clear, recorded, and told to the operator once."""
    async with temporary_rooms(tmp_path / "data", thread_hops=4) as hive:
        ana, ben = await hive.agent("ana"), await hive.agent("ben")
        await hive.send(ana, "ben", "hello")
        for number in range(4):
            await _answered(hive, *((ben, "ana") if number % 2 == 0 else (ana, "ben")))
        await hive.begin(ben)
        for _ in range(2):
            with pytest.raises(Tripped):
                await hive.send(ben, "ana", "and you?")
        with pytest.raises(Tripped, match="4 times between agents") as refusal:
            await hive.send(ben, "ana", "and you?")
        assert refusal.value.code == "thread_tripped"
        assert isinstance(refusal.value, LimitReached)
        (event,) = await hive.told("thread.tripped")
        assert (event.agent, event.subject) == ("ben", "m1")
        assert len(await hive.store.read(looks.unread)) == 1
        assert (await hive.send(ben, "operator", "we are stuck")).ids, "the operator is always reachable"


async def test_answering_an_old_message_does_not_make_a_conversation_young(tmp_path: Path) -> None:
    """D-21: the hop counts what woke the turn, whatever reply_to says."""
    async with temporary_rooms(tmp_path / "data", thread_hops=3) as hive:
        ana, ben = await hive.agent("ana"), await hive.agent("ben")
        first = await hive.send(ana, "ben", "hello")
        for number in range(3):
            await _answered(hive, *((ben, "ana") if number % 2 == 0 else (ana, "ben")))
        await hive.begin(ana)
        with pytest.raises(Tripped):
            await hive.send(ana, "ben", "again", reply_to=first.id)


async def test_broadcasts_carry_the_hops_of_what_led_to_them(tmp_path: Path) -> None:
    """D-20, D-21: answering by broadcast is no way around the breaker."""
    async with temporary_rooms(tmp_path / "data", thread_hops=2, broadcasts_per_minute=0) as hive:
        ana, ben = await hive.agent("ana"), await hive.agent("ben")
        await hive.send(ana, "ben", "hello")
        await _answered(hive, ben, "*")
        await _answered(hive, ana, "*")
        await hive.begin(ben)
        with pytest.raises(Tripped, match="chain of mail"):
            await hive.send(ben, "*", "and you?")


async def test_a_persons_word_in_a_thread_starts_its_hops_again(tmp_path: Path) -> None:
    """D-21: between agents only."""
    async with temporary_rooms(tmp_path / "data", thread_hops=2) as hive:
        ana, ben = await hive.agent("ana"), await hive.agent("ben")
        first = await hive.send(ana, "ben", "hello")
        await _answered(hive, ben, "ana")
        await _answered(hive, ana, "ben")
        turn = await hive.begin(ben)
        with pytest.raises(Tripped):
            await hive.send(ben, "ana", "more")
        await hive.end(turn, good=True)
        word = await hive.send(OPERATOR, "ben", "go on", reply_to=first.id)
        await hive.begin(ben)
        more = await hive.message((await hive.send(ben, "ana", "more", reply_to=word.id)).id)
        assert (more.thread, more.hop) == (first.id, 1)


async def test_a_thread_has_only_so_many_messages_a_minute(tmp_path: Path) -> None:
    """D-21: the next minute goes on."""
    async with temporary_rooms(tmp_path / "data", thread_per_minute=5) as hive:
        ana = await hive.agent("ana")
        await hive.agent("ben")
        first = await hive.send(ana, "ben", "0")
        for number in range(1, 5):
            await hive.send(ana, "ben", f"{number}", reply_to=first.id)
        with pytest.raises(Tripped, match="5 messages within a minute"):
            await hive.send(ana, "ben", "5", reply_to=first.id)
        assert (await hive.send(ana, "ben", "another thread")).ids
        hive.later(seconds=61)
        assert (await hive.send(ana, "ben", "5", reply_to=first.id)).ids


async def test_an_agent_sends_only_so_much_a_minute_and_a_person_as_much_as_they_like(tmp_path: Path) -> None:
    """D-21, T30: 1,000 mails a minute are limited."""
    async with temporary_rooms(tmp_path / "data", sends_per_minute=10) as hive:
        ana = await hive.agent("ana")
        await hive.agent("ben")
        for number in range(10):
            await hive.send(ana, "operator" if number % 2 else "ben", "x")
        with pytest.raises(Tripped, match="10 messages within a minute") as refusal:
            await hive.send(ana, "operator", "x")
        assert refusal.value.code == "send_rate"
        for _ in range(20):
            await hive.send(OPERATOR, "ben", "x")
        hive.later(seconds=61)
        assert (await hive.send(ana, "ben", "x")).ids


async def test_a_broadcast_counts_as_one_send_and_there_are_two_a_minute(tmp_path: Path) -> None:
    """D-20."""
    async with temporary_rooms(tmp_path / "data", sends_per_minute=4) as hive:
        ana = await hive.agent("ana")
        for number in range(6):
            await hive.agent(f"b{number}")
        for _ in range(2):
            await hive.send(ana, "*", "hello")
        with pytest.raises(Tripped, match="2 broadcasts within a minute"):
            await hive.send(ana, "*", "hello")
        for _ in range(2):
            assert (await hive.send(ana, "b0", "hello")).ids
        with pytest.raises(Tripped, match="4 messages"):
            await hive.send(ana, "b0", "hello")


async def test_zero_turns_a_limit_off(tmp_path: Path) -> None:
    """D-21: benchmarks do."""
    off = {"thread_hops": 0, "thread_per_minute": 0, "sends_per_minute": 0, "broadcasts_per_minute": 0}
    async with temporary_rooms(tmp_path / "data", **off) as hive:
        ana, ben = await hive.agent("ana"), await hive.agent("ben")
        await hive.send(ana, "ben", "hello")
        for number in range(70):
            await _answered(hive, *((ben, "ana") if number % 2 == 0 else (ana, "ben")))
        for _ in range(5):
            await hive.send(ana, "*", "hello")
        assert await hive.told("thread.tripped") == []


@pytest.mark.threat("T45")
async def test_a_clock_that_jumped_back_locks_nobody_out(tmp_path: Path) -> None:
    """I-17: messages of the future are not of this minute."""
    async with temporary_rooms(tmp_path / "data", sends_per_minute=3) as hive:
        ana = await hive.agent("ana")
        await hive.agent("ben")
        for _ in range(3):
            await hive.send(ana, "ben", "x")
        hive.later(days=-365)
        assert (await hive.send(ana, "ben", "x")).ids


async def test_the_operators_word_lets_held_mail_go(hive: Rooms) -> None:
    """D-18: after an interrupt, mail wakes nobody until the operator sends or says resume."""
    from melipona.agents import store as agent_rows

    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    await hive.store.write(agent_rows.hold, ana.id)
    await hive.send(ben, "ana", "hello")
    assert (await hive.look("ana")).held_at is not None
    await hive.send(OPERATOR, "ana", "go on")
    assert (await hive.look("ana")).held_at is None
