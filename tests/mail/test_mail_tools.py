"""The mail tools as an agent calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from melipona.errors import Conflict, Invalid, NotFound
from melipona.mail import looks
from melipona.mail import store as rows
from melipona.mail.model import MessageState
from melipona.mail.tools import BROADCAST_HINT, mail_tools
from melipona.store.writer import Event
from melipona.testing.rooms import OPERATOR, Rooms, ToolCall
from melipona.tool import Tool

pytestmark = pytest.mark.anyio
DEADLINE = 10.0


def tool(hive: Rooms, name: str) -> Tool:
    return next(tool for tool in mail_tools(hive.mail) if tool.name == name)


async def test_send_answers_with_the_id_and_the_sender_is_the_caller(hive: Rooms) -> None:
    """BR-16, invariant 6: no argument can name another sender."""
    ana = await hive.agent("ana")
    await hive.agent("ben")
    send = tool(hive, "send")
    assert "sender" not in send.parameters["properties"]
    assert send.parameters["additionalProperties"] is False
    assert await hive.call(send, ana, to="ben", body="hello") == {"sent": True, "id": "m1"}
    assert (await hive.message(1)).sender == "ana"


async def test_send_says_how_many_a_broadcast_reaches_and_why_mail_waits(hive: Rooms) -> None:
    """D-20, D-22."""
    ana = await hive.agent("ana")
    await hive.agent("ben")
    await hive.agent("cleo")
    await hive.agents.stop(OPERATOR, "ben")
    answer = await hive.call(tool(hive, "send"), ana, to="*", body="hello")
    assert answer["recipients"] == 2
    assert "ben" in answer["note"]
    assert "stopped" in (await hive.call(tool(hive, "send"), ana, to="ben", body="hello"))["note"]


async def test_send_takes_reply_to_in_both_forms_and_a_key(hive: Rooms) -> None:
    """D-38, I-2."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    send = tool(hive, "send")
    await hive.call(send, ana, to="ben", body="hello")
    for form in ("m1", 1, "1"):
        answer = await hive.call(send, ben, to="ana", body="hi", reply_to=form)
        assert (await hive.message(int(answer["id"][1:]))).reply_to == 1
    first = await hive.call(send, ana, to="ben", body="again", key="k")
    again = await hive.call(send, ana, to="ben", body="again", key="k")
    assert again["id"] == first["id"]
    assert "not sent again" in again["note"]
    for wrong in ({"reply_to": "x"}, {"key": ""}, {"key": "k" * 201}):
        with pytest.raises(Invalid):
            await hive.call(send, ana, to="ben", body="hello", **wrong)


