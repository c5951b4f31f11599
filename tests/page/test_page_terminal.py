"""A terminal in an agent's box, in a real browser: typed into, sized, taken up again, closed; and what a box writes to
it does nothing to the page (issue 5, T4, T25)."""

from __future__ import annotations

import base64
import re

import pytest
from page_seat import Sit
from playwright.sync_api import Locator, Page, expect

from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.timeout(300)

QUIET = '[[rule]]\nsteps = [{ send = "heard: {body}" }]\n'

HOSTILE = {
    "title": b"\x1b]0;stolen\x07\x1b]1;stolen\x07\x1b]2;stolen\x1b\\",
    "clipboard": b"\x1b]52;c;" + base64.b64encode(b"stolen") + b"\x07\x1b]52;p;?\x07",
    "link": b"\x1b]8;;http://evil.example/\x07press me\x1b]8;;\x07\x1b]8;;javascript:alert(1)\x07me\x1b]8;;\x07",
    "bare link": b"http://evil.example/ javascript:alert(1)",
    "colours": b"\x1b]4;1;#ffffff\x07\x1b]10;#ff0000\x07\x1b]11;#00ff00\x07\x1b]12;#0000ff\x07\x1b]11;?\x07",
    "window": b"\x1b[8;3;3t\x1b[4;10;10t\x1b[3;0;0t\x1b[2t\x1b[21t\x1b[14t\x1b[18t",
    "notification": b"\x1b]9;stolen\x07\x1b]777;notify;stolen;now\x07\x1b]99;;stolen\x1b\\",
    "picture": b"\x1b]1337;File=inline=1:AAAA\x07\x1bPq#0;2;0;0;0\x1b\\\x1b_Gf=100,t=u;aHR0cDovL2V2aWw=\x1b\\",
    "markup": b"<img src=x onerror=alert(1)><script>alert(1)</script>",
    "bell": b"\x07" * 50,
    "unfinished": b"\x1b]0;" + b"A" * 100_000 + b"\x18",
    "reports": b"\x1b[c\x1b[>c\x1b[6n\x1b[5n\x05\x1bZ\x1b[?1$p",
    "rgb": b"\x1b[38;2;10;200;30m\x1b[48;2;1;2;3mcoloured\x1b[0m \x1b[38;5;200mindexed\x1b[0m",
    "modes": b"\x1b[?1000h\x1b[?1003h\x1b[?1006h\x1b[?2004h\x1b[?1049h\x1b[?1049l",
}


def opened(page: Page, name: str) -> Locator:
    page.get_by_role("button", name="Open a terminal").click()
    rows = page.locator(".xterm-rows")
    expect(rows).to_contain_text(re.compile(r"[$#]"), timeout=60_000)
    page.get_by_role("textbox", name=f"Terminal in the box of {name}").focus()
    return rows


def run(page: Page, command: str) -> None:
    page.keyboard.type(command)
    page.keyboard.press("Enter")


def test_a_terminal_is_opened_typed_into_and_closed_and_the_agent_begins_no_turn(sit: Sit, hive: HiveProcess) -> None:
    """While it is open mail waits, which the page and `why` say; afterwards the agent goes on."""
    hive.agent("tess", playbook=QUIET)
    page = sit().go("/agents/tess?tab=terminal")
    expect(page.get_by_text("tess begins no turn while it is open")).to_be_visible()
    rows = opened(page, "tess")
    run(page, "echo $((6*7)) > /ws/answer; echo is-$((6*7))")
    expect(rows).to_contain_text("is-42")
    assert (hive.work("tess") / "answer").read_text() == "42\n"
    run(page, "stty size")
    expect(rows).to_contain_text(re.compile(r"[3-9]\d 1\d\d"))  # the window's, not 24 x 80
    message = hive.send("tess", "hello")
    expect(page.get_by_text("is open; 1 of its messages waits.")).to_be_visible()
    expect(page.get_by_role("heading", name="tess").locator("xpath=..")).to_contain_text("paused")
    assert "is at a terminal in its box" in hive.client.get("/why/tess")["text"]
    assert hive.message(message)["state"] == "waiting"
    page.get_by_role("button", name="Close the terminal").click()
    expect(page.get_by_text("The terminal is closed")).to_be_visible()
    hive.wait_for("message.handled", lambda event: event["subject"] == f"m{message}")


