"""What goes by age, and what never goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from melipona.clock import ManualClock
from melipona.settings import EventSettings, Settings, TurnSettings
from melipona.store import events
from melipona.store.engine import Store, now
from melipona.store.retention import Retention
from melipona.store.schema import (
    agents,
    api_tokens,
    calls,
    login_challenges,
    login_links,
    people,
    sessions,
    spend,
    turns,
)
from melipona.store.seals import seal, verify
from melipona.testing.store import temporary_store

pytestmark = pytest.mark.anyio
DAY = 86_400_000_000


class NoMail:
    async def clean_up(self, at: int) -> int:
        return 3


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with temporary_store(tmp_path, ManualClock()) as opened:
        yield opened


def add_agent(c: Connection) -> None:
    row = {"id": "a", "name": "ana", "role": "worker", "engine": "playbook", "wish": "running"}
    c.execute(insert(agents).values(row | {"created_at": 1, "entered_at": 1}))


def add_rows(c: Connection, age_days: int, count: int, **turn: Any) -> None:
    at = now(c) - age_days * DAY
    for number in range(count):
        key = f"{age_days}-{number}"
        c.execute(insert(calls).values(key=key, agent_id="a", tool="t", answer="{}", epoch=1, at=at))
        for state in ("settled", "reserved"):
            row = {"agent_id": "a", "day": "d", "model": "m", "state": state, "reserved_micro_usd": 1}
            c.execute(insert(spend).values(row | {"epoch": 1, "at": at, "entered_at": at}))
        row = {"agent_id": "a", "agent": "ana", "state": "ended", "cause": "{}", "epoch": 1, "host": "h"}
        row |= {"wake_source": "mail", "started_at": at, "entered_at": at, "ended_at": at}
        c.execute(insert(turns).values(row | turn))


def counts(c: Connection) -> tuple[int, int]:
    return len(c.execute(select(calls.c.key)).all()), len(c.execute(select(spend.c.id)).all())


async def test_old_rows_go_in_small_steps_and_young_ones_stay(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded deletes; open reservations stay whatever their age."""
    monkeypatch.setattr("melipona.store.retention.STEP", 7)
    await store.write(add_agent)
    await store.write(add_rows, 500, 20)
    await store.write(add_rows, 1, 5)
    removed = await Retention(store, NoMail(), Settings(), tmp_path).clean_up()
    assert removed["calls"] == 20
    assert removed["messages"] == 3
    assert removed["events"] == 0, "events stay unless a time is set"
    left = await store.read(counts)
    assert left[0] == 5
    reserved = await store.read(lambda c: c.execute(select(spend.c.id).where(spend.c.state == "reserved")).all())
    assert len(reserved) == 25


def add_logins(c: Connection) -> None:
    """Of each noun some that ended long ago in each way, one that ended lately, and one that still is good."""
    at = now(c)
    c.execute(insert(people).values(id="p", name="vera", role="viewer", created_at=1))
    ended: list[dict[str, Any]] = [
        {"ends_at": at - 31 * DAY},
        {"ends_at": at + DAY, "over": at - 31 * DAY},
        {"ends_at": at - 29 * DAY},
        {"ends_at": at + DAY, "over": at - 29 * DAY},
        {"ends_at": at + DAY},
    ]
    for number, each in enumerate(ended):
        row = {"person_id": "p", "created_at": 1, "ends_at": each["ends_at"]}
        over = each.get("over")
        seen = {"seen_at": 1, "idle_ends_at": at + DAY, "method": "link", "user_agent": "u", "revoked_at": over}
        c.execute(insert(sessions).values(row | seen | {"id_hash": f"s{number}"}))
        token = {"secret_hash": "h", "name": "n", "scopes": "[]", "revoked_at": over}
        c.execute(insert(api_tokens).values(row | token | {"id": f"t{number}"}))
        c.execute(insert(login_links).values(row | {"token_hash": f"l{number}", "used_at": over}))
    idle = {"person_id": "p", "created_at": 1, "ends_at": at + DAY, "idle_ends_at": at - 31 * DAY, "seen_at": 1}
    c.execute(insert(sessions).values(idle | {"method": "link", "user_agent": "u", "id_hash": "idle"}))
    for hours in (25, 23, -1):
        ends = at - hours * DAY // 24
        row = {"id_hash": f"c{hours}", "kind": "k", "bound_to": "b", "data": "{}", "created_at": 1, "ends_at": ends}
        c.execute(insert(login_challenges).values(row | {"used_at": 1}))


