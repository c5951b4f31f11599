"""One-time links and sessions (SECURITY.md section 5, section 7 line 24)."""

from __future__ import annotations

import http.client
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest
from api_browser import Browser
from sqlalchemy import Connection, select

from melipona.client import Problem
from melipona.clock import ManualClock
from melipona.store.schema import login_links, sessions
from melipona.testing.served import ServedHive, served


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def timed(tmp_path: Path, clock: ManualClock) -> Generator[Browser]:
    """A browser at a hive whose clock the test moves."""
    with served(tmp_path / "timed", clock=clock) as hive:
        yield Browser(hive)


def _token(hive: ServedHive) -> str:
    return hive.client.post("/login-links")["url"].partition("#")[2]


def test_a_link_logs_in_once(browser: Browser) -> None:
    """Single use; the cookie is for HTTP alone and goes to no other site."""
    token = _token(browser.hive)
    assert browser.ask("GET", "/api/v1/state").status == 401
    browser.keep(browser.ask("GET", "/login"))
    answer = browser.post("/api/v1/login", {"token": token})
    assert answer.status == 200
    cookie = next(cookie for cookie in answer.cookies if cookie.startswith(f"mel-{browser.hive.port}="))
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    browser.keep(answer)
    assert browser.ask("GET", "/api/v1/state").status == 200
    other = Browser(browser.hive)
    other.keep(other.ask("GET", "/login"))
    again = other.post("/api/v1/login", {"token": token})
    assert again.status == 403
    assert "mel login" in again.json["remedy"]


def test_the_link_travels_in_the_fragment_and_nothing_secret_is_stored(browser: Browser) -> None:
    """T40: no server log sees a token, and whoever reads the database can log in with nothing in it."""
    url = browser.hive.client.post("/login-links")["url"]
    token = url.partition("/login#")[2]
    assert len(token) >= 22
    browser.login()
    secret = browser.cookies[f"mel-{browser.hive.port}"]

    def stored(c: Connection) -> str:
        rows = [*c.execute(select(login_links)), *c.execute(select(sessions))]
        return repr([tuple(row) for row in rows])

    everything = browser.hive.read(stored) + repr(browser.hive.client.get("/events/page"))
    assert token not in everything
    assert secret not in everything


def test_the_login_is_bound_to_the_browser_that_opened_the_page(browser: Browser) -> None:
    """T39: a page that makes a browser post somebody's token gets nowhere."""
    token = _token(browser.hive)
    assert browser.post("/api/v1/login", {"token": token}).status == 403
    browser.cookies = {f"mel-{browser.hive.port}-before": "1.aaaa.bbbb"}
    assert browser.post("/api/v1/login", {"token": token}).status == 403
    browser.keep(browser.ask("GET", "/login"))
    assert browser.post("/api/v1/login", {"token": token}).status == 200


def test_a_link_ends_after_ten_minutes(timed: Browser, clock: ManualClock) -> None:
    """And the page that was opened too long before does too."""
    token = _token(timed.hive)
    clock.advance(timedelta(minutes=10, seconds=1))
    timed.keep(timed.ask("GET", "/login"))
    assert timed.post("/api/v1/login", {"token": token}).status == 403
    fresh = _token(timed.hive)
    clock.advance(timedelta(minutes=9))
    assert timed.post("/api/v1/login", {"token": fresh}).status == 200


def test_wrong_links_are_throttled(timed: Browser, clock: ManualClock) -> None:
    """T41: guessing is slow; a minute later a true link works."""
    timed.keep(timed.ask("GET", "/login"))
    statuses = [timed.post("/api/v1/login", {"token": "x" * 32}).status for _ in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    assert timed.post("/api/v1/login", {"token": _token(timed.hive)}).status == 429
    clock.advance(timedelta(minutes=1, seconds=1))
    assert timed.post("/api/v1/login", {"token": _token(timed.hive)}).status == 200


def test_sessions_end_when_idle_and_in_any_case(timed: Browser, clock: ManualClock) -> None:
    """Seven days without use, thirty days with."""
    timed.login()
    for _ in range(4):
        clock.advance(timedelta(days=6))
        assert timed.ask("GET", "/api/v1/state").status == 200
    clock.advance(timedelta(days=6, hours=1))
    assert timed.ask("GET", "/api/v1/state").status == 401
    timed.cookies = {}
    timed.login()
    clock.advance(timedelta(days=7, seconds=1))
    assert timed.ask("GET", "/api/v1/state").status == 401


def test_a_session_can_be_listed_and_revoked(operator: Browser) -> None:
    """The operator on the socket ends a browser's session."""
    hive = operator.hive
    other = Browser(hive)
    other.login()
    listed = operator.ask("GET", "/api/v1/sessions").json["items"]
    assert sorted(item["current"] for item in listed) == [False, True]
    theirs = next(item["id"] for item in listed if not item["current"])
    hive.client.delete(f"/sessions/{theirs}")
    assert other.ask("GET", "/api/v1/state").status == 401
    assert operator.ask("GET", "/api/v1/state").status == 200
    with pytest.raises(Problem, match="no session"):
        hive.client.delete(f"/sessions/{theirs}")


def test_revoking_closes_the_sessions_streams_within_a_second(operator: Browser) -> None:
    """SECURITY.md section 5, for the events and for a turn's stream."""
    hive = operator.hive
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    turn = hive.open_turn("ana")
    streams = [_stream(operator, path) for path in ("/api/v1/events", f"/api/v1/turns/{turn}/stream")]
    session = operator.ask("GET", "/api/v1/sessions").json["items"][0]["id"]
    hive.client.delete(f"/sessions/{session}")
    revoked = time.monotonic()
    for connection, response in streams:
        while _line(response):
            pass
        assert time.monotonic() - revoked < 1.0
        connection.close()


def test_logging_out_ends_the_session(operator: Browser) -> None:
    """And the cookie goes."""
    kept = dict(operator.cookies)
    answer = operator.post("/api/v1/logout")
    assert answer.status == 204
    operator.keep(answer)
    assert f"mel-{operator.hive.port}" not in operator.cookies
    operator.cookies = kept
    assert operator.ask("GET", "/api/v1/state").status == 401


def test_a_session_makes_no_links(operator: Browser) -> None:
    """Links are made on the machine itself: a stolen session cannot breed."""
    assert operator.post("/api/v1/login-links").status == 403


def _stream(browser: Browser, path: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", browser.hive.port, timeout=5)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    connection.request("GET", path, headers={"Sec-Fetch-Site": "same-origin", "Cookie": cookie})
    response = connection.getresponse()
    assert response.status == 200
    assert _line(response)
    return connection, response


def _line(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.readline()
    except (http.client.HTTPException, ConnectionError):
        return b""
