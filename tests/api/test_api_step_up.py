"""Every decision about access must be confirmed: by a passkey, at the provider, or by a login that is minutes old.

One table of all routes that demand it, compared with the API's document, so that a new one cannot be forgotten here
(SECURITY.md section 5, section 7 line 24).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from api_browser import Answer, Browser
from api_passkeys import add, ask, confirm, device, events
from api_provider import hive_with, true_clock

from melipona.api.openapi import document
from melipona.clock import ManualClock
from melipona.testing.authenticator import Authenticator
from melipona.testing.oidc_provider import OidcProvider
from melipona.testing.served import ServedHive

Json = dict[str, Any]
API = "/api/v1"
FIVE = timedelta(minutes=5, seconds=1)


@dataclass(frozen=True, slots=True)
class Case:
    """A route that demands a confirmation. `other` is another decision by the same route, if it decides several."""

    method: str
    route: str
    body: Json | None = None
    other: Json | None = None
    kind: str | None = None
    """The event that the decision leaves."""

    def __str__(self) -> str:
        return f"{self.method} {self.route}"


TOKEN = {"name": "deploy", "scopes": ["act"], "days": 7}
CASES = [
    Case("POST", "/passkeys/options"),
    Case("DELETE", "/passkeys/{second}", kind="passkey.revoked"),
    Case("POST", "/recovery-codes", kind="recovery.codes_made"),
    Case("POST", "/login-links/switch", {"on": False}, {"on": True}, "login.links_switched"),
    Case("DELETE", "/people/owner/passkeys/{second}", kind="passkey.revoked"),
    Case("POST", "/login-links", {"person": "mara"}, {"person": "mara", "outside": True}, "login.link_made"),
    Case("POST", "/tokens", TOKEN, {**TOKEN, "scopes": ["act", "approve"]}, "token.made"),
    Case("POST", "/people", {"name": "ben", "role": "viewer"}, {"name": "ben", "role": "admin"}, "person.added"),
    Case("PATCH", "/people/mara", {"role": "operator"}, {"role": "admin"}, "person.role_changed"),
    Case("POST", "/people/mara/identities", {"subject": "1234"}, {"subject": "5678"}, "identity.linked"),
    Case("DELETE", "/people/mara/identities/{account}", kind="identity.unlinked"),
]


@pytest.fixture
def clock() -> ManualClock:
    return true_clock()


@pytest.fixture
def hive(tmp_path: Path, provider: OidcProvider, clock: ManualClock) -> Generator[ServedHive]:
    """A hive with a provider, and with Mara, who has an account."""
    with hive_with(tmp_path, provider, clock, label="Example login") as hive:
        hive.client.post("/people", {"name": "mara", "role": "viewer"})
        hive.client.post("/people/mara/identities", {"subject": "of-mara"})
        yield hive


@pytest.fixture
def browser(hive: ServedHive) -> Browser:
    """The owner's, by a link, at the name that passkeys are kept for."""
    browser = Browser(hive, "localhost")
    browser.login()
    return browser


def path_of(case: Case, hive: ServedHive) -> str:
    """The route with what there is."""
    path = API + case.route
    if "{account}" in path:
        path = path.replace("{account}", hive.client.get("/people/mara/identities")["items"][0]["id"])
    if "{second}" in path:
        keys = hive.client.get("/people/owner/passkeys")["items"]
        path = path.replace("{second}", keys[0]["id"] if keys else "AAAAAAAAAAAAAAAA")
    return path


def decided(hive: ServedHive) -> list[str]:
    """Every event but those that a confirmation itself leaves."""
    found = hive.client.get("/events/page?limit=500")["items"]
    return [event["kind"] for event in found if event["kind"] not in ("session.renewed", "session.opened")]


def fails(answer: Answer, code: str) -> None:
    assert (answer.status, answer.json["code"]) == (403, code), answer.body


