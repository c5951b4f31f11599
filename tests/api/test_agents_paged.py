"""A hive of more agents than a page holds: lists by key, a snapshot of the first, rows of all that follow (rule 17)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from sqlalchemy import Connection

from melipona.api import board
from melipona.cli.main import run
from melipona.testing.filled_store import AGENTS, NUMBERS
from melipona.testing.served import ServedHive, served
from melipona.views.agents import AGENTS_PAGE, agent_rows

COUNT = 2 * AGENTS_PAGE + 203
LAST = f"agent-{COUNT:05d}"
DEADLINE = 60.0


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServedHive]:
    with served(tmp_path_factory.mktemp("many") / "hive") as hive:
        hive.write(_make_many)
        yield hive


def _make_many(c: Connection) -> None:
    statement = AGENTS.format(numbers=NUMBERS.format(count=COUNT), wish="stopped", at=c.info["now"])
    c.exec_driver_sql(statement)


def _follow(hive: ServedHive, last: str, until: Callable[[dict[str, Any]], bool]) -> None:
    end = time.monotonic() + DEADLINE
    for name, _, data in hive.client.stream("/events", last=last, rows=True):
        if name == "rows" and until(data):
            return
        assert time.monotonic() < end, "what was waited for did not come"


def test_pages_hold_every_agent_once_and_in_order(many: ServedHive) -> None:
    names: list[str] = []
    following: str | None = None
    while True:
        page = many.client.get("/agents", limit=300, next=following)
        assert len(page["items"]) <= 300
        names += [agent["name"] for agent in page["items"]]
        following = page["next"]
        if following is None:
            break
    assert names == [f"agent-{number:05d}" for number in range(1, COUNT + 1)]


def test_a_snapshot_holds_the_first_page_and_says_where_the_rest_is(many: ServedHive) -> None:
    state = many.client.get("/state")
    assert len(state["agents"]) == AGENTS_PAGE
    assert state["agents_total"] == COUNT
    rest = many.client.get("/agents", next=state["agents_next"])
    assert rest["items"][0]["name"] == f"agent-{AGENTS_PAGE + 1:05d}"


def test_a_page_reads_the_rows_of_its_agents_only(many: ServedHive) -> None:
    """By the partial index over names, without a sort."""
    plans: list[str] = []

    def look(c: Connection) -> None:
        driver: Any = c.connection.driver_connection
        driver.set_trace_callback(plans.append)
        try:
            agent_rows(c, following="agent-00700")
        finally:
            driver.set_trace_callback(None)
        [statement] = [text for text in plans if text.startswith("SELECT")]
        plans[:] = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}")]

    many.read(look)
    assert len(plans) == 1
    assert "USING INDEX" in plans[0]
    assert "name>?" in plans[0]


def test_a_change_of_an_agent_beyond_the_first_page_reaches_an_open_page(many: ServedHive) -> None:
    """I-39."""
    state = many.client.get("/state")
    many.client.patch(f"/agents/{LAST}", {"budget_usd": 3.5})
    last = f"{state['store']}-{state['event']}"
    _follow(many, last, lambda rows: any(a["name"] == LAST and a["budget_usd"] == 3.5 for a in rows["agents"]))


def test_every_row_of_a_large_hive_is_looked_at_again_without_an_event(
    many: ServedHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no event tells is found by going through all pages."""
    monkeypatch.setattr(board, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(board, "BUSY_SECONDS", 0.05)
    state = many.client.get("/state")
    last = f"{state['store']}-{state['event']}"
    many.write(lambda c: c.exec_driver_sql("UPDATE agents SET crashes = 7 WHERE name = 'agent-00900'"))
    _follow(many, last, lambda rows: any(a["name"] == "agent-00900" and a["crashes"] == 7 for a in rows["agents"]))


def test_the_command_line_shows_all_or_as_many_as_it_is_told(
    many: ServedHive, capsys: pytest.CaptureFixture[str]
) -> None:
    def mel(*args: str) -> Any:
        capsys.readouterr()
        assert run(["--data", str(many.data), "--json", *args]) == 0
        return json.loads(capsys.readouterr().out)

    assert len(mel("status")["agents"]) == COUNT
    assert len(mel("agent", "list")["items"]) == COUNT
    page = mel("agent", "list", "--limit", "10")
    assert page["next"] == "agent-00010"
    assert mel("agent", "list", "--limit", "1", "--next", page["next"])["items"][0]["name"] == "agent-00011"
