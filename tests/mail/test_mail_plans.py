"""The hot statements of mail go along an index, never over the whole table (PERFORMANCE.md rule 16)."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Connection

from melipona.mail import looks, post, recipients, rows, traffic
from melipona.mail import store as mail_store
from melipona.store.hot import Hot
from melipona.testing.rooms import OPERATOR, Rooms

pytestmark = pytest.mark.anyio

HOT = {
    f"{module.__name__}.{name}": value
    for module in (looks, mail_store, post, recipients, rows, traffic)
    for name, value in vars(module).items()
    if isinstance(value, Hot)
}


def plan(c: Connection, hot: Hot) -> list[str]:
    """The steps of SQLite's plan of a hot statement."""
    sql, parameters = hot.text(c)
    driver = c.connection.driver_connection
    assert driver is not None
    return [str(row[3]) for row in driver.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * parameters).fetchall()]


async def test_there_are_hot_statements() -> None:
    """The list below is not empty by mistake."""
    assert {"melipona.mail.store.LEASABLE", "melipona.mail.store.ACKNOWLEDGE", "melipona.mail.rows._insert"} <= set(HOT)


@pytest.mark.parametrize("name", sorted(HOT))
async def test_no_hot_statement_scans_a_table(hive: Rooms, name: str) -> None:
    """Rule 16: no SCAN of messages; a scan of a bounded subquery is fine."""
    steps = await hive.store.read(plan, HOT[name])
    assert not [step for step in steps if re.match(r"SCAN (messages|agents|turns|events)\b", step)], steps


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("melipona.mail.store.LEASABLE", "ix_messages_waiting"),
        ("melipona.mail.store.COUNT_WAITING", "ix_messages_waiting"),
        ("melipona.mail.looks.UNREAD", "ix_messages_waiting"),
        ("melipona.mail.store.ACKNOWLEDGE", "ix_messages_leased"),
        ("melipona.mail.store.HELD", "ix_messages_leased"),
        ("melipona.mail.looks.RECENT", "ix_messages_recipient"),
        ("melipona.mail.post.SENT_WITH", "uq_messages_send_key"),
        ("melipona.mail.recipients.BY_NAME", "uq_agents_name"),
    ],
)
async def test_each_goes_along_the_index_that_was_made_for_it(hive: Rooms, name: str, index: str) -> None:
    """Rule 16: also when the table is full and the planner has statistics."""
    ana = await hive.agent("ana")
    for number in range(200):
        await hive.send(OPERATOR, "ana", f"{number}", key=f"k{number}")
    await hive.begin(ana)
    await hive.store.write(_analyze)
    steps = await hive.store.read(plan, HOT[name])
    assert any(index in step for step in steps), steps
    assert not any("TEMP B-TREE" in step for step in steps), steps


def _analyze(c: Connection) -> None:
    driver = c.connection.driver_connection
    assert driver is not None
    driver.execute("ANALYZE")
