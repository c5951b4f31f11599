"""An event loop without time and without threads, whose next step a seed picks: a run can be played again.

Of all callbacks that are ready the seed picks one; when none is, time jumps to the next timer. What would run in a
thread runs as one step. So a run of hours takes milliseconds, and each seed is another interleaving.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class Crashed(BaseException):
    """The process is no more: raised through the loop after the step at which it was to die."""


class NothingLeft(Exception):
    """No callback is ready and no timer runs, and the work is not done: everybody waits for somebody else."""


class SeededLoop(asyncio.SelectorEventLoop):
    """`began` is what its clock shows at first, in seconds; it dies after `steps` steps, if that is given."""

    def __init__(self, chance: random.Random, began: float, steps: int | None = None) -> None:
        super().__init__()
        self._chance, self._at, self._left = chance, began, steps
        self.steps = 0

    def time(self) -> float:
        return self._at

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        done = self.create_future()

        def run() -> None:
            if done.cancelled():
                return
            try:
                value = func(*args)
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(value)

        self.call_soon(run)
        return done

    def _run_once(self) -> None:
        inner: Any = self
        ready, timers = inner._ready, inner._scheduled
        while timers and (timers[0]._cancelled or timers[0]._when <= self._at or not ready):
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if not timer._cancelled:
                self._at = max(self._at, timer._when)
                ready.append(timer)
        if not ready:
            raise NothingLeft
        number = self._chance.randrange(len(ready))
        ready.rotate(-number)
        handle = ready.popleft()
        ready.rotate(number)
        if not handle._cancelled:
            self.steps += 1
            handle._run()
        if self._left is not None and self.steps >= self._left:
            raise Crashed
