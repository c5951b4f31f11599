"""What a status is derived from is gathered from rows by indexed queries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text, update

from melipona.clock import ManualClock, Micros
from melipona.errors import NotFound
from melipona.store.engine import Store, now
from melipona.store.schema import agents, boxes, messages, operations, spend, turns
from melipona.turns.agent_facts import HOUR, AgentFacts, Limits, Process, facts, facts_of
from melipona.turns.status import State, derive

pytestmark = pytest.mark.anyio
SECOND = 1_000_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "hive.db", ManualClock())
    yield opened
    await opened.close()


def add_agent(c: Connection, name: str, **values: Any) -> str:
    at = now(c)
    row = {"id": f"id-{name}", "name": name, "role": "worker", "engine": "playbook", "wish": "running"}
    c.execute(insert(agents).values(row | {"created_at": at, "entered_at": at} | values))
    return f"id-{name}"


def add_mail(c: Connection, to: str, **values: Any) -> int:
    at = now(c)
    row = {"sender": "operator", "recipient": to, "agent_id": f"id-{to}", "body": "x", "body_bytes": 1}
    row |= {"kind": "mail", "origin": "[]", "sent_at": at, "entered_at": at}
    return int(c.execute(insert(messages).values(row | values).returning(messages.c.id)).scalar_one())


def add_turn(c: Connection, name: str, **values: Any) -> int:
    at = now(c)
    row = {"agent_id": f"id-{name}", "agent": name, "state": "running", "cause": "{}", "epoch": 1, "host": "h"}
    row |= {"wake_source": "mail", "started_at": at, "entered_at": at}
    return int(c.execute(insert(turns).values(row | values).returning(turns.c.id)).scalar_one())


def by_name(found: list[AgentFacts]) -> dict[str, AgentFacts]:
    return {each.name: each for each in found}


async def test_rows_become_facts(store: Store) -> None:
    """D-37: derived from rows of agents, operations, boxes, turns, messages and spend."""

    def prepare(c: Connection) -> None:
        at = now(c)
        add_agent(c, "ana")
        add_agent(c, "ben", budget_micro_usd=7)
        add_agent(c, "old", wish="purged")
        add_agent(c, "gone", wish="destroyed")
        cause = json.dumps({"kind": "mail", "messages": [1], "from": ["ben"]})
        turn = add_turn(c, "ana", cause=cause)
        add_mail(c, "ana", state=1, turn=turn)
        add_mail(c, "ana", wake=0)
        add_mail(c, "ben", wake_at=at + 5 * SECOND)
        add_mail(c, "ben", state=3)
        add_mail(c, "ben", state=2)
        c.execute(insert(boxes).values(id="b", agent_id="id-ana", driver="x", state="up", host="h", **_times(at)))
        op = {"id": "o", "kind": "stopping", "agent_id": "id-ben", "state": "running", "principal": "operator"}
        c.execute(insert(operations).values(op | {"epoch": 1, "host": "h", "started_at": at, "entered_at": at}))
        money = {"agent_id": "id-ben", "day": "d", "model": "m", "epoch": 1, "at": at, "entered_at": at}
        c.execute(insert(spend).values(money | {"state": "settled", "reserved_micro_usd": 9, "cost_micro_usd": 2}))
        c.execute(insert(spend).values(money | {"state": "reserved", "reserved_micro_usd": 3}))

    await store.write(prepare)
    at = store.clock.now()
    limits = Limits("d", Micros(at + HOUR), hive_micro_usd=100)
    found = by_name(await store.read(facts, at, 4, limits=limits, process={"id-ana": Process(tool="Bash")}))
    assert sorted(found) == ["ana", "ben", "gone"]
    ana, ben = found["ana"], found["ben"]
    assert ana.turn is not None
    assert ana.turn.senders == ("ben",)
    assert (ana.box, ana.mail.waiting, ana.mail.waking, ana.mail.leased) == ("up", 1, 0, 1)
    assert ana.process == Process(tool="Bash")
    assert ana.running == 1
    assert ben.operation is not None
    assert ben.operation.kind == "stopping"
    assert (ben.mail.waiting, ben.mail.due, ben.mail.next_at, ben.mail.parked) == (1, 0, at + 5 * SECOND, 1)
    assert (ben.money.spent, ben.money.limit, ben.money.hive_spent, ben.money.hive_limit) == (2, 7, 2, 100)
    for name, each in found.items():
        assert await store.read(facts_of, f"id-{name}", at, 4, limits=limits) == _without_process(each)


def _times(at: Micros) -> dict[str, int]:
    return {"created_at": at, "entered_at": at}


def _without_process(each: AgentFacts) -> AgentFacts:
    from dataclasses import replace

    return replace(each, process=None)


async def test_places_in_the_queue_follow_the_turn_loop(store: Store) -> None:
    """I-7: FIFO; DESIGN.md: "behind 3"."""
    from melipona.turns.store import due

    clock = store.clock
    assert isinstance(clock, ManualClock)

    def prepare(c: Connection) -> None:
        at = now(c)
        for age, name in enumerate(["dora", "cleo", "ben", "ana"]):
            add_agent(c, name)
            add_mail(c, name, entered_at=at - (10 - age) * SECOND)
        add_agent(c, "paul", paused_at=at)
        add_mail(c, "paul", entered_at=at - 99 * SECOND)
        add_agent(c, "zoe", trouble="rate_limited", wake_at=at + SECOND)
        add_mail(c, "zoe", entered_at=at - 99 * SECOND)
        add_agent(c, "busy")
        add_turn(c, "busy")
        add_mail(c, "busy", entered_at=at - 99 * SECOND)

    await store.write(prepare)
    at = clock.now()
    found = by_name(await store.read(facts, at, 1))
    order = [str(agent.name) for agent in await store.read(due, 100)]
    assert order == ["dora", "cleo", "ben", "ana"]
    assert [found[name].behind for name in order] == [0, 1, 2, 3]
    assert {found[name].behind for name in ("paul", "zoe", "busy")} == {None}
    assert derive(found["ana"], at).detail == "behind 3"
    one = await store.read(facts_of, "id-ana", at, 1)
    assert one == found["ana"]


async def test_a_hold_is_ended_by_the_operators_later_words_only(store: Store) -> None:
    """D-18."""

    def prepare(c: Connection) -> None:
        at = now(c)
        add_agent(c, "ana", held_at=at)
        add_mail(c, "ana", sent_at=at - SECOND)
        add_mail(c, "ana", sender="ben", sent_at=at + 1)

    await store.write(prepare)
    at = store.clock.now()
    held = await store.read(facts_of, "id-ana", at, 1)
    assert (held.mail.waking, held.mail.due) == (2, 0)
    assert derive(held, at).reason == "interrupted"
    await store.write(lambda c: add_mail(c, "ana", sent_at=at + 1))
    assert (await store.read(facts_of, "id-ana", at, 1)).mail.due == 1


async def test_turns_of_the_last_hour_count(store: Store) -> None:
    """D-30: turns an hour of one agent; its own number wins."""

    def prepare(c: Connection) -> None:
        at = now(c)
        add_agent(c, "ana")
        add_agent(c, "ben", turns_per_hour=0)
        for name in ("ana", "ben"):
            add_mail(c, name)
            for minutes in (70, 50, 10):
                started = at - minutes * 60 * SECOND
                add_turn(c, name, state="ended", started_at=started, ended_at=started + SECOND)

    await store.write(prepare)
    at = store.clock.now()
    found = by_name(await store.read(facts, at, 1, limits=Limits("d", at, turns_per_hour=2)))
    assert found["ana"].turns_until == at + 10 * 60 * SECOND
    assert derive(found["ana"], at).state is State.WAITING
    assert found["ben"].turns_until is None
    assert found["ana"].last_ended_at == at - 600 * SECOND + SECOND
    wider = by_name(await store.read(facts, at, 1, limits=Limits("d", at, turns_per_hour=3)))
    assert wider["ana"].turns_until is None


async def test_an_unreadable_cause_fails_no_status(store: Store) -> None:
    """LE-15: one bad row fails no list."""

    def prepare(c: Connection) -> None:
        add_agent(c, "ana")
        turn = add_turn(c, "ana", cause='["?"]')
        c.execute(update(turns).where(turns.c.id == turn).values(cause="{broken"))

    await store.write(prepare)
    (found,) = await store.read(facts, store.clock.now(), 1)
    assert found.turn is not None
    assert found.turn.senders == ()


async def test_an_unknown_id_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.read(facts_of, "nobody", store.clock.now(), 1)


async def test_no_query_scans_history(store: Store) -> None:
    """PERFORMANCE.md rule 16: no SCAN of messages, events or turns; only of partial indexes over what is open."""
    seen: list[str] = []

    def look(c: Connection) -> list[tuple[str, str]]:
        driver: Any = c.connection.driver_connection
        driver.set_trace_callback(seen.append)
        try:
            facts(c, now(c), 1, limits=Limits("d", now(c)))
            facts_of(c, "id-ana", now(c), 1, limits=Limits("d", now(c)))
        finally:
            driver.set_trace_callback(None)
        plans: list[tuple[str, str]] = []
        for statement in seen:
            if statement.lstrip().upper().startswith("SELECT"):
                rows = driver.execute("EXPLAIN QUERY PLAN " + statement).fetchall()
                plans += [(statement, str(row[3])) for row in rows]
        return plans

    def prepare(c: Connection) -> None:
        add_agent(c, "ana")
        add_mail(c, "ana")
        c.execute(text("ANALYZE"))

    await store.write(prepare)
    for statement, step in await store.read(look):
        scans = step.startswith(("SCAN messages", "SCAN turns", "SCAN events", "SCAN spend"))
        assert not scans or "USING" in step, f"{step}: {statement}"
