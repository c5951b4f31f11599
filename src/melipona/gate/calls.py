"""Calls of tools with one effect each, also when a call is made again because its answer was lost (D-23).

The key of a call is the agent with the call's own id (the engine's tool use id, or an Idempotency-Key) and the hash of
tool and arguments. The effect and the record of its answer are one transaction. A call without an id is known again
by turn, tool and arguments, and only when its record comes from an earlier daemon: within one daemon two equal calls
are two calls.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol

from sqlalchemy import Connection, bindparam, insert, literal_column, select, update

from melipona.ids import AgentId
from melipona.principals import AgentPrincipal
from melipona.store.engine import Store, now
from melipona.store.hot import Hot
from melipona.store.schema import calls, turns
from melipona.tool import Json, Park

P = ParamSpec("P")
_RECORD = ("key", "agent_id", "tool", "answer", "turn", "epoch", "at")
_record = Hot(insert(calls).values({name: bindparam(f"p_{name}") for name in _RECORD}))
RECORDED = Hot(select(calls.c.answer, calls.c.epoch).where(calls.c.key == bindparam("p_key")))
OPEN_TURN = Hot(
    select(turns.c.id).where(turns.c.agent_id == bindparam("p_agent"), turns.c.state != literal_column("'ended'"))
)
ID_MOST = 200
_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_sorted_text = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


class Parking(Protocol):
    """Lets a call give its turn's slot back while it waits (D-19)."""

    def parked(self, agent: AgentId, seconds: float) -> AbstractAsyncContextManager[Park]:
        """As `tool.Call.parked`."""
        ...


@dataclass(frozen=True, slots=True)
class CallId:
    """What makes a call the same as an earlier one. `own` is the id that came with it, if one did."""

    agent_id: AgentId
    tool: str
    own: str | None
    hash: str

    @classmethod
    def of(cls, agent_id: AgentId, tool: str, arguments: Mapping[str, Any], own: str | None) -> CallId:
        text = _sorted_text(arguments)
        digest = hashlib.sha256(f"{tool}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
        return cls(agent_id, tool, own[:ID_MOST] if own else None, digest)

    def key(self, turn: int | None) -> str:
        """The record's key."""
        distinct = f"id\0{self.own}" if self.own else f"turn\0{turn}"
        digest = hashlib.sha256(f"{distinct}\0{self.hash}".encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.agent_id}/{digest}"


class ToolCall:
    """One call (`tool.Call`)."""

    def __init__(
        self,
        store: Store,
        parking: Parking,
        caller: AgentPrincipal,
        arguments: Mapping[str, Any],
        call: CallId,
        epoch: int,
    ) -> None:
        self._store, self._parking = store, parking
        self._caller, self._arguments = caller, arguments
        self._id, self._epoch = call, epoch
        self._answer: Json | None = None

    @property
    def caller(self) -> AgentPrincipal:
        return self._caller

    @property
    def arguments(self) -> Mapping[str, Any]:
        return self._arguments

    async def once(
        self, op: Callable[Concatenate[Connection, P], Json | None], *args: P.args, **kw: P.kwargs
    ) -> Json | None:
        """As `tool.Call.once`."""
        if self._answer is None:
            self._answer = await self._store.reserved.write(_once, self._id, self._epoch, lambda c: op(c, *args, **kw))
        return self._answer

    async def read(self, op: Callable[Concatenate[Connection, P], Json], *args: P.args, **kw: P.kwargs) -> Json:
        """As `tool.Call.read`."""
        return await self._store.read(op, *args, **kw)

    def parked(self, seconds: float) -> AbstractAsyncContextManager[Park]:
        """As `tool.Call.parked`."""
        return self._parking.parked(self._caller.id, seconds)


def _once(c: Connection, call: CallId, epoch: int, op: Callable[[Connection], Json | None]) -> Json | None:
    turn = _open_turn(c, call.agent_id)
    key = call.key(turn)
    row = RECORDED.one(c, p_key=key)
    if row is not None and (call.own or row[1] < epoch):
        if not call.own:
            c.execute(update(calls).where(calls.c.key == key).values(epoch=epoch))
        return json.loads(row[0])
    answer = op(c)
    if answer is None:
        return None
    text = _text(answer)
    values = {"answer": text, "turn": turn, "epoch": epoch, "at": now(c)}
    if row is not None:
        c.execute(update(calls).where(calls.c.key == key).values(values))
    else:
        record = {**values, "key": key, "agent_id": call.agent_id, "tool": call.tool}
        _record.run(c, **{f"p_{name}": record[name] for name in _RECORD})
    return answer


def _open_turn(c: Connection, agent_id: AgentId) -> int | None:
    row = OPEN_TURN.one(c, p_agent=agent_id)
    return None if row is None else int(row[0])
