"""Stories of trouble at the page, and of its mending: nothing is lost, nothing comes twice (issue 5, I-37 to I-40)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from page_seat import Seat, Sit, listen
from playwright.sync_api import Browser, Locator, Page, expect

from melipona.client import Client
from melipona.testing.hive import QUICK, HiveProcess, running_hive

pytestmark = [pytest.mark.boxes, pytest.mark.timeout(300)]
LONG = 90_000
ONCE = """
[[rule]]
body = "deploy"
nth = 1
steps = [{ fail = "the mirror did not answer" }]
[[rule]]
steps = [{ send = "done: {body}" }]
"""
SLOW = """
[[rule]]
steps = [{ say = "one two three four five six seven eight", over = 6 }, { send = "answered {body}" }]
"""


@pytest.fixture(scope="module")
def hive(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    """Instead of the hive of the other modules: one failure parks a message."""
    with running_hive(tmp_path_factory.mktemp("page"), config=QUICK + "[mail]\nattempts = 1\n") as hive:
        yield hive


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def say(page: Page, name: str, text: str) -> None:
    page.get_by_role("textbox", name=f"Message to {name}").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


def test_a_paused_agent_keeps_its_mail_and_goes_on_when_it_is_resumed(sit: Sit, hive: HiveProcess) -> None:
    """By the menu of its row, which is made when it is opened, and by the button on its page."""
    hive.agent("ana", playbook=ONCE)
    page = sit().go("/")
    row(page, "ana").get_by_role("button", name="More for ana").click()
    page.get_by_role("menuitem", name="Pause").click()
    expect(row(page, "ana")).to_contain_text("paused")
    page.get_by_role("link", name="ana", exact=True).click()
    say(page, "ana", "later")
    expect(page.get_by_role("article", name="you wrote")).to_contain_text("waits for ana")
    page.get_by_role("button", name="Resume").first.click()
    expect(page.get_by_role("article", name="ana wrote")).to_contain_text("done: later", timeout=LONG)
    expect(page.get_by_role("article", name="you wrote")).not_to_contain_text("waits for ana")


def test_parked_mail_is_seen_at_once_and_goes_through_when_it_is_retried(sit: Sit, hive: HiveProcess) -> None:
    """I-4: from the swarm's first line to the answer."""
    hive.agent("ben", playbook=ONCE)
    page = sit().go("/")
    hive.send("ben", "deploy")
    page.get_by_role("link", name=re.compile("1 message failed too often")).click(timeout=LONG)
    page.wait_for_url(re.compile("state=parked"))
    page.get_by_role("button", name=re.compile("operator to ben")).click()
    expect(page.get_by_text("the mirror did not answer").first).to_be_visible()
    page.get_by_role("button", name="Retry message").click()
    expect(page.get_by_text("Nothing is parked")).to_be_visible(timeout=LONG)
    hive.wait_for("message.handled", lambda event: event["agent"] == "ben")
    assert hive.answers("ben") == ["done: deploy"]
    page.goto(page.url.partition("/messages")[0] + "/")
    expect(page.get_by_role("region", name="For you")).not_to_contain_text("failed too often")


def test_a_login_link_works_once(sit: Sit, browser: Browser, hive: HiveProcess) -> None:
    """SECURITY.md section 5: the second browser that has it stays outside and is told what to do."""
    url = str(hive.client.post("/login-links")["url"])
    pages: list[Page] = []
    contexts = [browser.new_context(), browser.new_context()]
    try:
        for context in contexts:
            page = context.new_page()
            pages.append(page)
            page.goto(url)
            page.locator("header [role=status]").or_(page.get_by_text("A login link works once")).first.wait_for()
        expect(pages[0].locator("header [role=status]")).to_contain_text("live")
        expect(pages[1].get_by_text("A login link works once")).to_be_visible()
        assert "#" not in pages[0].url
    finally:
        for context in contexts:
            context.close()


@pytest.fixture
def supervised(tmp_path: Path) -> Generator[Path]:
    """A hive by `mel up --detach`: a supervisor brings its daemon back."""
    data, config = tmp_path / "hive", tmp_path / "mel.toml"
    config.write_text(QUICK)
    try:
        _mel(data, "up", "--detach", "--config", str(config))
        yield data
    finally:
        _mel(data, "down")


def test_a_kill_of_the_daemon_in_a_turn_loses_nothing_and_doubles_nothing(
    browser: Browser, hive: HiveProcess, supervised: Path
) -> None:
    """I-37, I-38, D-2: the supervisor brings it back; the page goes on by itself and shows what a cold load shows."""
    client = Client(supervised)
    client.post("/agents", {"name": "ana", "engine": "playbook", "playbook": SLOW})
    context = browser.new_context()
    try:
        url = str(client.post("/login-links")["url"])
        seat = Seat(context.new_page(), url.partition("/login")[0])
        listen(seat)
        seat.page.goto(url)
        seat.page.wait_for_url(lambda address: "/login" not in address)
        page = seat.go("/agents/ana")
        say(page, "ana", "first")
        expect(page.get_by_role("log")).to_contain_text("one two", timeout=LONG)
        os.kill(client.get("/state")["daemon"]["pid"], signal.SIGKILL)
        expect(page.get_by_role("status")).to_contain_text("not connected")
        expect(page.get_by_role("status")).to_contain_text("live", timeout=LONG)
        expect(page.get_by_role("article", name="ana wrote")).to_contain_text("answered first", timeout=LONG)
        say(page, "ana", "second")
        expect(page.get_by_role("article", name="ana wrote").last).to_contain_text("answered second", timeout=LONG)
        expect(page.get_by_role("button", name=re.compile("t2 .*ok"))).to_be_visible()
        before = _said(page)
        page.reload()
        expect(page.get_by_role("article", name="ana wrote").last).to_contain_text("answered second")
        assert before == _said(page)
        assert before == ["first", "answered first", "second", "answered second"]
        assert seat.wrong == []
    finally:
        context.close()


def _said(page: Page) -> list[str]:
    texts = [article.inner_text() for article in page.get_by_role("article").all()]
    return [text.strip().splitlines()[-1] for text in texts]


def _mel(data: Path, *words: str) -> None:
    plain = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "LANG": "C.UTF-8", "MEL_DATA": str(data)}
    argv = [sys.executable, "-m", "melipona.cli.main", *words]
    done = subprocess.run(argv, env=plain, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
