"""Whoever logs out at the provider is logged out here: back-channel logout and its refusals (SECURITY.md 5)."""

from __future__ import annotations

import http.client
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from api_browser import Answer, Browser
from api_passkeys import events
from api_provider import hive_with, true_clock

from melipona.access.logout_token import EVENT
from melipona.access.throttle import PER_ADDRESS
from melipona.clock import ManualClock
from melipona.testing.oidc_provider import CLIENT, OidcProvider
from melipona.testing.served import ServedHive, served

Json = dict[str, Any]
LOGOUT = "/api/v1/login/oidc/logout"
SERVER: dict[str, str | None] = {
    "Origin": None,
    "Sec-Fetch-Site": None,
    "Content-Type": "application/x-www-form-urlencoded",
}
"""What a provider's server sends of the headers that a browser would send."""
ANA = "248289761001"


@pytest.fixture
def clock() -> ManualClock:
    return true_clock()


@pytest.fixture
def hive(tmp_path: Path, provider: OidcProvider, clock: ManualClock) -> Generator[ServedHive]:
    with hive_with(tmp_path, provider, clock) as hive:
        hive.client.post("/people/owner/identities", {"subject": ANA})
        yield hive


def logged_in(hive: ServedHive, provider: OidcProvider, login: str = "login-1") -> Browser:
    """A browser with a session by the provider."""
    provider.person.login = login
    browser = Browser(hive)
    browser.keep(browser.ask("GET", "/login"))
    back = provider.log_in(browser.post("/api/v1/login/oidc/start").json["url"])
    query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    browser.keep(browser.post("/api/v1/login/oidc", query))
    assert is_in(browser)
    return browser


def tell(hive: ServedHive, token: str, headers: dict[str, str | None] | None = None) -> Answer:
    """What the provider posts."""
    body = urlencode({"logout_token": token}).encode()
    return Browser(hive).ask("POST", LOGOUT, body, SERVER | (headers or {}))


def _stream(browser: Browser) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", browser.hive.port, timeout=10)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    connection.request("GET", "/api/v1/events", headers={"Sec-Fetch-Site": "same-origin", "Cookie": cookie})
    response = connection.getresponse()
    assert response.status == 200
    assert _line(response)
    return connection, response


def _line(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.readline()
    except (http.client.HTTPException, ConnectionError):
        return b""


def is_in(browser: Browser) -> bool:
    return browser.ask("GET", "/api/v1/state").status == 200


def test_who_logs_out_at_the_provider_is_out_here_and_their_streams_close(
    hive: ServedHive, provider: OidcProvider
) -> None:
    """Every session that the account opened, and no other: not one by a link, not another's."""
    browser, second = logged_in(hive, provider, "login-1"), logged_in(hive, provider, "login-2")
    by_link = Browser(hive)
    by_link.login()
    hive.client.post("/people", {"name": "mara"})
    hive.client.post("/people/mara/identities", {"subject": "of-mara"})
    provider.person.subject = "of-mara"
    mara = logged_in(hive, provider, "login-3")
    provider.person.subject = ANA
    connection, stream = _stream(browser)
    answer = tell(hive, provider.logout_token(sid=None))
    told = time.monotonic()
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    while _line(stream):
        pass
    assert time.monotonic() - told < 1.0
    connection.close()
    assert [is_in(seat) for seat in (browser, second, by_link, mara)] == [False, False, True, True]
    assert [event["via"] for event in events(hive, "session.revoked")] == ["provider", "provider"]


def test_one_login_there_ends_only_the_sessions_that_it_opened(hive: ServedHive, provider: OidcProvider) -> None:
    first, second = logged_in(hive, provider, "login-1"), logged_in(hive, provider, "login-2")
    assert tell(hive, provider.logout_token(sub=None, sid="login-2")).status == 200
    assert (is_in(first), is_in(second)) == (True, False)
    assert tell(hive, provider.logout_token(sid="login-1")).status == 200
    assert not is_in(first)


def test_a_session_that_was_confirmed_meanwhile_ends_too(hive: ServedHive, provider: OidcProvider) -> None:
    """Step-up gives a session another id: it is still the account's."""
    browser = logged_in(hive, provider)
    needed = browser.post("/api/v1/people", {"name": "ben"})
    identifier = needed.json["step_up"]["id"]
    address = browser.post("/api/v1/step-up/provider/start", {"id": identifier}).json["url"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(provider.log_in(address)).query).items()}
    answer = browser.post("/api/v1/step-up/provider", {"id": identifier, **query})
    browser.keep(answer)
    assert is_in(browser)
    assert tell(hive, provider.logout_token()).status == 200
    assert not is_in(browser)


def test_an_account_that_is_taken_away_ends_its_sessions(hive: ServedHive, provider: OidcProvider) -> None:
    browser = logged_in(hive, provider)
    (account,) = hive.client.get("/people/owner/identities")["items"]
    hive.client.delete(f"/people/owner/identities/{account['id']}")
    assert not is_in(browser)


