"""What a page does with passkeys: adds them, logs in by them, confirms decisions."""

from __future__ import annotations

import json
from typing import Any

from api_browser import Answer, Browser

from melipona.testing.authenticator import Authenticator
from melipona.testing.served import ServedHive

Json = dict[str, Any]


def device(browser: Browser, **kw: Any) -> Authenticator:
    return Authenticator(browser.origin, **kw)


def add(browser: Browser, key: Authenticator, label: str = "my key", by: Authenticator | None = None) -> Json:
    """Add a passkey, confirming with `by` when that is asked for."""
    options = decide(browser, by, "POST", "/api/v1/passkeys/options").json
    answer = browser.post("/api/v1/passkeys", {"label": label, "answer": key.create(options)})
    assert answer.status == 201, answer.body
    return answer.json


def decide(browser: Browser, key: Authenticator | None, method: str, path: str, body: Any = None) -> Answer:
    """Ask for a decision, and again with a passkey's confirmation where that is needed."""
    first = ask(browser, method, path, body)
    if first.status != 403 or first.json["code"] != "step_up":
        return first
    assert key is not None, first.json["detail"]
    return ask(browser, method, path, body, confirm(browser, key, first))


def confirm(browser: Browser, key: Authenticator, needed: Answer) -> str:
    """Show the passkey; the confirmation's name."""
    challenge = needed.json["step_up"]
    answer = browser.post("/api/v1/step-up", {"id": challenge["id"], "answer": key.get(challenge["options"])})
    assert answer.status == 204, answer.body
    browser.keep(answer)
    return challenge["id"]


def ask(browser: Browser, method: str, path: str, body: Any = None, confirmed: str | None = None) -> Answer:
    headers = {} if confirmed is None else {"Melipona-Step-Up": confirmed}
    data = None if method == "GET" else json.dumps(body if body is not None else {}).encode()
    return browser.ask(method, path, data, headers)


def login(browser: Browser, key: Authenticator, **more: Any) -> Answer:
    """Log in by a passkey from the login page."""
    browser.keep(browser.ask("GET", "/login"))
    options = browser.post("/api/v1/login/passkey/options")
    assert options.status == 200, options.body
    answer = browser.post("/api/v1/login/passkey", {"answer": key.get(options.json), **more})
    if answer.status == 200:
        browser.keep(answer)
    return answer


def events(hive: ServedHive, kind: str) -> list[Json]:
    return hive.client.get(f"/events/page?kind={kind}")["items"]
