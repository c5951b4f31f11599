"""The page with the real Claude Code in a real box, before a stub of the model: what it thinks, does and changes."""

from __future__ import annotations

import re
from collections.abc import Generator

import pytest
from page_seat import Sit
from playwright.sync_api import Browser, expect

from melipona.testing.claude_hive import ClaudeHive, running_claude_hive, script, send, shell

pytestmark = [pytest.mark.boxes, pytest.mark.claude, pytest.mark.timeout(300)]
LONG = 120_000
COMMAND = "echo hello bees > /ws/greeting.txt; cat /ws/greeting.txt"


@pytest.fixture(scope="module")
def hive(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[ClaudeHive]:
    """Instead of the hive of the other modules: one whose model is the stub."""
    with running_claude_hive(tmp_path_factory.mktemp("page")) as hive:
        yield hive


def test_a_turn_of_claude_is_seen_thinking_running_and_changing_a_file(sit: Sit, hive: ClaudeHive) -> None:
    """Issue 5: text that streams while the turn runs, thinking, a Bash call with its output, an Edit, the cost."""
    hive.claude("ana")
    edit = {"file_path": "/ws/greeting.txt", "old_string": "hello bees", "new_string": "good morning, bees"}
    body = script(
        {"think": "I should look at the file first.", **shell(COMMAND)},
        {"tool": "Read", "input": {"file_path": "/ws/greeting.txt"}},
        {"tool": "Edit", "input": edit},
        send("The greeting is changed."),
        {"slow": 6, "text": "That was all."},
    )
    page = sit().go("/agents/ana")
    page.get_by_role("textbox", name="Message to ana").fill(body)
    page.get_by_role("button", name="Send", exact=True).click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("tick tick", timeout=LONG)
    expect(log).to_contain_text("I should look at the file first.")
    expect(page.get_by_text("ana is working")).to_be_visible()  # so it was seen before the end
    log.get_by_role("button", name=re.compile("^Bash echo hello bees")).click()
    expect(log.locator("pre", has_text="hello bees").last).to_contain_text("\nhello bees")
    log.get_by_role("button", name=re.compile("^Edit .ws.greeting")).click()
    diff = log.get_by_role("figure")
    expect(diff).to_contain_text("hello bees")
    expect(diff).to_contain_text("good morning, bees")
    hive.wait_for("turn.ended", lambda event: event["agent"] == "ana", within=LONG / 1000)
    expect(log).to_contain_text("That was all.")
    expect(page.get_by_role("article", name="ana wrote")).to_contain_text("The greeting is changed.")
    expect(log.get_by_role("button", name=re.compile(r"^t1 .*\$0\.\d\d.* ok$"))).to_be_visible()
    assert (hive.work("ana") / "greeting.txt").read_text() == "good morning, bees\n"
