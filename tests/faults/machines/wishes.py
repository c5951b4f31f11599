"""What the operator wishes of agents: verbs, crashes of boxes, deeds of the keeper, tombstones, kicks (D-25, BR-11).

The model is what the operator was told. After a crash the same verb is asked again, as a person would: repeating is
harmless by design, so what it is told the second time decides.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from melipona.agents import store as agent_rows
from melipona.clock import Micros
from melipona.errors import Conflict, NotFound, Refused
from melipona.ids import AgentId
from melipona.operations import store as ops

from .base import OPERATOR, SETTINGS, StoreMachine, begin_life, services
from .bench import CrashError

NAMES = ("ana", "ben", "cy")
OFTEN = ("ana", "ana", "ben", "cy")
VERBS = ("start", "stop", "restart", "pause", "resume")
RESTARTS = SETTINGS.watch.restarts
ENDS_A_BOX = {"stop": "stopping", "restart": "restarting", "destroy": "destroying", "purge": "purging"}


@dataclass(slots=True)
class Known:
    """An agent as the operator knows it."""

    id: AgentId
    wish: str = "running"
    paused: bool = False
    has_run: bool = False
    trouble: str | None = None
    crashes: int = 0
    kicks: int = 0
    manager: bool = False
    waiting: int = 0
    operation: str | None = None


class WishMachine(StoreMachine):
    """Rules are the verbs, the keeper's looks, crashes of boxes, and mail."""

    agents_of = ("ana",)

    def begin(self) -> None:
        self.known: dict[str, Known] = {name: Known(id_) for name, id_ in self.ids.items()}
        self.purged: list[Known] = []
        self.count = 0
        self._live()

    def _live(self) -> None:
        epoch = int(self.bench.do(begin_life))
        self.mail, self.agents, self.operations = services(self.bench, epoch)

    def recover(self) -> None:
        """The next daemon goes on with every wish that is in flight: their kinds are all resumable (I-8)."""
        before = {one.id for one in self.read(ops.running)}
        self._live()
        assert {one.id for one in self.bench.do(self.operations.takeover)} == before, "a wish in flight was dropped"

    def _ask(self, work: Any) -> tuple[str, bool]:
        """Ask, and once more after a crash: what was told (`ok`, or why not), and whether it took two times."""
        for again in (False, True):
            try:
                self.bench.run(work())
            except CrashError:
                self.restart()
                continue
            except (Conflict, NotFound) as error:
                return error.code, again
            return "ok", again
        raise AssertionError("two crashes in a row")

    # ---- verbs ------------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), manager=st.booleans())
    def create(self, name: str, manager: bool) -> None:
        """A new agent, or a tombstone brought back."""
        old = self.known.get(name)
        options = {"role": "manager"} if manager else {}
        others = any(one.manager and one.wish in ("running", "stopped") for n, one in self.known.items() if n != name)
        removed = any(one.operation for one in self.purged if one is not None and self._name_of(one) == name)
        told, again = self._ask(lambda: self.agents.create(OPERATOR, name, "playbook", **options))
        alive = old is not None and old.wish in ("running", "stopped")
        if told == "ok":
            assert not alive, "a name was given twice"
            assert not removed, "a name was given while its folders are removed (T44)"
            assert not ((manager or (old and old.manager)) and others), "two managers (D-36)"
        elif told == "exists":
            assert alive or again
            if alive:
                return
        elif told == "manager_exists":
            assert others
            return
        else:
            assert told == "in_flight", told
            assert removed or (old is not None and old.operation), "a free name was refused"
            return
        row = self.read(agent_rows.named, name)
        if old is not None:
            assert row.id == old.id, "a tombstone came back as another"
            old.wish, old.paused = "running", False
            old.manager = old.manager or manager
        else:
            assert row.id not in {one.id for one in self.purged}, "a new agent has the id of a purged one"
            self.known[name] = Known(row.id, manager=manager)

    @rule(name=st.sampled_from(OFTEN), verbs=st.lists(st.sampled_from(VERBS), min_size=1, max_size=4))
    def verbs(self, name: str, verbs: list[str]) -> None:
        for verb in verbs:
            self._verb(name, verb)

    def _verb(self, name: str, verb: str) -> None:
        known = self.known.get(name)
        told, _ = self._ask(lambda: getattr(self.agents, verb)(OPERATOR, name))
        if known is None:
            assert told == "no_agent", told
            return
        if known.wish == "destroyed":
            assert told == "tombstone", told
            return
        if verb == "pause" and known.wish == "stopped":
            assert told == "stopped", told
            return
        assert told == "ok", f"{verb} was refused: {told}"
        self._told(verb, known)

    def _told(self, verb: str, known: Known) -> None:
        """What follows of a verb that was told `ok`."""
        {
            "start": self._started,
            "stop": self._stopped,
            "restart": self._restarted,
            "pause": self._paused,
            "resume": self._resumed,
        }[verb](known)

    def _started(self, known: Known) -> None:
        if known.wish == "running" and known.trouble is None:
            return
        known.wish, known.trouble, known.crashes = "running", None, 0
        self._kicked(known)

    def _stopped(self, known: Known) -> None:
        if known.wish != "stopped":
            known.wish, known.paused, known.trouble, known.crashes = "stopped", False, None, 0
            known.operation = known.operation or "stopping"

    def _restarted(self, known: Known) -> None:
        if known.wish == "stopped":
            self._started(known)
            return
        known.trouble, known.crashes = None, 0
        known.operation = known.operation or "restarting"

    def _paused(self, known: Known) -> None:
        known.paused = True

    def _resumed(self, known: Known) -> None:
        if known.paused:
            known.paused = False
            self._kicked(known)

    def _kicked(self, known: Known) -> None:
        """One each, of an agent that has run (BR-11)."""
        if known.has_run:
            known.kicks += 1
            known.waiting += 1

    @rule(name=st.sampled_from(NAMES), verb=st.sampled_from(["destroy", "purge"]))
    def ends(self, name: str, verb: str) -> None:
        known = self.known.get(name)
        told, again = self._ask(lambda: getattr(self.agents, verb)(OPERATOR, name))
        if known is None:
            assert told == "no_agent", told
            return
        if verb == "purge" and known.operation is not None:
            assert told == "operation_in_flight", told
            return
        assert told == "ok" or (again and verb == "purge" and told == "no_agent"), told
        if verb == "destroy" and known.wish == "destroyed":
            return
        known.paused, known.trouble, known.crashes = False, None, 0
        known.operation = known.operation or ENDS_A_BOX[verb]
        known.wish = "destroyed" if verb == "destroy" else "purged"
        if verb == "purge":
            self.purged.append(self.known.pop(name))
            known.has_run, known.waiting = False, 0

    # ---- what happens beside ----------------------------------------------------------------------------------------

    @rule()
    def keeper_acts(self) -> None:
        """The keeper ends every operation in flight, as one whose box is down."""
        for operation in self.read(ops.running):
            known = next(one for one in self._all() if one.id == operation.agent_id)
            assert operation.kind == known.operation, f"{operation.kind} is in flight, {known.operation} was asked for"
            try:
                self.write(self.agents.finished, operation)
            except CrashError:
                found = self.read(ops.get, operation.id)
                assert found is not None
                if found.state.value == "running":
                    return
            if known.operation == "restarting" and known.wish == "running":
                self._kicked(known)
            known.operation = None
            if self.crashes and not self.bench.fault:
                return

    @rule(name=st.sampled_from(NAMES))
    def runs_a_turn(self, name: str) -> None:
        """It has run: from now on it is kicked. Its good turn ends its trouble."""
        known = self.known.get(name)
        if known is None or known.wish != "running":
            return

        def op(c: Any) -> None:
            agent_rows.change(c, known.id, has_run=1)
            agent_rows.ended_well(c, known.id, name)

        try:
            self.write(op)
        except CrashError:
            self.write(op)
        known.has_run, known.trouble, known.crashes = True, None, 0

    @rule(name=st.sampled_from(OFTEN), ending=st.booleans())
    def box_crashes_while(self, name: str, ending: bool) -> None:
        """Also one that is being ended for a restart."""
        if ending:
            self._verb(name, "restart")
        self.box_crashes(name)

    @rule(name=st.sampled_from(OFTEN))
    def box_crashes(self, name: str) -> None:
        known = self.known.get(name)
        if known is None:
            return
        counts = known.wish == "running" and known.operation is None
        try:
            told = self.write(self.agents.box_crashed, known.id, "it is gone")
        except CrashError:
            told = counts and self.read(agent_rows.named, name).crashes > known.crashes
            counts = told
        assert told == counts, "a box that we end was taken for a crash, or a crash for none (CW-7)"
        if counts:
            known.crashes += 1
            known.trouble = "crashed" if known.crashes <= RESTARTS else "gave_up"

    @rule(name=st.sampled_from(NAMES))
    def operator_writes(self, name: str) -> None:
        known = self.known.get(name)
        self.count += 1
        key = f"k{self.count}"

        def op(c: Any) -> Any:
            return self.mail.send(c, OPERATOR, name, "hello", key=key)

        try:
            self.write(op)
        except CrashError:
            try:
                self.write(op)
            except (Conflict, NotFound, Refused):
                raise AssertionError("a repeated send was refused") from None
        except (Refused, NotFound):
            assert known is None or known.wish == "destroyed", "mail to a living agent was refused"
            return
        assert known is not None
        assert known.wish != "destroyed", "mail was taken for a tombstone (TB-2)"
        known.waiting += 1

    @rule()
    def restarts(self) -> None:
        self.restart()

    # ---- what must always hold --------------------------------------------------------------------------------------

    def _all(self) -> list[Known]:
        return [*self.known.values(), *self.purged]

    def _name_of(self, known: Known) -> str:
        return str(self.rows(f"SELECT name FROM agents WHERE id = '{known.id}'")[0][0])

    @invariant()
    def rows_are_what_was_told(self) -> None:
        found = {
            row[0]: row[1:] for row in self.rows("SELECT id, name, wish, paused_at, trouble, crashes, role FROM agents")
        }
        assert set(found) == {one.id for one in self._all()}, "agents came or went"
        for one in self._all():
            name, wish, paused, trouble, crashes, role = found[one.id]
            said = (wish, paused is not None, trouble, crashes)
            assert said == (one.wish, one.paused, one.trouble, one.crashes), f"{name}: {said}, it was told {one}"
            assert one.manager == (role == "manager"), f"{name} is {role}"
        managers = [one for one in self.known.values() if one.manager and one.wish in ("running", "stopped")]
        assert len(managers) <= 1, "two managers (D-36)"

    @invariant()
    def what_must_be_done_is_in_flight(self) -> None:
        """I-8, I-9: a wish whose box has not ended yet has a row that a loop finds."""
        running = {row[0]: row[1] for row in self.rows("SELECT agent_id, kind FROM operations WHERE state = 'running'")}
        assert running == {one.id: one.operation for one in self._all() if one.operation}, "another thing is in flight"
        for id_, trouble, wake_at in self.rows("SELECT id, trouble, wake_at FROM agents"):
            waits = trouble == "crashed"
            assert (wake_at is not None) == waits, f"{id_} with trouble {trouble} wakes at {wake_at} (I-9)"
            assert wake_at is None or wake_at <= Micros(self.clock.now() + 5_000_000), "a back-off is too long (I-9)"

    @invariant()
    def kicks_come_once(self) -> None:
        """BR-7, BR-11; a purged agent's mail waits for nobody."""
        kicks = Counter(row[0] for row in self.rows("SELECT agent_id FROM messages WHERE kind = 'kick'"))
        assert kicks == Counter({one.id: one.kicks for one in self._all() if one.kicks}), "kicks are not what was told"
        for one in self._all():
            waits = self.rows(
                f"SELECT count(*) FROM messages WHERE agent_id = '{one.id}' AND state = 0 AND kind <> 'notice'"
            )
            assert waits[0][0] == one.waiting, f"{one.id}: {waits[0][0]} wait, {one.waiting} were sent"

    @invariant()
    def events_fold_to_wishes(self) -> None:
        """I-6: what happened to an agent, and the tombstones as they were told last (TB-4)."""
        wishes: dict[str, str] = {}
        paused: dict[str, bool] = {}
        states = {"started": "running", "stopped": "stopped", "destroyed": "destroyed", "purged": "purged"}
        for event in self.told("agent."):
            verb, id_ = event.kind.removeprefix("agent."), json.loads(event.data).get("id")
            if verb == "created":
                wishes[id_], paused[id_] = "running", False
            elif verb in states:
                wishes[id_] = states[verb]
                paused[id_] = paused[id_] and verb == "started"
            elif verb in ("paused", "resumed"):
                paused[id_] = verb == "paused"
        assert wishes == {one.id: one.wish for one in self._all()}, "events and wishes differ (I-6)"
        assert paused == {one.id: one.paused for one in self._all()}, "events and pauses differ (I-6)"
        told = self.told("tombstones.changed")
        names = sorted(name for name, one in self.known.items() if one.wish == "destroyed")
        assert (json.loads(told[-1].data)["names"] if told else []) == names, "tombstones were told wrongly (TB-4)"
