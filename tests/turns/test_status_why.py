"""`mel why`: each state is explained, with who acts next, the timer that runs and what to type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from melipona.clock import ManualClock
from melipona.errors import NotFound
from melipona.store.engine import Store, now
from melipona.store.schema import agents, messages, turns
from melipona.testing.store import temporary_store
from melipona.turns.agent_facts import Limits
from melipona.turns.status import Actor
from melipona.turns.why import Look, Why, spell, why

pytestmark = pytest.mark.anyio
SECOND = 1_000_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with temporary_store(tmp_path, ManualClock()) as opened:
        yield opened


async def explain(store: Store, subject: str, **values: Any) -> Why:
    return await store.read(why, subject, Look(store.clock.now(), values.pop("cap", 2), **values))


def add_agent(c: Connection, name: str = "ana", **values: Any) -> None:
    at = now(c)
    row = {"id": f"id-{name}", "name": name, "role": "worker", "engine": "playbook", "wish": "running"}
    c.execute(insert(agents).values(row | {"created_at": at, "entered_at": at - 240 * SECOND} | values))


def add_mail(c: Connection, to: str = "ana", **values: Any) -> None:
    at = now(c)
    row = {"sender": "operator", "recipient": to, "body": "secret words", "body_bytes": 1, "kind": "mail"}
    row |= {"agent_id": None if to == "operator" else f"id-{to}", "origin": "[]"}
    c.execute(insert(messages).values(row | {"sent_at": at, "entered_at": at - 5 * SECOND} | values))


def add_turn(c: Connection, name: str = "ana", **values: Any) -> None:
    at = now(c)
    row = {"agent_id": f"id-{name}", "agent": name, "state": "running", "epoch": 1, "host": "h"}
    row |= {"cause": '{"kind": "mail", "from": ["ben"]}', "wake_source": "mail"}
    c.execute(insert(turns).values(row | {"started_at": at - 60 * SECOND, "entered_at": at - 60 * SECOND} | values))


@pytest.mark.parametrize(
    ("agent", "actor", "says", "command"),
    [
        ({"held_at": 1}, Actor.OPERATOR, "wakes nobody until you send", "mel agent resume ana"),
        (
            {"paused_at": 1, "paused_by": "operator"},
            Actor.OPERATOR,
            "waits until it is resumed",
            "mel agent resume ana",
        ),
        ({"wish": "stopped"}, Actor.OPERATOR, "no turns until it is started", "mel agent start ana"),
        ({"trouble": "gave_up"}, Actor.OPERATOR, "Nothing happens until", "mel agent start ana"),
        ({"trouble": "no_key"}, Actor.OPERATOR, "[models.anthropic]", "mel agent start ana"),
        ({}, Actor.DAEMON, "begins its turn", None),
    ],
)
async def test_a_message_that_does_not_move_says_why(
    store: Store, agent: dict[str, Any], actor: Actor, says: str, command: str | None
) -> None:
    """Issue 3: why something does not move, who acts next; D-18 for the hold."""

    def prepare(c: Connection) -> None:
        add_agent(c, "ana", **{k: now(c) if v == 1 else v for k, v in agent.items()})
        add_mail(c, sent_at=now(c) - SECOND)

    await store.write(prepare)
    for subject in ("ana", "m1"):
        found = await explain(store, subject)
        assert found.next_actor is actor
        assert says in found.text
        assert (command in found.commands) if command else not found.commands
        assert "secret words" not in found.text


async def test_a_rate_limit_names_its_timer(store: Store) -> None:
    """D-26: retry-after, else 300 s."""
    at = store.clock.now()
    await store.write(lambda c: add_agent(c, trouble="rate_limited", wake_at=at + 300 * SECOND))
    found = await explain(store, "ana")
    assert found.next_actor is Actor.TIME
    assert "tries again in 5 min (2026-01-01T00:05:00.000000Z)" in found.text
    assert found.as_json()["timer"] == {"what": "it tries again", "until": "2026-01-01T00:05:00.000000Z"}


async def test_a_spent_budget_names_the_next_day(store: Store) -> None:
    """D-30."""

    def prepare(c: Connection) -> None:
        from melipona.store.schema import spend

        add_agent(c, budget_micro_usd=5)
        row = {"agent_id": "id-ana", "day": "d", "model": "m", "state": "settled", "reserved_micro_usd": 0}
        at = now(c)
        c.execute(insert(spend).values(row | {"cost_micro_usd": 5, "epoch": 1, "at": at, "entered_at": at}))

    await store.write(prepare)
    later = store.clock.now() + 3600 * SECOND
    found = await explain(store, "ana", limits=Limits("d", later))  # type: ignore[arg-type]
    assert found.timer is not None
    assert (found.timer.what, found.timer.until) == ("a new day begins", later)
    assert found.commands == ("mel agent set ana --budget USD",)


async def test_behind_the_cap_says_how_many(store: Store) -> None:
    """I-7."""

    def prepare(c: Connection) -> None:
        for place, name in enumerate(("ana", "ben", "cleo")):
            add_agent(c, name)
            add_mail(c, name, entered_at=now(c) + place)
        add_agent(c, "busy")
        add_turn(c, "busy")

    await store.write(prepare)
    found = await explain(store, "cleo", cap=1)
    assert "behind 2" in found.text
    assert found.next_actor is Actor.DAEMON


async def test_a_running_turn_names_its_limit(store: Store) -> None:
    """D-26: a turn has 2 h in all."""

    def prepare(c: Connection) -> None:
        add_agent(c)
        add_turn(c)
        add_mail(c, state=1, turn=1, attempts=2, maybe_seen=1)
        add_mail(c)

    await store.write(prepare)
    for subject in ("ana", "t1", "m1", "m2"):
        found = await explain(store, subject, turn_seconds=7200)
        assert found.timer is not None
        assert found.timer.what == "the turn is interrupted"
        assert found.timer.until == store.clock.now() + 7140 * SECOND
        assert "mel interrupt ana" in found.commands
    assert "an earlier turn may have acted on it" in (await explain(store, "m1")).text
    assert "waits until this turn ends; it cancels nothing" in (await explain(store, "m2")).text


async def test_parked_and_back_off_messages_tell_the_last_error(store: Store) -> None:
    """D-18; foreign words are made visible (T4)."""

    def prepare(c: Connection) -> None:
        add_agent(c)
        add_mail(c, state=3, failures=5, attempts=5, last_error="boom \x1b[31m")
        add_mail(c, failures=1, attempts=1, last_error="engine_failed", wake_at=now(c) + 30 * SECOND)

    await store.write(prepare)
    parked = await explain(store, "m1")
    assert "failed 5 times, the last time with: boom ␛[31m" in parked.text
    assert parked.commands == ("mel mail retry m1",)
    waits = await explain(store, "m2")
    assert waits.timer is not None
    assert waits.timer.until == store.clock.now() + 30 * SECOND
    assert "1 turn had it, 1 failed" in waits.text
    assert (await explain(store, "ana")).facts["reason"] == "parked_mail"


async def test_what_is_over_waits_for_nobody(store: Store) -> None:
    def prepare(c: Connection) -> None:
        add_agent(c)
        at = now(c)
        add_turn(c, state="ended", ended_at=at - SECOND, result="failed", reason="engine_failed", note="exit code 3")
        add_mail(c, state=2, turn=1)
        add_mail(c, "operator", sender="ana")

    await store.write(prepare)
    turn = await explain(store, "t1")
    assert turn.next_actor is None
    assert "ended 1 s ago after 59 s: failed." in turn.text
    assert "engine_failed: exit code 3" in turn.text
    assert (await explain(store, "m1")).next_actor is None
    inbox = await explain(store, "m2")
    assert (inbox.next_actor, inbox.commands[0]) == (Actor.OPERATOR, "mel inbox")


async def test_an_agent_may_be_called_like_a_message(store: Store) -> None:
    """D-36: m12 is a legal name."""
    await store.write(lambda c: add_agent(c, "m12"))
    assert (await explain(store, "m12")).facts["state"] == "idle"


@pytest.mark.parametrize("subject", ["nobody", "m1", "t1", "operator", "m", ""])
async def test_unknown_subjects_are_not_found(store: Store, subject: str) -> None:
    with pytest.raises(NotFound):
        await explain(store, subject)


def test_durations_read_well() -> None:
    """DESIGN.md: 38 s, 4 min, 2 h 10 min."""
    spelled = [spell(seconds * SECOND) for seconds in (0, 38, 240, 7800, 7200, 86400 * 3)]
    assert spelled == ["0 s", "38 s", "4 min", "2 h 10 min", "2 h", "3 d"]
