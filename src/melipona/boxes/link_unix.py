"""The daemon's end of a box's control socket: the contract `Link` over the connections that boxd dials.

A call that lost its connection is asked again on the next one, because each may be repeated (ids, sequence numbers,
keys). `wire.py` checks what comes; a violation closes the link for good, and ending the box is up to whoever holds the
link. Starting boxes and knowing their init is the driver's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from melipona.boxes.connection import BoxdConnection, Feed
from melipona.boxes.link import Exit, Gap, Hello, Output, ProgramInfo, ProgramSpec
from melipona.boxes.listening import BoxdListener
from melipona.clock import Clock
from melipona.errors import BoxError, BoxLost, BoxProtocolError
from melipona.faults import fault
from melipona.ids import BoxId, ProgramId

LINE_SLICE = 512 << 10


class BoxLink(BoxdListener):
    """One box's control connection; implements `melipona.boxes.link.Link`. Run `serve` once, in a task group."""

    def __init__(
        self,
        sockets: Path,
        is_init: Callable[[int], bool],
        *,
        clock: Clock,
        box: BoxId | None = None,
        deadline: timedelta = timedelta(seconds=20),
        mode: int = 0o600,
        gid: int | None = None,
    ) -> None:
        super().__init__(sockets, is_init, clock=clock, box=box, deadline=deadline, mode=mode, gid=gid)
        self._acknowledged: dict[ProgramId, int] = {}
        self._nonce = os.urandom(8).hex()
        self._keys = 0

    def _took_up(self, connection: BoxdConnection) -> None:
        for program, offset in self._acknowledged.items():
            connection.tell({"op": "ack", "id": program, "at": offset})

    async def _call(self, head: dict[str, Any]) -> ProgramInfo | None:
        await fault(f"link.{head['op']}.before_call")
        info = await self._on_connection(lambda connection: connection.call(head))
        await fault(f"link.{head['op']}.after_call")
        return info

    async def ready(self, within: timedelta) -> Hello:
        """Wait until boxd has dialled; the latest hello."""
        try:
            await fault("link.ready.before_wait")
            with anyio.fail_after(within.total_seconds()):
                hello = (await self._up()).hello
            await fault("link.ready.after_wait")
            return hello
        except TimeoutError:
            raise BoxLost(f"{self._name}: boxd did not dial within {within.total_seconds():g} s") from None

    async def start(self, program: ProgramSpec) -> ProgramInfo:
        """Start a program; one that has this id already is returned as it is.

        A program that cannot be executed ends with code 127 and says why on its error output.
        """
        head = {
            "op": "start",
            "id": program.id,
            "argv": list(program.argv),
            "env": dict(program.env),
            "cwd": program.cwd,
            "terminal": program.terminal,
            "lossless": program.lossless,
        }
        info = await self._call(head)
        if info is None:
            raise self._broke("boxd started a program and did not describe it")
        return info

    async def write(self, program: ProgramId, seq: int, line: bytes) -> None:
        """Write `line`, its line feed included, as it is. A sequence number that boxd has seen changes nothing."""

        async def slices(connection: BoxdConnection) -> None:
            for at in range(0, len(line) or 1, LINE_SLICE):
                more = at + LINE_SLICE < len(line)
                head = {"op": "write", "id": program, "seq": seq, "at": at, "more": more}
                await connection.call(head, line[at : at + LINE_SLICE])

        await fault("link.write.before_call")
        await self._on_connection(slices)
        await fault("link.write.after_call")

    async def end_input(self, program: ProgramId) -> None:
        """Close the program's input after all that was written."""
        await self._call({"op": "end", "id": program})

    async def signal(self, program: ProgramId, number: int) -> None:
        """Signal the program's process group, once however often the call is repeated on its way."""
        self._keys += 1
        await self._call({"op": "signal", "id": program, "number": number, "key": f"{self._nonce}-{self._keys}"})

    async def resize(self, program: ProgramId, rows: int, columns: int) -> None:
        """Tell the program's terminal its new size."""
        await self._call({"op": "resize", "id": program, "rows": rows, "columns": columns})

    async def follow(self, program: ProgramId, offset: int) -> AsyncGenerator[Output | Gap | Exit, None]:
        """The program's output from `offset` on, across reconnects, ending with `Exit`; any number may follow it."""
        at = offset
        while True:
            await fault("link.follow.before_call")
            feed = await self._on_connection(_opener(program, at))
            await fault("link.follow.after_call")
            try:
                await fault("link.spool.before_read")
                while (item := await feed.next()) is not None:
                    await fault("link.spool.after_read")
                    at = item.offset + (len(item.data) if isinstance(item, Output) else 0)
                    yield item
                    if isinstance(item, Exit):
                        return
            finally:
                feed.close()

    async def acknowledge(self, program: ProgramId, offset: int) -> None:
        """Everything before `offset` is stored: boxd may drop it. Told at once, or with the next connection."""
        if offset > self._acknowledged.get(program, -1):
            self._acknowledged[program] = offset
            if self._connection is not None:
                self._connection.tell({"op": "ack", "id": program, "at": offset})

    async def forget(self, program: ProgramId) -> None:
        """Kill the program's group if it still runs and drop all that is kept of it."""
        await self._call({"op": "forget", "id": program})
        self._acknowledged.pop(program, None)

    async def ping(self, within: timedelta) -> float:
        """Seconds that boxd took to answer."""
        began = self._clock.monotonic()
        try:
            with anyio.fail_after(within.total_seconds()):
                await self._call({"op": "ping"})
        except TimeoutError:
            raise BoxLost(f"{self._name} did not answer a ping within {within.total_seconds():g} s") from None
        return self._clock.monotonic() - began

    def _broke(self, what: str) -> BoxError:
        error = BoxProtocolError(f"{self._name}: {what}")
        self._close(error)
        return error


def _opener(program: ProgramId, at: int) -> Callable[[BoxdConnection], Awaitable[Feed]]:
    return lambda connection: connection.follow(program, at)
