"""A person at a browser, for the tests of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Dialog, Page

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"


@dataclass(eq=False)
class Seat:
    """A person at a browser of their own, logged in, and everything that the browser complained about."""

    page: Page
    home: str
    wrong: list[str] = field(default_factory=list[str])

    def go(self, path: str) -> Page:
        """Open an address of the page and wait until it follows the hive."""
        self.page.goto(self.home + path)
        self.page.locator("header [role=status]", has_text="live").wait_for(state="attached")  # also below a dialog
        return self.page


Sit = Callable[..., Seat]
"""Sits somebody down: `sit(width, theme)`."""


def listen(seat: Seat) -> None:
    """Note what its browser complains about: errors, breaches of the policy, dialogs, requests to others."""
    page = seat.page
    away = ("Failed to load resource", "net::ERR_")  # a daemon that was killed by the test

    def said(kind: str, text: str) -> None:
        if kind == "error" and not any(word in text for word in away):
            seat.wrong.append(f"console: {text}")

    def asked(dialog: Dialog) -> None:
        seat.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", lambda message: said(message.type, message.text))
    page.on("pageerror", lambda error: seat.wrong.append(f"page: {error}"))
    page.on("dialog", asked)
    page.on("request", lambda request: None if _ours(seat, request.url) else seat.wrong.append(f"asked {request.url}"))


def _ours(seat: Seat, url: str) -> bool:
    return url.startswith((seat.home + "/", "data:", "blob:"))


def found_by_axe(page: Page, where: str) -> list[object]:
    """What axe takes for serious in what is shown."""
    page.evaluate("() => new Promise((done) => requestIdleCallback(done, { timeout: 1500 }))")
    page.evaluate(AXE.read_text() + ";0")
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (where, violation["id"], violation["nodes"][0]["target"], violation["nodes"][0]["failureSummary"])
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
