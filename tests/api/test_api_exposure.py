"""A hive that can be reached from elsewhere: what that needs, what proxies may say, whose cookies go where (T41)."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_browser import Answer, Browser
from sqlalchemy import Connection, insert

from melipona.access.exposure import check_exposure, finding
from melipona.access.people import owner
from melipona.api.sites import Sites
from melipona.clock import ManualClock
from melipona.errors import Invalid, Refused
from melipona.settings import AccessSettings, parse_settings
from melipona.store.schema import passkeys
from melipona.testing.served import ServedHive, served

pytestmark = pytest.mark.threat("T41")

URL = "https://hive.example.org"
PROXIED = {"behind_proxy": True, "url": URL}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def exposed(tmp_path: Path, clock: ManualClock) -> Generator[ServedHive]:
    """A hive behind a proxy on this machine that does TLS for hive.example.org."""
    with served(tmp_path / "exposed", settings=parse_settings({"access": PROXIED}), clock=clock) as hive:
        yield hive


class Proxied(Browser):
    """A browser that comes by the proxy, from `address`."""

    def __init__(self, hive: ServedHive, address: str | None = "203.0.113.9") -> None:
        super().__init__(hive)
        self.origin, self.address = URL, address

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Answer:
        mine = {"Host": "hive.example.org", "X-Forwarded-For": self.address, "X-Forwarded-Proto": "https"}
        return super().ask(method, path, body, mine | dict(headers or {}))


def link(hive: ServedHive, **wanted: Any) -> str:
    return str(hive.client.post("/login-links", wanted)["url"])


def log_in(browser: Browser, url: str) -> Answer:
    browser.keep(browser.ask("GET", "/login"))
    answer = browser.post("/api/v1/login", {"token": url.partition("#")[2]})
    browser.keep(answer)
    return answer


def test_cookies_of_the_public_address_go_over_tls_alone(exposed: ServedHive) -> None:
    """`__Host-`: no other host and no plain request gets them; those of the loopback address are others."""
    browser = Proxied(exposed)
    answer = log_in(browser, link(exposed, outside=True))
    assert answer.status == 200
    (cookie,) = [cookie for cookie in answer.cookies if cookie.startswith("__Host-mel=")]
    assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "domain" not in cookie.lower()
    assert browser.ask("GET", "/api/v1/state").status == 200
    local = Browser(exposed)
    local.cookies = {f"mel-{exposed.port}": browser.cookies["__Host-mel"]}
    assert local.ask("GET", "/api/v1/state").status == 200, "the secret is the session, whatever the cookie is called"
    local.cookies = dict(browser.cookies)
    assert local.ask("GET", "/api/v1/state").status == 401


def test_each_host_has_one_origin(exposed: ServedHive) -> None:
    """A page of the loopback address is a stranger at the public one, and the other way round."""
    browser = Proxied(exposed)
    log_in(browser, link(exposed, outside=True))
    act = ("POST", "/api/v1/doctor", b"")
    assert browser.ask(*act).status == 200
    for origin in (f"http://127.0.0.1:{exposed.port}", "http://hive.example.org", f"{URL}:8443", "null"):
        assert browser.ask(*act, {"Origin": origin}).status == 403
    for host in ("evil.example", "hive.example.org:8443", "hive.example.org.evil.example", "HIVE.example.org@evil"):
        assert browser.ask(*act, {"Host": host}).status == 421
    local = Browser(exposed)
    local.login()
    assert local.ask(*act, {"Origin": URL}).status == 403


def test_a_link_is_good_on_the_machine_alone_unless_it_was_made_for_outside(exposed: ServedHive) -> None:
    """SECURITY.md section 5: whoever reads a terminal over somebody's shoulder cannot use the link from elsewhere."""
    url = link(exposed)
    assert url.startswith(f"http://127.0.0.1:{exposed.port}/login#")
    for address in ("203.0.113.9", None, "unknown", "127.0.0.1, 203.0.113.9"):
        refused = log_in(Proxied(exposed, address), url)
        assert refused.status == 403, address
        assert "mel login --outside" in refused.json["remedy"]
    assert log_in(Browser(exposed), url).status == 200
    assert log_in(Proxied(exposed, "127.0.0.1"), link(exposed)).status == 200, "this machine, by way of the proxy"
    outside = link(exposed, outside=True)
    assert outside.startswith(f"{URL}/login#")
    assert log_in(Proxied(exposed), outside).status == 200


