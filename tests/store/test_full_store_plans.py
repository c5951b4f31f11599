"""With a million messages no statement of a hot path reads a history (PERFORMANCE.md section 11, rules 16 and 17)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

import melipona.daemon  # noqa: F401 (all rooms, so that no hot statement is missed)
from melipona.agents import store as agent_rows
from melipona.budgets.service import Budgets
from melipona.clock import SystemClock
from melipona.ids import AgentId
from melipona.mail import looks, traffic
from melipona.mail import store as mail_rows
from melipona.settings import BudgetSettings
from melipona.store import events
from melipona.store.hot import Hot
from melipona.store.sqlite import close_core, open_core
from melipona.testing.filled_store import fill
from melipona.turns import box_rows
from melipona.turns import store as turn_rows

MESSAGES, AGENTS = 1_000_000, 10_000
AGENT, NAME = AgentId("00000000-0000-7000-8000-000000000007"), "agent-00007"
HISTORY = re.compile(r"SCAN (messages|events|turns|spend)( USING (COVERING )?INDEX (\w+))?$")
OPEN_ONLY = frozenset(
    {"ix_messages_waiting", "ix_messages_leased", "ix_messages_wake_at", "ix_turns_running", "uq_turns_open"}
)
"""Indexes over what is open only: reading one whole is no scan of a history."""
STEPS = 60_000
"""Steps of SQLite's machine that a look may take: a page of rows takes some thousands, a history tens of millions."""
DUE_STEPS = 400_000
"""The same for who is due: a thousand messages wait, each for an agent of its own."""

HOT = {
    f"{module.__name__.removeprefix('melipona.')}.{name}": value
    for module in list(sys.modules.values())
    if module.__name__.startswith("melipona.")
    for name, value in vars(module).items()
    if isinstance(value, Hot)
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A reader of a store with a long history."""
    path = tmp_path_factory.mktemp("full") / "mel.db"
    fill(path, agents=AGENTS, messages=MESSAGES)
    c = open_core(path, reader=True)
    c.info["now"] = SystemClock().now()
    yield c
    close_core(c)
    _remove(path)


def _remove(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def driver_of(c: Connection) -> Any:
    return c.connection.driver_connection


def test_the_history_is_there(full: Connection) -> None:
    counts = [driver_of(full).execute(f"SELECT max(id) FROM {name}").fetchone()[0] for name in ("messages", "events")]
    assert counts == [MESSAGES, 2 * MESSAGES]
    assert len(HOT) > 40


@pytest.mark.parametrize("name", sorted(HOT))
def test_no_hot_statement_scans_a_history(full: Connection, name: str) -> None:
    """Rule 16: by the plan that SQLite makes with the statistics of full tables."""
    sql, parameters = HOT[name].text(full)
    steps = [str(row[3]) for row in driver_of(full).execute(f"EXPLAIN QUERY PLAN {sql}", [1] * parameters)]
    scans = [scan for step in steps if (scan := HISTORY.match(step)) is not None and scan[4] not in OPEN_ONLY]
    assert scans == [], steps


LOOKS: dict[str, tuple[int, Callable[[Connection], object]]] = {
    "what waits for an agent": (STEPS, lambda c: mail_rows.waiting(c, AGENT)),
    "an agent's newest mail": (STEPS, lambda c: looks.recent(c, NAME, 50)),
    "what the operator has not read": (STEPS, lambda c: looks.unread(c)),
    "what is parked": (STEPS, lambda c: looks.parked(c)),
    "one message": (STEPS, lambda c: looks.get(c, MESSAGES // 2)),
    "whether a sender is busy": (STEPS, lambda c: traffic.sender_busy(c, NAME, 60, c.info["now"])),
    "whether a thread is busy": (STEPS, lambda c: traffic.thread_busy(c, MESSAGES // 2, 30, c.info["now"])),
    "events after a number": (STEPS, lambda c: events.after(c, MESSAGES)),
    "an agent's events after a number": (STEPS, lambda c: events.after(c, MESSAGES, agent=NAME)),
    "the newest events": (STEPS, lambda c: events.before(c, None)),
    "the last event": (STEPS, lambda c: events.last_number(c)),
    "who is due": (DUE_STEPS, lambda c: turn_rows.due(c, 4)),
    "whether one agent is due": (STEPS, lambda c: turn_rows.due_one(c, AGENT)),
    "how many run": (STEPS, lambda c: turn_rows.running(c)),
    "when to look again": (STEPS, lambda c: turn_rows.next_wake(c)),
    "an agent's open turn": (STEPS, lambda c: turn_rows.open_turn_of(c, AGENT)),
    "a page of turns": (STEPS, lambda c: turn_rows.listing(c, AGENT, None, 50)),
    "what has idled too long": (STEPS, lambda c: box_rows.due_idle(c, "here")),
    "whether an agent may run": (STEPS, lambda c: Budgets(BudgetSettings()).may_run(c, AGENT)),
    "an agent": (STEPS, lambda c: agent_rows.by_id(c, AGENT)),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_costs_a_page_and_not_the_history(full: Connection, name: str) -> None:
    """Rule 17, section 10: counted in steps of SQLite's machine, which no busy machine changes."""
    most, look = LOOKS[name]
    driver, taken = driver_of(full), 0

    def count() -> bool:
        nonlocal taken
        taken += 1000
        return taken > most

    driver.set_progress_handler(count, 1000)
    try:
        look(full)
    finally:
        driver.set_progress_handler(None, 0)
        if driver.in_transaction:
            driver.execute("ROLLBACK")
