"""Files that agents name, in the page: linked where the hive vouches, opened in place, kept (FR, I-41)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from page_seat import Sit
from playwright.sync_api import expect

from melipona.testing.hive import HiveProcess

pytestmark = pytest.mark.timeout(300)
NAMES = (
    "Read /shared/ana/plan.md, then /agents/ana/state/run.py:3 and `/shared/ana/data.bin`. "
    "Not /shared/ana/none nor /state/run.py nor /etc/passwd; /shared/ana/long.txt is long."
)
PLAYBOOK = f"""
[[rule]]
steps = [
  {{ shell = "printf 'def main():\\\\n    return \\"<script>\\"\\\\n' > /agents/ana/state/run.py" }},
  {{ send = "{NAMES}" }},
]
"""
PLAN = "# The plan\n\n- [x](javascript:alert(1)) <img src=x onerror=alert(1)> ![p](https://evil.example/p.png)\n"


@pytest.fixture(scope="module")
def named(hive: HiveProcess) -> HiveProcess:
    """A hive with files, and one agent that named them."""
    hive.agent("ana", playbook=PLAYBOOK)
    shared = Path(hive.data) / "shared" / "ana"
    shared.mkdir(exist_ok=True)
    (shared / "plan.md").write_text(PLAN)
    (shared / "data.bin").write_bytes(b"\x00\xff" * 100)
    (shared / "long.txt").write_text("line\n" * 20_000)
    hive.client.post_keyed("/messages", {"to": "ana", "body": "where is it? see /shared/ana/plan.md"})
    hive.wait_for("turn.ended", lambda event: event["agent"] == "ana")
    return hive


def test_files_are_linked_opened_in_place_and_kept(sit: Sit, named: HiveProcess) -> None:
    """FR-1, FR-7, FR-8, FR-11: live and after a reload alike; what is in a file does nothing to the page."""
    page = sit().go("/agents/ana")
    letter = page.get_by_role("article", name="ana wrote").first
    links = ["/shared/ana/plan.md", "/agents/ana/state/run.py", "/shared/ana/data.bin", "/shared/ana/long.txt"]
    expect(letter.get_by_role("button")).to_have_text(links)
    expect(page.get_by_role("article", name="you wrote").get_by_role("button")).to_have_text([links[0]])

    letter.get_by_role("button", name=links[0]).click()
    plan = letter.get_by_role("region", name="File plan.md")
    expect(plan.get_by_role("heading", name="The plan")).to_be_visible()
    expect(plan).to_contain_text("<img src=x onerror=alert(1)>")
    assert plan.locator("img, script, a[href^=javascript]").count() == 0
    plan.get_by_role("button", name="Source").click()
    expect(plan.locator("pre")).to_contain_text("# The plan")

    letter.get_by_role("button", name=links[1]).click()
    source = letter.get_by_role("region", name="File run.py")
    expect(source.locator(".hljs-keyword").first).to_have_text("def")
    expect(source).to_contain_text('return "<script>"')

    letter.get_by_role("button", name=links[2]).click()
    binary = letter.get_by_role("region", name="File data.bin")
    expect(binary).to_contain_text("This is no text")
    with page.expect_download() as kept:
        binary.get_by_role("link", name="Download").click()
    assert Path(kept.value.path()).read_bytes() == b"\x00\xff" * 100
    assert kept.value.suggested_filename == "data.bin"

    letter.get_by_role("button", name="Close data.bin").click()
    expect(binary).to_have_count(0)
    page.reload()
    expect(page.get_by_role("article", name="ana wrote").first.get_by_role("button")).to_have_text(links)


@pytest.mark.parametrize("width", [1440, 390])
def test_a_long_file_does_not_blow_up_the_page(sit: Sit, named: HiveProcess, width: int) -> None:
    """TD-12: the preview has a height and scrolls, and only its beginning is drawn."""
    page = sit(width).go("/agents/ana")
    letter = page.get_by_role("article", name="ana wrote").first
    letter.get_by_role("button", name="/shared/ana/long.txt").click()
    region = letter.get_by_role("region", name="File long.txt")
    expect(region).to_contain_text("This is the beginning")
    box = region.bounding_box()
    assert box is not None
    assert box["height"] < 500
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_file_that_is_gone_says_so_and_is_plain_at_the_next_look(sit: Sit, named: HiveProcess) -> None:
    """I-41: a link is never kept beyond its file."""
    page = sit().go("/messages?agent=operator")
    page.get_by_role("button", name="ana to operator").first.click()
    gone = Path(named.data) / "shared" / "ana" / "plan.md"
    link = page.get_by_role("button", name="/shared/ana/plan.md", exact=True)
    expect(link).to_be_visible()
    gone.unlink()
    link.click()
    expect(page.get_by_role("alert")).to_contain_text("there is no file")
    page.reload()
    expect(page.get_by_text("Read /shared/ana/plan.md").last).to_be_visible()
    expect(page.get_by_role("button", name="/agents/ana/state/run.py", exact=True)).to_be_visible()
    expect(link).to_have_count(0)
    gone.write_text(PLAN)


def test_a_page_that_got_a_files_address_shows_nothing_of_it(sit: Sit, named: HiveProcess) -> None:
    """T25: the download's own address is an attachment in a sandbox, whatever is in the file."""
    (Path(named.data) / "shared" / "ana" / "page.html").write_text("<script>alert(1)</script>")
    seat = sit()
    page = seat.go("/")
    address = seat.home + "/api/v1/files/download?path=" + quote("/shared/ana/page.html")
    headers = page.request.get(address).headers
    assert headers["content-disposition"].startswith("attachment")
    assert "sandbox" in headers["content-security-policy"]
    assert headers["content-type"] == "application/octet-stream"


