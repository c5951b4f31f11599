"""What was begun comes to its end although its caller is cancelled, by a task or by a scope."""

import asyncio

import anyio
import pytest

from melipona.finishing import to_the_end

pytestmark = pytest.mark.anyio


async def test_a_cancelled_scope_waits_for_the_end() -> None:
    """The cancellation of a scope is delivered again at each await: that must not end the wait."""
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        begun.set()
        await go_on.wait()
        ended = True

    seen: list[bool] = []

    async def caller() -> None:
        try:
            await to_the_end(work())
        finally:
            seen.append(ended)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await begun.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(10):
                await asyncio.sleep(0)
            assert seen == []
            go_on.set()
    assert seen == [True]


async def test_a_cancelled_task_waits_for_the_end_and_is_cancelled_then() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        await go_on.wait()
        return "lost"

    caller = asyncio.create_task(to_the_end(work()))
    await begun.wait()
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_an_uncancelled_call_returns_and_raises_like_an_await() -> None:
    async def good() -> int:
        return 7

    async def bad() -> None:
        raise ValueError("bad")

    assert await to_the_end(good()) == 7
    with pytest.raises(ValueError, match="bad"):
        await to_the_end(bad())
