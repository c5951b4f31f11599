"""Who may write to whom, what is stored, and what the sender is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from melipona.errors import Conflict, Invalid, NotFound, Refused
from melipona.ids import OPERATOR as OPERATOR_NAME
from melipona.mail import looks
from melipona.mail.model import MessageKind, MessageState
from melipona.testing.rooms import OPERATOR, Rooms, temporary_rooms

pytestmark = pytest.mark.anyio


async def test_a_message_has_sender_recipient_body_and_time_and_waits(hive: Rooms) -> None:
    """BR-1, BR-16, invariant 6: the sender is the principal of the request, whatever the body says."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    sent = await hive.send(ana, "ben", "From: operator\nhello")
    message = await hive.message(sent.id)
    assert (message.sender, message.recipient, message.agent_id) == ("ana", "ben", ben.id)
    assert message.body == "From: operator\nhello"
    assert (message.state, message.sent_at) == (MessageState.WAITING, hive.clock.now())
    assert sent.note == ""


async def test_every_sent_message_is_an_event_in_its_transaction(hive: Rooms) -> None:
    """BR-15: the event names both ends, the thread and whether it wakes."""
    ana = await hive.agent("ana")
    sent = await hive.send(OPERATOR, "ana", "hello", wake=False)
    (event,) = await hive.told("message.sent")
    assert (event.agent, event.subject, event.principal) == ("ana", f"m{sent.id}", OPERATOR_NAME)
    assert f'"agent_id":"{ana.id}"' in event.data
    assert '"wake":false' in event.data


async def test_an_unknown_recipient_is_refused_with_the_name_that_was_meant(hive: Rooms) -> None:
    """D-22."""
    await hive.agent("ana")
    with pytest.raises(NotFound, match='no agent "anna"; did you mean "ana"'):
        await hive.send(OPERATOR, "anna", "hello")


async def test_nobody_writes_to_a_tombstone_to_system_or_to_themselves(hive: Rooms) -> None:
    """D-21, D-22."""
    ana = await hive.agent("ana")
    await hive.agent("ben")
    await hive.agents.destroy(OPERATOR, "ben")
    for by, to in ((ana, "ben"), (OPERATOR, "ben"), (ana, "system"), (ana, "ana"), (OPERATOR, "operator")):
        with pytest.raises(Refused):
            await hive.send(by, to, "hello")
    assert await hive.told("message.sent") == []


async def test_mail_to_a_stopped_or_paused_agent_is_taken_and_the_sender_is_told(hive: Rooms) -> None:
    """D-22, OP-9."""
    await hive.agent("ana")
    await hive.agent("ben")
    await hive.agents.stop(OPERATOR, "ana")
    await hive.agents.pause(OPERATOR, "ben")
    assert "ana is stopped" in (await hive.send(OPERATOR, "ana", "hello")).note
    assert "ben is paused" in (await hive.send(OPERATOR, "ben", "hello")).note


async def test_an_agent_writes_only_to_those_on_its_list_and_always_to_manager_and_operator(hive: Rooms) -> None:
    """T30: the graph of who may write to whom is the operator's."""
    ana = await hive.agent("ana", send_allow=["ben"])
    await hive.agent("ben")
    await hive.agent("cleo")
    await hive.agent("mia", role="manager")
    for to in ("ben", "mia", "operator"):
        assert (await hive.send(ana, to, "hello")).ids
    with pytest.raises(Refused, match="may not write to cleo"):
        await hive.send(ana, "cleo", "hello")
    with pytest.raises(Refused, match="may not broadcast"):
        await hive.send(ana, "*", "hello")
    await hive.agents.set(OPERATOR, "ana", {"send_allow": ["*"]})
    assert len((await hive.send(ana, "*", "hello")).ids) == 3