async def test_logins_that_ended_go_and_what_may_still_be_brought_stays(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SECURITY 5: ended sessions, tokens and links after 30 days, challenges after one; nothing that is good."""
    monkeypatch.setattr("melipona.store.retention.STEP", 1)
    await store.write(add_logins)
    removed = await Retention(store, NoMail(), Settings(), tmp_path).clean_up()
    assert {noun: removed[noun] for noun in ("sessions", "tokens", "login_links", "challenges")} == {
        "sessions": 3,
        "tokens": 2,
        "login_links": 2,
        "challenges": 1,
    }
    for key, left in (
        (sessions.c.id_hash, {"s2", "s3", "s4"}),
        (api_tokens.c.id, {"t2", "t3", "t4"}),
        (login_links.c.token_hash, {"l2", "l3", "l4"}),
        (login_challenges.c.id_hash, {"c23", "c-1"}),
    ):
        assert set(await store.read(lambda c, key=key: c.execute(select(key)).scalars().all())) == left
    again = await Retention(store, NoMail(), Settings(), tmp_path).clean_up()
    assert not any(again[noun] for noun in ("sessions", "tokens", "login_links", "challenges"))


async def test_logs_of_old_turns_go_and_their_figures_stay(store: Store, tmp_path: Path) -> None:
    """D-26: turn logs 30 days; a path that leads elsewhere removes nothing."""
    folder = tmp_path / "turns" / "0"
    folder.mkdir(parents=True)
    for name in ("1", "2", "3"):
        (folder / f"{name}.jsonl").write_text("{}")
    (tmp_path / "precious").write_text("mine")
    await store.write(add_agent)
    await store.write(add_rows, 40, 1, log_path="turns/0/1.jsonl")
    await store.write(add_rows, 41, 1, log_path="turns/0/gone.jsonl")
    await store.write(add_rows, 42, 1, log_path="turns/../precious")
    await store.write(add_rows, 43, 1, log_path="turns/0/../../precious")
    await store.write(add_rows, 10, 1, log_path="turns/0/2.jsonl")
    await store.write(add_rows, 50, 1, state="running", ended_at=None, log_path="turns/0/3.jsonl")
    removed = await Retention(store, NoMail(), Settings(), tmp_path).clean_up()
    assert removed["turn_logs"] == 1
    assert sorted(path.name for path in folder.iterdir()) == ["2.jsonl", "3.jsonl"]
    assert (tmp_path / "precious").exists()
    assert len(await store.read(lambda c: c.execute(select(turns.c.id)).all())) == 6
    never = Settings(turns=TurnSettings(log_days=0))
    assert (await Retention(store, NoMail(), never, tmp_path).clean_up())["turn_logs"] == 0


async def test_events_go_by_whole_seals_when_a_time_is_set(store: Store, tmp_path: Path) -> None:
    """D-32."""
    clock = store.clock
    assert isinstance(clock, ManualClock)
    for _ in range(4):
        await store.write(lambda c: [events.record(c, "test.made") for _ in range(10)])
        await store.write(lambda c: seal(c, now(c)))
    clock.advance(timedelta(days=10))
    settings = Settings(events=EventSettings(keep_days=5))
    assert (await Retention(store, NoMail(), settings, tmp_path).clean_up())["events"] == 30
    found = await store.read(verify)
    assert (found.ok, found.count, found.pruned) == (True, 10, 30)
