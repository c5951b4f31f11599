"""Passkeys over HTTP: added, used, revoked, and every refusal (SECURITY.md section 5, section 7 line 24)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_browser import Browser
from api_passkeys import add, ask, confirm, decide, device, events, login
from sqlalchemy import Connection, select

from melipona.access.answers import unpacked
from melipona.client import Problem
from melipona.clock import ManualClock
from melipona.store.schema import login_challenges, passkeys, recovery_codes, sessions
from melipona.testing.served import ServedHive, served

Json = dict[str, Any]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def hive(tmp_path: Path, clock: ManualClock) -> Generator[ServedHive]:
    """A hive whose clock the test moves."""
    with served(tmp_path / "hive", clock=clock) as hive:
        yield hive


@pytest.fixture
def browser(hive: ServedHive) -> Browser:
    """A browser at the name that passkeys are kept for."""
    return Browser(hive, "localhost")


@pytest.fixture
def operator(browser: Browser) -> Browser:
    """The same with the owner's session, by a link."""
    browser.login()
    return browser


def test_a_passkey_is_added_logs_in_and_is_listed_with_its_last_use(operator: Browser) -> None:
    key = device(operator)
    assert add(operator, key, "my laptop")["last_used_at"] is None
    assert operator.post("/api/v1/logout").status == 204
    operator.cookies = {}
    answer = login(operator, key)
    assert (answer.status, answer.json) == (200, {"next": "/"})
    me = operator.ask("GET", "/api/v1/me").json
    assert (me["method"], me["verified_at"] is not None) == ("session", True)
    listed = operator.ask("GET", "/api/v1/passkeys").json
    assert [(item["label"], item["last_used_at"] is not None) for item in listed["items"]] == [("my laptop", True)]
    assert listed["items"][0]["site"] == "localhost"


def test_a_revoked_passkey_logs_nobody_in(operator: Browser, hive: ServedHive) -> None:
    first, second = device(operator), device(operator)
    one = add(operator, first)
    add(operator, second, by=first)
    assert decide(operator, second, "DELETE", f"/api/v1/passkeys/{one['id']}").status == 204
    stranger = Browser(hive, "localhost")
    assert "not known here" in login(stranger, first).json["detail"]
    assert login(stranger, second).status == 200
    assert [event["subject"] for event in events(hive, "passkey.revoked")] == [one["id"][:12]]


def test_a_passkey_is_renamed_by_its_person_alone(operator: Browser, hive: ServedHive) -> None:
    name = add(operator, device(operator))["id"]
    assert ask(operator, "PATCH", f"/api/v1/passkeys/{name}", {"label": "  my   phone "}).json["label"] == "my phone"
    assert ask(operator, "PATCH", f"/api/v1/passkeys/{name}", {"label": "a\u202eb"}).status == 422
    assert ask(operator, "PATCH", "/api/v1/passkeys/nobodys", {"label": "x"}).status == 404


def test_the_same_key_is_added_once(operator: Browser) -> None:
    key = device(operator)
    add(operator, key)
    options = decide(operator, key, "POST", "/api/v1/passkeys/options").json
    assert [item["id"] for item in options["excludeCredentials"]] == [key.create(options)["id"]]
    again = operator.post("/api/v1/passkeys", {"label": "x", "answer": key.create(options)})
    assert (again.status, again.json["code"]) == (409, "exists")


@pytest.mark.threat("T39")
def test_a_login_is_bound_to_the_browser_that_loaded_the_page(operator: Browser, hive: ServedHive) -> None:
    """Another browser's answer, or one to another load of the page, is refused: no login CSRF, no replay."""
    key = device(operator)
    add(operator, key)
    victim, thief = Browser(hive, "localhost"), Browser(hive, "localhost")
    assert victim.post("/api/v1/login/passkey/options").status == 403
    for seat in (victim, thief):
        seat.keep(seat.ask("GET", "/login"))
    answer = key.get(thief.post("/api/v1/login/passkey/options").json)
    assert "another question" in victim.post("/api/v1/login/passkey", {"answer": answer}).json["detail"]
    before = dict(thief.cookies)
    assert thief.post("/api/v1/login/passkey", {"answer": answer}).status == 200
    thief.cookies = before
    key.step, key.count = 1, key.count + 5
    again = thief.post("/api/v1/login/passkey", {"answer": answer})
    assert again.status == 403
    fresh = key.get(thief.post("/api/v1/login/passkey/options").json)
    assert thief.post("/api/v1/login/passkey", {"answer": fresh}).json["code"] == "login_over"


