"""Every view with an empty hive, an ordinary one, one of 200 agents with long names and one where much is wrong:
nothing scrolls sideways or lies over another thing, at any width. Without MEL_SCREENSHOTS only the largest is looked
at; with it set to a folder each is kept there in both themes, as KIND-VIEW-WIDTH-THEME.png, to be looked at."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import pytest
from page_seat import Seat, Sit
from playwright.sync_api import Browser

from melipona.testing.filled_store import fill
from melipona.testing.hive import QUICK, HiveProcess

pytestmark = pytest.mark.timeout(900)

SHOTS = os.environ.get("MEL_SCREENSHOTS")
KINDS = ("empty", "normal", "many", "broken") if SHOTS else ("many",)
WIDTHS = (1440, 1024, 390) if SHOTS else (1024, 390)
THEMES = ("light", "dark") if SHOTS else ("light",)
HIVE_VIEWS = {
    "swarm": "/",
    "grouped": "/?group=state",
    "messages": "/messages",
    "sequence": "/messages?as=sequence",
    "costs": "/costs",
    "audit": "/audit",
    "health": "/health",
    "settings": "/settings",
    "new": "/?new=agent",
    "ui": "/ui",
}
AGENT_VIEWS = {
    "agent": "/agents/{name}",
    "turns": "/agents/{name}?tab=turns",
    "mail": "/agents/{name}?tab=mail",
    "files": "/agents/{name}?tab=files",
    "terminal": "/agents/{name}?tab=terminal",
    "agent-settings": "/agents/{name}?tab=settings",
    "why": "/agents/{name}?why={name}",
    "model": "/agents/{name}?ask=model",
    "purge": "/agents/{name}?ask=purge",
    "embedded": "/agents/{name}?embed=1",
}
LONG = "a-very-long-name-of-an-agent-"
WORDS = "Reads the tests of the importer again, because two of them pass only when the first has run before"


def _normal(c: sqlite3.Connection) -> None:
    c.execute("UPDATE agents SET wish = 'running', session = 's1', status_at = entered_at")
    rows = [row[0] for row in c.execute("SELECT id FROM agents ORDER BY name")]
    names = ("ana", "ben", "cleo", "dora", "emil", "fay", "gus", "hana")
    for identifier, name in zip(rows, names, strict=False):
        old = c.execute("SELECT name FROM agents WHERE id = ?", (identifier,)).fetchone()[0]
        for table, column in (("turns", "agent"), ("messages", "recipient"), ("messages", "sender")):
            c.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {column} = ?", (name, old))
        c.execute("UPDATE agents SET name = ? WHERE id = ?", (name, identifier))
    c.execute("UPDATE agents SET status_text = ? WHERE name IN ('ana', 'cleo')", (WORDS,))
    c.execute("UPDATE agents SET engine = 'claude', model = 'claude-sonnet-4-5-20250929' WHERE name < 'e'")
    c.execute("UPDATE agents SET role = 'manager' WHERE name = 'hana'")
    c.execute("UPDATE agents SET paused_at = entered_at, paused_by = 'operator' WHERE name = 'ben'")
    c.execute('UPDATE turns SET context_tokens = 82000, context_window = 200000, tools = \'{"Bash": 4, "Edit": 2}\'')
    c.execute(
        "UPDATE turns SET input_tokens = 1200, output_tokens = 800, cache_read_tokens = 91000, cost_micro_usd = 41000"
    )
    c.execute("UPDATE messages SET wake = 0")
    c.execute("UPDATE agents SET budget_micro_usd = 2000000 WHERE name IN ('ana', 'cleo')")
    c.execute("UPDATE agents SET budget_micro_usd = 1000000 WHERE name = 'ben'")
    _spent(c)


def _spent(c: sqlite3.Connection) -> None:
    """Two weeks of calls by every agent with a model, so that Costs has something to draw."""
    c.execute(
        "WITH RECURSIVE back(days) AS (SELECT 0 UNION ALL SELECT days + 1 FROM back WHERE days < 12) "
        "INSERT INTO spend (agent_id, day, model, state, reserved_micro_usd, cost_micro_usd, input_tokens, "
        "output_tokens, cache_read_tokens, cache_creation_tokens, epoch, at, entered_at) "
        "SELECT id, date('now', '-' || days || ' days'), CASE WHEN name < 'c' THEN 'claude-opus-4-1' ELSE model END, "
        "'settled', 0, 300000 + (days * 7919 + unicode(name) * 104729) % 1900000, 4000, 1500, 310000, 22000, 1, "
        "entered_at, entered_at FROM agents, back WHERE engine = 'claude'"
    )


def _many(c: sqlite3.Connection) -> None:
    c.execute("UPDATE agents SET wish = 'running', status_at = entered_at, status_text = ?", (WORDS,))
    c.execute("UPDATE agents SET name = substr(? || substr(name, 7) || '-z', 1, 32)", (LONG[:20],))
    c.execute("UPDATE agents SET paused_at = entered_at, paused_by = 'operator' WHERE substr(id, -1) = '3'")
    c.execute("UPDATE agents SET trouble = 'gave_up', trouble_detail = ? WHERE substr(id, -2) = '17'", (WORDS,))
    c.execute("UPDATE turns SET context_tokens = 182000, context_window = 200000")
    c.execute("UPDATE messages SET wake = 0")


def _broken(c: sqlite3.Connection) -> None:
    _normal(c)
    said = (
        ("ana", "crashed", "its box ended unexpectedly: signal 9"),
        ("ben", "gave_up", "5 crashes in a row; the last: out of memory"),
        ("cleo", "budget_spent", "its budget of 5.00 USD for today is spent"),
        ("dora", "login_expired", "the model's service refuses the key"),
        ("emil", "disk_limit", "its files take 11 GiB, more than the 10 GiB that they may"),
    )
    for name, trouble, detail in said:
        c.execute("UPDATE agents SET trouble = ?, trouble_detail = ? WHERE name = ?", (trouble, detail, name))
    c.execute(
        "UPDATE messages SET state = 3, failures = 5, last_error = ?, turn = NULL WHERE id % 97 = 0", (WORDS * 3,)
    )
    c.execute("UPDATE turns SET result = 'failed', reason = 'out_of_memory', note = ? WHERE id % 5 = 0", (WORDS,))


MAKERS: dict[str, tuple[int, int, Callable[[sqlite3.Connection], None]]] = {
    "normal": (8, 1000, _normal),
    "many": (200, 5000, _many),
    "broken": (8, 1000, _broken),
}


@pytest.fixture(scope="module", params=KINDS)
def hive(
    browser: Browser, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[HiveProcess]:
    """A hive of each kind, with rows as a life would have left them."""
    folder: Path = tmp_path_factory.mktemp(str(request.param))
    hive = HiveProcess(folder / "hive", config=QUICK)
    if request.param in MAKERS:
        agents, messages, make = MAKERS[request.param]
        (folder / "hive").mkdir(mode=0o700)
        fill(folder / "hive" / "mel.db", agents=agents, messages=messages, wish="stopped")
        with closing(sqlite3.connect(folder / "hive" / "mel.db")) as c, c:
            make(c)
    hive.start()
    try:
        yield hive
    finally:
        hive.down()
        assert not hive.boxes()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_view_scrolls_sideways_or_cuts_what_it_shows(
    sit: Sit, hive: HiveProcess, width: int, request: pytest.FixtureRequest
) -> None:
    """DESIGN: at 390 px nothing scrolls sideways, and no view runs out of its frame at any width."""
    kind = request.node.callspec.params["hive"]
    agents = hive.client.get("/agents")["items"]
    views = dict(HIVE_VIEWS)
    if agents:
        views |= {view: path.format(name=agents[0]["name"]) for view, path in AGENT_VIEWS.items()}
    for theme in THEMES:
        seat: Seat = sit(width=width, theme=theme)
        for view, path in views.items():
            page = seat.go(path)
            page.locator("main").wait_for()
            page.evaluate("() => new Promise((done) => requestIdleCallback(done, { timeout: 1500 }))")
            if SHOTS:
                page.screenshot(path=str(Path(SHOTS) / f"{kind}-{view}-{width}-{theme}.png"))
            wide = page.evaluate(
                """() => [...document.querySelectorAll('main, main *, [role=dialog], header')].filter((one) => {
                    const style = getComputedStyle(one);
                    const scrolls = ['auto', 'scroll'].includes(style.overflowX);
                    const may = one.matches('pre, nav, .prose *, [data-wide]');
                    return scrolls && !may && one.scrollWidth > one.clientWidth + 1;
                }).map((one) => one.outerHTML.slice(0, 120))"""
            )
            assert wide == [], (kind, view, width)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (kind, view, width)
            assert re.search(r"\S", page.locator("main").inner_text()), (kind, view, "shows nothing")