def test_who_has_no_session_here_is_logged_out_all_the_same(hive: ServedHive, provider: OidcProvider) -> None:
    """The provider must not be told who is here."""
    assert tell(hive, provider.logout_token(sub="a-stranger", sid=None)).status == 200


def _at(seconds: int) -> int:
    return int(time.time()) + seconds


WRONG: dict[str, tuple[set[str], Json, str]] = {
    "another issuer": (set(), {"iss": "https://other.example"}, "another provider"),
    "another audience": (set(), {"aud": "another-client"}, "another application"),
    "more audiences": (set(), {"aud": [CLIENT, "another"]}, "another application"),
    "too old": (set(), {"iat": _at(-3600)}, "too old"),
    "from the future": (set(), {"iat": _at(3600)}, "from the future"),
    "no time": (set(), {"iat": None}, "too old"),
    "a time that is none": (set(), {"iat": "now"}, "too old"),
    "ended": (set(), {"exp": _at(-600)}, "too old"),
    "no event": (set(), {"events": None}, "no logout token"),
    "another event": (set(), {"events": {"http://schemas.openid.net/event/other": {}}}, "no logout token"),
    "an event that is no object": (set(), {"events": {EVENT: True}}, "no logout token"),
    "an identity token": (set(), {"nonce": "n"}, "no logout token"),
    "no name": (set(), {"sub": None, "sid": None}, "names nobody"),
    "no id": (set(), {"jti": None}, "names nobody"),
    "an id that is none": (set(), {"jti": ["x"]}, "names nobody"),
    "unsigned": ({"alg none"}, {}, "signed"),
    "a shared secret": ({"shared secret"}, {}, "not valid"),
    "another key": ({"swapped key"}, {}, "not signed"),
    "an unknown key": ({"unknown key"}, {}, "does not show"),
}


@pytest.mark.threat("T38", "T39")
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_logout_token_ends_nothing(hive: ServedHive, provider: OidcProvider, case: str) -> None:
    browser = logged_in(hive, provider)
    provider.faults, said, reason = WRONG[case]
    answer = tell(hive, provider.logout_token(**said))
    assert (answer.status, answer.json["code"]) == (403, "oidc")
    if case not in ("unsigned", "a shared secret"):
        assert reason in answer.json["detail"]
    assert is_in(browser)
    assert events(hive, "session.revoked") == []


@pytest.mark.threat("T39")
def test_a_logout_token_is_good_once(hive: ServedHive, provider: OidcProvider, clock: ManualClock) -> None:
    """Whoever took one down cannot throw people out with it again."""
    token = provider.logout_token()
    assert tell(hive, token).status == 200
    browser = logged_in(hive, provider)
    assert tell(hive, token).json["code"] == "login_over"
    clock.advance(timedelta(seconds=299))
    assert tell(hive, token).status == 403
    assert is_in(browser)


@pytest.mark.threat("T38")
def test_no_browser_posts_a_logout(hive: ServedHive, provider: OidcProvider) -> None:
    """The one route that takes a form: with any sign of a browser, another type or another host it is refused."""
    browser, token = logged_in(hive, provider), provider.logout_token()
    refused: list[tuple[dict[str, str | None], int]] = [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": browser.origin}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Content-Type": "application/json"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": None}, 415),
    ]
    for headers, status in refused:
        assert tell(hive, token, headers).status == status, headers
    assert is_in(browser)
    other = browser.ask("POST", "/api/v1/messages", b"to=ana&body=x", SERVER)
    assert other.status == 403
    assert tell(hive, token).status == 200


@pytest.mark.threat("T41")
def test_wrong_logouts_are_throttled_and_junk_is_refused(hive: ServedHive, provider: OidcProvider) -> None:
    junk = [b"", b"x", b"logout_token=", b"logout_token=a&logout_token=b", b"&" * 20, b"logout_token=%ff\xff"]
    for body in junk:
        assert Browser(hive).ask("POST", LOGOUT, body, SERVER).status in (403, 415), body
    tried = [tell(hive, "x.y.z").status for _ in range(PER_ADDRESS + 1)]
    assert tried[-1] == 429
    assert set(tried[:-1]) <= {403, 429}
    browser = logged_in(hive, provider)  # logins are counted apart: neither can be kept out by floods of the other
    assert is_in(browser)


@pytest.mark.threat("T41")
def test_wrong_logins_do_not_keep_the_provider_from_being_heard(hive: ServedHive, provider: OidcProvider) -> None:
    """Who has a stolen session must not be able to hold off its end."""
    browser, thief = logged_in(hive, provider), Browser(hive)
    thief.keep(thief.ask("GET", "/login"))
    tried = [thief.post("/api/v1/login", {"token": "x" * 32}).status for _ in range(PER_ADDRESS + 1)]
    assert tried[-1] == 429
    assert tell(hive, provider.logout_token()).status == 200
    assert not is_in(browser)


def test_a_hive_without_a_provider_takes_no_logouts(tmp_path: Path) -> None:
    with served(tmp_path / "plain") as hive:
        assert tell(hive, "x.y.z").json["code"] == "no_provider"