@pytest.mark.threat("T39")
def test_a_page_that_was_loaded_too_long_ago_logs_nobody_in(operator: Browser, clock: ManualClock) -> None:
    key = device(operator)
    add(operator, key)
    operator.cookies = {}
    operator.keep(operator.ask("GET", "/login"))
    options = operator.post("/api/v1/login/passkey/options").json
    clock.advance(timedelta(minutes=10, seconds=1))
    assert operator.post("/api/v1/login/passkey", {"answer": key.get(options)}).status == 403


ELSEWHERE = ["//evil", "https://evil.example/", "/\\evil", "/login", "javascript:alert(1)", "/x"]
WRONG = {
    "unverified": ({"verifies": False}, "not verified"),
    "elsewhere": ({"origin": "https://evil.example"}, "another address"),
    "other site": ({"rp_id": "evil.example"}, "another address"),
    "framed": ({"client": {"crossOrigin": True}}, "within another page"),
}


@pytest.mark.threat("T39")
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_logs_nobody_in(operator: Browser, case: str) -> None:
    key = device(operator)
    add(operator, key)
    operator.cookies = {}
    fields, reason = WRONG[case]
    for name, value in fields.items():
        setattr(key, name, value)
    answer = login(operator, key)
    assert (answer.status, answer.json["code"]) == (403, "passkey")
    assert reason in answer.json["detail"]
    assert operator.ask("GET", "/api/v1/state").status == 401


def test_a_copied_passkey_is_refused_and_somebody_is_told(operator: Browser, hive: ServedHive) -> None:
    """The counter is noted with each use and never goes back."""
    key = device(operator)
    add(operator, key)
    operator.cookies = {}
    key.count = 9
    assert login(operator, key).status == 200
    key.count = 4
    operator.cookies = {}
    assert login(operator, key).json["code"] == "passkey_copied"
    assert [event["data"]["person"] for event in events(hive, "passkey.counter_went_back")] == ["owner"]


@pytest.mark.threat("T41")
def test_wrong_passkeys_and_codes_are_throttled(operator: Browser, clock: ManualClock) -> None:
    key = device(operator)
    add(operator, key)
    operator.cookies = {}
    assert [login(operator, device(operator)).status for _ in range(11)] == [403] * 10 + [429]
    assert login(operator, key).status == 429
    clock.advance(timedelta(minutes=1, seconds=1))
    assert login(operator, key).status == 200


def test_passkeys_have_no_place_at_a_bare_address(hive: ServedHive) -> None:
    """`127.0.0.1` is no name: the page is told where to go and why."""
    seat = Browser(hive)
    seat.login()
    refused = seat.post("/api/v1/passkeys/options")
    assert (refused.status, refused.json["code"]) == (403, "passkey_place")
    assert refused.json["remedy"] == f"open http://localhost:{hive.port}"
    ways = seat.ask("GET", "/api/v1/login/ways").json
    assert ways == {
        "passkeys": False,
        "place": {
            "here": False,
            "why": "browsers keep passkeys for a name, and those of this hive are for localhost",
            "address": f"http://localhost:{hive.port}",
        },
        "provider": None,
        "links": True,
    }


@pytest.mark.threat("T39")
@pytest.mark.parametrize(
    "wanted", ["//evil", "https://evil.example/", "/\\evil", "/login", "javascript:alert(1)", "/x"]
)
def test_after_the_login_a_browser_goes_to_a_page_of_ours(operator: Browser, wanted: str) -> None:
    key = device(operator)
    add(operator, key)
    operator.cookies = {}
    assert login(operator, key, next=wanted).json == {"next": "/"}


def test_after_the_login_a_browser_goes_where_it_wanted_to(operator: Browser) -> None:
    key = device(operator)
    add(operator, key)
    operator.cookies = {}
    assert login(operator, key, next="/agents/ana").json == {"next": "/agents/ana"}


# ---- step-up --------------------------------------------------------------------------------------------------------


def test_a_second_passkey_needs_the_first(operator: Browser, hive: ServedHive) -> None:
    first = device(operator)
    add(operator, first)
    needed = operator.post("/api/v1/passkeys/options")
    assert (needed.status, needed.json["code"]) == (403, "step_up")
    stranger = device(operator)
    refused = operator.post(
        "/api/v1/step-up",
        {"id": needed.json["step_up"]["id"], "answer": stranger.get(needed.json["step_up"]["options"])},
    )
    assert "not one of yours" in refused.json["detail"]
    add(operator, device(operator), by=first)


