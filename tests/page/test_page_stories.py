"""What people do at the page, with real agents in real boxes (issue 5): each story in a real browser."""

from __future__ import annotations

import re
import time

import pytest
from page_seat import Sit
from playwright.sync_api import Locator, Page, expect

from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.timeout(300)

TALKER = """
[[rule]]
body = "talk"
steps = [
  { think = "I look around first." },
  { shell = "echo it works" },
  { say = "The first words.", over = 1 },
  { hold = "/ws/go", timeout = 120 },
  { send = "Done with **talking**." },
]
[[rule]]
body = "fail"
steps = [{ fail = "as asked" }]
[[rule]]
steps = [{ send = "heard: {body}" }]
"""


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def test_first_run_ends_with_a_first_agent_that_answers(sit: Sit) -> None:
    """From an empty hive, without a key and without a word of documentation."""
    page = sit().page
    page.get_by_role("button", name="Make ana").click()
    page.wait_for_url(re.compile("/agents/ana$"))
    field = page.get_by_role("textbox", name="Message to ana")
    field.fill("hello")
    field.press("Enter")
    expect(page.get_by_role("article", name="you wrote")).to_contain_text("hello")
    expect(page.get_by_role("article", name="ana wrote")).to_contain_text("heard: hello", timeout=60_000)
    expect(page.get_by_role("button", name=re.compile("t1 .*ok"))).to_be_visible()
    page.reload()
    expect(page.get_by_role("article", name="ana wrote")).to_contain_text("heard: hello")


def test_a_turn_streams_and_an_interrupt_ends_it(sit: Sit, hive: HiveProcess) -> None:
    """The words are there before the turn has ended; what was interrupted says so and goes on by a word."""
    hive.agent("ben", playbook=TALKER)
    page = sit().go("/agents/ben")
    page.get_by_role("textbox", name="Message to ben").fill("talk")
    page.get_by_role("button", name="Send", exact=True).click()
    log = page.get_by_role("log")
    expect(log).to_contain_text("The first words.", timeout=60_000)
    expect(log).to_contain_text("I look around first.")
    expect(page.get_by_text("ben is working: this waits until the turn ends")).to_be_visible()
    log.get_by_role("button", name=re.compile("shell echo it works")).click()
    expect(log).to_contain_text("$ echo it works\nit works")
    page.get_by_role("button", name="Interrupt", exact=True).click()
    expect(page.get_by_role("button", name=re.compile("interrupted"))).to_be_visible(timeout=60_000)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()


