"""What is in flight ends, whichever way: return, exception, cancellation, the death of the daemon."""

from __future__ import annotations

import asyncio
import json

import pytest

from melipona.errors import Conflict, Invalid
from melipona.operations import store as rows
from melipona.operations.model import Operation, OperationState
from melipona.operations.service import Operations
from melipona.testing.rooms import OPERATOR, Rooms
from melipona.testing.store import open_epoch

pytestmark = pytest.mark.anyio


async def ended(hive: Rooms, identifier: str) -> Operation:
    operation = await hive.store.read(rows.get, identifier)  # type: ignore[arg-type]
    assert operation is not None
    return operation


async def test_an_operation_is_in_flight_inside_its_block_and_done_after_it(hive: Rooms) -> None:
    """TG-1, TG-2."""
    ana = await hive.agent("ana")
    async with hive.operations.hold("checking", ana.id, OPERATOR) as identifier:
        (running,) = await hive.store.read(rows.running)
        assert (running.id, running.kind, running.agent_id) == (identifier, "checking", ana.id)
        assert (running.epoch, running.host, running.principal) == (hive.epoch, "testhost", "operator")
    assert await hive.store.read(rows.running) == []
    assert (await ended(hive, identifier)).state is OperationState.DONE
    kinds = [(event.kind, json.loads(event.data).get("state")) for event in await hive.told("operation.")]
    assert kinds == [("operation.started", None), ("operation.ended", "done")]


async def test_an_exception_ends_it_with_its_reason(hive: Rooms) -> None:
    """Invariant 31."""
    ana = await hive.agent("ana")
    identifier = ""
    with pytest.raises(Invalid):
        async with hive.operations.hold("checking", ana.id, OPERATOR) as identifier:
            raise Invalid("the oven is cold")
    operation = await ended(hive, identifier)
    assert (operation.state, operation.error) == (OperationState.FAILED, "the oven is cold")


async def test_a_cancellation_ends_it(hive: Rooms) -> None:
    """TG-2, invariant 31."""
    ana = await hive.agent("ana")
    inside = asyncio.Event()
    identifiers: list[str] = []

    async def work() -> None:
        async with hive.operations.hold("checking", ana.id, OPERATOR) as identifier:
            identifiers.append(identifier)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    operation = await ended(hive, identifiers[0])
    assert (operation.state, operation.error) == (OperationState.FAILED, "it was cancelled")


async def test_a_cancellation_while_the_row_is_on_its_way_leaves_none(hive: Rooms) -> None:
    """Invariant 31: a cancelled caller does not undo its write, so the end must know the id beforehand."""
    ana = await hive.agent("ana")
    for steps in range(6):

        async def work() -> None:
            async with hive.operations.hold("checking", ana.id, OPERATOR):
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await hive.store.read(rows.running) == []


async def test_an_agent_has_one_operation_at_a_time_and_the_refused_one_ends_nothing(hive: Rooms) -> None:
    """I-8: the block of the loser leaves the winner's row alone."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    async with hive.operations.hold("checking", ana.id, OPERATOR):
        with pytest.raises(Conflict, match="checking is in flight"):
            async with hive.operations.hold("measuring", ana.id, OPERATOR):
                raise AssertionError
        async with hive.operations.hold("checking", ben.id, OPERATOR):
            assert len(await hive.store.read(rows.running)) == 2
        assert len(await hive.store.read(rows.running)) == 1


async def test_a_new_daemon_goes_on_with_wishes_and_ends_the_rest_as_lost(hive: Rooms) -> None:
    """TG-4, invariant 31: whatever a dead daemon held is accounted for at the next start."""
    ana, ben = await hive.agent("ana"), await hive.agent("ben")
    await hive.agents.stop(OPERATOR, "ana")
    started = await hive.store.write(hive.operations.begin, "checking", ben.id, OPERATOR)
    next_daemon = Operations(hive.store, await hive.store.write(open_epoch), "testhost")
    (mine,) = await hive.store.write(next_daemon.takeover)
    assert (mine.kind, mine.agent_id, mine.epoch, mine.generation) == ("stopping", ana.id, next_daemon.epoch, 1)
    lost = await ended(hive, started.id)
    assert (lost.state, lost.error) == (OperationState.LOST, "the daemon that held it is gone")
    assert len(await hive.store.write(next_daemon.takeover)) == 1, "a second look takes nothing over"


async def test_an_operation_ends_once(hive: Rooms) -> None:
    """Repeating is no error and no second event."""
    ana = await hive.agent("ana")
    operation = await hive.store.write(hive.operations.begin, "checking", ana.id, OPERATOR)
    assert await hive.store.write(hive.operations.finish, operation.id)
    assert not await hive.store.write(hive.operations.finish, operation.id, error="late")
    assert (await ended(hive, operation.id)).state is OperationState.DONE
    assert len(await hive.told("operation.ended")) == 1


async def test_a_postponed_operation_says_when_it_is_tried_again_and_why(hive: Rooms) -> None:
    """I-9."""
    ana = await hive.agent("ana")
    operation = await hive.store.write(hive.operations.begin, "stopping", ana.id, OPERATOR)
    await hive.store.write(rows.postpone, operation.id, hive.clock.now(), "busy")
    (running,) = await hive.store.read(rows.running)
    assert (running.wake_at, running.detail) == (hive.clock.now(), "busy")
