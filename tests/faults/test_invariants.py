"""The checker finds what it is there to find: each sabotage of a sound store is told under its invariant's name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from melipona.ids import AgentName, BoxId, TurnId
from melipona.mail import store as mail_rows
from melipona.store import events, seals
from melipona.store.engine import now
from melipona.testing.invariants import Expect, Promise, check, main
from melipona.testing.rooms import OPERATOR, Rooms, temporary_rooms
from melipona.turns import box_rows
from melipona.turns import store as turn_rows
from melipona.turns.loop import cause_of
from melipona.turns.store import DueAgent

pytestmark = pytest.mark.anyio

MAKE = """
    DROP TRIGGER events_no_update;
    DROP TRIGGER events_sealed_delete;
    PRAGMA foreign_keys = 0;
"""


def turn(c: Connection, rooms: Rooms, agent: str, result: str | None) -> TurnId:
    """A whole turn as the loop and the runner write it; None leaves it open."""
    known = next(due for due in turn_rows.due(c, 10) if due.name == agent)
    number = turn_rows.open_turn(c, DueAgent(known.id, AgentName(agent), now(c)), epoch=rooms.epoch, host="here")
    mail = mail_rows.lease(c, known.id, number, 1)
    turn_rows.set_cause(c, number, AgentName(agent), cause_of(mail))
    if result is not None:
        turn_rows.end_turn(c, number, rooms.epoch, {"result": result, "reason": None, "note": None})
        if result == "ok":
            rooms.mail.acknowledge(c, number, 1)
        else:
            rooms.mail.give_back(c, number, 1, failed=True, reason="it broke")
    return number


@pytest.fixture
async def data(tmp_path: Path, anyio_backend: str) -> Path:
    """A store in which much has happened: m1 handled by t1; m2 failed in t2 and t3 and is parked; m4 leased to t4."""
    async with temporary_rooms(tmp_path / "data", attempts=2, backoff=[]) as rooms:
        ana = await rooms.agent("ana", budget_usd=1)
        await rooms.agent("ben")
        await rooms.send(OPERATOR, "ana", "one", key="k1")
        await rooms.store.write(turn, rooms, "ana", "ok")
        await rooms.send(OPERATOR, "ben", "two", key="k2")
        for _ in range(2):
            await rooms.store.write(turn, rooms, "ben", "failed")
        await rooms.agents.pause(OPERATOR, "ben")
        await rooms.send(OPERATOR, "ana", "four")
        await rooms.store.write(turn, rooms, "ana", None)
        await rooms.store.write(box_rows.add_box, BoxId("b1"), ana.id, "ana", driver="x", host="here")
        await rooms.store.write(lambda c: seals.seal(c, now(c)))
        await rooms.store.write(events.record, "daemon.stopping")
    (tmp_path / "data" / "hive.db").rename(tmp_path / "data" / "mel.db")
    return tmp_path / "data"


async def test_a_sound_store_has_no_findings(data: Path) -> None:
    kept = [
        Promise("ok", "send", key="k1", id=1, to="ana", body="one"),
        Promise("unknown", "send", key="k9"),
        Promise("failed", "send", key="k8"),
        Promise("ok", "create", agent="ana"),
        Promise("ok", "pause", agent="ben"),
    ]
    assert check(data, kept, expect=Expect(live=True, cap=1, attempts=2), secrets=["sk-ant-none"]) == []
    assert main([str(data)]) == 0


SABOTAGE = [
    ("I-1", "DELETE FROM messages WHERE id = 4"),
    ("I-1", "UPDATE turns SET result = 'failed' WHERE id = 1"),
    ("I-2", "UPDATE messages SET send_key = 'k1' WHERE id = 2"),
    ("I-3", "UPDATE messages SET maybe_seen = 0 WHERE id = 2"),
    ("I-3", "UPDATE events SET data = replace(data, 'true', 'false') WHERE kind = 'message.leased'"),
    ("I-4", "UPDATE messages SET state = 0 WHERE id = 2"),
    ("I-4", "UPDATE messages SET kind = 'mail' WHERE kind = 'notice'"),
    ("I-4", "INSERT INTO messages SELECT 9, sender, recipient, agent_id, body, body_path, body_bytes, kind, state,"
     " wake, attempts, failures, maybe_seen, turn, generation, thread, reply_to, hop, origin, broadcast_id, send_key,"
     " last_error, sent_at, entered_at, wake_at FROM messages WHERE kind = 'notice'"),
    ("I-5", "UPDATE events SET data = '{\"turn\":3}' WHERE kind = 'message.handled'"),
    ("I-5", "UPDATE messages SET turn = 3 WHERE id = 1"),
    ("I-6", "UPDATE messages SET state = 0, turn = NULL WHERE id = 4"),
    ("I-6", "DELETE FROM events WHERE kind = 'message.sent'"),
    ("I-6", "UPDATE turns SET state = 'waiting' WHERE id = 4"),
    ("I-6", "UPDATE turns SET cause = '{}' WHERE id = 4"),
    ("I-6", "UPDATE agents SET paused_at = NULL WHERE name = 'ben'"),
    ("I-6", "UPDATE boxes SET state = 'up'"),
    ("I-7", "DROP INDEX uq_turns_open; UPDATE turns SET state = 'running', agent_id = (SELECT agent_id FROM turns WHERE"
     " id = 4) WHERE id = 1"),
    ("I-8", "INSERT INTO operations VALUES ('o', 'stopping', NULL, 'running', NULL, NULL, 'x', 0, 'h', 0, 1, 1, NULL)"),
    ("I-9", "UPDATE turns SET epoch = 0 WHERE id = 4"),
    ("I-9", "UPDATE messages SET state = 0, wake_at = 99999999999999999 WHERE id = 2"),
    ("I-9", "UPDATE agents SET wish = 'purged' WHERE name = 'ana'; UPDATE messages SET state = 0, turn = NULL"
     " WHERE id = 4"),
    ("I-9", "UPDATE agents SET wish = 'stopped' WHERE name = 'ana'"),
    ("I-9", "UPDATE agents SET trouble = 'rate_limited'"),
    ("I-9", "UPDATE turns SET state = 'ended' WHERE id = 4"),
    ("I-14", "INSERT INTO spend SELECT 1, id, 1, 'd', 'm', 'settled', 5, 5, 0, 0, 0, 0, 0, 200, 1, 0, 0, NULL"
     " FROM agents WHERE name = 'ana'"),
    ("I-14", "INSERT INTO spend SELECT 1, id, NULL, 'd', 'm', 'settled', 5, 1000006, 0, 0, 0, 0, 0, 200, 1, 0, 0, NULL"
     " FROM agents WHERE name = 'ana'"),
    ("I-14", "INSERT INTO spend SELECT 1, id, NULL, 'd', 'm', 'reserved', 5, 5, 0, 0, 0, 0, 0, NULL, 0, 0, 0, NULL"
     " FROM agents WHERE name = 'ana'"),
    ("I-17", "UPDATE events SET principal = 'ana' WHERE id = 1"),
    ("I-17", "DELETE FROM events WHERE kind = 'daemon.stopping'"),
    ("I-17", "DELETE FROM agents WHERE name = 'ana'"),
]  # fmt: skip


@pytest.mark.parametrize(("invariant", "sabotage"), SABOTAGE)
async def test_each_sabotage_is_found(data: Path, invariant: str, sabotage: str) -> None:
    with closing(sqlite3.connect(data / "mel.db")) as c:
        c.executescript(MAKE + sabotage)
    found = check(data, expect=Expect(live=True, cap=1, attempts=2))
    assert invariant in {finding.invariant for finding in found}, found
    assert main([str(data)]) in (0, 1)


BROKEN = [
    ("I-1", Promise("ok", "send", key="k7", id=77, to="ana", body="lost")),
    ("I-1", Promise("ok", "send", key="k1", id=1, to="ana", body="another text")),
    ("I-1", Promise("ok", "send", key="k1", id=1, to="ben", body="one")),
    ("I-1", Promise("failed", "send", key="k1")),
    ("I-1", Promise("ok", "destroy", agent="ana")),
    ("I-2", Promise("ok", "send", key="k1", id=2, to="ben", body="two")),
]


@pytest.mark.parametrize(("invariant", "promise"), BROKEN)
async def test_each_broken_promise_is_found(data: Path, invariant: str, promise: Promise) -> None:
    assert invariant in {finding.invariant for finding in check(data, [promise])}


async def test_what_is_under_way_is_found_where_nothing_may_be(data: Path) -> None:
    found = check(data, expect=Expect(settled=True))
    assert {(finding.invariant, finding.subject) for finding in found} == {("I-9", "m4"), ("I-9", "4")}
    assert main([str(data), "--settled"]) == 1


async def test_a_secret_in_any_file_is_found(data: Path) -> None:
    (data / "turns").mkdir(exist_ok=True)
    (data / "turns" / "1.jsonl").write_text('{"key": "canary-5f3a"}')
    [found] = check(data, secrets=["canary-5f3a"])
    assert (found.invariant, found.subject) == ("I-19", "turns/1.jsonl")


async def test_money_that_the_provider_reported_otherwise_is_found(data: Path) -> None:
    [found] = check(data, expect=Expect(upstream_micro_usd=17))
    assert (found.invariant, found.subject) == ("I-14", "spend")
