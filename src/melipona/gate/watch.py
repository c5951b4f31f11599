"""Work for a box that lasts only while the box waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from melipona.gate.exchange import Exchange, Gone

T = TypeVar("T")


async def while_there(x: Exchange, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; it is cancelled when the other side hangs up. The body of `x` must have been read.

    Work that has given its whole answer is let finish.

    An operation of the store that `work` had begun is not undone: it is whole, and its record answers a repeat.

    Raises:
        Gone: the other side hung up.
    """
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(x.gone())
    try:
        await asyncio.wait((doing, watching), return_when=asyncio.FIRST_COMPLETED)
        if not doing.done() and not x.finished:
            raise Gone
        return await doing
    finally:
        watching.cancel()
        doing.cancel()
        await asyncio.wait((doing, watching))
        if not doing.cancelled():
            doing.exception()
