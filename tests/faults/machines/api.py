"""Two clients of the HTTP API: a snapshot and the events after it equal a fresh snapshot, with any disconnects (I-10).

The API is served on its real socket. A client folds events as the page does: counts and operations from the events
alone, agents by looking at those that an event names.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.client import Client, Problem
from melipona.clock import ManualClock
from melipona.ids import AgentId, AgentName
from melipona.mail import store as mail_rows
from melipona.operations import store as ops
from melipona.settings import Settings
from melipona.testing.served import ServedHive, served
from melipona.turns import store as turn_rows
from melipona.turns.loop import cause_of
from melipona.turns.store import DueAgent

from .base import StoreMachine
from .bench import prepared

Json = dict[str, Any]
NAMES = ("ana", "ben")
MAIL = ("waiting", "leased", "parked", "unread")
SHOWN = (
    "id",
    "name",
    "role",
    "model",
    "wish",
    "paused_by",
    "paused_at",
    "waiting",
    "turn",
    "status",
    "crashes",
    "state",
)


class Follower:
    """A client with a picture of the hive. `number` is the last event that is in it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.load()

    def load(self) -> None:
        """A fresh snapshot."""
        state = self.client.get("/state")
        self.store, self.number = state["store"], int(state["event"])
        self.picture = picture_of(state)

    def page(self, limit: int) -> int:
        """Some of the events that came since; how many."""
        items = self.client.get("/events/page", after=self.number, limit=limit)["items"]
        for event in items:
            self.fold(event)
        return len(items)

    def stream(self, most: int) -> None:
        """The live stream, resumed from the last event, left in its middle after some."""
        newest = int(self.client.get("/state")["event"])
        if newest == self.number:
            return
        stream = self.client.stream("/events", last=f"{self.store}-{self.number}")
        for name, _, data in stream:
            assert name not in ("reset", "beat"), "a stream withholds events"
            if name == "hello":
                continue
            self.fold(data)
            most -= 1
            if self.number >= newest or most <= 0:
                break
        stream.close()  # type: ignore[attr-defined]

    def catch_up(self) -> None:
        while self.page(50):
            pass

    def fold(self, event: Json) -> None:
        """One event: numbers follow each other without a gap."""
        assert event["id"] == self.number + 1, f"event {event['id']} came after {self.number} (OP-8)"
        self.number = event["id"]
        kind, data = event["kind"], event["data"]
        if kind.startswith("message."):
            self._mail(kind, data)
        elif kind == "operation.started":
            self.picture["operations"][data["id"]] = data["kind"]
        elif kind == "operation.ended":
            self.picture["operations"].pop(data["id"])
        elif kind in ("turn.started", "turn.ended"):
            self.picture["turns"] += 1 if kind == "turn.started" else -1
        if event["agent"] is not None:
            self._look(event["agent"])

    def _mail(self, kind: str, data: Json) -> None:
        counts = self.picture["mail"]
        if kind == "message.sent":
            counts["unread" if data["agent_id"] is None else "waiting"] += 1
            return
        read = kind == "message.handled" and data["turn"] is None
        before = {
            "message.leased": "waiting",
            "message.handled": "unread" if read else "leased",
            "message.given_back": "leased",
            "message.parked": "leased" if data.get("turn") else "waiting",
            "message.retried": "parked",
        }[kind]
        after = {"leased": "leased", "given_back": "waiting", "parked": "parked", "retried": "waiting"}
        counts[before] -= 1
        now_in = after.get(kind.removeprefix("message."))
        if now_in is not None:
            counts[now_in] += 1

    def _look(self, name: str) -> None:
        try:
            agent = self.client.get(f"/agents/{name}")
        except Problem:
            self.picture["agents"].pop(name, None)
            return
        if agent["wish"] in ("running", "stopped"):
            self.picture["agents"][name] = {key: agent[key] for key in SHOWN}
        else:
            self.picture["agents"].pop(name, None)


def picture_of(state: Json) -> Json:
    """What a client keeps of a snapshot."""
    return {
        "agents": {agent["name"]: {key: agent[key] for key in SHOWN} for agent in state["agents"]},
        "mail": {name: state["mail"][name] for name in MAIL},
        "operations": {one["id"]: one["kind"] for one in state["operations"]},
        "turns": state["turns"],
    }


