"""The second floor of `hop`: its obligatory steps, by hand and with nothing around them.

A request is parsed by httptools and its JSON read; a thread that owns the database runs one transaction with nearly as
many reads and writes as a hop has, each by a key or an index, and makes it durable; then the line goes to the box
and the answer to the sender. What Python and SQLite take for that, no hive on them can be rid of.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httptools

from bench.hop import serve
from melipona.daemon_process import loop_factory

SCHEMA = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
CREATE TABLE agents (id TEXT PRIMARY KEY, name TEXT UNIQUE, wish TEXT, detail TEXT);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT, recipient TEXT, body TEXT, thread INTEGER,
    state INTEGER DEFAULT 0, turn INTEGER, at INTEGER);
CREATE INDEX waiting ON messages (recipient, id) WHERE state = 0;
CREATE INDEX of_turn ON messages (turn) WHERE state = 1;
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER, kind TEXT, agent TEXT, data TEXT);
CREATE TABLE turns (id INTEGER PRIMARY KEY AUTOINCREMENT, agent TEXT, state TEXT, cause TEXT, prompt INTEGER);
CREATE INDEX open ON turns (agent) WHERE state <> 'ended';
CREATE INDEX running ON turns (state) WHERE state = 'running';
CREATE INDEX leased ON messages (state) WHERE state = 1;
CREATE TABLE calls (key TEXT PRIMARY KEY, answer TEXT, at INTEGER);
CREATE TABLE programs (id TEXT PRIMARY KEY, next_seq INTEGER, wake_at INTEGER);
CREATE TABLE outbox (program TEXT, seq INTEGER, line TEXT, PRIMARY KEY (program, seq));
CREATE TABLE boxes (id TEXT PRIMARY KEY, wake_at INTEGER);
INSERT INTO agents VALUES ('a', 'ana', 'running', '{}'), ('b', 'ben', 'running', '{}');
INSERT INTO programs VALUES ('p', 1, NULL);
INSERT INTO boxes VALUES ('x', NULL);
"""
OPEN = "SELECT id FROM turns WHERE agent = ? AND state <> 'ended'"
AGENT, NAMED = "SELECT * FROM agents WHERE id = ?", "SELECT * FROM agents WHERE name = ?"
WAITING = "SELECT * FROM messages WHERE recipient = ? AND state = 0 ORDER BY id LIMIT 32"
EVENT = "INSERT INTO events (at, kind, agent, data) VALUES (?, ?, ?, ?)"


def hop(c: sqlite3.Connection, key: str, to: str, body: str) -> bytes:
    """One hop's transaction; the line for the box."""
    at = time.time_ns() // 1000
    run = c.execute
    run("BEGIN IMMEDIATE")
    # the turn before has ended: the hive writes that in a transaction of its own, which no hop waits for
    run("UPDATE messages SET state = 2 WHERE state = 1")
    run("UPDATE turns SET state = 'ended' WHERE state = 'running'")
    # whose call, made before; who writes, to whom, what the sender's turn holds, whether the inbox is full
    run(OPEN, ("a",)).fetchone()
    run("SELECT answer FROM calls WHERE key = ?", (key,)).fetchone()
    run(AGENT, ("a",)).fetchone()
    run(NAMED, (to,)).fetchone()
    run("SELECT * FROM messages WHERE turn = ? AND state = 1", (0,)).fetchall()
    run(WAITING, (to,)).fetchone()
    insert = "INSERT INTO messages (sender, recipient, body, at) VALUES ('ana', ?, ?, ?)"
    message = run(insert, (to, body, at)).lastrowid
    run("UPDATE messages SET thread = id WHERE id = ?", (message,))
    run(EVENT, (at, "message.sent", to, json.dumps({"id": message, "sender": "ana", "recipient": to})))
    # a slot, due, may run
    run("SELECT count(*) FROM turns WHERE state = 'running'").fetchone()
    run(OPEN, ("b",)).fetchone()
    run(AGENT, ("b",)).fetchone()
    run("SELECT detail FROM agents WHERE id = 'b'").fetchone()
    turn = run("INSERT INTO turns (agent, state) VALUES ('b', 'running')").lastrowid
    run(WAITING, (to,)).fetchall()
    run("UPDATE messages SET state = 1, turn = ? WHERE id = ?", (turn, message))
    run(EVENT, (at, "message.leased", to, json.dumps({"id": message, "turn": turn})))
    run("UPDATE turns SET cause = ? WHERE id = ?", (json.dumps({"kind": "mail", "messages": [message]}), turn))
    run(EVENT, (at, "turn.started", to, json.dumps({"id": turn})))
    # the prompt
    run("SELECT * FROM programs WHERE id = 'p'").fetchone()
    run("SELECT count(*) FROM messages WHERE recipient = ? AND state = 0", (to,)).fetchone()
    [seq] = run(
        "UPDATE programs SET next_seq = next_seq + 1, wake_at = NULL WHERE id = 'p' RETURNING next_seq"
    ).fetchone()
    line = json.dumps({"type": "prompt", "messages": [{"id": message, "body": body}]})
    run("INSERT INTO outbox VALUES ('p', ?, ?)", (seq, line))
    run("UPDATE boxes SET wake_at = NULL WHERE id = 'x'")
    run("UPDATE turns SET prompt = ? WHERE id = ?", (seq, turn))
    run("INSERT INTO calls VALUES (?, ?, ?)", (key, json.dumps({"sent": True, "id": message}), at))
    run("COMMIT")
    return line.encode() + b"\n"


class Steps(asyncio.Protocol):
    """The sender's connection."""

    def __init__(self, folder: Path, other: asyncio.WriteTransport) -> None:
        self._loop, self._other = asyncio.get_running_loop(), other
        self._queue: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._write, args=(folder / "steps.db",), daemon=True).start()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._key, self._body = "", b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"idempotency-key":
            self._key = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._queue.put((self._key, self._body))

    def _write(self, path: Path) -> None:
        c = sqlite3.connect(path, isolation_level=None)
        c.executescript(SCHEMA)
        while True:
            key, body = self._queue.get()
            message = json.loads(body)
            line = hop(c, key, message["to"], message["body"])
            self._loop.call_soon_threadsafe(self._committed, line)

    def _committed(self, line: bytes) -> None:
        self._other.write(line)
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(Path(sys.argv[1]), Steps))