def test_what_is_signed_is_what_is_decided_and_the_proof_is_kept(operator: Browser, hive: ServedHive) -> None:
    """The challenge is SHA-256 over the decision and a nonce; anybody can check it again from the event."""
    key = device(operator)
    name = add(operator, key)["id"]
    add(operator, device(operator), by=key)
    assert decide(operator, key, "DELETE", f"/api/v1/passkeys/{name}").status == 204
    event = events(hive, "login.confirmed")[0]
    data = event["data"]
    decision = {"about": {"passkey": name, "person": "owner"}, "decision": "passkey:revoke"}
    assert json.loads(data["decision"]) == decision
    client = json.loads(unpacked(data["proof"]["clientDataJSON"]))
    signed = hashlib.sha256(f"{data['decision']}|{data['nonce']}".encode()).digest()
    assert unpacked(client["challenge"]) == signed
    assert event["request_id"] == events(hive, "passkey.revoked")[0]["request_id"]
    assert event["person"] == "owner"


def test_a_confirmation_is_for_one_decision_once_and_for_five_minutes(operator: Browser, clock: ManualClock) -> None:
    key = device(operator)
    first = add(operator, key)["id"]
    second = add(operator, device(operator), by=key)["id"]
    path = "/api/v1/passkeys/{}"
    # not for another decision
    given = confirm(operator, key, ask(operator, "DELETE", path.format(second)))
    assert ask(operator, "DELETE", path.format(first), confirmed=given).json["code"] == "step_up_other"
    # not later
    given = confirm(operator, key, ask(operator, "DELETE", path.format(second)))
    clock.advance(timedelta(minutes=5, seconds=1))
    assert ask(operator, "DELETE", path.format(second), confirmed=given).json["code"] == "login_over"
    # not before it was signed
    needed = ask(operator, "DELETE", path.format(second))
    unsigned = needed.json["step_up"]["id"]
    assert ask(operator, "DELETE", path.format(second), confirmed=unsigned).json["code"] == "step_up_other"
    # once
    given = confirm(operator, key, ask(operator, "POST", "/api/v1/recovery-codes"))
    assert ask(operator, "POST", "/api/v1/recovery-codes", confirmed=given).status == 201
    assert ask(operator, "POST", "/api/v1/recovery-codes", confirmed=given).json["code"] == "login_over"


def test_another_session_cannot_use_a_confirmation(operator: Browser, hive: ServedHive) -> None:
    key = device(operator)
    add(operator, key)
    given = confirm(operator, key, ask(operator, "POST", "/api/v1/recovery-codes"))
    other = Browser(hive, "localhost")
    other.login()
    assert ask(other, "POST", "/api/v1/recovery-codes", confirmed=given).json["code"] == "login_over"


@pytest.mark.threat("T39")
def test_login_and_step_up_give_the_session_a_new_id(operator: Browser, hive: ServedHive) -> None:
    """What a browser held before is worth nothing afterwards: no session fixation."""
    key = device(operator)
    add(operator, key)
    cookie = f"mel-{hive.port}"
    before = dict(operator.cookies)
    confirm(operator, key, ask(operator, "POST", "/api/v1/recovery-codes"))
    assert operator.cookies[cookie] != before[cookie]
    old = Browser(hive, "localhost")
    old.cookies = before
    assert old.ask("GET", "/api/v1/state").status == 401
    assert operator.ask("GET", "/api/v1/state").status == 200
    planted = dict(operator.cookies)
    assert login(operator, key).status == 200
    assert operator.cookies[cookie] != planted[cookie]


def test_at_a_bare_address_step_up_says_where_to_go(operator: Browser, hive: ServedHive) -> None:
    add(operator, device(operator))
    seat = Browser(hive)
    seat.login()
    assert ask(seat, "POST", "/api/v1/recovery-codes").json["code"] == "passkey_place"


def test_the_machines_owner_needs_no_passkey_on_the_socket(operator: Browser, hive: ServedHive) -> None:
    """Who opens the socket has the machine: a lost key is revoked there."""
    name = add(operator, device(operator))["id"]
    hive.client.delete(f"/people/owner/passkeys/{name}")
    assert operator.ask("GET", "/api/v1/passkeys").json["items"] == []
    with pytest.raises(Problem, match="no such passkey"):
        hive.client.delete(f"/people/owner/passkeys/{name}")