def test_a_session_from_outside_ends_after_twelve_idle_hours(exposed: ServedHive, clock: ManualClock) -> None:
    """Of one who can act; a viewer's lasts seven days, as one on the machine does."""
    exposed.client.post("/people", {"name": "vera", "role": "viewer"})
    outside, viewer, local = Proxied(exposed), Proxied(exposed), Browser(exposed)
    log_in(outside, link(exposed, outside=True))
    log_in(viewer, link(exposed, outside=True, person="vera"))
    local.login()
    for _ in range(3):
        clock.advance(timedelta(hours=11))
        assert outside.ask("GET", "/api/v1/state").status == 200
    clock.advance(timedelta(hours=12, seconds=1))
    assert outside.ask("GET", "/api/v1/state").status == 401
    assert viewer.ask("GET", "/api/v1/state").status == 200
    assert local.ask("GET", "/api/v1/state").status == 200
    sessions = {item["person"]: item for item in exposed.client.get("/sessions")["items"]}
    assert (sessions["vera"]["address"], sessions["vera"]["outside"]) == ("203.0.113.9", True)
    assert (sessions["owner"]["address"], sessions["owner"]["outside"]) == ("127.0.0.1", False)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address", "outside"),
    [
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9", True),
        ("127.0.0.1", ["127.0.0.1, 203.0.113.9"], "203.0.113.9", True),  # what the client says itself comes first
        ("127.0.0.1", ["10.9.9.9", "203.0.113.9"], "203.0.113.9", True),
        ("127.0.0.1", ["203.0.113.9, 10.0.0.5"], "203.0.113.9", True),  # 10.0.0.5 is a proxy of ours
        ("127.0.0.1", ["127.0.0.1"], "127.0.0.1", False),
        ("127.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9", True),
        ("127.0.0.1", [], None, True),  # a proxy that does not say for whom it speaks
        ("127.0.0.1", ["localhost"], None, True),
        ("127.0.0.1", ["203.0.113.9, "], None, True),
        ("203.0.113.9", ["127.0.0.1"], "203.0.113.9", True),  # nobody believes a stranger
        (None, ["127.0.0.1"], None, True),
    ],
)
def test_only_a_listed_proxy_says_whom_it_speaks_for(
    peer: str | None, forwarded: list[str], address: str | None, outside: bool
) -> None:
    proxies = parse_settings({"access": {"trusted_proxies": ["127.0.0.1", "10.0.0.0/24"]}}).access.trusted_proxies
    sites = Sites(20000, URL, tuple(ipaddress.ip_network(proxy) for proxy in proxies))
    visitor = sites.visitor(URL, peer, forwarded, "test")
    assert (visitor.address, visitor.outside) == (address, outside)


def test_without_a_proxy_forwarded_headers_say_nothing(browser: Browser) -> None:
    """Nobody is listed: somebody on this machine stays somebody on this machine, and cannot blame another address."""
    spoofed = {"X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    browser.login()
    assert browser.ask("GET", "/api/v1/state", headers=spoofed).status == 200
    (session,) = browser.hive.client.get("/sessions")["items"]
    assert session["address"] == "127.0.0.1"


def test_who_comes_around_the_proxy_is_refused() -> None:
    """A port that is bound to every address answers its proxy and this machine, nobody in clear text."""
    sites = Sites(20000, URL, ())
    assert [sites.is_direct(peer) for peer in ("127.0.0.1", "::1", "203.0.113.9", "::ffff:10.0.0.1", None)] == [
        False,
        False,
        True,
        True,
        True,
    ]


def add_passkey(c: Connection) -> None:
    values = {"credential_id": "x", "public_key": "x", "transports": "[]", "label": "x", "rp_id": "hive.example.org"}
    c.execute(insert(passkeys).values(person_id=owner(c).id, created_at=1, **values))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_another_address_than_loopback_needs_tls_and_a_strong_login(hive: ServedHive, host: str) -> None:
    """T41: refused, with what to do; and then allowed."""
    proxied = AccessSettings.model_validate(PROXIED | {"host": host})
    for bare in ({}, {"behind_proxy": True}, {"url": URL}):
        with pytest.raises(Refused, match="would not be encrypted") as plain:
            hive.read(check_exposure, AccessSettings.model_validate({"host": host, **bare}))
        assert "behind_proxy" in plain.value.remedy
    with pytest.raises(Refused, match="nobody has a passkey") as weak:
        hive.read(check_exposure, proxied)
    assert "add a passkey" in weak.value.remedy
    assert hive.read(finding, proxied).ok is False
    hive.write(add_passkey)
    hive.read(check_exposure, proxied)
    assert hive.read(finding, proxied).ok is True
    hive.read(check_exposure, AccessSettings())
    assert "this machine alone" in hive.read(finding, AccessSettings()).detail


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://hive.example.org"},
        {"url": "https://hive.example.org/mel"},
        {"url": "https://op@hive.example.org"},
        {"host": "hive.example.org"},
        {"trusted_proxies": ["proxy"]},
    ],
    ids=str,
)
def test_settings_that_could_mean_something_else_are_mistakes(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="access"):
        parse_settings({"access": wrong})