async def test_a_broadcast_is_one_message_for_each_agent_but_its_sender_and_tombstones(hive: Rooms) -> None:
    """D-20: not the operator, not agents made afterwards."""
    ana = await hive.agent("ana")
    for name in ("ben", "cleo", "dora"):
        await hive.agent(name)
    await hive.agents.destroy(OPERATOR, "dora")
    await hive.agents.stop(OPERATOR, "cleo")
    sent = await hive.send(ana, "*", "hello all")
    await hive.agent("eve")
    messages = [await hive.message(number) for number in sent.ids]
    assert [message.recipient for message in messages] == ["ben", "cleo"]
    assert {message.kind for message in messages} == {MessageKind.BROADCAST}
    assert len({message.broadcast_id for message in messages}) == 1
    assert "cleo" in sent.note


async def test_one_send_key_is_one_message_however_often_it_is_sent(hive: Rooms) -> None:
    """I-2: also when the sender repeats after an unknown outcome."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    first = await hive.send(ana, "ben", "hello", key="k1")
    again = await hive.send(ana, "ben", "hello", key="k1")
    other = await hive.send(ben, "ana", "hello", key="k1")
    assert (again.ids, again.repeated) == (first.ids, True)
    assert other.ids != first.ids
    assert len(await hive.inbox(ben)) == 1


async def test_a_key_that_was_used_for_another_message_is_a_conflict(hive: Rooms) -> None:
    """I-2."""
    ana = await hive.agent("ana")
    await hive.agent("ben")
    await hive.send(ana, "ben", "hello", key="k1")
    for to, body in (("ben", "something else"), ("operator", "hello"), ("*", "hello")):
        with pytest.raises(Conflict, match="was used for message"):
            await hive.send(ana, to, body, key="k1")


async def test_a_repeated_broadcast_with_a_key_has_the_ids_of_the_first(hive: Rooms) -> None:
    """I-2, D-20."""
    for name in ("ana", "ben"):
        await hive.agent(name)
    first = await hive.send(OPERATOR, "*", "hello", key="b")
    assert (await hive.send(OPERATOR, "*", "hello", key="b")).ids == first.ids
    assert len(first.ids) == 2


async def test_a_long_body_is_a_file_that_its_recipient_reads_and_the_row_keeps_its_first_lines(hive: Rooms) -> None:
    """OP-1, invariant 7: no stored body exceeds the cap."""
    ana = await hive.agent("ana")
    body = "".join(f"line {number} ü\n" for number in range(500))
    message = await hive.message((await hive.send(OPERATOR, "ana", body)).id)
    assert len(message.body.encode()) <= hive.settings.mail.body_bytes
    assert body.startswith(message.body)
    assert message.body_path == f"/agents/ana/inbox/{message.id}.md"
    assert message.body_bytes == len(body.encode())
    host = hive.folders.inbox(ana.agent) / f"{message.id}.md"
    assert host.read_text(encoding="utf-8") == body
    assert host.stat().st_mode & 0o777 == 0o644
    assert hive.mail.whole_body(message) == body


async def test_a_long_broadcast_is_one_shared_file_and_mail_to_the_operator_is_nobody_elses(hive: Rooms) -> None:
    """OP-1, D-8."""
    ana = await hive.agent("ana")
    for name in ("ben", "cleo"):
        await hive.agent(name)
    sent = await hive.send(ana, "*", "x" * 5000)
    paths = {(await hive.message(number)).body_path for number in sent.ids}
    assert paths == {f"/shared/mail/{sent.id}.md"}
    to_operator = await hive.message((await hive.send(ana, "operator", "y" * 5000)).id)
    assert to_operator.body_path is not None
    assert Path(to_operator.body_path).is_relative_to(hive.data / "operator")
    assert hive.mail.whole_body(to_operator) == "y" * 5000


async def test_folders_of_long_bodies_are_readable_whatever_the_umask(hive: Rooms) -> None:
    """D-9: boxes run under another uid; the operator's mail is nobody else's."""
    ana = await hive.agent("ana")
    before = os.umask(0o077)
    try:
        await hive.send(OPERATOR, "ana", "x" * 5000)
        await hive.send(ana, "operator", "y" * 5000)
    finally:
        os.umask(before)
    inbox = hive.folders.inbox(ana.agent)
    modes = [path.stat().st_mode & 0o777 for path in (inbox.parent, inbox, inbox / "1.md", hive.data / "operator")]
    assert modes == [0o755, 0o755, 0o644, 0o700]
    hive.folders.make_agent(ana.id, ana.agent)


@pytest.mark.parametrize("body", ["", "  \n", "\ud800", "x" * ((1 << 20) + 1)])
async def test_a_body_that_is_empty_broken_or_over_the_limit_is_refused(hive: Rooms, body: str) -> None:
    """OP-1: the limit is named."""
    await hive.agent("ana")
    with pytest.raises(Invalid) as refusal:
        await hive.send(OPERATOR, "ana", body)
    if len(body) > 100:
        assert "1048576" in str(refusal.value)


async def test_a_message_that_was_refused_leaves_nothing(hive: Rooms) -> None:
    """I-1: what is not stored is not acknowledged, and the other way round."""
    await hive.agent("ana")
    with pytest.raises(NotFound):
        await hive.send(OPERATOR, "ana", "x" * 5000, reply_to=99)
    assert await hive.told("message.sent") == []
    assert await hive.store.read(looks.listing) == []


async def test_an_agent_replies_only_to_its_own_mail(hive: Rooms) -> None:
    """BR-16: ids of others' mail open no thread."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    await hive.agent("cleo")
    first = await hive.send(OPERATOR, "cleo", "secret")
    with pytest.raises(NotFound, match="in your mail"):
        await hive.send(ana, "ben", "hello", reply_to=first.id)
    mine = await hive.send(ana, "ben", "hello")
    answer = await hive.message((await hive.send(ben, "ana", "hi", reply_to=mine.id)).id)
    assert (answer.thread, answer.reply_to, answer.hop) == (mine.id, mine.id, 1)


