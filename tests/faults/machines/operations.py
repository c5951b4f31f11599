"""Operations: one in flight an agent, held by a living daemon, ended once; the next goes on or says lost (I-6, I-8)."""

from __future__ import annotations

import json
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from melipona.clock import later
from melipona.errors import Conflict
from melipona.ids import AgentId, EpochId, OperationId
from melipona.operations import store as ops
from melipona.operations.model import RESUMABLE, Operation, OperationState
from melipona.operations.service import Operations

from .base import HOST, NAMES, OPERATOR, StoreMachine, begin_life
from .bench import CrashError

KINDS = ("stopping", "restarting", "destroying", "purging", "deploying", "backing_up")
OWNERS = (*NAMES, None)


class OperationMachine(StoreMachine):
    """The model: what is in flight as callers know it. An answer that never came is looked up by the operation's id."""

    def begin(self) -> None:
        self.count = 0
        self.doubt: OperationId | None = None
        self.running: dict[OperationId, tuple[str, AgentId | None, int]] = {}
        self.ended: dict[OperationId, set[str]] = {}
        self._live()

    def _live(self) -> None:
        self.epoch = EpochId(self.bench.do(begin_life))
        self.operations = Operations(self.bench, self.epoch, HOST)  # type: ignore[arg-type]

    def recover(self) -> None:
        """A new daemon settles what its elders left."""
        generations = {one.id: one.generation for one in self.read(ops.running)}
        self._live()
        mine = {one.id: one for one in self.bench.do(self.operations.takeover)}
        for identifier, (kind, agent, _) in list(self.running.items()):
            if identifier == self.doubt and identifier not in mine:
                continue  # whether it was ended is looked up by who asked
            if kind in RESUMABLE:
                assert identifier in mine, f"{kind} is not gone on with (I-8)"
                assert mine[identifier].generation == generations[identifier] + 1, "the takeover is not fenced (D-41)"
                assert mine[identifier].wake_at is None, "what is taken over waits for an old time"
                self.running[identifier] = (kind, agent, self.epoch)
            elif identifier != self.doubt:
                assert identifier not in mine, f"{kind} cannot be gone on with"
                del self.running[identifier]
                self.ended[identifier] = {"lost"}

    @rule(kind=st.sampled_from(KINDS), owner=st.sampled_from(OWNERS))
    def begins_one(self, kind: str, owner: str | None) -> None:
        agent = None if owner is None else self.ids[owner]
        identifier = OperationId(f"op{self.count:04}")
        self.count += 1
        busy = agent is not None and any(one[1] == agent for one in self.running.values())
        try:
            self.write(
                lambda c: ops.begin(
                    c, identifier, kind, agent, by=OPERATOR.name, epoch=self.operations.epoch, host=HOST
                )
            )
        except Conflict:
            assert busy, "a free agent was called busy"
            return
        except CrashError:
            found = self.read(ops.get, identifier)
            if found is None:
                return
            assert not busy, "two operations of one agent"
            if kind in RESUMABLE:
                self.running[identifier] = (kind, agent, self.epoch)
            else:
                self.ended[identifier] = {"lost"}
            return
        assert not busy, "two operations of one agent"
        self.running[identifier] = (kind, agent, self.epoch)

    @rule(data=st.data(), error=st.sampled_from([None, "the disk is full"]))
    def finishes_one(self, data: st.DataObject, error: str | None) -> None:
        if not self.running:
            return
        identifier = data.draw(st.sampled_from(sorted(self.running)), label="operation")
        kind = self.running[identifier][0]
        state = "failed" if error else "done"
        self.doubt = identifier
        try:
            assert self.write(self.operations.finish, identifier, error=error), "what is in flight could not be ended"
        except CrashError:
            found = self.read(ops.get, identifier)
            assert found is not None
            if found.state is not OperationState.RUNNING:
                self.running.pop(identifier, None)
                self.ended[identifier] = {state} | ({"lost"} if kind not in RESUMABLE else set())
            return
        finally:
            self.doubt = None
        del self.running[identifier]
        self.ended[identifier] = {state}

    @rule(data=st.data(), error=st.sampled_from([None, "again"]))
    def finishes_one_again(self, data: st.DataObject, error: str | None) -> None:
        """An end that comes twice, or from a daemon that is gone, changes nothing."""
        if not self.ended:
            return
        identifier = data.draw(st.sampled_from(sorted(self.ended)), label="operation")
        try:
            assert not self.write(self.operations.finish, identifier, error=error), "it was ended twice"
        except CrashError:
            pass

    @rule(data=st.data())
    def postpones_one(self, data: st.DataObject) -> None:
        everything = sorted([*self.running, *self.ended])
        if not everything:
            return
        identifier = data.draw(st.sampled_from(everything), label="operation")
        until = later(self.clock.now(), timedelta(seconds=10))
        try:
            self.write(ops.postpone, identifier, until, "it failed")
        except CrashError:
            return
        found = self.read(ops.get, identifier)
        assert found is not None
        assert (found.wake_at is not None) == (identifier in self.running), "an ended operation waits"

    @rule()
    def restarts(self) -> None:
        self.restart()

    @invariant()
    def rows_are_what_was_told(self) -> None:
        """I-8: nothing is in flight without a living holder; one an agent."""
        found: list[Operation] = self.read(ops.running)
        assert {one.id for one in found} == set(self.running), "what is in flight is not what was asked for"
        for one in found:
            kind, agent, epoch = self.running[one.id]
            assert (one.kind, one.agent_id, one.epoch) == (kind, agent, epoch), "held by a daemon that is gone (I-8)"
        owners = [one.agent_id for one in found if one.agent_id is not None]
        assert len(owners) == len(set(owners)), "two operations of one agent"
        for identifier, states in self.ended.items():
            one = self.read(ops.get, identifier)
            assert one is not None, "an ended operation is gone"
            assert one.state.value in states, f"{one.kind} is {one.state}, it was told {states}"
            assert one.wake_at is None, "an ended operation waits (I-9)"

    @invariant()
    def events_fold_to_rows(self) -> None:
        """I-6."""
        states: dict[str, str] = {}
        for event in self.told("operation."):
            data = json.loads(event.data)
            assert event.kind != "operation.started" or data["id"] not in states, "it began twice"
            states[data["id"]] = "running" if event.kind == "operation.started" else data["state"]
        assert states == dict(self.rows("SELECT id, state FROM operations")), "events and operations differ (I-6)"
