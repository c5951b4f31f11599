"""What somebody may not do is not offered and says why, and is refused (ASK-23): a viewer in a real browser."""

from __future__ import annotations

import re

import pytest
from page_seat import Sit
from playwright.sync_api import expect

from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.timeout(300)

POST = """async (path) => (await fetch(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: "{}"
})).status"""


def test_a_viewer_reads_and_is_offered_nothing_else(sit: Sit, hive: HiveProcess) -> None:
    """No acting control works, each says why; a POST of the page's own is refused; a new role counts at once."""
    hive.agent("ana")
    hive.client.post("/people", {"name": "vera", "role": "viewer"})
    seat = sit(person="vera")
    page = seat.go("/")
    new = page.get_by_role("button", name="New agent")
    expect(new).to_be_disabled()
    expect(new).to_have_attribute("title", "You are a viewer here; that takes an operator")
    expect(page.get_by_role("button", name="Pause ana")).to_be_disabled()
    seat.go("/agents/ana")
    expect(
        page.get_by_text("You are a viewer here; that takes an operator. You read what is said here.")
    ).to_be_visible()
    expect(page.get_by_role("textbox", name="Message to ana")).to_have_count(0)
    for path in ("/api/v1/agents/ana/pause", "/api/v1/messages", "/api/v1/stop", "/api/v1/people"):
        assert page.evaluate(POST, path) == 403, path
    assert hive.client.get("/agents/ana")["paused_at"] is None
    seat.go("/settings")
    expect(page.get_by_role("heading", name="Tokens")).to_be_visible()
    expect(page.get_by_role("heading", name="People")).to_have_count(0)
    page.get_by_role("textbox", name="What the token is for").fill("reader")
    page.get_by_role("button", name="Make token").click()
    shown = page.get_by_text(re.compile("^mel_[0-9a-f]{12}_"))
    expect(shown).to_be_visible()
    page.reload()
    expect(page.get_by_text("reader")).to_be_visible()
    expect(shown).to_have_count(0)
    hive.client.patch("/people/vera", {"role": "operator"})
    seat.go("/agents/ana")
    expect(page.get_by_role("textbox", name="Message to ana")).to_be_visible()