async def test_a_repeated_call_is_answered_from_its_record(hive: Rooms) -> None:
    """D-23, I-15: one effect."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    call = ToolCall(hive.store, ana, {"to": "ben", "body": "hello"})
    first = await tool(hive, "send").handler(call)
    assert await tool(hive, "send").handler(call) == first
    assert len(await hive.inbox(ben)) == 1


async def test_receive_without_a_wait_looks_once_and_does_not_park(hive: Rooms) -> None:
    """BR-3, invariant 1: whatever the inbox holds."""
    ana = await hive.agent("ana")
    await hive.begin(ana)
    for wait in ({}, {"wait_seconds": 0}, {"wait_seconds": -5}, {"wait_seconds": float("nan")}):
        call = ToolCall(hive.store, ana, wait)
        assert await tool(hive, "receive").handler(call) == {"messages": [], "empty": True}
        assert call.parks == []


async def test_receive_leases_to_the_same_turn(hive: Rooms) -> None:
    """D-19, D-18: the end of the turn handles it; attempts count turns, not calls."""
    ana = await hive.agent("ana")
    turn = await hive.begin(ana)
    sent = await hive.send(OPERATOR, "ana", "hello")
    answer = await hive.call(tool(hive, "receive"), ana)
    assert (answer["empty"], [entry["id"] for entry in answer["messages"]]) == (False, [f"m{sent.id}"])
    assert (await hive.message(sent.id)).turn == turn.id
    assert await hive.call(tool(hive, "receive"), ana) == {"messages": [], "empty": True}
    assert (await hive.message(sent.id)).attempts == 1


async def test_a_waiting_receive_answers_as_soon_as_mail_comes(hive: Rooms) -> None:
    """BR-3, BR-5, invariant 2."""
    ana = await hive.agent("ana")
    await hive.begin(ana)
    call = ToolCall(hive.store, ana, {"wait_seconds": 100})
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_run(tool(hive, "receive"), call))
        await call.parked_now.wait()
        await hive.agent("ben")
        await hive.send(OPERATOR, "ana", "hello")
        answer = await waiting
    assert [entry["body"] for entry in answer["messages"]] == ["hello"]
    assert call.parks == [100]


async def test_a_waiting_receive_answers_empty_when_the_time_is_up(hive: Rooms) -> None:
    """BR-3: an explicit empty."""
    ana = await hive.agent("ana")
    await hive.begin(ana)
    call = ToolCall(hive.store, ana, {"wait_seconds": 1})
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_run(tool(hive, "receive"), call))
        await call.parked_now.wait()
        call.time_is_up.set()
        assert await waiting == {"messages": [], "empty": True}


@pytest.mark.parametrize("wait", [0, 100], ids=["at once", "after a wait"])
async def test_mail_taken_by_a_call_that_hung_up_waits_again(hive: Rooms, wait: float) -> None:
    """I-1, I-3: the good end of the turn would acknowledge what nobody saw; the rest of it is acknowledged."""
    ana = await hive.agent("ana")
    seen = await hive.send(OPERATOR, "ana", "seen")
    turn = await hive.begin(ana)
    if not wait:
        await hive.send(OPERATOR, "ana", "unseen")
    receive = asyncio.create_task(
        _run(tool(hive, "receive"), call := ToolCall(hive.store, ana, {"wait_seconds": wait}))
    )

    def hang_up(found: Sequence[Event]) -> None:
        if any(event.kind == "message.leased" for event in found):
            receive.cancel()

    hive.store.subscribe(hang_up)
    async with asyncio.timeout(DEADLINE):
        if wait:
            await call.parked_now.wait()
            await hive.send(OPERATOR, "ana", "unseen")
        with pytest.raises(asyncio.CancelledError):
            await receive
    await hive.end(turn, good=True)
    assert (await hive.message(seen.id)).state is MessageState.HANDLED
    [unseen] = (await hive.begin(ana)).messages
    assert (unseen.body, unseen.attempts, unseen.maybe_seen) == ("unseen", 2, True)


async def test_a_receive_takes_no_mail_for_a_later_turn(hive: Rooms) -> None:
    """I-5, I-1: who asked in a turn that is over would not see it."""
    ana = await hive.agent("ana")
    turn = await hive.begin(ana)
    call = ToolCall(hive.store, ana, {"wait_seconds": 100})
    async with asyncio.timeout(DEADLINE):
        waiting = asyncio.create_task(_run(tool(hive, "receive"), call))
        await call.parked_now.wait()
        await hive.end(turn, good=False)
        await hive.begin(ana)
        sent = await hive.send(OPERATOR, "ana", "for the next turn")
        with pytest.raises(Conflict, match="inside a turn"):
            await waiting
    assert (await hive.message(sent.id)).state is MessageState.WAITING


@pytest.mark.parametrize(("asked", "given"), [(181, 180), (1e9, 180), (0.5, 0.5), (180, 180)])
async def test_a_wait_is_clamped_by_the_server(hive: Rooms, asked: float, given: float) -> None:
    """BR-3, invariant 2: no later than min(wait, 180 s)."""
    ana = await hive.agent("ana")
    await hive.begin(ana)
    call = ToolCall(hive.store, ana, {"wait_seconds": asked})
    call.time_is_up.set()
    await tool(hive, "receive").handler(call)
    assert call.parks == [given]


async def test_mail_that_is_there_needs_no_slot_to_be_given_back(hive: Rooms) -> None:
    """D-19: the look comes first."""
    ana = await hive.agent("ana")
    await hive.begin(ana)
    await hive.send(OPERATOR, "ana", "hello")
    call = ToolCall(hive.store, ana, {"wait_seconds": 100})
    assert (await tool(hive, "receive").handler(call))["empty"] is False
    assert call.parks == []


@pytest.mark.parametrize(("limit", "most"), [(0, 1), (2, 2), (1000, 32)])
async def test_the_number_of_messages_is_clamped(hive: Rooms, limit: int, most: int) -> None:
    """BR-3."""
    ana = await hive.agent("ana")
    await hive.begin(ana)
    for number in range(40):
        await hive.send(OPERATOR, "ana", f"{number}")
    assert len((await hive.call(tool(hive, "receive"), ana, limit=limit))["messages"]) == most


async def test_mail_is_not_received_outside_a_turn(hive: Rooms) -> None:
    """I-5: a process left in the box cannot take mail that nobody would acknowledge."""
    ana = await hive.agent("ana")
    await hive.send(OPERATOR, "ana", "hello")
    with pytest.raises(Conflict, match="inside a turn"):
        await hive.call(tool(hive, "receive"), ana)
    assert await hive.store.read(rows.waiting, ana.id) == 1


async def test_a_received_message_shows_flag_hint_file_and_thread(hive: Rooms) -> None:
    """TD-4, OP-1, I-3."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    await hive.send(ben, "*", "x" * 3000)
    await hive.end(await hive.begin(ana), good=False)
    hive.later(seconds=5)
    await hive.send(OPERATOR, "ana", "go")
    (first, second) = await _all_received(hive, ana)
    assert (first["from"], first["maybe_seen"], first["hint"]) == ("ben", True, BROADCAST_HINT)
    assert first["file"] == "/shared/mail/1.md"
    assert "3000 bytes" in first["file_note"]
    assert "maybe_seen" not in second
    assert second["thread"] == second["id"]