# ---- recovery and links ---------------------------------------------------------------------------------------------


def test_a_recovery_code_logs_in_once_and_lets_a_lost_key_be_replaced(
    operator: Browser, hive: ServedHive, clock: ManualClock
) -> None:
    lost = device(operator)
    name = add(operator, lost)["id"]
    codes = decide(operator, lost, "POST", "/api/v1/recovery-codes").json["codes"]
    assert len(set(codes)) == 8
    seat = Browser(hive, "localhost")
    seat.keep(seat.ask("GET", "/login"))
    typed = codes[0].upper().replace("-", " ")
    answer = seat.post("/api/v1/login/recovery", {"code": typed})
    assert answer.status == 200
    seat.keep(answer)
    add(seat, device(seat))
    assert seat.ask("DELETE", f"/api/v1/passkeys/{name}", b"{}").status == 204
    assert seat.ask("GET", "/api/v1/passkeys").json["codes"] == 7
    # nothing else, and not for long
    assert ask(seat, "POST", "/api/v1/recovery-codes").json["code"] == "step_up"
    clock.advance(timedelta(minutes=5, seconds=1))
    assert ask(seat, "POST", "/api/v1/passkeys/options").json["code"] == "step_up"
    again = Browser(hive, "localhost")
    again.keep(again.ask("GET", "/login"))
    assert again.post("/api/v1/login/recovery", {"code": codes[0]}).status == 403


def test_new_recovery_codes_replace_the_old_ones(operator: Browser, hive: ServedHive) -> None:
    old = ask(operator, "POST", "/api/v1/recovery-codes").json["codes"]
    ask(operator, "POST", "/api/v1/recovery-codes")
    seat = Browser(hive, "localhost")
    seat.keep(seat.ask("GET", "/login"))
    assert "wrong or was used" in seat.post("/api/v1/login/recovery", {"code": old[0]}).json["detail"]


def test_links_are_switched_off_only_when_enough_other_ways_are_left(operator: Browser, hive: ServedHive) -> None:
    key = device(operator)
    switch = ("POST", "/api/v1/login-links/switch", {"on": False})
    assert ask(operator, *switch).json["code"] == "too_few_ways"
    name = add(operator, key)["id"]
    assert decide(operator, key, *switch).json["code"] == "too_few_ways"
    second = add(operator, device(operator), by=key)["id"]
    link = hive.client.post("/login-links")["url"].partition("#")[2]
    assert decide(operator, key, *switch).status == 204
    # no link works or is made, also one from before
    with pytest.raises(Problem, match="switched off"):
        hive.client.post("/login-links")
    seat = Browser(hive, "localhost")
    seat.keep(seat.ask("GET", "/login"))
    assert seat.post("/api/v1/login", {"token": link}).json["code"] == "links_off"
    assert seat.ask("GET", "/api/v1/login/ways").json["links"] is False
    # the second last way stays
    assert decide(operator, key, "DELETE", f"/api/v1/passkeys/{second}").json["code"] == "too_few_ways"
    with pytest.raises(Problem, match="too few ways"):
        hive.client.delete(f"/people/owner/passkeys/{name}")
    # whoever has the machine switches them on again
    hive.client.post("/login-links/switch", {"on": True})
    assert seat.post("/api/v1/login", {"token": link}).status == 200


def test_one_passkey_and_a_recovery_code_are_enough_too(operator: Browser, hive: ServedHive) -> None:
    key = device(operator)
    add(operator, key)
    decide(operator, key, "POST", "/api/v1/recovery-codes")
    assert decide(operator, key, "POST", "/api/v1/login-links/switch", {"on": False}).status == 204


def test_nothing_that_logs_in_is_stored(operator: Browser, hive: ServedHive) -> None:
    """T40: whoever reads the database or the events can log in with nothing in it."""
    key = device(operator)
    add(operator, key)
    codes = decide(operator, key, "POST", "/api/v1/recovery-codes").json["codes"]
    confirm(operator, key, ask(operator, "POST", "/api/v1/recovery-codes"))
    secret = operator.cookies[f"mel-{hive.port}"]

    def stored(c: Connection) -> str:
        tables = (sessions, login_challenges, recovery_codes, passkeys)
        return repr([tuple(row) for table in tables for row in c.execute(select(table))])

    everything = hive.read(stored) + repr(hive.client.get("/events/page"))
    assert secret not in everything
    assert not any(code in everything or code.replace("-", "") in everything for code in codes)
