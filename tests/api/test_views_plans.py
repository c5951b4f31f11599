"""What people look at costs no scan of a history (PERFORMANCE.md section 11, rules 16 and 17)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, event

from melipona.files.vouching import vouch_for_nothing
from melipona.testing.served import ServedHive
from melipona.turns.status import Status, derive, facts
from melipona.views import agents, events, mail, turns
from melipona.views.hive import running_operations

HISTORY = re.compile(r"SCAN (messages|events|turns|spend)( USING (COVERING )?INDEX (\w+))?$")
PARTIAL = frozenset({"ix_messages_leased", "ix_messages_parked", "ix_messages_waiting", "uq_turns_open"})
"""Indexes over what is open only; reading one whole is no scan of a history."""


def test_looking_scans_no_history(hive: ServedHive) -> None:
    """The snapshot, lists and the inbox go by indexes."""
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    assert hive.read(_scans) == []


def _scans(c: Connection) -> list[str]:
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    event.listen(c.engine, "before_cursor_execute", note)
    try:
        _look_at_everything(c)
    finally:
        event.remove(c.engine, "before_cursor_execute", note)
    driver: Any = c.connection.driver_connection
    found: list[str] = []
    for statement, parameters in statements:
        for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters):
            scan = HISTORY.match(row[3])
            if scan is not None and scan[4] not in PARTIAL:
                found.append(f"{row[3]}: {statement}")
    assert len(statements) > 15
    return found


def _statuses(c: Connection, ids: Sequence[str]) -> Mapping[str, Status]:
    return {each.name: derive(each, c.info["now"]) for each in facts(c, c.info["now"], 4, among=ids)}


def _look_at_everything(c: Connection) -> None:
    facts(c, c.info["now"], 4)
    agents.list_agents(c, _statuses, "2026-11-21")
    agents.list_agents(c, _statuses, "2026-11-21", following="a")
    mail.count_by_state(c)
    running_operations(c)
    turns.list_turns(c, agent_id="x")
    turns.open_turns(c)
    mail.inbox(c, vouch=vouch_for_nothing)
    mail.unread_from_agents(c, vouch=vouch_for_nothing)
    mail.list_messages(c, vouch=vouch_for_nothing, agent="ana")
    mail.list_messages(c, vouch=vouch_for_nothing, agent="ana", following=7)
    mail.list_messages(c, vouch=vouch_for_nothing, state="parked")
    events.list_events(c, agent="ana")
    events.list_events(c, after=3)
    events.bounds(c)