async def test_recent_shows_without_taking(hive: Rooms) -> None:
    """BR-6."""
    ana = await hive.agent("ana")
    for number in range(3):
        await hive.send(OPERATOR, "ana", f"{number}")
    answer = await hive.call(tool(hive, "recent"), ana, limit=2)
    assert [(entry["body"], entry["state"]) for entry in answer["messages"]] == [("2", "waiting"), ("1", "waiting")]
    assert tool(hive, "recent").read_only


async def test_a_refusal_by_the_breaker_reaches_the_model_and_the_operator(hive: Rooms) -> None:
    """D-21."""
    ana = await hive.agent("ana")
    await hive.agent("ben")
    for _ in range(60):
        await hive.call(tool(hive, "send"), ana, to="ben", body="x")
    for _ in range(2):
        with pytest.raises(Exception, match="wait a minute"):
            await hive.call(tool(hive, "send"), ana, to="ben", body="x")
    assert len(await hive.store.read(looks.unread)) == 1


async def test_an_unknown_name_is_answered_with_the_one_that_was_meant(hive: Rooms) -> None:
    """D-22."""
    ana = await hive.agent("ana")
    await hive.agent("ben")
    with pytest.raises(NotFound, match='did you mean "ben"'):
        await hive.call(tool(hive, "send"), ana, to="bem", body="x")


def test_the_texts_tell_a_model_how_to_wait(hive: Rooms) -> None:
    """BR-5: a long receive is the only way to idle."""
    text = tool(hive, "receive").description
    assert "only way to wait" in text
    assert "never sleep" in " ".join(text.split())
    assert all("\n\n" in each.description for each in mail_tools(hive.mail))


async def _run(tool: Tool, call: ToolCall) -> dict[str, Any]:
    return await tool.handler(call)


async def _all_received(hive: Rooms, agent: Any) -> list[dict[str, Any]]:
    from melipona.testing.store import begin_turn

    await hive.store.write(begin_turn, agent.id, hive.epoch, 1)
    answer = await hive.call(tool(hive, "receive"), agent)
    return list(answer["messages"])