def test_the_table_is_whole() -> None:
    """A route that takes a confirmation stands in the table, and no other."""
    found: set[tuple[str, str]] = set()
    for path, methods in json.loads(document())["paths"].items():
        for method, operation in methods.items():
            if any(given["name"] == "melipona-step-up" for given in operation.get("parameters", ())):
                found.add((method.upper(), path.removeprefix(API)))
    names = {"{second}": "{passkey}", "{account}": "{identity}", "/people/owner": "/people/{name}"}
    listed: set[tuple[str, str]] = set()
    for case in CASES:
        route = case.route.replace("/people/mara", "/people/{name}")
        for ours, theirs in names.items():
            route = route.replace(ours, theirs)
        listed.add((case.method, route))
    assert listed == found


@pytest.mark.threat("T38", "T39")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_decision_needs_a_passkey_that_signs_this_very_one(
    browser: Browser, hive: ServedHive, clock: ManualClock, case: Case
) -> None:
    """Without one, with one for another decision, of another session, too late, unsigned, used before: refused, and
    nothing happens. With the right one: done once, by a person whom the event names, beside its proof."""
    key = device(browser)
    add(browser, key)
    add(browser, device(browser), by=key)
    path = path_of(case, hive)
    before = decided(hive)

    def go(given: str | None = None, body: Json | None = case.body) -> Answer:
        return ask(browser, case.method, path, body, given)

    needed = go()
    fails(needed, "step_up")
    fails(go("never-made"), "login_over")
    fails(go(needed.json["step_up"]["id"]), "step_up_other")  # opened, and signed by nobody
    elsewhere = ("POST", "/tokens", {"name": "x", "scopes": ["act"]})
    given = confirm(browser, key, ask(browser, elsewhere[0], API + elsewhere[1], elsewhere[2]))
    fails(go(given), "step_up_other")
    if case.other is not None:
        fails(go(confirm(browser, key, go(body=case.other))), "step_up_other")
    given = confirm(browser, key, go())
    other = Browser(hive, "localhost")
    other.login()
    fails(ask(other, case.method, path, case.body, given), "login_over")
    given = confirm(browser, key, go())
    clock.advance(FIVE)
    fails(go(given), "login_over")
    refused = decided(hive)
    assert refused == ["login.link_made", *before]  # the other browser's own link, made on the socket

    given = confirm(browser, key, go())
    assert go(given).status in (200, 201, 204)
    fails(go(given), "login_over")
    told = events(hive, "login.confirmed")
    assert len(told) == 2  # the second passkey was one too
    assert told[0]["person"] == "owner"
    assert told[0]["via"] == f"session {browser.ask('GET', API + '/me').json['login']}"
    if case.kind is not None:
        event = events(hive, case.kind)[0]
        assert (event["person"], event["via"]) == ("owner", told[0]["via"])
        assert event["request_id"] == told[0]["request_id"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whoever_has_no_passkey_decides_just_after_a_link_and_not_later(
    browser: Browser, hive: ServedHive, clock: ManualClock, case: Case
) -> None:
    """A session that is stolen later makes no other way in."""
    path, before = path_of(case, hive), decided(hive)
    clock.advance(FIVE)
    late = ask(browser, case.method, path, case.body)
    fails(late, "login_again")
    assert "mel login" in late.json["remedy"]
    assert decided(hive) == before
    browser.login()
    fresh = ask(browser, case.method, path, case.body)
    assert fresh.status not in (401, 403), fresh.body


@pytest.mark.threat("T41")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_token_never_decides(browser: Browser, hive: ServedHive, case: Case) -> None:
    """Also the owner's, with every scope, beside the cookie of a session that might, and with a confirmation."""
    key = device(browser)
    add(browser, key)
    token = hive.client.post("/tokens", {"name": "all", "scopes": ["read", "act", "approve"]})["token"]
    path, before = path_of(case, hive), decided(hive)
    given = confirm(browser, key, ask(browser, case.method, path, case.body))
    headers = {"Authorization": f"Bearer {token}", "Melipona-Step-Up": given}
    answer = browser.ask(case.method, path, b"{}", headers)
    fails(answer, "role")
    assert decided(hive) == before


@pytest.mark.threat("T38")
def test_a_token_that_only_reads_needs_a_confirmation_too(browser: Browser, clock: ManualClock) -> None:
    """It reads for ninety days what a session that was stolen reads until it is ended."""
    clock.advance(FIVE)
    fails(ask(browser, "POST", f"{API}/tokens", {"name": "graphs", "scopes": ["read"]}), "login_again")
    browser.login()
    add(browser, device(browser))
    fails(ask(browser, "POST", f"{API}/tokens", {"name": "graphs", "scopes": ["read"]}), "step_up")


def test_a_recovery_code_lets_its_person_in_again_where_no_passkey_is_left(
    browser: Browser, hive: ServedHive, clock: ManualClock
) -> None:
    codes = ask(browser, "POST", f"{API}/recovery-codes").json["codes"]
    seat = Browser(hive, "localhost")
    seat.keep(seat.ask("GET", "/login"))
    seat.keep(seat.post(f"{API}/login/recovery", {"code": codes[0]}))
    add(seat, device(seat))


# ---- at the provider ------------------------------------------------------------------------------------------------


@pytest.fixture
def seat(hive: ServedHive, provider: OidcProvider) -> Browser:
    """A browser of an admin who comes in by the provider and has no passkey."""
    hive.client.post("/people", {"name": "ada", "role": "admin"})
    hive.client.post("/people/ada/identities", {"subject": "of-ada"})
    provider.person.subject = "of-ada"
    seat = Browser(hive, "localhost")
    seat.keep(seat.ask("GET", "/login"))
    address = seat.post(f"{API}/login/oidc/start").json["url"]
    seat.keep(seat.post(f"{API}/login/oidc", query_of(provider.log_in(address))))
    return seat


def query_of(address: str) -> Json:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def sent_back(seat: Browser, provider: OidcProvider, needed: Answer) -> Json:
    """Log in once more for a decision: what the page at the callback is given."""
    identifier = needed.json["step_up"]["id"]
    address = seat.post(f"{API}/step-up/provider/start", {"id": identifier})
    assert address.status == 200, address.body
    asked = query_of(address.json["url"])
    assert (asked["prompt"], asked["max_age"], asked["nonce"]) == ("login", "0", identifier)
    return {"id": identifier, **query_of(provider.log_in(address.json["url"]))}


def again(seat: Browser, provider: OidcProvider, needed: Answer) -> str:
    """The same, to its end; the confirmation's name."""
    given = sent_back(seat, provider, needed)
    answer = seat.post(f"{API}/step-up/provider", given)
    assert answer.status == 204, answer.body
    seat.keep(answer)
    return given["id"]


PROVIDED = [case for case in CASES if "{second}" not in case.route and case.route != "/login-links/switch"]


@pytest.mark.threat("T39")
@pytest.mark.parametrize("case", PROVIDED, ids=str)
def test_whoever_comes_by_the_provider_logs_in_there_once_more_for_each_decision(
    seat: Browser, hive: ServedHive, provider: OidcProvider, clock: ManualClock, case: Case
) -> None:
    """A login by the provider alone confirms nothing, however new it is: it may have been silent."""
    path = path_of(case, hive)

    def go(given: str | None = None, body: Json | None = case.body) -> Answer:
        return ask(seat, case.method, path, body, given)

    needed = go()
    fails(needed, "step_up")
    assert (needed.json["step_up"]["provider"], needed.json["step_up"]["options"]) == ("Example login", None)
    fails(go(needed.json["step_up"]["id"]), "step_up_other")
    cookie = dict(seat.cookies)
    if case.other is not None:
        fails(go(again(seat, provider, go(body=case.other))), "step_up_other")
    given = again(seat, provider, go())
    assert seat.cookies != cookie
    assert go(given).status in (200, 201, 204)
    fails(go(given), "login_over")
    told = events(hive, "login.confirmed")[0]
    assert (told["person"], told["data"]["proof"]["subject"]) == ("ada", "of-ada")
    assert told["data"]["proof"]["nonce"] == given
    late = again(seat, provider, go())
    clock.advance(FIVE)
    fails(go(late), "login_over")


def to_code(*, faults: set[str] | None = None, subject: str = "of-ada", **more: Any) -> Callable[[OidcProvider], Json]:
    def act(provider: OidcProvider) -> Json:
        provider.faults, provider.person.subject = faults or set(), subject
        return more

    return act


WRONG: dict[str, tuple[Callable[[OidcProvider], Json], str]] = {
    "no second login": (to_code(faults={"no second login"}), "did not ask you"),
    "somebody else's account": (to_code(subject="of-mara"), "is not ada"),
    "nobody's account": (to_code(subject="of-a-stranger"), "is not ada"),
    "another login's answer": (to_code(faults={"other nonce"}), "another login"),
    "another provider": (to_code(faults={"names another"}), "another provider"),
    "another key": (to_code(faults={"swapped key"}), "not signed"),
    "another state": (to_code(state="x"), "not begun in this browser"),
    "a refusal": (to_code(error="access_denied"), "ended at the provider"),
}


@pytest.mark.threat("T39")
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_of_the_provider_confirms_nothing(seat: Browser, provider: OidcProvider, case: str) -> None:
    needed = ask(seat, "POST", f"{API}/people", {"name": "ben"})
    act, reason = WRONG[case]
    more = act(provider)
    given = sent_back(seat, provider, needed) | more
    answer = seat.post(f"{API}/step-up/provider", given)
    assert answer.status == 403
    assert reason in answer.json["detail"]
    fails(ask(seat, "POST", f"{API}/people", {"name": "ben"}, given["id"]), "step_up_other")


@pytest.mark.threat("T39")
def test_a_login_for_one_decision_confirms_no_other_and_helps_no_other_browser(
    seat: Browser, hive: ServedHive, provider: OidcProvider
) -> None:
    one = ask(seat, "POST", f"{API}/people", {"name": "ben"})
    two = ask(seat, "POST", f"{API}/people", {"name": "eve", "role": "admin"})
    given = sent_back(seat, provider, one)
    swapped = seat.post(f"{API}/step-up/provider", {**given, "id": two.json["step_up"]["id"]})
    assert "not begun in this browser" in swapped.json["detail"]
    other = Browser(hive, "localhost")
    other.login()
    fails(other.post(f"{API}/step-up/provider", given), "login_over")
    fails(other.post(f"{API}/step-up/provider/start", {"id": given["id"]}), "login_over")
    answer = seat.post(f"{API}/step-up/provider", given)
    assert answer.status == 204
    seat.keep(answer)
    fails(seat.post(f"{API}/step-up/provider", given), "oidc")  # the session has another name since


def test_a_login_at_the_provider_never_stands_for_a_passkey(
    seat: Browser, hive: ServedHive, provider: OidcProvider
) -> None:
    """Who has both shows the passkey: a stolen session cannot choose the weaker of the two."""
    key: Authenticator = device(seat)
    options = ask(
        seat, "POST", f"{API}/passkeys/options", {}, again(seat, provider, ask(seat, "POST", f"{API}/passkeys/options"))
    )
    assert seat.post(f"{API}/passkeys", {"label": "mine", "answer": key.create(options.json)}).status == 201
    needed = ask(seat, "POST", f"{API}/people", {"name": "ben"})
    assert needed.json["step_up"]["provider"] is None
    refused = seat.post(f"{API}/step-up/provider", sent_back(seat, provider, needed))
    assert "never stands for a passkey" in refused.json["detail"]
    assert ask(seat, "POST", f"{API}/people", {"name": "ben"}, confirm(seat, key, needed)).status == 201
