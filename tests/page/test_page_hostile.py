"""What agents write is hostile (T25, T26): a corpus in every text that they control, looked at by a real browser.

`sit` fails the test when the browser reports a breach of the policy, shows a dialog or asks another host.
"""

from __future__ import annotations

import json
import re

import pytest
from page_seat import AXE, Sit, found_by_axe
from playwright.sync_api import Page, expect

from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.timeout(300)
VIEWS = (
    "/",
    "/agents/mallory",
    "/agents/mallory?tab=turns",
    "/agents/mallory?tab=mail",
    "/agents/mallory?tab=settings",
)
MORE = ("/messages", "/messages?as=sequence", "/costs", "/audit", "/health", "/settings", "/ui", "/?why=mallory")
DEEPER = (
    "/?group=state",
    "/?new=agent",
    "/agents/mallory?tab=files",
    "/agents/mallory?tab=files&file=/shared/mallory/plan.md",
    "/agents/mallory?ask=model",
    "/agents/mallory?ask=purge",
    "/agents/mallory?embed=1",
    "/agents/nobody",
)
CORPUS = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "<svg onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "**bold** <a href='data:text/html,x'>y</a> https://evil.example/?q=<script>",
    "\u202egnp.exe\u200b\u2066 \x1b]0;title\x07 \x1b]52;c;aGk=\x07",
    '"><style>*{background:url(https://evil.example)}</style>',
)


@pytest.fixture(scope="module")
def attacked(hive: HiveProcess) -> HiveProcess:
    """A hive in which one agent has said, sent, called and set all of it."""
    text = json.dumps("\n\n".join(CORPUS))
    status = json.dumps(CORPUS[0] + CORPUS[7])
    playbook = f"""
[[rule]]
steps = [
  {{ set = {{ bad = {text} }} }},
  {{ tool = "set_status", with = {{ text = {status} }}, may_fail = true }},
  {{ think = {text} }},
  {{ say = {text} }},
  {{ shell = "printf %s {{bad}}" }},
  {{ send = "{{bad}}" }},
  {{ fail = {json.dumps(CORPUS[0])} }},
]
"""
    shared = hive.data / "shared" / "mallory"
    shared.mkdir(parents=True)
    (shared / "plan.md").write_text("# The plan\n\n- [ ] a step, `code`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    hive.agent("mallory", playbook=playbook)
    hive.client.post_keyed("/messages", {"to": "mallory", "body": "/shared/mallory/plan.md\n\n" + "\n\n".join(CORPUS)})
    hive.wait_for("turn.ended", lambda event: event["agent"] == "mallory")
    hive.client.post("/agents/mallory/pause")
    return hive


def test_nothing_that_an_agent_writes_runs_or_asks_anybody(sit: Sit, attacked: HiveProcess) -> None:
    """Section 7 line 22: no breach of the policy, no dialog, no other host, no element that its text named."""
    seat = sit()
    for path in VIEWS + MORE:
        page = seat.go(path)
        _open_everything(page)
        found = page.evaluate(
            "document.querySelectorAll('main :is(script, iframe, img, style, object, form[action])').length"
        )
        assert found == 0, path
        assert page.evaluate("document.title").isprintable()
    page = seat.go("/agents/mallory")
    _open_everything(page)
    expect(page.get_by_role("article", name="mallory wrote").first).to_contain_text("<script>alert(1)</script>")
    expect(page.get_by_role("article", name="mallory wrote").first).to_contain_text("⟦U+202E⟧")
    for link in page.locator("main a[target=_blank]").all():
        assert "noopener" in (link.get_attribute("rel") or "")
        assert (link.get_attribute("href") or "").startswith("https://")


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(sit: Sit, attacked: HiveProcess, width: int, theme: str) -> None:
    """Every view, on a desk and on a phone, in both themes; a file in place, a terminal, and the way in."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci in web/")
    seat, serious = sit(width, theme), list[object]()
    for path in VIEWS + MORE + DEEPER:
        page = seat.go(path)
        serious += found_by_axe(page, path)
    page = seat.go("/agents/mallory")
    page.get_by_role("button", name="/shared/mallory/plan.md").first.click()
    expect(page.get_by_role("region", name="File plan.md").get_by_role("heading")).to_be_visible()
    serious += found_by_axe(page, "a file in place")
    page = seat.go("/agents/mallory?tab=terminal")
    page.get_by_role("button", name="Open a terminal").click()
    expect(page.locator(".xterm-rows")).to_contain_text(re.compile(r"[$#]"))
    serious += found_by_axe(page, "a terminal")
    page.get_by_role("button", name="Close the terminal").click()
    expect(page.get_by_text("The terminal is closed")).to_be_visible()
    page.context.clear_cookies()
    page.goto(seat.home + "/login")
    expect(page.get_by_role("heading").first).to_be_visible()
    expect(page).to_have_url(seat.home + "/login")
    serious += found_by_axe(page, "/login")
    assert serious == []


def _open_everything(page: Page) -> None:
    """Unfold what is folded; what is inside may hold more."""
    folded = "main button[aria-expanded=false]:not([aria-haspopup])"
    for _ in range(3):
        page.evaluate("folded => document.querySelectorAll(folded).forEach(button => button.click())", folded)
        page.wait_for_function("new Promise(done => setTimeout(() => done(true), 150))")
