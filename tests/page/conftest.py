"""A real browser at a real hive: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from page_seat import Seat, Sit, listen
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from melipona.testing.hive import HiveProcess, running_hive

BUILT = Path(__file__).parents[2] / "src/melipona/api/page"
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
SHOTS = os.environ.get("MEL_SCREENSHOTS")
"""A folder that keeps a picture of what each test saw last."""


@pytest.fixture(scope="session")
def built() -> Path:
    """The built page."""
    if not (BUILT / "index.html").exists():
        pytest.skip("the page is not built: ./test builds it where Node 20.19 or newer is")
    return BUILT


@pytest.fixture(scope="module")
def browser(built: Path) -> Generator[Browser]:
    """Debian's Chromium, one for the tests of a module: while it is there an event loop runs in this thread, and no
    test elsewhere could run one."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def hive(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    """A hive with its daemon, its boxes and its page."""
    with running_hive(tmp_path_factory.mktemp("page")) as hive:
        yield hive


@pytest.fixture
def sit(browser: Browser, hive: HiveProcess, request: pytest.FixtureRequest) -> Generator[Sit]:
    """Sits people down; at the end nobody's browser may have complained, asked another host or shown a dialog."""
    contexts: list[BrowserContext] = []
    seats: list[Seat] = []

    def one(width: int = 1440, theme: str = "light", person: str | None = None) -> Seat:
        size = {"width": width, "height": 844 if width < 500 else 900}
        context = browser.new_context(viewport=size, color_scheme=theme, has_touch=width < 500)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        url = str(hive.client.post("/login-links", {"person": person})["url"])
        seat = Seat(context.new_page(), url.partition("/login")[0])
        seats.append(seat)
        listen(seat)
        seat.page.goto(url)
        seat.page.wait_for_url(lambda address: "/login" not in address)
        return seat

    yield one
    if SHOTS:
        for number, seat in enumerate(seats):
            seat.page.screenshot(path=str(Path(SHOTS) / f"{request.node.name}-{number}.png"))
    wrong = [line for seat in seats for line in seat.wrong]
    for context in contexts:
        context.close()
    assert wrong == []