def test_a_terminal_is_taken_up_again_after_a_reload_and_ends_with_its_shell(sit: Sit, hive: HiveProcess) -> None:
    """The address is the state: what it showed is there again, and what runs in it goes on."""
    hive.agent("uli", playbook=QUIET)
    page = sit().go("/agents/uli?tab=terminal")
    rows = opened(page, "uli")
    run(page, "kept=still; echo before-$kept")
    expect(rows).to_contain_text("before-still")
    page.reload()
    expect(rows).to_contain_text("before-still")
    page.get_by_role("textbox", name="Terminal in the box of uli").focus()
    run(page, "echo after-$kept")
    expect(rows).to_contain_text("after-still")
    run(page, "exit 3")
    expect(page.get_by_text("The terminal is closed; its shell ended with 3.")).to_be_visible()
    expect(page).not_to_have_url(re.compile("terminal="))


def test_a_second_terminal_is_refused_and_the_page_says_who_is_in_there(sit: Sit, hive: HiveProcess) -> None:
    hive.agent("vera", playbook=QUIET)
    opened(sit().go("/agents/vera?tab=terminal"), "vera")
    other = sit().go("/agents/vera?tab=terminal")
    expect(other.get_by_text("operator is at a terminal in the box of vera")).to_be_visible()
    other.get_by_role("button", name="Open a terminal").click()
    expect(other.get_by_role("alert")).to_contain_text("attached")


def test_a_killed_daemon_closes_the_terminal_and_the_page_says_so(sit: Sit, hive: HiveProcess) -> None:
    """A terminal lives in its daemon: what is typed meanwhile is never typed later."""
    hive.agent("wim", playbook=QUIET)
    page = sit().go("/agents/wim?tab=terminal")
    opened(page, "wim")
    hive.kill()
    expect(page.get_by_text("Not connected: what you type does not arrive.")).to_be_visible()
    hive.start()
    expect(page.get_by_text("The terminal is closed")).to_be_visible(timeout=60_000)


@pytest.mark.threat("T4")
def test_what_a_box_writes_to_a_terminal_does_nothing_outside_of_it(sit: Sit, hive: HiveProcess) -> None:
    """No title, link, clipboard, colour, size, dialog or request; the policy sees no breach (the seat checks that)."""
    hive.agent("xena", playbook=QUIET)
    page = sit().go("/agents/xena?tab=terminal")
    page.evaluate("navigator.clipboard.writeText('mine').catch(() => {})")
    rows = opened(page, "xena")
    before = _outside(page)
    for number, (what, data) in enumerate(HOSTILE.items()):
        (hive.work("xena") / "bytes").write_bytes(data + b"\n")
        run(page, f"clear; cat /ws/bytes; printf 'shown-%s\\n' {number}")
        expect(rows).to_contain_text(f"shown-{number}")
        assert _outside(page) == before, what
        assert page.locator(".xterm a, .xterm img, .xterm script").count() == 0, what
        box = page.locator(".xterm-screen").bounding_box()
        assert box is not None
        for line in range(4):
            page.mouse.click(box["x"] + 30, box["y"] + 8 + 17 * line)
        assert (_outside(page), len(page.context.pages)) == (before, 1), what
    # Colours are drawn although no style attribute may be: by property, as the policy allows.
    page.keyboard.press("Control+c")  # the last one left mouse reports on, and they were typed
    expect(rows).to_contain_text("^C")  # what is typed before the shell has seen it goes with the line
    run(page, "clear; printf 'calm-%s\\n' again")
    expect(rows).to_contain_text("calm-again")
    run(page, r"printf '\033[38;2;10;200;30mgreen\033[0m\n'")
    coloured = page.locator(".xterm-rows span", has_text=re.compile("^green$")).last
    expect(coloured).to_have_attribute("style", re.compile("rgb"))


def _outside(page: Page) -> object:
    """What a terminal must not change: title, address without its own part, clipboard, its own colours, its size."""
    return page.evaluate(
        """async () => ({
            title: document.title,
            path: location.pathname,
            paint: getComputedStyle(document.querySelector('.xterm-scrollable-element')).backgroundColor,
            clipboard: await navigator.clipboard.readText().catch(() => null),
            rows: document.querySelectorAll('.xterm-rows > div').length,
            links: document.querySelectorAll('a').length,
        })"""
    )


def test_a_terminal_works_with_a_thumb(sit: Sit, hive: HiveProcess) -> None:
    """At 390 px: a row of keys that phones lack, and nothing scrolls sideways."""
    hive.agent("yara", playbook=QUIET)
    page = sit(width=390).go("/agents/yara?tab=terminal")
    rows = opened(page, "yara")
    run(page, "sleep 100")
    page.get_by_role("button", name="ctrl", exact=True).click()
    page.keyboard.type("c")
    page.keyboard.type("echo first-line")
    page.keyboard.press("Enter")
    expect(rows).to_contain_text("first-line")
    page.get_by_role("button", name="Up", exact=True).click()
    page.keyboard.press("Enter")
    expect(rows).to_contain_text(re.compile(r"first-line.*first-line.*first-line", re.S))
    for name in ("esc", "tab", "Left", "Right", "Down"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