COLOURS = r"""
[[rule]]
steps = [
  { shell = "printf '\\033[31mred\\033[0m \\033[42;30mon green\\033[0m \\033]0;owned\\007\\n1 %%\\r2 %%\\n'" },
  { send = "painted" },
]
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_a_program_prints_has_its_colours_and_moves_nothing(sit: Sit, hive: HiveProcess, theme: str) -> None:
    """Terminal output of a turn: colours as ours, lines written over as a terminal leaves them, a title shown."""
    if "iris" not in hive.ids:
        hive.agent("iris", playbook=COLOURS)
        hive.send("iris", "go")
        hive.wait_for("turn.ended", lambda event: event["agent"] == "iris")
    page = sit(theme=theme).go("/agents/iris")
    page.get_by_role("button", name=re.compile(r"t\d+ .*ok")).click()
    page.get_by_role("button", name=re.compile("shell printf")).click()
    output = page.locator("pre")
    expect(output).to_contain_text("red on green ␛]0;owned␇\n2 %\n")
    red, green = output.get_by_text("red", exact=True), output.get_by_text("on green", exact=True)
    around = output.evaluate("it => getComputedStyle(it).color")
    colour = red.evaluate("it => getComputedStyle(it).color")
    assert colour != around
    assert green.evaluate("it => getComputedStyle(it).backgroundColor") not in ("rgba(0, 0, 0, 0)", colour)
    assert "owned" not in page.title()


def test_two_browsers_see_the_same(sit: Sit, hive: HiveProcess) -> None:
    """I-39: what one does the other sees, and so does what the command line does."""
    hive.agent("cleo", playbook=TALKER)
    one, other = sit().go("/"), sit().go("/")
    other.get_by_role("button", name="Pause cleo").click()
    for page in (one, other):
        expect(row(page, "cleo")).to_contain_text("paused")
    hive.client.post("/agents/cleo/resume")
    for page in (one, other):
        expect(row(page, "cleo")).to_contain_text("idle")
    assert _roster(one) == _roster(other)


def test_a_killed_daemon_is_seen_within_two_seconds_and_the_page_goes_on_by_itself(sit: Sit, hive: HiveProcess) -> None:
    """I-37, I-38: what happened while it was away is there, and it is what a cold load shows."""
    if "dora" not in hive.ids:
        hive.agent("dora", playbook=TALKER)
    page = sit().go("/")
    hive.kill()
    killed = time.monotonic()
    expect(page.get_by_role("status")).to_contain_text("not connected", timeout=2_000)
    assert time.monotonic() - killed < 2.5
    hive.start()
    hive.client.post("/agents/dora/pause")
    expect(row(page, "dora")).to_contain_text("paused")
    expect(page.get_by_role("status")).to_contain_text("live")
    hive.client.post("/agents/dora/resume")
    expect(row(page, "dora")).to_contain_text("idle")
    cold = sit().go("/")
    assert _roster(page) == _roster(cold)
    asked: list[str] = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert sum(1 for name in asked if name.endswith("/api/v1/state")) == 1


def test_a_purge_has_to_be_typed(sit: Sit, hive: HiveProcess) -> None:
    """DB-15: what cannot be taken back names the thing, says what is lost, and is typed."""
    hive.agent("emil", playbook=TALKER)
    page = sit().go("/agents/emil")
    page.get_by_role("button", name="More for emil").click()
    page.get_by_role("menuitem", name="Purge").click()
    dialog = page.get_by_role("dialog", name="Purge emil")
    button = dialog.get_by_role("button", name="Purge emil and its files")
    expect(button).to_be_disabled()
    dialog.get_by_role("textbox").fill("emil")
    button.click()
    page.wait_for_url(re.compile(r"/$"))
    hive.wait_for("agent.purged", lambda event: event["agent"] == "emil")
    expect(page.get_by_role("link", name="emil", exact=True)).to_have_count(0)


def test_the_palette_and_the_keys_reach_everything(sit: Sit, hive: HiveProcess) -> None:
    """Without a mouse: an agent, a view, an action; the address says where one is, and back works."""
    if "fay" not in hive.ids:
        hive.agent("fay", playbook=TALKER)
    page = sit().go("/")
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").fill("fay")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/agents/fay$"))
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url(re.compile("/messages$"))
    page.go_back()
    page.wait_for_url(re.compile("/agents/fay$"))
    page.get_by_role("heading", name="fay").wait_for()
    page.keyboard.press("w")
    expect(page.get_by_role("dialog", name="Why fay")).to_contain_text("acts next")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("p")
    hive.wait_for("agent.paused", lambda event: event["agent"] == "fay")


def test_a_phone_has_it_all(sit: Sit, hive: HiveProcess) -> None:
    """At 390 px nothing is wider than the screen, and a conversation goes to its end."""
    if "gus" not in hive.ids:
        hive.agent("gus", playbook=TALKER)
    seat = sit(390)
    for path in ("/", "/agents/gus", "/messages", "/costs", "/audit", "/health", "/settings"):
        page = seat.go(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page = seat.go("/agents/gus")
    page.get_by_role("textbox", name="Message to gus").fill("hi from a phone")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("article", name="gus wrote")).to_contain_text("heard: hi from a phone", timeout=60_000)


def test_logging_out_ends_the_session_here_and_nowhere_else(sit: Sit) -> None:
    """The other browser goes on; this one says how to come back."""
    one, other = sit(), sit()
    page = one.go("/settings")
    other.go("/")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("dialog").get_by_role("button", name="Log out").click()
    page.wait_for_url(re.compile("/login$"))
    expect(page.get_by_text("A login link works once")).to_be_visible()
    page.goto(one.home)
    expect(page.get_by_text("You are logged out")).to_be_visible()
    expect(other.page.get_by_role("status")).to_contain_text("live")
    one.wrong.clear()  # the refused request is what this is about


def _roster(page: Page) -> list[str]:
    """Names and states as they are shown, without the ages that run."""
    rows = page.get_by_role("row").all()
    cells = [[cell.inner_text().strip() for cell in each.get_by_role("cell").all()[:3]] for each in rows]
    return sorted(" | ".join(re.sub(r"\d+ (s|min|h) ago", "", cell) for cell in each) for each in cells if each)
