"""Load for the campaigns: people who send and agents who work, each with a log of its own of what it was promised.

Workers are clients of the operator's API in threads; each writes a line per request: ok with the ids, failed, or
unknown (no answer, or told so). Agents are playbooks in real boxes; with `echo` into a file in their own workspace they
write down what they were handed and what the gate answered. The checker reads these logs and the store, nothing else.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from melipona.client import PROTOCOL, Client
from melipona.testing.invariants import Finding, Promise
from melipona.testing.turn_logs import log_lines

Json = dict[str, Any]

PLAYBOOK = """
[[rule]]
name = "the system"
from = "system"
steps = [{ say = "seen" }]

[[rule]]
name = "relay"
match = '^relay (\\S+) (\\S+)$'
steps = [
  { say = "begin {id}" },
  { shell = "echo seen {id} {maybe_seen} >> /ws/promises" },
  { tool = "send", with = { to = "{match.2}", body = "news {match.1}", key = "{agent}-{match.1}" }, into = "sent" },
  { shell = "echo sent {agent}-{match.1} {match.2} {sent.id} >> /ws/promises" },
  { say = "end {id}" },
]

[[rule]]
name = "ask"
match = '^ask (\\S+)$'
steps = [
  { say = "begin {id}" },
  { shell = "echo seen {id} {maybe_seen} >> /ws/promises" },
  { model = "what about {match.1}?" },
  { say = "end {id}" },
]

[[rule]]
name = "receive"
match = '^receive (\\S+)$'
steps = [{ say = "begin {id}" }, { receive = 0.2, handle = true }, { say = "end {id}" }]

[[rule]]
name = "bulk"
match = '^bulk '
steps = [{ say = "done {id}" }]

[[rule]]
name = "note"
steps = [{ say = "begin {id}" }, { say = "end {id}" }]
"""
"""What each agent plays. Every message is said to begin and to end, so that a turn's log shows whether it is whole."""

KINDS = (("relay", 4), ("note", 4), ("all", 2), ("ask", 1), ("receive", 1))
"""What a worker sends, and how often."""
BULK = {"bulk": 1}
"""What a worker sends that makes a mass of mail: each request is a message for every agent."""
BODIES = {
    "bulk": "bulk {key}",
    "relay": "relay {key} {other}",
    "note": "note {key}",
    "all": "note {key}",
    "ask": "ask {key}",
    "receive": "receive {key}",
}
PROTOCOL_HEADER = {"Melipona-Protocol": str(PROTOCOL)}
AGAIN, RETRY_UNKNOWN = 0.5, 0.7
"""How often a worker tries again what failed, and what nobody answered."""


class Line:
    """One connection to the operator's API that is kept; a new one when the daemon has gone with it."""

    def __init__(self, data: Path, timeout: float = 20) -> None:
        self._run, self._timeout = data / "run", timeout
        self._connection: http.client.HTTPConnection | None = None

    def send(self, body: Json) -> tuple[str, list[int]]:
        """Send a message: what is known of it (ok, unknown, failed), and its ids. A line that broke is unknown."""
        try:
            connection = self._connection or self._connect()
        except OSError:
            return "failed", []  # nobody is there: nothing was sent
        try:
            connection.request(
                "POST", "/api/v1/messages", json.dumps(body), {"Content-Type": "application/json", **PROTOCOL_HEADER}
            )
            answer = connection.getresponse()
            document = json.loads(answer.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return "unknown", []
        if answer.status < 300:
            return "ok", [int(identifier) for identifier in document["ids"]]
        return ("unknown" if document.get("code") == "outcome_unknown" else "failed"), []

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=self._timeout)
        folder = os.open(self._run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.settimeout(self._timeout)
            connection.sock.connect(f"/proc/self/fd/{folder}/mel.sock")
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(folder)
        connection.auto_open = 0
        self._connection = connection
        return connection


class Worker(threading.Thread):
    """One client that sends until it is stopped, over one kept connection."""

    def __init__(
        self, data: Path, names: Sequence[str], seed: int, log: Path, *, backlog: int, kinds: Mapping[str, int]
    ) -> None:
        super().__init__(daemon=True, name=log.stem)
        self._line, self._names, self._log, self._backlog = Line(data), list(names), log, backlog
        self._kinds = dict(kinds)
        self._data, self._random, self._over = data, random.Random(seed), threading.Event()
        self.acknowledged = 0
        self.failure: BaseException | None = None

    def stop(self) -> None:
        """Send nothing more; what is under way is finished and written down."""
        self._over.set()

    def run(self) -> None:
        """Send."""
        try:
            with self._log.open("a") as log:
                number = 0
                while not self._over.is_set():
                    number += 1
                    if number % 20 == 0:
                        self._wait_for_room()
                    line = self._send(f"{self.name}-{number}")
                    self.acknowledged += len(line["ids"])
                    log.write(json.dumps(line) + "\n")
                    log.flush()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._line.close()

    def _send(self, key: str) -> Json:
        kind = self._random.choices(list(self._kinds), weights=list(self._kinds.values()))[0]
        to, other = self._random.sample(self._names, 2)
        if self._random.random() < 0.2:
            other = "operator"
        to = "*" if kind in ("all", "bulk") else to
        body = BODIES[kind].format(key=key, other=other)
        line: Json = {"key": key, "to": to, "body": body, "ids": [], "outcome": "failed", "tries": 0}
        while True:
            line["tries"] += 1
            outcome, ids = self._line.send({"to": to, "body": body, "key": key})
            if outcome == "ok":
                return line | {"outcome": "ok", "ids": ids}
            if outcome == "unknown":
                line["outcome"] = "unknown"
            again = RETRY_UNKNOWN if line["outcome"] == "unknown" else AGAIN
            if self._over.is_set() or self._random.random() > again:
                self._over.wait(0.1)
                return line
            self._over.wait(0.2)

    def _wait_for_room(self) -> None:
        """Hold back while more waits than the agents can eat: the load has a bound."""
        while not self._over.is_set() and waiting(self._data) > self._backlog:
            self._over.wait(0.1)


class Load:
    """Several workers, and `bulk` more that make a mass of mail. `folder` holds their logs."""

    def __init__(
        self,
        data: Path,
        names: Sequence[str],
        seed: int,
        folder: Path,
        *,
        workers: int = 3,
        backlog: int = 600,
        kinds: Mapping[str, int] | None = None,
        bulk: int = 0,
    ) -> None:
        folder.mkdir(exist_ok=True)
        chosen = [dict(KINDS) if kinds is None else kinds] * workers + [BULK] * bulk
        self._workers = [
            Worker(data, names, seed * 1000 + n, folder / f"w{n}.jsonl", backlog=backlog, kinds=each)
            for n, each in enumerate(chosen)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def acknowledged(self) -> int:
        """Messages that were promised so far."""
        return sum(worker.acknowledged for worker in self._workers)

    def stop(self, within: float = 60) -> None:
        """Stop the workers and wait for them.

        Raises:
            AssertionError: one of them died of something that is no answer of a hive.
        """
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(within)
            if worker.failure is not None or worker.is_alive():
                raise AssertionError(f"worker {worker.name} did not end well: {worker.failure!r}")


def waiting(data: Path) -> int:
    """How many messages of agents wait."""
    with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True, timeout=10)) as c:
        return int(c.execute("SELECT count(*) FROM messages WHERE state = 0 AND agent_id IS NOT NULL").fetchone()[0])


