"""A store as it is after a long life: many agents, messages, turns and events, written by SQL in a few seconds.

For measurements and for what the query planner makes of full tables. The rows are as the product writes them: of each
agent one in `WAITING_EACH` messages waits, the rest are handled, each with its turn, and each turn and message has
its events.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from melipona.clock import Clock, SystemClock
from melipona.store.migrate import ensure_schema
from melipona.store.sqlite import connect

BODY = 200
WAITING_EACH = 1000
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
AGENTS = """
{numbers} INSERT INTO agents (id, name, role, engine, wish, created_at, entered_at, has_run)
SELECT printf('00000000-0000-7000-8000-%012d', i), printf('agent-%05d', i), 'worker', 'playbook', '{wish}', {at}, {at},
    1
FROM n
"""
TURNS = """
{numbers} INSERT INTO turns (agent_id, agent, state, cause, result, wake_source, epoch, host, generation, started_at,
    ended_at, entered_at, duration_ms, tool_calls, tools)
SELECT printf('00000000-0000-7000-8000-%012d', 1 + i % {agents}), printf('agent-%05d', 1 + i % {agents}), 'ended',
    printf('{{"kind": "mail", "messages": [%d], "from": ["operator"]}}', i * 5), 'ok', 'mail', 1, 'here', 1,
    {at} + i, {at} + i, {at} + i, 10, 1, '{{}}'
FROM n
"""
MESSAGES = """
{numbers} INSERT INTO messages (sender, recipient, agent_id, body, body_bytes, kind, state, attempts, turn, generation,
    thread, origin, send_key, sent_at, entered_at)
SELECT CASE i % 4 WHEN 0 THEN 'operator' ELSE printf('agent-%05d', 1 + (i * 7) % {agents}) END,
    printf('agent-%05d', 1 + i % {agents}), printf('00000000-0000-7000-8000-%012d', 1 + i % {agents}),
    substr('{body}', 1, {length}), {length}, 'mail', CASE WHEN i % {waiting} = 0 THEN 0 ELSE 2 END, 1,
    CASE WHEN i % {waiting} = 0 THEN NULL ELSE 1 + i / 5 END, 1, i - i % 3 + 1, '["operator"]',
    CASE i % 4 WHEN 0 THEN printf('key-%d', i) END, {at} + i, {at} + i
FROM n
"""
EVENTS = """
{numbers} INSERT INTO events (at, kind, agent, subject, principal, data)
SELECT {at} + i, CASE i % 2 WHEN 0 THEN 'message.sent' ELSE 'message.handled' END,
    printf('agent-%05d', 1 + (i / 2) % {agents}), printf('m%d', 1 + i / 2), 'operator', printf('{{"id":%d}}', 1 + i / 2)
FROM n
"""


def fill(
    path: Path, *, agents: int, messages: int, clock: Clock | None = None, wish: str = "running", analyze: bool = True
) -> None:
    """Make a database at `path` with so many rows, twice as many events as messages, and a fifth as many turns.

    `wish` is that of all agents: of running ones a thousandth of the mail would begin turns, of stopped ones none.
    """
    clock = clock or SystemClock()
    ensure_schema(path, clock)
    values = {
        "at": clock.now() - 10 * (messages + 1),
        "agents": agents,
        "body": "x" * BODY,
        "length": BODY,
        "waiting": WAITING_EACH,
        "wish": wish,
    }
    with closing(connect(path, reader=False)) as c:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-400000", "threads=2"):
            c.execute(f"PRAGMA {pragma}").fetchall()  # a failure costs this file only: it is made again
        c.execute("BEGIN")
        indexes = c.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL").fetchall()
        for name, _ in indexes:
            c.execute(f"DROP INDEX {name}")
        rows = ((AGENTS, agents), (TURNS, messages // 5), (MESSAGES, messages), (EVENTS, 2 * messages))
        for statement, count in rows:
            if count:
                c.execute(statement.format(numbers=NUMBERS.format(count=count), **values))
        for _, sql in indexes:
            c.execute(sql)
        c.execute("COMMIT")
        if analyze:
            c.execute("PRAGMA analysis_limit=1000").fetchall()
            c.execute("ANALYZE")
        c.execute("PRAGMA journal_mode=WAL").fetchall()
