"""What the page's own views ask for: costs, health, settings, searching mail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from melipona.client import Problem
from melipona.store.engine import now
from melipona.store.schema import spend
from melipona.testing.served import DAY, ServedHive
from melipona.views.agents import agent_id

HOUR = int(timedelta(hours=1).total_seconds() * 1_000_000)


def _spend(
    c: Connection, agent: str, day: str, model: str, micro: int, *, state: str = "settled", ago: int = 0
) -> None:
    at = now(c) - ago
    values: dict[str, Any] = {"reserved_micro_usd": micro * 2, "cost_micro_usd": micro if state == "settled" else 0}
    tokens = {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 100, "cache_creation_tokens": 20}
    row = {"agent_id": agent, "day": day, "model": model, "state": state, "epoch": 1, "at": at, "entered_at": at}
    c.execute(insert(spend).values(**row, **values, **tokens))


def test_costs_are_summed_by_day_agent_and_model(hive: ServedHive) -> None:
    """LE-4: tokens sent anew stand apart from those that were read from the cache. What was released cost nothing."""
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    ana = hive.read(agent_id, "ana")
    for micro in (1_000_000, 500_000):
        hive.write(_spend, ana, DAY, "claude-sonnet", micro, ago=2 * HOUR)
    hive.write(_spend, ana, DAY, "claude-opus", 250_000)
    hive.write(_spend, ana, DAY, "claude-opus", 100_000, state="reserved")
    hive.write(_spend, ana, DAY, "claude-opus", 9_000_000, state="released")
    hive.write(_spend, ana, "2026-11-20", "claude-opus", 2_000_000, ago=30 * HOUR)
    hive.write(_spend, ana, "2026-09-01", "claude-opus", 2_000_000, ago=2000 * HOUR)
    found = hive.client.get("/costs", days=7)
    rows = {(row["day"], row["model"]): row for row in found["items"]}
    assert list(rows) == [(DAY, "claude-opus"), (DAY, "claude-sonnet"), ("2026-11-20", "claude-opus")]
    opus = rows[DAY, "claude-opus"]
    assert (opus["agent"], opus["calls"], opus["usd"]) == ("ana", 2, 0.45)
    assert (opus["input"], opus["output"], opus["cache_read"], opus["cache_creation"]) == (20, 10, 200, 40)
    assert found["usd"] == pytest.approx(1.95)
    assert found["last_hour_usd"] == pytest.approx(0.45)
    assert (found["budget_usd"], found["agent_budget_usd"]) == (20.0, None)
    assert hive.client.get("/state")["spent"]["agent_budget_usd"] is None
    assert (found["day"], found["since"]) == (DAY, "2026-11-15")


def test_health_tells_disk_queues_and_lag(hive: ServedHive) -> None:
    """LE-19: disk pressure is seen before it hurts."""
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    hive.agent_says("ana", "hello")
    health = hive.client.get("/health")
    assert 0 < health["disk"]["free"] <= health["disk"]["total"]
    assert health["mail"]["unread"] == 1
    assert health["events"] == hive.client.get("/state")["event"]
    assert health["loop_lag_seconds"] >= 0
    assert health["data"] == str(hive.data)
    assert health["reach"] == {"ok": True, "detail": "from this machine alone (127.0.0.1)", "remedy": ""}


def test_settings_are_shown_with_their_defaults_and_without_secrets(hive: ServedHive) -> None:
    """I-63: a key is named by its file; no setting holds one."""
    items = {item["key"]: item for item in hive.client.get("/settings")["items"]}
    assert items["budgets.hive_usd_per_day"]["value"] == items["budgets.hive_usd_per_day"]["default"] == 20.0
    assert items["models.anthropic.key_file"]["description"]
    assert not [key for key in items if key.endswith((".key", ".token", ".secret", ".password"))]


def test_mail_is_searched_by_its_text(hive: ServedHive) -> None:
    """Also together with the other filters; percent signs and underscores mean themselves."""
    for name in ("ana", "ben"):
        hive.client.post("/agents", {"name": name, "engine": "playbook"})
    for to, body in (("ana", "The Build broke"), ("ben", "build it: 100%_sure"), ("ben", "lunch")):
        hive.client.post_keyed("/messages", {"to": to, "body": body})

    def bodies(**query: Any) -> list[str]:
        return [item["body"] for item in hive.client.get("/messages", **query)["items"]]

    assert bodies(text="build") == ["build it: 100%_sure", "The Build broke"]
    assert bodies(text="build", agent="ana") == ["The Build broke"]
    assert bodies(text="%_s") == ["build it: 100%_sure"]
    assert bodies(text="%x") == []
    first = hive.client.get("/messages", text="build", limit=1)
    assert bodies(text="build", limit=1, next=first["next"]) == ["The Build broke"]
    with pytest.raises(Problem):
        hive.client.get("/messages", text="")