# ---- what was promised ----------------------------------------------------------------------------------------------


def workers_log(folder: Path) -> Generator[Json]:
    """Every line of every worker's log."""
    for path in sorted(folder.glob("w*.jsonl")):
        with path.open() as lines:
            yield from map(json.loads, lines)


def promises(folder: Path, data: Path, agents: Mapping[str, str]) -> Generator[Promise]:
    """What workers and agents were told. `agents` maps names to ids."""
    for line in workers_log(folder):
        common = {"key": line["key"], "to": line["to"], "body": line["body"]}
        for identifier in line["ids"] or [None]:
            yield Promise(line["outcome"], "send", id=identifier, **common)
    for name, words in agents_log(data, agents):
        if words[0] == "sent" and len(words) == 4:
            yield Promise("ok", "send", key=words[1], id=int(words[3].lstrip("m")), to=words[2], sender=name)


def agents_log(data: Path, agents: Mapping[str, str]) -> Generator[tuple[str, list[str]]]:
    """Every whole line of the agents' own logs, in words, with the agent's name."""
    for name, identifier in agents.items():
        path = data / "homes" / identifier / "ws" / "promises"
        for line in path.read_text().split("\n")[:-1] if path.exists() else []:
            yield name, line.split()


def given_unflagged(data: Path, agents: Mapping[str, str]) -> Generator[Finding]:
    """I-3 as the agents saw it: what comes again says that it may have been seen."""
    seen: set[tuple[str, str]] = set()
    for name, words in agents_log(data, agents):
        if words[0] == "seen" and len(words) == 3:
            if (name, words[1]) in seen and words[2] != "true":
                yield Finding("I-3", f"m{words[1]}", f"{name} got it again, and nothing told it so")
            seen.add((name, words[1]))


def unfinished(data: Path) -> Generator[Finding]:
    """I-12 as the agents said it: a turn that ended well tells of each of its messages once that it began and ended."""
    with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True)) as c:
        turns = c.execute("SELECT id, log_path FROM turns WHERE result = 'ok' AND log_path IS NOT NULL").fetchall()
        rows = c.execute(
            "SELECT turn, id, body GLOB 'bulk *' FROM messages"
            " WHERE state = 2 AND sender <> 'system' AND agent_id IS NOT NULL"
        )
        mail: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for turn, identifier, bulk in rows:
            mail[turn].append((identifier, bulk))
    for turn, path in turns:
        said = Counter(
            line["event"].get("text") for line in log_lines(data / path)[0] if line["event"]["type"] == "text"
        )
        for identifier, bulk in mail[turn]:
            counts = (said[f"begin {identifier}"], said[f"end {identifier}"])
            if bulk:
                counts = (said[f"done {identifier}"],) * 2
            if counts != (1, 1):
                yield Finding("I-12", f"t{turn}", f"m{identifier} began {counts[0]} and ended {counts[1]} times")


def quiet(data: Path, within: float, retry: Client) -> list[int]:
    """Wait until every message of an agent is handled, giving parked ones a fresh start; ids that were parked.

    Raises:
        TimeoutError: it did not become quiet in `within` seconds.
    """
    parked: list[int] = []
    end = time.monotonic() + within
    while True:
        with closing(sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True, timeout=10)) as c:
            rows = c.execute("SELECT id, state FROM messages WHERE agent_id IS NOT NULL AND state <> 2").fetchall()
            turns = c.execute("SELECT count(*) FROM turns WHERE state <> 'ended'").fetchone()[0]
        if not rows and not turns:
            return parked
        for identifier in [row[0] for row in rows if row[1] == 3]:
            parked.append(identifier)
            retry.post(f"/messages/{identifier}/retry")
        if time.monotonic() > end:
            raise TimeoutError(f"{len(rows)} messages are not handled, the first {rows[:5]}; {turns} turns are open")
        time.sleep(0.05)
