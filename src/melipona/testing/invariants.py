"""The checker: does a store, as it lies there, satisfy the invariants of docs/design-ids.md?

Code of its own on purpose: it knows the tables by their names and nothing of the product's rooms, so that a mistake
there cannot hide here. It reads the database with `sqlite3` only, read-only, and compares three things: the rows, the
events, and what callers were told (`Promise`: ok, failed or unknown). Each violation is a `Finding` under the name of
the invariant it breaks.

    python -m melipona.testing.invariants DATA [--settled] [--secret TEXT]...

What it checks: I-1 to I-9 (of I-7 the counts; whether the longest waiting came first is a matter of the loop's tests),
I-14 as far as the store tells it, I-17 (the file is whole, the seals hold), I-19 (with `secrets`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Told = Literal["ok", "failed", "unknown"]
WAITING, LEASED, HANDLED, PARKED = 0, 1, 2, 3
SECOND = 1_000_000
WEEK = 7 * 86_400 * SECOND
LONGEST_WAIT = WEEK + 3600 * SECOND
"""Microseconds: no `wake_at` lies farther in the future (a rate limit is believed for seven days)."""
SKEW = 5 * SECOND

PERSON = frozenset({"gave_up", "no_key", "model_refused", "disk_limit", "engine_missing", "box_failed"})
"""Troubles that may stand without a `wake_at`: a person must act."""
VERBS = {
    "create": ("agent.created",),
    "start": ("agent.started",),
    "stop": ("agent.stopped",),
    "pause": ("agent.paused",),
    "resume": ("agent.resumed",),
    "destroy": ("agent.destroyed",),
    "purge": ("agent.purged",),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation. `subject` is what it is about: `m12`, `t7`, an agent's name."""

    invariant: str
    subject: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.subject}: {self.what}"


@dataclass(frozen=True, slots=True)
class Promise:
    """What a caller was told about one request.

    `kind` is `send`, or a verb of an agent (`create`, `stop`, ...). A send names `to`, `body`, its `key` and, when it
    was told, the message's `id`; a verb names the `agent`. `unknown`: the caller got no answer, or was told so.
    """

    outcome: Told
    kind: str
    key: str | None = None
    id: int | None = None
    to: str | None = None
    body: str | None = None
    sender: str = "operator"
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Expect:
    """What the checker is told about the hive. `cap` and `attempts` are its settings, None: not checked."""

    settled: bool = False
    """Nothing is under way: no leased message, open turn, running operation, open reservation."""
    live: bool = False
    """The newest daemon is ready and has taken over every box and turn of older ones (which it does after `ready`)."""
    cap: int | None = None
    attempts: int | None = None
    now: int | None = None
    """Microseconds; the machine's clock when None."""
    upstream_micro_usd: int | None = None
    """What the provider's own figures of all calls add up to, where every call ended with them."""


def _has_cause(cause: dict[str, Any]) -> bool:
    """Mail woke the turn, or a person asked for it by an operation."""
    return bool(cause.get("messages")) or (cause.get("kind") == "compact" and bool(cause.get("operation")))


def check(
    data: Path, promises: Iterable[Promise] = (), *, expect: Expect | None = None, secrets: Collection[str] = ()
) -> list[Finding]:
    """Every violation in the hive at `data` (its data folder, or the database file itself)."""
    path = data / "mel.db" if data.is_dir() else data
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as c:
        c.row_factory = sqlite3.Row
        c.execute("BEGIN")
        found = list(_Checker(c, expect or Expect()).run(promises))
    if secrets:
        found += list(_secrets(data if data.is_dir() else data.parent, secrets))
    return found


@dataclass(slots=True)
class _Mail:
    """A message as its events tell it."""

    agent: str | None
    sender: str
    state: int = WAITING
    turn: int | None = None
    leases: int = 0
    failures: int = 0
    seen: bool = False
    parked: int = 0


