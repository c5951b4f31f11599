"""Work that must come to its end although its caller is being cancelled."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from anyio import CancelScope

T = TypeVar("T")


async def to_the_end(work: Awaitable[T]) -> T:
    """Wait for `work` until it has ended, whoever cancels us meanwhile; the cancellation is raised after that.

    `asyncio.shield` is not enough: it leaves its caller at once, and in a cancelled scope of anyio every later await of
    the caller is cancelled again, so that what was shielded goes on with nobody to see its end.

    Raises:
        CancelledError: the caller was cancelled; `work` has ended, and what it returned or raised is lost.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    with CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:  # by `Task.cancel`, which no scope holds off
                cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen: it is not to be reported as never retrieved
        raise cancelled
    return task.result()
