"""Who may do what: every route against every role and every scope, and what events tell of whom (T41, ASK-23)."""

from __future__ import annotations

import asyncio
import http.client
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_browser import Answer, Browser
from operator_routes import ROUTES, authority_of, path_of

from melipona.api.authority import AUTHORITIES, Authorities
from melipona.client import Problem
from melipona.clock import ManualClock
from melipona.faults import install
from melipona.testing.served import ServedHive, served

MAY = {
    "viewer": {"open", "read", "own"},
    "operator": {"open", "read", "own", "act"},
    "admin": {"open", "read", "own", "act", "admin"},
}
SCOPES = {("read",): {"read"}, ("act",): {"read", "act"}, ("approve",): {"read"}, ("read", "act"): {"read", "act"}}


def person(hive: ServedHive, role: str, name: str | None = None) -> Browser:
    """A browser with the session of somebody in that role."""
    who = name or f"a-{role}"
    hive.client.post("/people", {"name": who, "role": role})
    browser = Browser(hive)
    link = hive.client.post("/login-links", {"person": who})["url"]
    browser.keep(browser.ask("GET", "/login"))
    browser.keep(browser.post("/api/v1/login", {"token": link.partition("#")[2]}))
    return browser


def token(hive: ServedHive, *scopes: str, days: int = 30) -> str:
    """A fresh token of the owner."""
    made = hive.client.post("/tokens", {"name": "-".join(scopes), "scopes": list(scopes), "days": days})
    return str(made["token"])


def bearer(
    hive: ServedHive, text: str, method: str = "GET", path: str = "/api/v1/state", **headers: str | None
) -> Answer:
    """A request of a program: a token, and nothing that a browser would send."""
    plain: dict[str, str | None] = {"Origin": None, "Sec-Fetch-Site": None, "Authorization": f"Bearer {text}"}
    body = b"{}" if method not in ("GET", "HEAD") else None
    return Browser(hive).ask(method, path, body, plain | headers)


def test_every_route_states_what_it_needs_and_the_table_is_frozen() -> None:
    """A route that is not in the table is refused: so the table has exactly the routes there are."""
    assert {route: authority.value for route, authority in AUTHORITIES.items()} == {
        (method, path): authority_of(method, path) for method, path in ROUTES
    }
    known = Authorities()
    for (method, route), authority in AUTHORITIES.items():
        assert known.of(method, path_of(route).partition("?")[0]) is authority, route


def test_a_route_without_a_statement_does_not_exist(hive: ServedHive) -> None:
    """Fail closed: the application may have it, the guard does not."""
    known = Authorities({("GET", "/api/v1/state"): AUTHORITIES["GET", "/api/v1/state"]})
    assert known.of("GET", "/api/v1/agents") is None
    assert known.of("POST", "/api/v1/state") is None
    assert not known.knows("/api/v1/agents/ana/destroy")


@pytest.mark.parametrize("role", MAY)
def test_each_role_may_what_its_row_says_on_every_route(hive: ServedHive, role: str) -> None:
    """403 with what is missing, before anything is looked at; nothing is changed by what was refused."""
    browser = person(hive, role)
    for method, route in ROUTES:
        needed = authority_of(method, route)
        if needed in MAY[role] and (method != "GET" or route.endswith("stream")):
            continue  # what it may do is tried by the tests of each route
        answer = browser.ask(method, path_of(route), b"{}" if method != "GET" else None)
        assert (answer.status == 403) == (needed not in MAY[role]), (method, route, answer.status, answer.body[:200])
        if answer.status == 403:
            wanted = "admin" if needed == "admin" else "operator"
            assert answer.json["code"] == "role"
            assert answer.json["detail"] == f"a-{role} is a {role} here; that needs the role {wanted}"
            assert answer.json["remedy"].endswith(f"`mel people role a-{role} {wanted}`")


@pytest.mark.parametrize("scopes", SCOPES, ids="+".join)
def test_a_token_may_what_its_scopes_say_and_changes_no_login(hive: ServedHive, scopes: tuple[str, ...]) -> None:
    text = token(hive, *scopes)
    for method, route in ROUTES:
        needed = authority_of(method, route)
        if needed in ("open", *SCOPES[scopes]):
            continue
        answer = bearer(hive, text, method, path_of(route))
        assert answer.status == 403, (method, route, answer.status)
        assert "token" in answer.json["detail"]
    assert bearer(hive, text).status == 200


def test_a_token_is_at_most_what_its_person_is(hive: ServedHive) -> None:
    """A viewer can make no token that acts; a token of somebody who is demoted acts no more."""
    viewer = person(hive, "viewer")
    assert viewer.post("/api/v1/tokens", {"name": "x", "scopes": ["read", "act"]}).status == 403
    assert viewer.post("/api/v1/tokens", {"name": "x", "scopes": ["read"]}).status == 201
    other = person(hive, "operator")
    text = other.post("/api/v1/tokens", {"name": "x"}).json["token"]
    send = {"method": "POST", "path": "/api/v1/doctor"}
    assert bearer(hive, text, **send).status == 200
    hive.client.patch("/people/a-operator", {"role": "viewer"})
    refused = bearer(hive, text, **send)
    assert refused.status == 403
    assert "needs the role operator" in refused.json["detail"]


