"""The page in a real browser: how soon a big hive can be used, and what sixty events a second cost it.

A hive of 200 agents, 100,000 messages and 20,000 turns. A cold load is a new browser profile with nothing kept: from
the navigation until the roster is drawn, the page follows the hive and its thread is free. The floor is the same
browser that loads a small file from the same server. The events are messages to stopped agents, so that no turn takes
part of the processor; the page's processor time is that of its own process of the browser, its memory the heap after a
collection.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import ROOT, Hive, running
from bench.rounds import Contender, Run, Unable
from bench.scale import Connection
from melipona.testing.filled_store import fill

FLOOR = "a small file in the same browser"
BUILT = ROOT / "src/melipona/api/page"
ROUNDS, QUICK_ROUNDS = 3, 1
FIGURES = (
    Figure("interactive", "ms", FLOOR),
    Figure("cpu", "% of a core"),
    Figure("heap", "MiB"),
    Figure("heap_growth", "MiB"),
    Figure("behind", "ms"),
)
EVENTS_A_SECOND = 60
LOADS = 3
PATIENCE_MS = 60_000
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
USABLE = """
new MutationObserver(() => {
  const live = document.querySelector("header [role=status]")?.textContent?.includes("live");
  if (window.usable || !live || !document.querySelector("main [role=row] a")) return;
  window.usable = 1;
  requestAnimationFrame(() => setTimeout(() => { document.documentElement.dataset.usable = performance.now(); }, 0));
}).observe(document, { childList: true, subtree: true, characterData: true });
"""
"""Run before anything of the page: the milliseconds since the navigation at which it can be used, as an attribute."""


class Visitor:
    """A person's browser."""

    def __init__(self, browser: Any, hive: Hive) -> None:
        self._browser, self._hive = browser, hive
        url = str(hive.client.post("/login-links")["url"])
        self.home = url.partition("/login")[0]
        first = browser.new_context()
        page = first.new_page()
        page.goto(url)
        page.locator("header [role=status]").wait_for()
        self._session = first.storage_state()
        first.close()

    @contextmanager
    def cold(self) -> Generator[Any]:
        """A page in a new profile: logged in, and with nothing kept."""
        context = self._browser.new_context(storage_state=self._session, viewport={"width": 1440, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        try:
            yield context.new_page()
        finally:
            context.close()

    def load(self) -> float:
        """Milliseconds of a cold load of the swarm until it can be used."""
        with self.cold() as page:
            page.add_init_script(USABLE)
            page.goto(self.home + "/")
            usable = page.locator("html[data-usable]")
            usable.wait_for(state="attached")
            return float(usable.get_attribute("data-usable"))

    def floor(self) -> float:
        """Milliseconds of a load of a small file."""
        name = min((BUILT / "assets").glob("*.css"), key=lambda path: path.stat().st_size).name
        with self.cold() as page:
            page.goto(f"{self.home}/assets/{name}")
            return float(page.evaluate("performance.getEntriesByType('navigation')[0].duration"))

    def follow(self, seconds: float, connection: Connection) -> Values:
        """Keep the swarm open while so many events a second come."""
        with self.cold() as page:
            page.goto(self.home + "/")
            page.locator("main [role=row] a").first.wait_for()
            tools = page.context.new_cdp_session(page)
            _send_for(min(seconds, 5), connection)  # code is compiled, queues have their size
            before, cpu, began = _heap(tools), _cpu(self._browser), time.perf_counter()
            _send_for(seconds, connection)
            taken = time.perf_counter() - began
            spent = max(now - cpu.get(pid, 0.0) for pid, now in _cpu(self._browser).items())
            behind = self._behind(page, connection)
            after = _heap(tools)
            return {"cpu": spent / taken * 100, "heap": after, "heap_growth": after - before, "behind": behind}

    def _behind(self, page: Any, connection: Connection) -> float:
        """Milliseconds from one more change to its being drawn: a page that cannot keep up has a backlog."""
        name = f"aa-{os.urandom(4).hex()}"
        began = time.perf_counter()
        connection.ask("POST", "/agents", {"name": name, "engine": "playbook"})
        page.get_by_role("link", name=name, exact=True).wait_for()
        return (time.perf_counter() - began) * 1000


def _send_for(seconds: float, connection: Connection) -> None:
    """One event at a time, evenly; who is late catches up."""
    began = time.perf_counter()
    for number in range(round(seconds * EVENTS_A_SECOND)):
        time.sleep(max(0.0, began + number / EVENTS_A_SECOND - time.perf_counter()))
        to, key = f"agent-{number % 100 + 1:05}", {"idempotency-key": os.urandom(8).hex()}
        connection.ask("POST", "/messages", {"to": to, "body": "x" * 200}, key)


def _heap(tools: Any) -> float:
    """Live objects of the page in MiB."""
    tools.send("HeapProfiler.collectGarbage")
    return float(tools.send("Runtime.getHeapUsage")["usedSize"]) / (1 << 20)


def _cpu(browser: Any) -> dict[int, float]:
    """Seconds of processor time of each process that draws pages."""
    session = browser.new_browser_cdp_session()
    try:
        processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    finally:
        session.detach()
    return {each["id"]: float(each["cpuTime"]) for each in processes if each["type"] == "renderer"}


def _browser(stack: ExitStack) -> Any:
    """A headless Chromium.

    Raises:
        Unable: there is none, or no page was built.
    """
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise Unable("there is no Chromium")
    if not (BUILT / "index.html").exists():
        raise Unable("the page is not built: that needs Node")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise Unable("Playwright is not installed") from error
    playwright = stack.enter_context(sync_playwright())
    browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
    stack.callback(browser.close)
    return browser


def _filled(folder: Path, run: Run) -> Path:
    data = folder / "hive"
    data.mkdir(mode=0o700)
    fill(data / "mel.db", agents=200, messages=run.size(100_000, 100_000, 1000), wish="stopped")
    return data


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """One browser, one hive."""
    loads, seconds = run.size(LOADS, LOADS, 1), run.size(60, 10, 1)
    with ExitStack() as stack:
        browser = _browser(stack)
        hive = stack.enter_context(running(_filled(run.folder, run)))
        visitor = Visitor(browser, hive)
        connection = stack.enter_context(closing(Connection(hive.data)))
        visitor.load()  # the daemon's and the browser's code is warm; the profile of each load is new

        def ours() -> Values:
            loaded = percentile([visitor.load() for _ in range(loads)], 50)
            return {"interactive": loaded, **visitor.follow(seconds, connection)}

        yield {FLOOR: lambda: {"interactive": percentile([visitor.floor() for _ in range(loads)], 50)}, OURS: ours}
