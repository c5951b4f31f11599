"""What the menu of an agent and the palette offer, each to its end, in a real browser (DESIGN, principle 8)."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest
from page_seat import Sit
from playwright.sync_api import Page, expect

from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.timeout(300)
TALKER = """
[[rule]]
body = "hold"
steps = [{ hold = "/ws/go", timeout = 120 }, { send = "done" }]
[[rule]]
steps = [{ send = "heard: {body}" }]
"""


def palette(page: Page, text: str, entry: str) -> None:
    """Run an entry of the palette without a mouse."""
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog", name="Search or run")
    dialog.get_by_role("combobox").fill(text)
    expect(dialog.get_by_role("option", name=entry, exact=True)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")


def choose(page: Page, name: str, item: str) -> None:
    """Choose an item of the menu of the agent whose page is open."""
    page.get_by_role("button", name=f"More for {name}").click()
    page.get_by_role("menuitem", name=item).click()


def test_a_compaction_is_asked_for_taken_back_and_a_new_session_begun(sit: Sit, hive: HiveProcess) -> None:
    """HN-7: while a turn runs they wait for its end, which the page says; what waits can be taken back."""
    hive.agent("ana", playbook=TALKER)
    hive.send("ana", "hold")
    hive.wait_for("turn.started", lambda event: event["agent"] == "ana")
    page = sit().go("/agents/ana")
    choose(page, "ana", "Compact the conversation")
    expect(page.get_by_text("compacts next")).to_be_visible()
    choose(page, "ana", "Do not compact")
    expect(page.get_by_text("compacts next")).to_have_count(0)
    palette(page, "new session for ana", "New session for ana")
    page.get_by_role("dialog", name="New session for ana").get_by_role("button", name="Begin a new session").click()
    expect(page.get_by_text("new session next")).to_be_visible()
    palette(page, "take back ana", "Take back what waits for ana")
    expect(page.get_by_text("new session next")).to_have_count(0)
    (hive.work("ana") / "go").touch()
    hive.wait_for("turn.ended", lambda event: event["agent"] == "ana")
    choose(page, "ana", "New session")
    page.get_by_role("dialog").get_by_role("button", name="Begin a new session").click()
    hive.wait_for("agent.session_renewed", lambda event: event["agent"] == "ana")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_turn_tells_how_many_threads_were_left_waiting(sit: Sit, hive: HiveProcess) -> None:
    """TS-2: mail that came while it ran, by thread; none of it is the turn's own."""
    hive.agent("dora", playbook=TALKER)
    hive.send("dora", "hold")
    turn = hive.wait_for("turn.started", lambda event: event["agent"] == "dora")["data"]["id"]
    hive.send("dora", "one")
    hive.send("dora", "two")
    (hive.work("dora") / "go").touch()
    hive.wait_for("turn.ended", lambda event: event["agent"] == "dora")
    assert hive.client.get(f"/turns/{turn}")["open_threads"] == 2
    hive.wait_for("turn.ended", lambda event: event["agent"] == "dora" and event["data"]["id"] > turn)
    later = hive.client.get("/agents/dora/turns")["items"][0]
    assert later["open_threads"] == 0, "the last turn leaves nothing"
    page = sit().go("/agents/dora")
    page.get_by_role("button", name=re.compile(rf"t{turn} .*ok")).click()
    expect(page.locator("dl", has_text="left waiting")).to_contain_text("2 threads")


def test_a_model_is_changed_from_the_menu_and_found_from_the_palette(sit: Sit, hive: HiveProcess) -> None:
    """TD-15: nothing is loaded anew; the roster and the agent's page show it."""
    hive.agent("cleo", engine="claude")
    page = sit().go("/agents/cleo")
    choose(page, "cleo", "Change the model")
    page.get_by_role("dialog").get_by_role("combobox").fill("claude-opus-4-1")
    page.get_by_role("dialog").get_by_role("button", name="Use this model").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("claude-opus-4-1", exact=True)).to_be_visible()
    palette(page, "change model cleo", "Change the model of cleo")
    expect(page.get_by_role("dialog").get_by_role("combobox")).to_have_value("claude-opus-4-1")
    assert hive.client.get("/agents/cleo")["model"] == "claude-opus-4-1"


def test_the_palette_has_the_machine_examined_and_health_shows_what_was_found(sit: Sit, hive: HiveProcess) -> None:
    """What `mel doctor` says, a real box included, from any view."""
    page = sit().go("/costs")
    palette(page, "doctor", "Examine this machine")
    page.wait_for_url(re.compile("/health$"))
    expect(page.get_by_text(re.compile("^As of "))).to_be_visible(timeout=120_000)
    expect(page.locator("section", has_text="Doctor").get_by_role("listitem").first).to_be_visible()


def test_a_backup_is_written_from_the_palette(sit: Sit, hive: HiveProcess, tmp_path: Path) -> None:
    """D-35: where the person says, and what is in the way is told in place."""
    page = sit().go("/messages")
    palette(page, "backup", "Back up the hive")
    dialog = page.get_by_role("dialog", name="Back up the hive")
    field = dialog.get_by_role("textbox", name="File")
    expect(field).to_have_value(re.compile(rf"^{re.escape(str(hive.data.parent))}/melipona-\d{{8}}-\d{{4}}\.tar\.gz$"))
    file = tmp_path / "hive.tar.gz"
    file.write_bytes(b"")
    field.fill(str(file))
    dialog.get_by_role("button", name="Back up", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("exists")
    file.unlink()
    dialog.get_by_role("button", name="Back up", exact=True).click()
    expect(dialog.get_by_role("status")).to_contain_text(str(file), timeout=60_000)
    with tarfile.open(file) as archive:
        assert any(name.endswith("mel.db") for name in archive.getnames())


def test_a_hive_is_stopped_from_the_palette_after_a_question(sit: Sit, hive: HiveProcess) -> None:
    """It says what is cut off; the page then says that it is not connected, and goes on when the hive is back."""
    seat = sit()
    page = seat.go("/")
    palette(page, "stop hive", "Stop the hive")
    dialog = page.get_by_role("dialog", name="Stop the hive")
    expect(dialog).to_contain_text("mel up")
    dialog.get_by_role("button", name="Stop the hive").click()
    assert hive.died() == 0
    expect(page.get_by_role("status").first).to_contain_text("not connected")
    hive.start()
    expect(page.get_by_role("status").first).to_contain_text("live")
    expect(page.get_by_role("dialog")).to_have_count(0)