def test_a_token_is_shown_once_and_stored_as_a_hash(hive: ServedHive) -> None:
    made = hive.client.post("/tokens", {"name": "deploy", "scopes": ["read"], "days": 7})
    text, shown = made["token"], made["made"]
    identifier, _, secret = text.removeprefix("mel_").partition("_")
    assert (shown["id"], shown["name"], shown["scopes"]) == (identifier, "deploy", ["read"])
    assert len(secret) == 43
    everything = (hive.data / "mel.db").read_bytes() + (hive.data / "mel.db-wal").read_bytes()
    everything += repr((hive.client.get("/tokens"), hive.client.get("/events/page"))).encode()
    assert secret.encode() not in everything
    assert bearer(hive, text).status == 200
    (listed,) = hive.client.get("/tokens")["items"]
    assert listed["last_address"] == "127.0.0.1"
    assert listed["last_used_at"] is not None


def test_a_token_ends_by_time(tmp_path: Path) -> None:
    """At most 90 days, 30 where nothing is said."""
    clock = ManualClock()
    with served(tmp_path / "timed", clock=clock) as hive:
        text = token(hive, "read", days=90)
        with pytest.raises(Problem, match="less than or equal to 90"):
            token(hive, "read", days=91)
        clock.advance(timedelta(days=89, hours=23))
        assert bearer(hive, text).status == 200
        clock.advance(timedelta(hours=1, seconds=1))
        assert bearer(hive, text).status == 401


