"""What a tool for agents is: a plain descriptor. Rooms define tools in `tools.py`; the gate serves them (BR-16, HN-5).

A tool's handler gets a `Call`: who asks (by socket), the checked arguments, and the only two ways to act:
`once`, which runs an operation in one transaction together with the record of its answer, so that a repeated call
(its answer was lost with a daemon) is answered from the record and never executed twice (D-23); and `parked`, which
gives the turn's slot back while the call waits (D-19).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol

from sqlalchemy import Connection

from melipona.principals import AgentPrincipal

P = ParamSpec("P")
Json = dict[str, Any]


class Park(Protocol):
    """A parked call: sleeps until something of its agent changes."""

    async def changed(self) -> bool:
        """Wait for news; True when something may have changed, False when the time is up."""
        ...


class Call(Protocol):
    """One call of a tool by one agent."""

    @property
    def caller(self) -> AgentPrincipal: ...

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Checked against the tool's schema."""
        ...

    async def once(
        self, op: Callable[Concatenate[Connection, P], Json | None], *args: P.args, **kw: P.kwargs
    ) -> Json | None:
        """Run `op` in one transaction that also records its answer under this call's key; return the answer.

        A call whose key has a recorded answer gets that one and `op` does not run. `op` returning None means "no
        answer yet": nothing is recorded and the handler may call `once` again.
        """
        ...

    async def read(self, op: Callable[Concatenate[Connection, P], Json], *args: P.args, **kw: P.kwargs) -> Json:
        """Run a reading `op`."""
        ...

    def parked(self, seconds: float) -> AbstractAsyncContextManager[Park]:
        """Give the turn's slot back, wait inside, take a slot again (first in the queue) on leaving.

        Register for news happens on entering, so a look after entering misses nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that agents may call. `parameters` is a JSON Schema object; `handler` returns the structured answer.

    `read_only` is the MCP hint. `per_minute` is how often one agent may call it within a minute, for tools whose effect
    leaves a row each time and has no quota of its own (T35); 0 means no limit.
    Errors of the family `AskedWrongly` become an error result that the model can read.
    """

    name: str
    description: str
    parameters: Json
    handler: Callable[[Call], Awaitable[Json]]
    read_only: bool = False
    per_minute: int = 0
