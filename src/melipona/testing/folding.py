"""A client that folds: loads the snapshot once, follows the events, and must know what a fresh snapshot says (I-10).

It hangs up at random, loses daemons, comes back with the last id it saw, and now and then loads another snapshot to
compare: at exactly the event that the snapshot names, what was folded must equal what is shown.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from melipona.client import Client, ClientError
from melipona.testing.invariants import Finding

Json = dict[str, Any]
MOVES = {
    "message.leased": ("waiting", "leased"),
    "message.given_back": ("leased", "waiting"),
    "message.handled": ("leased", None),
    "message.retried": (None, "waiting"),
}
MOST_FINDINGS = 20


@dataclass(slots=True)
class Folded:
    """What a client of the events knows of a hive."""

    mail: dict[str, int] = field(default_factory=dict[str, int])
    waiting: dict[str, int] = field(default_factory=dict[str, int])
    """Waiting messages of each agent that has any."""
    turns: dict[str, int] = field(default_factory=dict[str, int])
    """The open turn of each agent that has one."""
    wishes: dict[str, str] = field(default_factory=dict[str, str])
    operations: set[str] = field(default_factory=set[str])
    states: dict[str, str] = field(default_factory=dict[str, str])
    """Where each message is that an event told of; of older ones only the counts are known."""

    @classmethod
    def of(cls, snapshot: Json) -> Folded:
        """What a snapshot says."""
        agents = snapshot["agents"]
        return cls(
            mail={name: snapshot["mail"][name] for name in ("waiting", "leased", "parked")},
            waiting={agent["name"]: agent["waiting"] for agent in agents if agent["waiting"]},
            turns={agent["name"]: agent["turn"] for agent in agents if agent["turn"] is not None},
            wishes={agent["name"]: agent["wish"] for agent in agents},
            operations={operation["id"] for operation in snapshot["operations"]},
        )

    def differs(self, other: Folded) -> list[str]:
        """What the two say differently."""
        names = ("mail", "waiting", "turns", "wishes", "operations")
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        return [f"{name}: folded {mine}, shown {shown}" for name, mine, shown in pairs if mine != shown]

    def take(self, event: Json) -> None:
        """Fold one event."""
        kind, data = str(event["kind"]), event["data"]
        agent = str(event["agent"] or "")
        if kind.startswith("message.") and agent:
            self._message(kind, agent, event["subject"], data)
        elif kind == "turn.started":
            self.turns[agent] = data["id"]
        elif kind == "turn.ended":
            self.turns.pop(agent, None)
        elif kind == "operation.started":
            self.operations.add(data["id"])
        elif kind == "operation.ended":
            self.operations.discard(data["id"])
        elif kind in ("agent.created", "agent.started"):
            self.wishes[agent] = "running"
        elif kind == "agent.stopped":
            self.wishes[agent] = "stopped"
        elif kind in ("agent.destroyed", "agent.purged"):
            self.wishes.pop(agent, None)

    def _message(self, kind: str, agent: str, subject: str, data: Json) -> None:
        if kind == "message.sent":
            origin, target = None, "waiting"
        elif kind == "message.parked":
            origin, target = ("leased" if data.get("turn") is not None else "waiting"), "parked"
        else:
            origin, target = MOVES[kind]
        if kind == "message.retried":
            origin = self.states.get(subject, "parked")
        for state, step in ((origin, -1), (target, 1)):
            if state is not None:
                self.mail[state] += step
            if state == "waiting":
                self.waiting[agent] = self.waiting.get(agent, 0) + step
                if not self.waiting[agent]:
                    del self.waiting[agent]
        if target is not None:
            self.states[subject] = target
        else:
            self.states.pop(subject, None)


class FoldingClient:
    """Follows a hive in a thread of its own until it is stopped. `findings` are the violations of I-10.

    It compares after about `compare_every` events, and hangs up after `hang_up` at most.
    """

    def __init__(self, client: Client, seed: int, *, compare_every: int = 200, hang_up: int = 400) -> None:
        self._client, self._random, self._every, self._hang_up = client, random.Random(seed), compare_every, hang_up
        self._over, self._last_look = threading.Event(), threading.Event()
        self._news = threading.Condition()
        self.findings: list[Finding] = []
        self.events = 0
        self.hung_up = 0
        self.compared = 0
        self._folded: Folded | None = None
        self._store, self._last = "", 0
        self._shown: Json | None = None
        self._next = compare_every
        self._thread = threading.Thread(target=self._run, daemon=True, name="folding")
        self._thread.start()

    def finish(self, within: float = 30) -> list[Finding]:
        """Compare once more with the hive as it is now, which must be ready, and end; the violations.

        The thread itself ends with the hive's stream.
        """
        self._last_look.set()
        shown = self._client.get("/state")
        with self._news:
            settled = self._news.wait_for(self._has_compared, within)
            if settled and self._folded is not None:
                if self._last > shown["event"]:  # something happened since that look; now no event is taken meanwhile
                    shown = self._client.get("/state")
                self._shown = shown
                self._compare()
                settled = self._news.wait_for(self._has_compared, within)
            if not settled:
                self._found(f"event {self._last} is the last that came, the hive is at {shown['event']}")
        self._over.set()
        return self.findings

    def _has_compared(self) -> bool:
        return self._shown is None

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._follow()
            except ClientError:
                self._over.wait(0.05)  # the daemon is away

    def _follow(self) -> None:
        if self._folded is None:
            snapshot = self._client.get("/state")
            self._folded, self._store, self._last = Folded.of(snapshot), snapshot["store"], snapshot["event"]
        hang_up_after = self._random.randrange(1, self._hang_up)
        for count, event in enumerate(self._pieces(), 1):
            with self._news:
                self._take(event)
                self._news.notify_all()
            if self._shown is None and self.events >= self._next and not self._last_look.is_set():
                self._next = self.events + self._every
                self._look()
            if count >= hang_up_after:
                self.hung_up += 1
                return

    def _look(self) -> None:
        """Load a snapshot, to be compared when its event has come."""
        shown = self._client.get("/state")
        with self._news:
            if not self._last_look.is_set():
                self._shown = shown
                self._compare()

    def _pieces(self) -> Iterator[Json]:
        for name, _, data in self._client.stream("/events", last=f"{self._store}-{self._last}"):
            if name == "reset":
                self._found(f"after event {self._last} the stream says reset")
            if "kind" in data:
                yield data

    def _take(self, event: Json) -> None:
        assert self._folded is not None
        if event["id"] <= self._last:
            self._found(f"event {event['id']} comes after event {self._last}")
            return
        if event["id"] != self._last + 1:
            self._found(f"event {event['id']} comes after event {self._last}: some are missing")
        self._last = event["id"]
        self.events += 1
        self._folded.take(event)
        self._compare()

    def _compare(self) -> None:
        """Compare with the snapshot that waits, once its event is the last one that was folded."""
        if self._shown is None or self._folded is None or self._last < self._shown["event"]:
            return
        if self._last > self._shown["event"]:
            self._found(f"a snapshot of event {self._shown['event']} came after event {self._last}")
        else:
            self.compared += 1
            for difference in self._folded.differs(Folded.of(self._shown)):
                self._found(f"at event {self._last} {difference}")
        self._shown = None

    def _found(self, what: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding("I-10", "client", what))
