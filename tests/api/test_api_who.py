"""Every action records who (SECURITY.md section 5, "Audit"; ADR 0014): by every route that changes something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_browser import Browser
from api_passkeys import add, ask, confirm, decide, device, login
from operator_routes import ROUTES
from sqlalchemy import Connection, update

from melipona.settings import parse_settings
from melipona.store.schema import agents
from melipona.testing.served import ServedHive, served

Json = dict[str, Any]
API = "/api/v1"
PROVIDER = {"access": {"oidc": {"issuer": "https://provider.invalid", "client_id": "melipona"}}}
ELSEWHERE = {
    "no event": {
        "POST /agents/{name}/take-back",  # nothing waits to be taken back
        "POST /doctor",
        "POST /login/oidc/start",
        "POST /login/passkey/options",
        "POST /passkeys/options",
        "POST /step-up/provider/start",
        "POST /terminals/{terminal}/input",
        "POST /terminals/{terminal}/size",
        "DELETE /terminals/{terminal}",
    },
    "boxes, turns or the daemon do it": {
        "POST /agents/{name}/interrupt",
        "POST /agents/{name}/terminals",
        "POST /backup",
        "POST /messages/{message}/retry",
        "POST /stop",
    },
    "of strangers: `session.opened` names whom they became": {
        "POST /login",
        "POST /login/oidc",
        "POST /login/oidc/logout",
        "POST /login/passkey",
        "POST /login/recovery",
    },
    "test_api_step_up.py": {"POST /step-up/provider"},
}
"""Routes that change something and are not tried here, and why."""


class Doer:
    """Somebody who does one thing after another, and whose events are looked at each time."""

    def __init__(self, hive: ServedHive, browser: Browser) -> None:
        self.hive, self.browser = hive, browser
        self.done: set[str] = set()
        self.key = device(browser)

    def do(self, route: str, body: Json | None = None, **names: str) -> Any:
        """Do it, confirmed where that is asked for; what was answered."""
        method, _, path = route.partition(" ")
        via = f"session {self.browser.ask('GET', f'{API}/me').json['login']}"
        for name, value in names.items():
            path = path.replace(f"{{{name}}}", value)
        needed = ask(self.browser, method, API + path, body)
        answer = needed
        if needed.status == 403 and needed.json["code"] == "step_up":
            given = confirm(self.browser, self.key, needed)
            via = f"session {self.browser.ask('GET', f'{API}/me').json['login']}"
            answer = ask(self.browser, method, API + path, body, given)
        assert answer.status < 300, (route, answer.body)
        self.look(route, answer.headers["x-request-id"], via)
        return answer.json if answer.body else None

    def look(self, route: str, request: str, via: str) -> None:
        found = self.hive.client.get("/events/page?limit=200")["items"]
        mine = [event for event in found if event["request_id"] == request]
        assert mine, f"{route} left no event"
        assert {(event["person"], event["via"]) for event in mine} == {("mara", via)}, route
        self.done.add(route)


@pytest.mark.threat("T38")
def test_every_action_says_who_did_it_and_by_which_login(tmp_path: Path) -> None:
    """Each route that changes something, by an admin's own session: all events of the request name her and it."""
    with served(tmp_path / "hive", settings=parse_settings(PROVIDER)) as hive:
        hive.client.post("/people", {"name": "mara", "role": "admin"})
        link = hive.client.post("/login-links", {"person": "mara"})["url"]
        browser = Browser(hive, "localhost")
        browser.keep(browser.ask("GET", "/login"))
        browser.keep(browser.post(f"{API}/login", {"token": link.partition("#")[2]}))
        doer = Doer(hive, browser)
        options = decide(browser, None, "POST", f"{API}/passkeys/options").json
        first = doer.do("POST /passkeys", {"label": "mine", "answer": doer.key.create(options)})["id"]
        _people(doer)
        _logins(doer, first)
        _agents(doer)
        session = browser.ask("GET", f"{API}/me").json["login"]
        answer = browser.post(f"{API}/logout")
        doer.look("POST /logout", answer.headers["x-request-id"], f"session {session}")
        changing = {f"{method} {route.removeprefix(API)}" for method, route in ROUTES if method != "GET"}
        excused = {route for routes in ELSEWHERE.values() for route in routes}
        assert doer.done | excused == changing
        assert doer.done & excused == set()


def _people(doer: Doer) -> None:
    doer.do("POST /people", {"name": "ben"})
    doer.do("PATCH /people/{name}", {"role": "operator"}, name="ben")
    account = doer.do("POST /people/{name}/identities", {"subject": "1234"}, name="ben")["id"]
    doer.do("DELETE /people/{name}/identities/{identity}", name="ben", identity=account)
    doer.do("POST /login-links", {"person": "ben"})


def _logins(doer: Doer, first: str) -> None:
    browser, hive = doer.browser, doer.hive
    doer.do("PATCH /passkeys/{passkey}", {"label": "my phone"}, passkey=first)
    second = add(browser, device(browser), by=doer.key)["id"]
    third = add(browser, device(browser), by=doer.key)["id"]
    doer.do("DELETE /passkeys/{passkey}", passkey=second)
    doer.do("DELETE /people/{name}/passkeys/{passkey}", name="mara", passkey=third)
    doer.do("POST /recovery-codes")
    doer.do("POST /login-links/switch", {"on": False})
    made = doer.do("POST /tokens", {"name": "x", "scopes": ["act"]})["made"]["id"]
    doer.do("DELETE /tokens/{token}", token=made)
    other = Browser(hive, "localhost")
    assert login(other, doer.key).status == 200
    doer.do("DELETE /sessions/{session}", session=other.ask("GET", f"{API}/me").json["login"])
    needed = browser.post(f"{API}/recovery-codes").json["step_up"]
    before = browser.ask("GET", f"{API}/me").json["login"]
    answer = browser.post(f"{API}/step-up", {"id": needed["id"], "answer": doer.key.get(needed["options"])})
    browser.keep(answer)
    doer.look("POST /step-up", answer.headers["x-request-id"], f"session {before}")


def _agents(doer: Doer) -> None:
    doer.do("POST /agents", {"name": "ana", "engine": "playbook"})
    doer.do("PATCH /agents/{name}", {"budget_usd": 2}, name="ana")
    doer.do("POST /messages", {"to": "ana", "body": "hello"})
    doer.hive.agent_says("ana", "hello yourself")
    doer.do("POST /inbox/read")
    before = {"resume": "pause", "start": "stop"}
    for verb in ("pause", "resume", "stop", "start", "restart", "compact", "new-session", "destroy", "purge"):
        name = f"to-{verb}"
        doer.hive.client.post("/agents", {"name": name, "engine": "playbook"})
        doer.hive.write(_has_spoken, name)
        if verb in before:
            doer.hive.client.post(f"/agents/{name}/{before[verb]}")
        doer.do(f"POST /agents/{{name}}/{verb}", name=name)


def _has_spoken(c: Connection, name: str) -> None:
    """It has had a turn: there is a conversation to compact, or to begin anew."""
    c.execute(update(agents).where(agents.c.name == name).values(session="s1", has_run=1))