@dataclass(slots=True)
class _Agent:
    """An agent as its events tell it."""

    name: str
    wish: str = "running"
    paused: bool = False
    trouble: str | None = None
    crashes: int = 0


@dataclass(slots=True)
class _Checker:
    c: sqlite3.Connection
    expect: Expect
    whole: bool = True
    """No event was removed by age: every row has its whole history."""
    mail: dict[int, _Mail] = field(default_factory=dict[int, _Mail])
    turns: dict[int, tuple[str, str | None]] = field(default_factory=dict[int, tuple[str, str | None]])
    boxes: dict[str, str] = field(default_factory=dict[str, str])
    operations: dict[str, str] = field(default_factory=dict[str, str])
    agents: dict[str, _Agent] = field(default_factory=dict[str, _Agent])
    named: dict[str, str] = field(default_factory=dict[str, str])
    kinds: dict[str | None, Counter[str]] = field(default_factory=lambda: defaultdict(Counter[str]))

    def run(self, promises: Iterable[Promise]) -> Generator[Finding]:
        yield from self._file()
        self.whole = not self._rows("SELECT 1 FROM event_seals WHERE pruned = 1 LIMIT 1")
        yield from self._fold()
        yield from self._messages()
        yield from self._keys()
        yield from self._turns()
        yield from self._others()
        yield from self._waits()
        yield from self._money()
        for promise in promises:
            yield from self._promise(promise)

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        return self.c.execute(query, values).fetchall()

    def _one(self, query: str, *values: object) -> Any:
        return self.c.execute(query, values).fetchone()[0]

    # ---- the file (I-17) -------------------------------------------------------------------------------------------

    def _file(self) -> Generator[Finding]:
        said = self._one("PRAGMA quick_check")
        if said != "ok":
            yield Finding("I-17", "store", f"the file is damaged: {said}")
        for row in self._rows("PRAGMA foreign_key_check"):
            yield Finding("I-17", "store", f"a row of {row[0]} names nothing in {row[2]}")
        yield from self._seals()
        newest, given = self._rows(
            "SELECT (SELECT coalesce(max(id), 0) FROM events),"
            " (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events')"
        )[0]
        if given > newest and not self._rows("SELECT 1 FROM event_seals WHERE last >= ? AND pruned = 1", given):
            yield Finding("I-17", "events", f"number {given} was given and the newest event is {newest}")

    def _seals(self) -> Generator[Finding]:
        """The chain of D-32, recomputed: a second implementation of its text."""
        head, last = "", 0
        for seal in self._rows("SELECT last, first, count, sealed_at, hash, pruned FROM event_seals ORDER BY last"):
            if not seal["pruned"]:
                digest = hashlib.sha256(_canonical([head, seal["first"], seal["last"], seal["count"], seal[3]]))
                rows = self._rows(
                    "SELECT id, at, kind, agent, subject, principal, request_id, data, person, via FROM events"
                    " WHERE id > ? AND id <= ? ORDER BY id",
                    last,
                    seal["last"],
                )
                for row in rows:  # the person stands there only where there is one
                    digest.update(_canonical(list(row) if row["person"] or row["via"] else list(row)[:8]))
                if len(rows) != seal["count"] or digest.hexdigest() != seal["hash"]:
                    yield Finding("I-17", "events", f"the seal over {seal['first']}..{seal['last']} does not hold")
            head, last = seal["hash"], seal["last"]

    # ---- the events, folded (I-1, I-3, I-5, I-6) -------------------------------------------------------------------

    def _fold(self) -> Generator[Finding]:
        for number, kind, agent, subject, raw in self.c.execute(
            "SELECT id, kind, agent, subject, data FROM events ORDER BY id"
        ):
            self.kinds[agent][kind] += 1
            noun = kind.partition(".")[0]
            data: dict[str, Any] = json.loads(raw)
            if noun == "message":
                yield from self._message_event(number, kind, subject, data)
            elif noun == "turn":
                yield from self._turn_event(number, kind, agent, data)
            elif noun == "box":
                self._box_event(kind, subject)
            elif noun == "operation":
                self._operation_event(kind, agent, data)
            elif noun == "agent":
                self._agent_event(kind, agent, data)

    def _message_event(self, number: int, kind: str, subject: str, data: dict[str, Any]) -> Generator[Finding]:
        identifier = int(subject[1:])
        if kind == "message.sent":
            if identifier in self.mail:
                yield Finding("I-6", subject, f"event {number} sends it a second time")
            self.mail[identifier] = _Mail(data["agent_id"], data["sender"])
            return
        known = self.mail.get(identifier)
        if known is None:
            if self.whole:
                yield Finding("I-6", subject, f"event {number} ({kind}) of a message that no event sent")
            return
        turn = data.get("turn")
        legal = {
            "message.leased": (WAITING,),
            "message.handled": (LEASED,) if known.agent else (WAITING,),
            "message.given_back": (LEASED,),
            "message.parked": (LEASED,) if turn is not None else (WAITING,),
            "message.retried": (WAITING, PARKED),
        }.get(kind)
        if legal is None:
            return
        if known.state not in legal:
            yield Finding("I-6", subject, f"event {number}: {kind} of a message that is {_STATES[known.state]}")
        if kind != "message.leased" and turn is not None and known.turn != turn:
            yield Finding("I-5", subject, f"event {number}: {kind} by t{turn}, the lease is t{known.turn}'s")
        yield from self._moved(known, number, kind, subject, data)

    def _moved(self, known: _Mail, number: int, kind: str, subject: str, data: dict[str, Any]) -> Generator[Finding]:
        if kind == "message.leased":
            known.leases += 1
            known.state, known.turn, known.seen = LEASED, data["turn"], bool(data["maybe_seen"])
            if known.leases > 1 and not known.seen:
                yield Finding("I-3", subject, f"event {number}: handed out for the {known.leases}th time unflagged")
        elif kind == "message.handled":
            known.state = HANDLED
        elif kind == "message.parked":
            known.state, known.failures = PARKED, data["failures"]
            known.parked += data["turn"] is not None
        elif kind == "message.given_back":
            known.state, known.turn, known.failures = WAITING, None, data["failures"]
        else:
            known.state, known.failures = WAITING, 0

    def _turn_event(self, number: int, kind: str, agent: str, data: dict[str, Any]) -> Generator[Finding]:
        turn = data["id"]
        state, _ = self.turns.get(turn, (None, None))
        if kind == "turn.started":
            if state is not None:
                yield Finding("I-6", f"t{turn}", f"event {number} starts it a second time")
            if not _has_cause(data["cause"]):
                yield Finding("I-6", f"t{turn}", "it began without a cause")
            self.turns[turn] = ("running", None)
        elif state is None:
            if self.whole:
                yield Finding("I-6", f"t{turn}", f"event {number} ({kind}) of a turn that no event started")
        elif state == "ended":
            yield Finding("I-5", f"t{turn}", f"event {number}: {kind} of {agent}'s turn after its end")
        elif kind == "turn.ended":
            self.turns[turn] = ("ended", data["result"])
        elif kind in ("turn.waiting", "turn.running"):
            self.turns[turn] = (kind.partition(".")[2], None)
        elif kind == "turn.adopted":
            self.turns[turn] = ("running", None)

    def _box_event(self, kind: str, subject: str | None) -> None:
        if subject is not None and kind != "box.swept":
            self.boxes[subject] = kind.partition(".")[2]

    def _operation_event(self, kind: str, agent: str | None, data: dict[str, Any]) -> None:
        self.operations[data["id"]] = "running" if kind == "operation.started" else data["state"]
        if data["kind"] == "restarting" and kind == "operation.started" and agent in self.named:
            known = self.agents[self.named[agent]]
            known.trouble, known.crashes = None, 0

    def _agent_event(self, kind: str, name: str, data: dict[str, Any]) -> None:
        if kind == "agent.created":
            self.named[name] = data["id"]
            if data["reused"]:
                self.agents.setdefault(data["id"], _Agent(name)).wish = "running"
            else:
                self.agents[data["id"]] = _Agent(name)
            return
        known = self.agents.get(data.get("id") or self.named.get(name, ""))
        if known is None:
            return
        match kind:
            case "agent.started":
                known.wish, known.trouble, known.crashes = "running", None, 0
            case "agent.stopped" | "agent.destroyed" | "agent.purged":
                known.wish = kind.partition(".")[2]
                known.paused, known.trouble, known.crashes = False, None, 0
            case "agent.paused" | "agent.resumed":
                known.paused = kind == "agent.paused"
            case "agent.trouble":
                known.trouble = data["code"]
            case "agent.trouble_over":
                known.trouble = None
            case "agent.crashed":
                known.crashes = data["crashes"]
            case "agent.changed" if "crashes" in data:
                known.crashes = data["crashes"]
            case _:
                pass

    # ---- mail (I-1, I-3, I-4, I-5, I-6) ----------------------------------------------------------------------------

    def _messages(self) -> Generator[Finding]:
        present: set[int] = set()
        for row in self.c.execute("SELECT * FROM messages ORDER BY id"):
            present.add(row["id"])
            yield from self._message(row, f"m{row['id']}")
        for identifier, known in self.mail.items():
            if identifier not in present and known.state != HANDLED:
                yield Finding("I-1", f"m{identifier}", f"it was sent, is {_STATES[known.state]}, and its row is gone")
        yield from self._told_once()

    def _message(self, row: sqlite3.Row, subject: str) -> Generator[Finding]:
        known = self.mail.get(row["id"])
        if known is None:
            if self.whole:
                yield Finding("I-6", subject, "no event tells of it")
            return
        folded = (known.state, known.leases, known.failures)
        stored = (row["state"], row["attempts"], row["failures"])
        if self.whole and folded != stored:
            yield Finding("I-6", subject, f"its events say (state, attempts, failures) {folded}, its row {stored}")
        if row["attempts"] > 1 and not row["maybe_seen"]:
            yield Finding("I-3", subject, f"{row['attempts']} turns had it and it is not flagged")
        if row["state"] in (LEASED, HANDLED) and row["agent_id"] is not None:
            if self.whole and row["turn"] != known.turn:
                yield Finding("I-6", subject, f"its row names t{row['turn']}, its events t{known.turn}")
            yield from self._by_its_turn(row, subject)
        limit = self.expect.attempts
        if limit is not None and (row["failures"] > limit or (row["failures"] == limit and row["state"] != PARKED)):
            yield Finding("I-4", subject, f"{row['failures']} turns failed with it, it is {_STATES[row['state']]}")

    def _by_its_turn(self, row: sqlite3.Row, subject: str) -> Generator[Finding]:
        turn = self.c.execute("SELECT agent_id, state, result FROM turns WHERE id = ?", (row["turn"],)).fetchone()
        if turn is None or turn["agent_id"] != row["agent_id"]:
            yield Finding("I-5", subject, f"it is {_STATES[row['state']]} by t{row['turn']}, which is not its agent's")
        elif row["state"] == HANDLED and (turn["state"], turn["result"]) != ("ended", "ok"):
            yield Finding("I-1", subject, f"it is handled and t{row['turn']} is {turn['state']} {turn['result']}")
        elif row["state"] == LEASED and turn["state"] == "ended":
            yield Finding("I-9", subject, f"it is leased to t{row['turn']}, which has ended")
        elif row["state"] == LEASED and self.expect.settled:
            yield Finding("I-9", subject, f"it is still leased to t{row['turn']}")

    def _told_once(self) -> Generator[Finding]:
        """I-4: the operator is told of each parking, once."""
        told = Counter[int]()
        for row in self.c.execute(
            "SELECT reply_to FROM messages WHERE kind = 'notice' AND sender = 'system' AND recipient = 'operator'"
            " AND send_key IS NULL AND reply_to IS NOT NULL"
        ):
            told[row[0]] += 1
        deleted = len(self.mail) > self._one("SELECT count(*) FROM messages")
        for identifier, known in self.mail.items():
            if told[identifier] != known.parked and not (deleted and told[identifier] < known.parked):
                yield Finding("I-4", f"m{identifier}", f"parked {known.parked} times, told {told[identifier]} times")

    def _keys(self) -> Generator[Finding]:
        for row in self.c.execute(
            "SELECT sender, send_key, count(*), count(DISTINCT recipient), count(DISTINCT coalesce(broadcast_id, id))"
            " FROM messages WHERE send_key IS NOT NULL GROUP BY sender, send_key HAVING count(*) > 1"
        ):
            if row[2] != row[3] or row[4] > 1:
                yield Finding("I-2", str(row[1]), f"{row[2]} messages of {row[0]} carry this key")

    # ---- turns and the rest (I-6, I-7, I-8) ------------------------------------------------------------------------

    def _turns(self) -> Generator[Finding]:
        for row in self.c.execute("SELECT id, state, result, cause FROM turns ORDER BY id"):
            folded, stored = self.turns.get(row["id"]), (row["state"], row["result"])
            if folded is None:
                if self.whole:
                    yield Finding("I-6", f"t{row['id']}", "no event tells of it")
            elif folded != stored:
                yield Finding("I-6", f"t{row['id']}", f"its events say {folded}, its row {stored}")
            if not _has_cause(json.loads(row["cause"])):
                yield Finding("I-6", f"t{row['id']}", "nothing woke it")
        for row in self.c.execute(
            "SELECT agent, count(*) FROM turns WHERE state <> 'ended' GROUP BY agent_id HAVING count(*) > 1"
        ):
            yield Finding("I-7", row[0], f"{row[1]} open turns")
        running = self._one("SELECT count(*) FROM turns WHERE state = 'running'")
        if self.expect.cap is not None and running > self.expect.cap:
            yield Finding("I-7", "turns", f"{running} run, the cap is {self.expect.cap}")

    def _others(self) -> Generator[Finding]:
        for row in self.c.execute("SELECT id, state FROM boxes"):
            if self.whole and self.boxes.get(row["id"]) != row["state"]:
                yield Finding("I-6", row["id"], f"events say box {self.boxes.get(row['id'])}, its row {row['state']}")
        for row in self.c.execute("SELECT id, kind, state FROM operations"):
            if self.whole and self.operations.get(row["id"]) != row["state"]:
                said = self.operations.get(row["id"])
                yield Finding("I-6", row["id"], f"events say {row['kind']} {said}, its row {row['state']}")
        for row in self.c.execute("SELECT id, name, wish, paused_at, trouble, crashes FROM agents"):
            known = self.agents.get(row["id"])
            if not self.whole:
                continue
            stored = (row["wish"], row["paused_at"] is not None, row["trouble"], row["crashes"])
            folded = known and (known.wish, known.paused, known.trouble, known.crashes)
            if folded != stored:
                said = "(wish, paused, trouble, crashes)"
                yield Finding("I-6", row["name"], f"its events say {said} {folded}, its row {stored}")

    # ---- who acts next (I-8, I-9) ----------------------------------------------------------------------------------

    def _waits(self) -> Generator[Finding]:
        now = self.expect.now if self.expect.now is not None else time.time_ns() // 1000
        epoch = self._one("SELECT coalesce(max(id), 0) FROM epochs")
        held = (
            ("I-8", "operations", "state = 'running'", "kind"),
            ("I-9", "turns", "state <> 'ended'", "agent"),
            ("I-14", "spend", "state = 'reserved'", "model"),
        )
        for invariant, table, where, what in held:
            for row in self.c.execute(f"SELECT id, epoch, {what} FROM {table} WHERE {where}"):
                if self.expect.settled:
                    yield Finding(invariant, str(row[0]), f"{row[2]} of {table} is still under way")
                elif self.expect.live and row["epoch"] != epoch:
                    yield Finding(invariant, str(row[0]), f"{row[2]} of {table} is held by epoch {row['epoch']}")
        yield from self._owners()
        for table, where in (
            ("messages", "state = 0"),
            ("agents", "wish <> 'purged'"),
            ("operations", "state = 'running'"),
            ("boxes", "state <> 'gone'"),
            ("programs", "state <> 'ended'"),
        ):
            for row in self.c.execute(
                f"SELECT id, wake_at FROM {table} WHERE {where} AND wake_at > ?", (now + LONGEST_WAIT + SKEW,)
            ):
                yield Finding("I-9", str(row[0]), f"a row of {table} waits until {row[1]}, for more than a week")

    def _owners(self) -> Generator[Finding]:
        for row in self.c.execute(
            "SELECT m.id, a.wish FROM messages m LEFT JOIN agents a ON a.id = m.agent_id"
            " WHERE m.state IN (0, 1) AND m.agent_id IS NOT NULL AND coalesce(a.wish, 'purged') = 'purged'"
            " AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.id = m.turn AND t.state <> 'ended')"
        ):
            yield Finding("I-9", f"m{row[0]}", "it waits for an agent that was purged")
        for row in self.c.execute("SELECT name, trouble FROM agents WHERE trouble IS NOT NULL AND wake_at IS NULL"):
            if row[1] not in PERSON:
                yield Finding("I-9", row[0], f"its trouble {row[1]} ends neither by itself nor by a person")
        for row in self.c.execute(
            "SELECT p.id FROM programs p JOIN boxes b ON b.id = p.box_id WHERE p.state <> 'ended' AND b.state = 'gone'"
        ):
            yield Finding("I-9", row[0], "a program of a box that is gone has not ended")
        for row in self.c.execute(
            "SELECT DISTINCT o.program_id FROM outbox o JOIN programs p ON p.id = o.program_id WHERE p.state = 'ended'"
        ):
            yield Finding("I-9", row[0], "lines wait for a program that has ended")
        for row in self.c.execute(
            "SELECT b.id, a.wish FROM boxes b JOIN agents a ON a.id = b.agent_id WHERE b.state <> 'gone'"
            " AND a.wish <> 'running' AND NOT EXISTS"
            " (SELECT 1 FROM operations o WHERE o.agent_id = b.agent_id AND o.state = 'running')"
        ):
            yield Finding("I-9", row[0], f"a box of an agent that is {row[1]}, and nobody ends it")

    # ---- money (I-14) ----------------------------------------------------------------------------------------------

    def _money(self) -> Generator[Finding]:
        for row in self.c.execute(
            "SELECT t.id, t.cost_micro_usd, sum(s.cost_micro_usd) FROM turns t JOIN spend s ON s.turn = t.id"
            " WHERE t.state = 'ended' GROUP BY t.id"
            " HAVING sum(s.state = 'reserved') = 0 AND min(s.entered_at) <= t.ended_at"
            " AND max(s.entered_at) <= t.ended_at AND coalesce(t.cost_micro_usd, -1) <> sum(s.cost_micro_usd)"
        ):
            yield Finding("I-14", f"t{row[0]}", f"its row says {row[1]} micro-USD, its calls {row[2]}")
        for row in self.c.execute(
            "SELECT id, state, cost_micro_usd, reserved_micro_usd FROM spend WHERE cost_micro_usd < 0"
            " OR (state = 'released' AND cost_micro_usd <> 0)"
        ):
            yield Finding("I-14", str(row[0]), f"a {row[1]} call costs {row[2]} micro-USD")
        for row in self.c.execute(
            "SELECT a.name, s.day, a.budget_micro_usd, sum(s.cost_micro_usd), max(s.reserved_micro_usd)"
            " FROM spend s JOIN agents a ON a.id = s.agent_id WHERE a.budget_micro_usd > 0 GROUP BY a.id, s.day"
        ):
            if row[3] > row[2] + row[4]:
                yield Finding("I-14", row[0], f"{row[3]} micro-USD on {row[1]}, its budget is {row[2]}")
        counted = self._one("SELECT coalesce(sum(cost_micro_usd), 0) FROM spend")
        told = self.expect.upstream_micro_usd
        if told is not None and counted != told:
            yield Finding("I-14", "spend", f"{counted} micro-USD are counted, the provider's figures add up to {told}")

    # ---- promises (I-1, I-2) ---------------------------------------------------------------------------------------

    def _promise(self, promise: Promise) -> Generator[Finding]:
        if promise.kind == "send":
            yield from self._send_promise(promise)
            return
        happened = any(self.kinds[promise.agent][kind] for kind in VERBS.get(promise.kind, ()))
        if promise.outcome == "ok" and promise.kind in VERBS and self.whole and not happened:
            yield Finding("I-1", str(promise.agent), f"{promise.kind} was acknowledged and never happened")

    def _send_promise(self, promise: Promise) -> Generator[Finding]:
        stored = self._rows(
            "SELECT id, recipient, body, body_path FROM messages WHERE sender = ? AND send_key = ?",
            promise.sender,
            promise.key,
        )
        subject = f"m{promise.id}" if promise.id is not None else str(promise.key)
        if promise.outcome == "failed" and stored:
            yield Finding("I-1", subject, f"its sender was told that it failed, it is stored as m{stored[0]['id']}")
        if promise.outcome != "ok":
            return
        assert promise.id is not None
        if promise.key is not None and stored and promise.id not in [row["id"] for row in stored]:
            yield Finding("I-2", subject, f"its key {promise.key} belongs to m{stored[0]['id']}")
        row = self.c.execute("SELECT * FROM messages WHERE id = ?", (promise.id,)).fetchone()
        if row is None:
            known = self.mail.get(promise.id)
            if known is None or known.state != HANDLED:
                yield Finding("I-1", subject, "it was acknowledged and is not stored")
        elif row["sender"] != promise.sender or promise.to not in (None, "*", row["recipient"]):
            yield Finding("I-1", subject, f"acknowledged to {promise.sender}, stored from {row['sender']}")
        elif promise.body is not None and row["body_path"] is None and row["body"] != promise.body:
            yield Finding("I-1", subject, "another text is stored than was acknowledged")


_STATES = ("waiting", "leased", "handled", "parked")


def _canonical(values: Sequence[Any]) -> bytes:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _secrets(folder: Path, secrets: Collection[str]) -> Generator[Finding]:
    """I-19: no byte below the data folder holds a secret."""
    needles = [secret.encode() for secret in secrets]
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            try:
                if not path.is_file() or path.is_symlink():
                    continue
                text = path.read_bytes()
            except FileNotFoundError:
                continue
            if any(needle in text for needle in needles):
                yield Finding("I-19", str(path.relative_to(folder)), "a secret lies here")


def main(argv: Sequence[str] | None = None) -> int:
    """Print every violation; 1 when there is one."""
    parser = argparse.ArgumentParser(prog="python -m melipona.testing.invariants", description=__doc__)
    parser.add_argument("data", type=Path, help="a data folder, or a database")
    parser.add_argument("--settled", action="store_true", help="nothing may be under way")
    parser.add_argument("--secret", action="append", default=[], help="a text that no file may hold")
    options = parser.parse_args(argv)
    found = check(options.data, expect=Expect(settled=options.settled), secrets=options.secret)
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