class ApiMachine(RuleBasedStateMachine):
    """Two followers, what they and agents do, and when they look."""

    chunk = 3

    def __init__(self) -> None:
        super().__init__()
        self.data = Path(tempfile.mkdtemp(prefix="api-machine-")) / "data"
        self.data.mkdir(0o700)
        (self.data / "mel.db").write_bytes(prepared((StoreMachine, StoreMachine.agents_of), StoreMachine._prepare))
        self.clock = ManualClock()
        self.stack = ExitStack()
        self.hive: ServedHive = self.stack.enter_context(served(self.data, settings=Settings(), clock=self.clock))
        self.clients = [Follower(self.hive.client), Follower(self.hive.client)]
        self.turns: dict[str, int] = {}
        self.count = 0

    def teardown(self) -> None:
        try:
            for follower in self.clients:
                self._equals(follower)
        finally:
            self.stack.close()
            shutil.rmtree(self.data.parent)

    def _equals(self, follower: Follower) -> None:
        follower.catch_up()
        fresh = follower.client.get("/state")
        assert follower.number == fresh["event"], "the stream ends before the snapshot"
        assert follower.picture == picture_of(fresh), "snapshot and events differ from a fresh snapshot (I-10)"

    def _asked(self, work: Any) -> None:
        """A request may be refused; it must change nothing then, which the pictures show."""
        try:
            work()
        except Problem as refused:
            if refused.status not in (403, 404, 409, 422):
                raise

    # ---- clients ----------------------------------------------------------------------------------------------------

    @rule(who=st.integers(0, 1), limit=st.integers(1, 5))
    def reads_a_page(self, who: int, limit: int) -> None:
        self.clients[who].page(limit)

    @rule(who=st.integers(0, 1), most=st.integers(1, 6))
    def follows_the_stream(self, who: int, most: int) -> None:
        self.clients[who].stream(most)

    @rule(who=st.integers(0, 1))
    def begins_anew(self, who: int) -> None:
        self.clients[who].load()

    @rule(who=st.integers(0, 1))
    def compares(self, who: int) -> None:
        self._equals(self.clients[who])

    @rule(who=st.integers(0, 1), to=st.sampled_from([*NAMES, "*"]), twice=st.booleans())
    def sends(self, who: int, to: str, twice: bool) -> None:
        self.count += 1
        body, key = {"to": to, "body": f"message {self.count}"}, f"key-{self.count}"
        client = self.clients[who].client

        def send() -> None:
            first = client.post_keyed("/messages", body, key=key)
            if twice:
                assert client.post_keyed("/messages", body, key=key)["id"] == first["id"], "a key served twice (I-2)"

        self._asked(send)

    @rule(who=st.integers(0, 1), name=st.sampled_from([*NAMES, "cy"]))
    def makes_an_agent(self, who: int, name: str) -> None:
        self._asked(lambda: self.clients[who].client.post("/agents", {"name": name, "engine": "playbook"}))

    @rule(
        who=st.integers(0, 1),
        name=st.sampled_from(NAMES),
        verb=st.sampled_from(["start", "stop", "restart", "pause", "resume", "destroy"]),
    )
    def says_a_verb(self, who: int, name: str, verb: str) -> None:
        self._asked(lambda: self.clients[who].client.post(f"/agents/{name}/{verb}"))

    @rule(who=st.integers(0, 1), name=st.sampled_from(NAMES), model=st.sampled_from(["claude-a", "claude-b", None]))
    def changes_an_agent(self, who: int, name: str, model: str | None) -> None:
        self._asked(lambda: self.clients[who].client.patch(f"/agents/{name}", {"model": model}))

    @rule(who=st.integers(0, 1))
    def reads_the_inbox(self, who: int) -> None:
        self._asked(lambda: self.clients[who].client.post("/inbox/read", {}))

    @rule(who=st.integers(0, 1))
    def retries_what_is_parked(self, who: int) -> None:
        client = self.clients[who].client
        for message in client.get("/messages", state="parked")["items"]:
            self._asked(lambda number=message["id"]: client.post(f"/messages/{number}/retry"))

    # ---- the hive ---------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), words=st.sampled_from(["busy", "still busy"]))
    def agent_speaks(self, name: str, words: str) -> None:
        def op(c: Connection) -> None:
            agent = agent_rows.by_name(c, name)
            if agent is not None and agent.alive:
                agent_rows.set_status(c, agent.id, words)

        self.hive.write(op)

    @rule(name=st.sampled_from(NAMES))
    def turn_begins(self, name: str) -> None:
        self.turns |= self.hive.write(self._begin, name)

    @staticmethod
    def _begin(c: Connection, name: str) -> dict[str, int]:
        agent = agent_rows.by_name(c, name)
        if agent is None or turn_rows.open_turn_of(c, agent.id) is not None or not mail_rows.waiting(c, agent.id):
            return {}
        since = agent.entered_at
        turn = turn_rows.open_turn(c, DueAgent(AgentId(agent.id), AgentName(name), since), epoch=1, host="here")
        mail = mail_rows.lease(c, agent.id, turn, 1)
        turn_rows.set_cause(c, turn, AgentName(name), cause_of(mail))
        return {name: turn}

    @rule(name=st.sampled_from(NAMES), good=st.booleans())
    def turn_ends(self, name: str, good: bool) -> None:
        turn = self.turns.pop(name, None)
        if turn is None:
            return
        mail, result = self.hive.services.mail, "ok" if good else "failed"

        def op(c: Connection) -> None:
            values = {"result": result, "reason": None}
            turn_rows.end_turn(c, turn, 1, values)  # type: ignore[arg-type]
            if good:
                mail.acknowledge(c, turn, 1)  # type: ignore[arg-type]
            else:
                mail.give_back(c, turn, 1, failed=True, reason="it broke")  # type: ignore[arg-type]

        self.hive.write(op)

    @rule()
    def keeper_acts(self) -> None:
        agents = self.hive.services.agents
        for operation in self.hive.read(ops.running):
            self.hive.write(agents.finished, operation)
