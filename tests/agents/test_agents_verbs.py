"""The registry and the verbs: what each changes, whom it wakes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from melipona.agents import store as rows
from melipona.agents.model import Agent, Role, Wish
from melipona.errors import Conflict, Invalid, NotFound, Refused
from melipona.mail.model import MessageKind
from melipona.principals import AgentPrincipal
from melipona.testing.rooms import OPERATOR, Rooms

pytestmark = pytest.mark.anyio
VERBS = ("start", "stop", "restart", "pause", "resume", "destroy", "purge")


async def do(hive: Rooms, verb: str, name: str) -> Agent:
    """A verb, and the reconciler after it."""
    act: Callable[..., Awaitable[Agent]] = getattr(hive.agents, verb)
    agent = await act(OPERATOR, name)
    await hive.settle_operations()
    return agent


async def kicks(hive: Rooms, agent: AgentPrincipal) -> int:
    return sum(message.kind is MessageKind.KICK for message in await hive.inbox(agent))


async def test_a_new_agent_wishes_to_run_starts_nothing_and_is_not_kicked(hive: Rooms) -> None:
    """D-25, BR-8."""
    ana = await hive.agent("ana")
    assert (await hive.look("ana")).wish is Wish.RUNNING
    assert await hive.store.read(hive.operations.running) == []
    assert await hive.inbox(ana) == []


@pytest.mark.parametrize(
    "name", ["", "Ana", "../x", "a/b", "ana-", "1a", "a" * 33, "operator", "system", "all", "self", "οperator", "mail"]
)
async def test_a_name_that_is_a_path_reserved_or_confusable_is_refused(hive: Rooms, name: str) -> None:
    """D-36, T29, T44, LE-9: also for purge, before anything is looked up."""
    with pytest.raises(Invalid):
        await hive.agents.create(OPERATOR, name, "playbook")
    with pytest.raises((Invalid, NotFound)):
        await hive.agents.purge(OPERATOR, name)
    assert await hive.told() == []


async def test_an_engine_that_is_not_there_and_a_taken_name_are_refused(hive: Rooms) -> None:
    """Errors say what there is."""
    with pytest.raises(Invalid, match="claude, playbook"):
        await hive.agents.create(OPERATOR, "ana", "gpt")
    await hive.agent("ana")
    with pytest.raises(Conflict, match="exists already"):
        await hive.agents.create(OPERATOR, "ana", "claude")


async def test_there_is_at_most_one_manager(hive: Rooms) -> None:
    """D-36."""
    await hive.agent("mia", role="manager")
    with pytest.raises(Conflict, match='"mia" is the manager'):
        await hive.agent("ana", role="manager")
    await hive.agent("ana")
    with pytest.raises(Conflict):
        await hive.agents.set(OPERATOR, "ana", {"role": "manager"})
    await do(hive, "destroy", "mia")
    assert (await hive.agents.set(OPERATOR, "ana", {"role": "manager"})).role is Role.MANAGER
    with pytest.raises(Conflict):
        await hive.agents.create(OPERATOR, "mia", "playbook")


@pytest.mark.parametrize("verb", ["start", "restart", "resume"])
async def test_one_kick_after_each_successful_start_restart_and_resume(hive: Rooms, verb: str) -> None:
    """BR-7, D-25, invariant 4."""
    ana = await hive.agent("ana", has_run=True)
    await do(hive, {"start": "stop", "restart": "start", "resume": "pause"}[verb], "ana")
    assert await kicks(hive, ana) == 0
    await do(hive, verb, "ana")
    assert await kicks(hive, ana) == 1


@pytest.mark.parametrize("verb", ["start", "restart", "resume"])
async def test_an_agent_that_never_ran_is_not_kicked(hive: Rooms, verb: str) -> None:
    """D-25: there is nothing to go on with."""
    ana = await hive.agent("ana")
    await do(hive, "pause" if verb == "resume" else "stop", "ana")
    await do(hive, verb, "ana")
    assert await kicks(hive, ana) == 0


@pytest.mark.parametrize("verb", ["stop", "pause", "destroy"])
async def test_stop_pause_and_destroy_never_kick(hive: Rooms, verb: str) -> None:
    """BR-11, invariant 4."""
    ana = await hive.agent("ana", has_run=True)
    await do(hive, verb, "ana")
    assert await kicks(hive, ana) == 0


async def test_a_restart_kicks_when_its_box_is_down_and_not_when_that_failed(hive: Rooms) -> None:
    """BR-8: only in the success arm."""
    ana = await hive.agent("ana", has_run=True)
    await hive.agents.restart(OPERATOR, "ana")
    (operation,) = await hive.store.read(hive.operations.running)
    assert (operation.kind, await kicks(hive, ana)) == ("restarting", 0)
    await hive.store.write(hive.agents.finished, operation, "the box would not end")
    await hive.store.write(hive.agents.finished, operation)
    assert await kicks(hive, ana) == 0
    await do(hive, "restart", "ana")
    assert await kicks(hive, ana) == 1


async def test_a_restart_that_was_overtaken_by_a_stop_does_not_kick(hive: Rooms) -> None:
    """BR-11: the last wish counts."""
    ana = await hive.agent("ana", has_run=True)
    await hive.agents.restart(OPERATOR, "ana")
    await hive.agents.stop(OPERATOR, "ana")
    await hive.settle_operations()
    assert await kicks(hive, ana) == 0
    assert (await hive.look("ana")).wish is Wish.STOPPED


@pytest.mark.parametrize("verb", ["start", "stop", "pause", "resume", "destroy"])
async def test_a_verb_whose_wish_is_fulfilled_changes_nothing(hive: Rooms, verb: str) -> None:
    """BR-17: repeating is no error, no event and no second kick."""
    await hive.agent("ana", has_run=True)
    if verb in ("stop", "pause", "destroy"):
        await do(hive, verb, "ana")
    before = len(await hive.told())
    if verb == "destroy":
        await hive.agents.destroy(OPERATOR, "ana")
    else:
        await do(hive, verb, "ana")
    assert len(await hive.told()) == before


async def test_a_stopped_agent_has_no_status_no_pause_and_no_trouble(hive: Rooms) -> None:
    """ASK-2: an old text would be stale."""
    ana = await hive.agent("ana")
    await hive.store.write(rows.set_status, ana.id, "baking")
    await hive.store.write(rows.set_trouble, ana.id, "no_key", "no key")
    await do(hive, "pause", "ana")
    agent = await do(hive, "stop", "ana")
    assert (agent.status_text, agent.paused_at, agent.trouble) == (None, None, None)
    with pytest.raises(Conflict, match="is stopped"):
        await hive.agents.pause(OPERATOR, "ana")


async def test_each_verb_that_ends_a_box_has_one_operation_in_flight(hive: Rooms) -> None:
    """TG-1: further verbs meanwhile do not start a second one."""
    await hive.agent("ana")
    await hive.agents.stop(OPERATOR, "ana")
    await hive.agents.start(OPERATOR, "ana")
    await hive.agents.destroy(OPERATOR, "ana")
    assert [operation.kind for operation in await hive.store.read(hive.operations.running)] == ["stopping"]
    with pytest.raises(Conflict, match="stopping is in flight"):
        await hive.agents.purge(OPERATOR, "ana")


async def test_a_destroyed_agent_is_a_tombstone_that_takes_no_verbs(hive: Rooms) -> None:
    """LC-7, TB-1, TB-4."""
    await hive.agent("ana")
    await do(hive, "destroy", "ana")
    assert [agent.name for agent in await hive.store.read(rows.tombstones)] == ["ana"]
    assert await hive.store.read(rows.listing) == []
    for verb in ("start", "stop", "restart", "pause", "resume"):
        with pytest.raises(Conflict, match="was destroyed"):
            await do(hive, verb, "ana")
    (event,) = await hive.told("tombstones.changed")
    assert json.loads(event.data) == {"names": ["ana"]}


async def test_making_a_tombstones_name_again_brings_it_back_with_all_it_had(hive: Rooms) -> None:
    """TB-3, LC-7, invariant 35: id (and with it its folders), settings and waiting mail; the session by engine."""
    ana = await hive.agent("ana", model="opus", budget_usd=2.5, has_run=True)
    await hive.send(OPERATOR, "ana", "still there?")
    await hive.store.write(rows.set_session, ana.id, "s1")
    await do(hive, "destroy", "ana")
    back = await hive.agents.create(OPERATOR, "ana", "playbook", turns_per_hour=5)
    assert (back.id, back.wish, back.model, back.budget_micro_usd) == (ana.id, Wish.RUNNING, "opus", 2_500_000)
    assert (back.session, back.turns_per_hour) == ("s1", 5)
    assert [message.body for message in await hive.inbox(ana)] == ["still there?"]
    await do(hive, "destroy", "ana")
    assert (await hive.agents.create(OPERATOR, "ana", "claude")).session is None


async def test_after_a_purge_the_name_is_new(hive: Rooms) -> None:
    """LC-8, T44, invariant 35: another id, no settings, no session, no mail."""
    ana = await hive.agent("ana", model="opus")
    await hive.send(OPERATOR, "ana", "old secret")
    await hive.agents.purge(OPERATOR, "ana")
    with pytest.raises(Conflict, match="purging is in flight"):
        await hive.agent("ana")
    await hive.settle_operations()
    new = await hive.agent("ana")
    agent = await hive.look("ana")
    assert new.id != ana.id
    assert (agent.model, agent.session, await hive.inbox(new)) == (None, None, [])


async def test_a_purge_leaves_an_operation_that_names_the_agent_by_its_id(hive: Rooms) -> None:
    """Invariant 36: the reconciler removes the folders of that id and of a name that was checked."""
    ana = await hive.agent("ana")
    await do(hive, "destroy", "ana")
    await hive.agents.purge(OPERATOR, "ana")
    (operation,) = await hive.store.read(hive.operations.running)
    assert (operation.kind, operation.agent_id) == ("purging", ana.id)
    gone = await hive.store.read(rows.by_id, ana.id)
    assert gone is not None
    assert gone.wish is Wish.PURGED
    assert await hive.store.read(rows.by_name, "ana") is None


async def test_an_unknown_name_is_answered_with_the_one_that_was_meant(hive: Rooms) -> None:
    """Errors say what to do."""
    await hive.agent("ana")
    for verb in VERBS:
        with pytest.raises(NotFound, match='no agent "anna"; did you mean "ana"'):
            await do(hive, verb, "anna")


async def test_no_agent_can_use_a_verb_make_or_change_an_agent(hive: Rooms) -> None:
    """Invariants 25, 34: not even the manager, and not on itself."""
    mia = await hive.agent("mia", role="manager")
    before = len(await hive.told())
    for verb in VERBS:
        with pytest.raises(Refused, match="only the operator"):
            await getattr(hive.agents, verb)(mia, "mia")
    with pytest.raises(Refused):
        await hive.agents.create(mia, "evil", "playbook")
    with pytest.raises(Refused):
        await hive.agents.set(mia, "mia", {"budget_usd": 1000})
    assert len(await hive.told()) == before


async def test_settings_are_changed_by_their_names_and_none_is_the_default(hive: Rooms) -> None:
    """`agent set`."""
    await hive.agent("ana", budget_usd=1, turns_per_hour=0)
    changed = await hive.agents.set(
        OPERATOR, "ana", {"model": "opus", "budget_usd": 0.25, "send_allow": ["ben", "*"], "playbook": "x = 1"}
    )
    assert (changed.model, changed.budget_micro_usd, changed.playbook) == ("opus", 250_000, "x = 1")
    assert changed.send_allow == ("ben", "*")
    back = await hive.agents.set(OPERATOR, "ana", {"model": None, "turns_per_hour": None, "send_allow": None})
    assert (back.model, back.turns_per_hour, back.send_allow) == (None, -1, None)
    event, _ = await hive.told("agent.changed")
    assert "x = 1" not in event.data, "a playbook is told by its size"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"modle": "opus"},
        {"budget_usd": -1},
        {"budget_usd": float("nan")},
        {"turns_per_hour": 1.5},
        {"send_allow": "ben"},
        {"send_allow": ["../x"]},
        {"role": "king"},
        {"model": "a\x1bb"},
        {"playbook": "x" * 300_000},
    ],
)
async def test_a_change_that_says_nothing_or_nonsense_is_refused(hive: Rooms, changes: dict[str, Any]) -> None:
    """LE-14: an empty scope is an error, not everything."""
    await hive.agent("ana")
    with pytest.raises(Invalid):
        await hive.agents.set(OPERATOR, "ana", changes)


async def test_a_new_budget_ends_the_trouble_that_the_old_one_was(hive: Rooms) -> None:
    """D-30: until the next day or a new budget."""
    ana = await hive.agent("ana")
    await hive.store.write(rows.set_trouble, ana.id, "budget_spent", "spent")
    await hive.agents.set(OPERATOR, "ana", {"model": "opus"})
    assert (await hive.look("ana")).trouble == "budget_spent"
    await hive.agents.set(OPERATOR, "ana", {"budget_usd": 5})
    assert (await hive.look("ana")).trouble is None


async def test_trouble_is_told_once_and_keeps_its_since(hive: Rooms) -> None:
    """D-37: the same trouble again, later, is the same trouble."""
    ana = await hive.agent("ana")
    assert await hive.store.write(rows.set_trouble, ana.id, "no_key", "no key")
    since = (await hive.look("ana")).entered_at
    hive.later(minutes=1)
    assert not await hive.store.write(rows.set_trouble, ana.id, "no_key", "no key")
    await hive.store.write(rows.set_trouble, ana.id, "no_key", "still no key")
    assert (await hive.look("ana")).entered_at == since
    await hive.store.write(rows.ended_well, ana.id, "ana")
    assert (await hive.look("ana")).trouble is None
    assert [event.kind for event in await hive.told("agent.trouble")] == ["agent.trouble", "agent.trouble"]
    assert len(await hive.told("agent.trouble_over")) == 1


async def test_after_an_interrupt_only_resume_or_the_operators_word_lets_mail_wake(hive: Rooms) -> None:
    """D-18."""
    ana = await hive.agent("ana", has_run=True)
    await hive.store.write(rows.hold, ana.id)
    await do(hive, "resume", "ana")
    assert (await hive.look("ana")).held_at is None
    assert await kicks(hive, ana) == 1