@pytest.mark.threat("T41")
def test_wrong_tokens_are_throttled(tmp_path: Path) -> None:
    """T41: by address; the owner on the machine is never kept out."""
    clock = ManualClock()
    with served(tmp_path / "timed", clock=clock) as hive:
        good = token(hive, "read")
        wrong = good[:-4] + ("aaaa" if not good.endswith("aaaa") else "bbbb")
        others = [wrong, "x", "mel_000000000000_" + "a" * 43, ""]
        statuses = [bearer(hive, others[n % 4]).status for n in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert bearer(hive, good).status == 429
        assert hive.client.get("/state")
        clock.advance(timedelta(minutes=1, seconds=1))
        assert bearer(hive, good).status == 200


@pytest.mark.threat("T38")
def test_with_a_token_cookies_are_ignored(operator_: Browser) -> None:
    """T38: a session in the cookie adds nothing to a token, and saves no wrong one."""
    hive, cookie = operator_.hive, "; ".join(f"{k}={v}" for k, v in operator_.cookies.items())
    text = token(hive, "read")
    assert bearer(hive, text, "POST", "/api/v1/doctor", Cookie=cookie).status == 403
    assert bearer(hive, "mel_wrong", Cookie=cookie).status == 401
    assert operator_.ask("GET", "/api/v1/state", headers={"Authorization": "Basic eDp5"}).status == 401


@pytest.mark.threat("T38")
def test_a_token_does_not_open_the_door_to_strangers_pages(hive: ServedHive) -> None:
    """T38: with a token, too, a browser that speaks for another page is refused, and Host stays ours."""
    text = token(hive, "act")
    for headers, status in (
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Content-Type": "text/plain"}, 415),
    ):
        assert bearer(hive, text, "POST", "/api/v1/doctor", **headers).status == status
    assert bearer(hive, text, "POST", "/api/v1/doctor").status == 200


@pytest.fixture
def operator_(hive: ServedHive) -> Browser:
    """A browser with the owner's session."""
    browser = Browser(hive)
    browser.login()
    return browser


class Following:
    """A stream of events that was opened."""

    def __init__(self, hive: ServedHive, headers: dict[str, str], *, first: bool = True) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", hive.port, timeout=5)
        self._connection.request("GET", "/api/v1/events", headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        assert not first or self._response.readline()

    def drain(self) -> None:
        """Read until the hive ends it."""
        try:
            while self._response.readline():
                pass
        except (http.client.HTTPException, ConnectionError):
            pass
        self._response.close()
        self._connection.close()


def test_revoking_a_token_closes_its_streams_within_a_second(hive: ServedHive) -> None:
    """Section 7 line 24, for tokens; by its name too."""
    kept, text = token(hive, "act"), token(hive, "read")
    going_on = Following(hive, {"Authorization": f"Bearer {kept}"})
    response = Following(hive, {"Authorization": f"Bearer {text}"})
    hive.client.delete("/tokens/read")
    began = time.monotonic()
    response.drain()
    assert time.monotonic() - began < 1.0
    assert bearer(hive, text).status == 401
    assert bearer(hive, kept).status == 200
    hive.client.delete(f"/tokens/{kept.split('_')[1]}")
    going_on.drain()


class Held:
    """Holds the first request that has been let in, before it is handled, until it is told to go on."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    async def at(self, name: str) -> None:
        if name == "api.request.before_handling" and not self.reached.is_set():
            self.reached.set()
            assert await asyncio.to_thread(self.go.wait, 30)

    def here(self, name: str) -> None:
        del name


def test_a_login_that_ends_while_its_stream_is_being_opened_closes_it_too(hive: ServedHive) -> None:
    """Its end is announced before the stream listens: the stream looks once more (section 7 line 24)."""
    text = token(hive, "read")
    opened: list[Following] = []
    opening = threading.Thread(
        target=lambda: opened.append(Following(hive, {"Authorization": f"Bearer {text}"}, first=False))
    )
    held = Held()
    install(held)
    try:
        opening.start()
        assert held.reached.wait(30)
        hive.client.delete("/tokens/read")
    finally:
        held.go.set()
        opening.join(30)
        install(None)
    began = time.monotonic()
    opened[0].drain()
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "viewer"}], ids=str)
def test_shutting_somebody_out_or_another_role_closes_their_streams(hive: ServedHive, change: dict[str, Any]) -> None:
    """It counts at once, not at the next login."""
    browser = person(hive, "operator")
    text = browser.post("/api/v1/tokens", {"name": "x"}).json["token"]
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    responses = [
        Following(hive, {"Sec-Fetch-Site": "same-origin", "Cookie": cookie}),
        Following(hive, {"Authorization": f"Bearer {text}"}),
    ]
    hive.client.patch("/people/a-operator", change)
    began = time.monotonic()
    for response in responses:
        response.drain()
    assert time.monotonic() - began < 1.0
    status = 401 if "disabled" in change else 200
    assert browser.ask("GET", "/api/v1/state").status == status
    assert bearer(hive, text).status == status
    if "disabled" in change:
        hive.client.patch("/people/a-operator", {"disabled": False})
        assert browser.ask("GET", "/api/v1/state").status == 401, "ended logins stay ended"


def test_the_owner_can_be_neither_demoted_nor_shut_out(hive: ServedHive) -> None:
    admin = person(hive, "admin")
    for change in (b'{"role": "viewer"}', b'{"disabled": true}'):
        assert admin.ask("PATCH", "/api/v1/people/owner", change).status == 403
    assert admin.post("/api/v1/login-links").status == 403, "an admin's session makes no link of the owner"
    assert admin.post("/api/v1/login-links", {"person": "owner"}).status == 403
    assert admin.post("/api/v1/login-links", {"person": "a-admin"}).status == 201


def test_one_sees_and_ends_ones_own_logins_and_an_admin_everybodys(hive: ServedHive) -> None:
    viewer, other, admin = (person(hive, role) for role in ("viewer", "operator", "admin"))
    mine = viewer.ask("GET", "/api/v1/sessions").json["items"]
    assert [(item["person"], item["current"], item["address"]) for item in mine] == [("a-viewer", True, "127.0.0.1")]
    everybodys = admin.ask("GET", "/api/v1/sessions").json["items"]
    assert {item["person"] for item in everybodys} == {"a-viewer", "a-operator", "a-admin"}
    assert other.ask("DELETE", f"/api/v1/sessions/{mine[0]['id']}").status == 404
    assert viewer.ask("GET", "/api/v1/state").status == 200
    assert admin.ask("DELETE", f"/api/v1/sessions/{mine[0]['id']}").status == 204
    assert viewer.ask("GET", "/api/v1/state").status == 401
    text = other.post("/api/v1/tokens", {"name": "x"}).json
    assert viewer.ask("DELETE", f"/api/v1/tokens/{text['made']['id']}").status == 401
    assert admin.ask("DELETE", f"/api/v1/tokens/{text['made']['id']}").status == 204


def test_every_event_of_a_request_says_which_person_asked(hive: ServedHive) -> None:
    """ADR 0014: to agents it is the operator; the audit knows who, and by which login."""
    browser = person(hive, "operator", "mara")
    browser.post("/api/v1/agents", {"name": "ana", "engine": "playbook"})
    browser.post("/api/v1/messages", {"to": "ana", "body": "hello"})
    text = browser.post("/api/v1/tokens", {"name": "x"}).json["token"]
    assert bearer(hive, text, "POST", "/api/v1/agents/ana/pause").status == 202
    hive.client.post("/agents/ana/resume")
    hive.end_turn(hive.open_turn("ana"))
    found = {event["kind"]: event for event in hive.client.get("/events/page")["items"]}
    session = browser.ask("GET", "/api/v1/sessions").json["items"][0]["id"]
    for kind, who, via in (
        ("session.opened", "mara", f"session {session}"),
        ("agent.created", "mara", f"session {session}"),
        ("message.sent", "mara", f"session {session}"),
        ("agent.paused", "mara", f"token {text.split('_')[1]}"),
        ("agent.resumed", "owner", "socket"),
        ("turn.ended", None, None),
    ):
        assert (found[kind]["person"], found[kind]["via"]) == (who, via), kind
    assert found["message.sent"]["by"] == "operator"
    me = browser.ask("GET", "/api/v1/me").json
    assert (me["person"], me["role"], me["owner"], me["may"]) == (
        "mara",
        "operator",
        False,
        ["act", "approve", "own", "read"],
    )