ODD = {
    "two\nlines.txt": "two\u240alines.txt",
    "\u202egpj.exe": "⟦U+202E⟧gpj.exe",
    "\x1b]0;x\x07.sh": "\u241b]0;x\u2407.sh",
    "\"'><img src=x onerror=alert(1)>.md": "\"'><img src=x onerror=alert(1)>.md",
    "%2e%2e%2f?#&=+.txt": "%2e%2e%2f?#&=+.txt",
    "n" * 255: "n" * 255,
}
UNSEEN = """() => [...document.querySelectorAll("main, main *")].flatMap((it) => [
    it.getAttribute("aria-label") ?? "", it.getAttribute("title") ?? "", it.children.length ? "" : it.textContent
]).filter((text) => /[\\u202e\\u001b\\u0007]/.test(text))"""


def test_a_hostile_file_name_is_shown_with_marks_and_leads_to_its_own_file(sit: Sit, named: HiveProcess) -> None:
    """T25, FR-8: newline, bidirectional and control characters, quotes, markup, what an address means, 255 bytes."""
    folder = Path(named.data) / "shared" / "ana" / "odd"
    folder.mkdir()
    for number, name in enumerate(ODD):
        (folder / name).write_text(f"file {number}")
    page = sit().go("/agents/ana?tab=files&file=" + quote("/shared/ana/odd/"))
    for number, shown in enumerate(ODD.values()):
        page.get_by_role("main").get_by_role("button", name=shown).click()
        expect(page.get_by_role("article")).to_contain_text(f"file {number}")
        assert page.evaluate(UNSEEN) == []
        with page.expect_download() as kept:
            page.get_by_role("link", name="Download").click()
        assert Path(kept.value.path()).read_text() == f"file {number}"
        page.go_back()
    named.send("ana", "look at /shared/ana/odd/\u202egpj.exe")
    page = sit().go("/agents/ana")
    page.get_by_role("button", name="/shared/ana/odd/⟦U+202E⟧gpj.exe", exact=True).first.click()
    expect(page.get_by_role("region", name="File ⟦U+202E⟧gpj.exe")).to_contain_text("file 1")
    assert page.evaluate(UNSEEN) == []
