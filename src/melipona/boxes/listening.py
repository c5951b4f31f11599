"""Who speaks for a box: a listener on `ctl.sock`, the admission of the box's init, one connection at a time.

`link_unix.py` builds the contract on it. What is said on a connection is `connection.py`'s.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import anyio
from anyio.abc import TaskStatus

from melipona.boxes.connection import BoxdConnection, Disconnected
from melipona.boxes.sockets import listen_unix, peer_pid
from melipona.boxes.wire import Greeting
from melipona.clock import Clock
from melipona.errors import BoxError, BoxLost, BoxProtocolError
from melipona.faults import fault_here
from melipona.ids import BoxId

CONTROL_SOCKET = "ctl.sock"
WAITING_ROOM = 8
_ADMISSION = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)

_T = TypeVar("_T")


class BoxdListener:
    """Holds the present connection of one box's init.

    `sockets` is the box's socket folder. Only the peer whose pid satisfies `is_init` is heard; the predicate may turn
    true a little after the peer has dialled. `deadline` bounds every call, reconnects included. `mode` and `gid` are
    those of the socket file, so that the box's uid may connect. With `box`, a hello of another box is a violation.
    """

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
        self._sockets, self._is_init, self._clock, self._box = sockets, is_init, clock, box
        self._deadline, self._mode, self._gid = deadline, mode, gid
        self._connection: BoxdConnection | None = None
        self._candidates: set[BoxdConnection] = set()
        self._admitting = 0
        self._changed = anyio.Event()
        self._failure: BoxError | None = None
        self._scope = anyio.CancelScope()

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen and take boxd's connections until `aclose` or cancellation; started once it listens."""
        fault_here("boxes.control_socket.before_bind")
        listener = listen_unix(self._sockets, CONTROL_SOCKET, mode=self._mode, gid=self._gid)
        fault_here("boxes.control_socket.after_bind")
        try:
            task_status.started()
            with self._scope:
                async with anyio.create_task_group() as admissions:
                    while True:
                        peer = await _accept(listener)
                        if self._failure is not None or len(self._candidates) >= WAITING_ROOM:
                            peer.close()
                        elif self._is_ours(peer):
                            await self._hear(peer)
                        elif self._admitting < WAITING_ROOM:
                            self._admitting += 1
                            admissions.start_soon(self._hear_if_ours, peer)
                        else:
                            peer.close()
        finally:
            listener.close()
            self._close(BoxLost(f"{self._name}: the link was closed"))

    async def aclose(self) -> None:
        """Hang up and stop listening; the box goes on, and dials the next daemon."""
        self._close(BoxLost(f"{self._name}: the link was closed"))
        self._scope.cancel()

    def fail(self, failure: BoxError) -> None:
        """Close the link for good: every call, present and future, raises `failure` (the box was found gone, say)."""
        self._close(failure)

    @property
    def connected(self) -> bool:
        """Whether boxd is connected and has said hello."""
        return self._connection is not None

    @property
    def failure(self) -> BoxError | None:
        """Why the link is of no use any more, if so."""
        return self._failure

    @property
    def newer(self) -> bool:
        """Whether boxd speaks a newer protocol than we do: let the box finish and stop it (D-14)."""
        return self._connection is not None and self._connection.newer

    @property
    def ports(self) -> tuple[int, ...]:
        """The loopback ports that boxd forwards (gate, egress), as its hello told."""
        return self._connection.ports if self._connection is not None else ()

    async def wait_connected(self) -> None:
        """Return when boxd is connected, at once if it is.

        Raises:
            BoxError: the link has failed.
        """
        await self._up()

    async def wait_disconnected(self) -> None:
        """Return when boxd is not connected (any more), at once if so: time to ask the driver about the box."""
        while self._connection is not None:
            await self._changed.wait()

    def _is_ours(self, peer: socket.socket) -> bool:
        try:
            pid = peer_pid(peer)
            return pid > 0 and self._is_init(pid)
        except OSError:
            return False

    async def _hear_if_ours(self, peer: socket.socket) -> None:
        """Hear a peer that turns out to be the box's init in a moment; close any other."""
        try:
            for seconds in _ADMISSION:
                await anyio.sleep(seconds)
                if self._is_ours(peer):
                    await self._hear(peer)
                    return
            peer.close()
        except BaseException:
            peer.close()
            raise
        finally:
            self._admitting -= 1

    async def _hear(self, peer: socket.socket) -> None:
        connection = BoxdConnection(self._greeted, self._lost, self._violated)
        self._candidates.add(connection)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, peer)
        except OSError:
            self._candidates.discard(connection)
            peer.close()
        if self._failure is not None:
            connection.abort()

    def _greeted(self, connection: BoxdConnection, greeting: Greeting) -> None:
        if self._box is not None and greeting.hello.box != self._box:
            raise BoxProtocolError(f"{self._name}: boxd says that it is of box {greeting.hello.box!r}")
        self._candidates.discard(connection)
        fault_here("boxes.hello.after_read")
        old, self._connection = self._connection, connection
        if old is not None:
            old.abort()
        self._took_up(connection)
        self._announce()

    def _took_up(self, connection: BoxdConnection) -> None:
        """A new connection is there: what it has to be told first."""

    def _lost(self, connection: BoxdConnection) -> None:
        self._candidates.discard(connection)
        if self._connection is connection:
            self._connection = None
            self._announce()

    def _violated(self, error: BoxProtocolError) -> None:
        self._close(BoxProtocolError(f"{self._name}: {error.message}"))

    def _close(self, failure: BoxError) -> None:
        self._failure = self._failure or failure
        connections = [*self._candidates, *([self._connection] if self._connection else [])]
        self._connection = None
        self._candidates.clear()
        for connection in connections:
            connection.abort()
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    @property
    def _name(self) -> str:
        return f"box {self._box}" if self._box is not None else f"the box of {self._sockets}"

    async def _up(self) -> BoxdConnection:
        while self._connection is None:
            if self._failure is not None:
                failure = self._failure
                raise type(failure)(failure.message, remedy=failure.remedy, code=failure.code)
            await self._changed.wait()
        return self._connection

    async def _on_connection(self, ask: Callable[[BoxdConnection], Awaitable[_T]]) -> _T:
        """What `ask` gives, asked again on the next connection when one is lost, all under the deadline."""
        try:
            async with asyncio.timeout(self._deadline.total_seconds()):
                while True:
                    connection = await self._up()
                    if connection.newer:
                        raise BoxError(f"{self._name} speaks a newer protocol", code="box_newer", remedy="stop it")
                    with suppress(Disconnected):
                        return await ask(connection)
        except TimeoutError:
            seconds = self._deadline.total_seconds()
            raise BoxLost(f"{self._name} did not answer within {seconds:g} s") from None


async def _accept(listener: socket.socket) -> socket.socket:
    """The next peer; out of descriptors, wait a little."""
    while True:
        try:
            return (await asyncio.get_running_loop().sock_accept(listener))[0]
        except OSError:
            await anyio.sleep(0.2)