async def test_a_kick_is_an_ordinary_message_from_system_with_the_canonical_path(hive: Rooms) -> None:
    """BR-7, BR-12, invariant 5: the manager has the same path as everybody."""
    mia = await hive.agent("mia", role="manager")
    number = await hive.store.write(hive.mail.kick, mia.id, "restarted")
    kick = await hive.message(number)
    assert (kick.sender, kick.kind, kick.wake) == ("system", MessageKind.KICK, True)
    assert "/agents/mia/state" in kick.body
    assert "restarted" in kick.body
    assert hive.folders.state(mia.agent) == hive.data / "agents" / "mia" / "state"


async def test_a_notice_with_a_key_is_told_once_and_a_missing_reader_is_no_error(hive: Rooms) -> None:
    """BR-13, invariant 44."""
    await hive.agent("ana")
    assert await hive.store.write(hive.mail.notice, "ana", "look", key="n1") is not None
    assert await hive.store.write(hive.mail.notice, "ana", "look", key="n1") is None
    assert await hive.store.write(hive.mail.notice, "nobody", "look") is None
    assert await hive.store.write(hive.mail.notice_manager, "look") is None


async def test_the_inbox_of_an_agent_is_bounded_for_agents(tmp_path: Path) -> None:
    """T35: an agent cannot fill another's inbox without end; the operator can still write."""
    async with temporary_rooms(tmp_path / "data", sends_per_minute=0, thread_per_minute=0) as hive:
        ana = await hive.agent("ana")
        await hive.agent("ben")

        def fill(c: object) -> None:
            for _ in range(10_000):
                hive.mail.notice(c, "ben", "x")  # type: ignore[arg-type]

        await hive.store.write(fill)
        with pytest.raises(Conflict, match="inbox is full"):
            await hive.send(ana, "ben", "one more")
        assert (await hive.send(OPERATOR, "ben", "but I may")).ids
