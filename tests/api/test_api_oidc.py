"""Logins by a provider over HTTP: who comes in as whom, and every refusal (SECURITY.md section 5)."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from api_browser import Answer, Browser
from api_provider import hive_with, true_clock

from melipona.access.logins import SECRET, provider_of
from melipona.client import Problem
from melipona.clock import ManualClock, SystemClock
from melipona.errors import Invalid
from melipona.settings import OidcSettings, Settings
from melipona.testing.oidc_provider import OidcProvider
from melipona.testing.served import ServedHive, served

Json = dict[str, Any]


@pytest.fixture
def clock() -> ManualClock:
    return true_clock()


@pytest.fixture
def hive(tmp_path: Path, provider: OidcProvider, clock: ManualClock) -> Generator[ServedHive]:
    with hive_with(tmp_path, provider, clock, label="Example login") as hive:
        yield hive


def begin(browser: Browser) -> str:
    """Open the login page and press the provider's button; where the browser goes."""
    browser.keep(browser.ask("GET", "/login"))
    answer = browser.post("/api/v1/login/oidc/start")
    assert answer.status == 200, answer.body
    return answer.json["url"]


def come_back(browser: Browser, address: str, **more: Any) -> Answer:
    """What the page does at the address that the provider sends the browser back to."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    answer = browser.post("/api/v1/login/oidc", {**query, **more})
    if answer.status == 200:
        browser.keep(answer)
    return answer


def login(browser: Browser, provider: OidcProvider, **more: Any) -> Answer:
    return come_back(browser, provider.log_in(begin(browser)), **more)


def events(hive: ServedHive, kind: str) -> list[Json]:
    return hive.client.get(f"/events/page?kind={kind}")["items"]


def link(hive: ServedHive, **account: str) -> Json:
    return hive.client.post("/people/owner/identities", account)


def test_whoever_is_linked_by_a_verified_address_comes_in(hive: ServedHive, provider: OidcProvider) -> None:
    """And from then on by the subject, whatever address they have later."""
    link(hive, email="Ana@example.org")
    browser = Browser(hive)
    answer = login(browser, provider, next="/costs")
    assert (answer.status, answer.json) == (200, {"next": "/costs"})
    me = browser.ask("GET", "/api/v1/me").json
    assert (me["person"], me["verified_at"]) == ("owner", None)
    provider.person.email = "anna@elsewhere.org"
    assert login(Browser(hive), provider).status == 200
    known = hive.client.get("/people/owner/identities")["items"]
    assert [(item["email"], item["subject"]) for item in known] == [("ana@example.org", "248289761001")]
    # another account that has the address now is not them
    provider.person.subject, provider.person.email = "another", "ana@example.org"
    assert login(Browser(hive), provider).json["code"] == "stranger"


def test_the_page_says_what_the_button_is_called(hive: ServedHive) -> None:
    assert Browser(hive).ask("GET", "/api/v1/login/ways").json["provider"] == "Example login"


def test_a_stranger_is_refused_with_what_an_admin_has_to_type(hive: ServedHive, provider: OidcProvider) -> None:
    answer = login(Browser(hive), provider)
    assert (answer.status, answer.json["code"]) == (403, "stranger")
    assert "mel people identity add NAME --email ana@example.org" in answer.json["remedy"]
    told = events(hive, "login.refused")[0]["data"]
    assert (told["subject"], told["email"]) == ("248289761001", "ana@example.org")
    assert events(hive, "session.opened") == []


@pytest.mark.parametrize("fault", ["unverified email", "email verified as text"])
def test_an_address_that_nobody_verified_links_nobody(hive: ServedHive, provider: OidcProvider, fault: str) -> None:
    link(hive, email="ana@example.org")
    provider.faults = {fault}
    answer = login(Browser(hive), provider)
    assert answer.json["code"] == "stranger"
    assert "--subject 248289761001" in answer.json["remedy"]


@pytest.mark.threat("T39")
@pytest.mark.parametrize("fault", ["wrong audience", "expired", "other nonce", "alg none", "swapped key", "no token"])
def test_a_provider_that_misbehaves_logs_nobody_in(hive: ServedHive, provider: OidcProvider, fault: str) -> None:
    link(hive, subject="248289761001")
    provider.faults = {fault}
    browser = Browser(hive)
    answer = login(browser, provider)
    assert (answer.status, answer.json["code"]) == (403, "oidc")
    assert browser.ask("GET", "/api/v1/state").status == 401


@pytest.mark.threat("T39")
def test_a_login_ends_in_the_browser_that_began_it(hive: ServedHive, provider: OidcProvider) -> None:
    """Login CSRF: another browser that is sent to the callback with a good code stays out."""
    link(hive, subject="248289761001")
    thief, victim = Browser(hive), Browser(hive)
    back = provider.log_in(begin(thief))
    assert come_back(victim, back).json["code"] == "login"
    begin(victim)
    assert "not begun in this browser" in come_back(victim, back).json["detail"]
    assert come_back(thief, back).status == 200


def test_a_code_is_good_once(hive: ServedHive, provider: OidcProvider) -> None:
    link(hive, subject="248289761001")
    browser = Browser(hive)
    back = provider.log_in(begin(browser))
    before = dict(browser.cookies)
    assert come_back(browser, back).status == 200
    browser.cookies = before
    assert come_back(browser, back).status == 403


def test_a_login_that_takes_too_long_is_begun_again(
    hive: ServedHive, provider: OidcProvider, clock: ManualClock
) -> None:
    link(hive, subject="248289761001")
    browser = Browser(hive)
    back = provider.log_in(begin(browser))
    clock.advance(timedelta(minutes=10, seconds=1))
    assert come_back(browser, back).json["code"] == "login"


def test_whoever_says_no_at_the_provider_is_told_so(hive: ServedHive, provider: OidcProvider) -> None:
    provider.person.refuses = True
    assert "ended at the provider" in login(Browser(hive), provider).json["detail"]


def test_the_list_shuts_out_who_was_linked(tmp_path: Path, provider: OidcProvider, clock: ManualClock) -> None:
    with hive_with(tmp_path, provider, clock, allow=["@other.org"]) as hive:
        link(hive, subject="248289761001")
        answer = login(Browser(hive), provider)
        assert "not on this hive's list" in answer.json["detail"]


def test_newcomers_on_the_list_get_the_role_of_the_settings_and_no_more(
    tmp_path: Path, provider: OidcProvider, clock: ManualClock
) -> None:
    """The role is ours: nothing in the token gives one."""
    with hive_with(tmp_path, provider, clock, allow=["@example.org"], newcomers="viewer") as hive:
        browser = Browser(hive)
        assert login(browser, provider).status == 200
        me = browser.ask("GET", "/api/v1/me").json
        assert (me["person"], me["role"]) == ("ana", "viewer")
        refused = browser.post("/api/v1/agents", {"name": "bob", "engine": "playbook"})
        assert (refused.status, refused.json["code"]) == (403, "role")
        provider.person.subject = "another"
        provider.person.email = "ana@example.org"
        second = Browser(hive)
        assert login(second, provider).status == 200
        assert second.ask("GET", "/api/v1/me").json["person"] == "ana-2"


def test_an_account_is_linked_once_and_taken_away(hive: ServedHive, provider: OidcProvider) -> None:
    made = link(hive, subject="248289761001")
    with pytest.raises(Problem, match="linked already"):
        link(hive, subject="248289761001")
    with pytest.raises(Problem, match="by its subject or by its address"):
        link(hive)
    with pytest.raises(Problem, match="no address"):
        link(hive, email="@example.org")
    assert login(Browser(hive), provider).status == 200
    hive.client.delete(f"/people/owner/identities/{made['id']}")
    assert login(Browser(hive), provider).json["code"] == "stranger"


def test_a_hive_without_a_provider_says_so(tmp_path: Path) -> None:
    with served(tmp_path / "hive") as hive:
        browser = Browser(hive)
        browser.keep(browser.ask("GET", "/login"))
        assert browser.post("/api/v1/login/oidc/start").json["code"] == "no_provider"


def test_a_provider_that_is_away_is_said_to_be(hive: ServedHive, provider: OidcProvider) -> None:
    provider.faults = {"no json"}
    browser = Browser(hive)
    browser.keep(browser.ask("GET", "/login"))
    answer = browser.post("/api/v1/login/oidc/start")
    assert answer.status == 502
    assert "cannot be used now" in answer.json["detail"]


GOOD = {"issuer": "https://login.example.org", "client_id": "melipona"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"issuer": "http://login.example.org"}, "https://"),
        ({"client_id": ""}, "client_id is missing"),
        ({"allow": ["everybody"]}, "means nothing"),
        ({"newcomers": "viewer"}, "let everybody in"),
        ({"client_secret_file": "/nonexistent"}, "cannot be read"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(more: Json, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        provider_of(OidcSettings.model_validate(GOOD | more), {}, SystemClock())


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("s3cret")
    path.chmod(0o640)
    with pytest.raises(Invalid, match="not private"):
        provider_of(OidcSettings.model_validate(GOOD | {"client_secret_file": str(path)}), {}, SystemClock())


@pytest.mark.threat("T37")
def test_the_secret_leaves_the_environment_and_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "canary-secret")
    environ = {SECRET: "canary-secret"}
    client = provider_of(OidcSettings.model_validate(GOOD), environ, SystemClock())
    assert environ == {}
    assert SECRET not in __import__("os").environ
    assert "canary" not in repr(client)
    assert provider_of(Settings().access.oidc, {SECRET: "x"}, SystemClock()) is None
