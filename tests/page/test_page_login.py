"""Every way in at the page, in a real browser (issue 5, "Access"): passkeys by a virtual authenticator, a provider, and
what people read when it does not work."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from page_seat import AXE, Seat, found_by_axe, listen
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, expect

from melipona.client import Problem
from melipona.testing.hive import QUICK, HiveProcess, running_hive
from melipona.testing.oidc_provider import CLIENT, SECRET, OidcProvider

pytestmark = pytest.mark.timeout(300)
PATIENCE_MS = 30_000
SHOTS = os.environ.get("MEL_SCREENSHOTS")
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


NOT_QUIETLY = """
if (window.PublicKeyCredential) PublicKeyCredential.isConditionalMediationAvailable = async () => false;
"""
"""With a device that is always touched at once, an offer among the names that a browser fills in is taken at once too:
only the test that is about it wants that."""


@dataclass
class Desk:
    """A browser of one's own at some name of the hive."""

    context: BrowserContext
    seat: Seat
    devices: list[tuple[CDPSession, str]] = field(default_factory=list[tuple[CDPSession, str]])

    @property
    def page(self) -> Page:
        return self.seat.page

    def device(self) -> str:
        """Plug a new authenticator in, and the one before out."""
        session = self.context.new_cdp_session(self.page)
        session.send("WebAuthn.enable", {"enableUI": False})
        for old, name in self.devices:
            old.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": name})
        self.devices.clear()
        made = session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        self.devices.append((session, made["authenticatorId"]))
        return made["authenticatorId"]

    def cookies(self) -> list[str]:
        """What the browser shows the hive."""
        return [f"{cookie.get('name')}={cookie.get('value')}" for cookie in self.context.cookies()]

    def verifies(self, right: bool) -> None:
        """Whether the authenticator recognises its person."""
        session, name = self.devices[-1]
        session.send("WebAuthn.setUserVerified", {"authenticatorId": name, "isUserVerified": right})


class Desks:
    """Sits people down without logging them in; at the end nobody's browser may have complained."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.open: list[Desk] = []

    def at(self, hive: HiveProcess, host: str = "localhost", *, quietly: bool = False) -> Desk:
        context = self._browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        if not quietly:
            context.add_init_script(NOT_QUIETLY)
        home = str(hive.client.get("/state")["api"]).replace("127.0.0.1", host)
        desk = Desk(context, Seat(context.new_page(), home))
        listen(desk.seat)
        self.open.append(desk)
        return desk

    def by_link(self, hive: HiveProcess, host: str = "localhost") -> Desk:
        desk = self.at(hive, host)
        token = str(hive.client.post("/login-links")["url"]).partition("#")[2]
        desk.page.goto(f"{desk.seat.home}/login#{token}")
        desk.page.wait_for_url(lambda address: "/login" not in address)
        return desk


@pytest.fixture
def desks(browser: Browser) -> Generator[Desks]:
    desks = Desks(browser)
    yield desks
    wrong = [line for desk in desks.open for line in desk.seat.wrong]
    for desk in desks.open:
        desk.context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def provider() -> Generator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def oidc_hive(
    browser: Browser, provider: OidcProvider, tmp_path_factory: pytest.TempPathFactory
) -> Generator[HiveProcess]:
    """A hive with a provider; whoever is of example.org comes in as a viewer."""
    folder = tmp_path_factory.mktemp("oidc")
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    config = f"""{QUICK}
[access.oidc]
issuer = "{provider.issuer}"
client_id = "{CLIENT}"
client_secret_file = "{secret}"
label = "Log in with Example"
allow = ["@example.org"]
newcomers = "viewer"
"""
    with running_hive(folder, config=config) as hive:
        yield hive


def row(page: Page, label: str) -> Any:
    return page.get_by_role("listitem").filter(has=page.get_by_role("button", name=f"Revoke {label}"))


def add(page: Page, label: str) -> None:
    page.get_by_role("button", name="Add passkey").click()
    page.get_by_label("Label").fill(label)
    page.get_by_role("button", name="Make passkey").click()
    expect(row(page, label)).to_contain_text("not used yet")


def forget(hive: HiveProcess) -> None:
    """Revoke every passkey of the owner, as whoever has the machine can."""
    for item in hive.client.get("/people/owner/passkeys")["items"]:
        hive.client.delete(f"/people/owner/passkeys/{item['id']}")


def log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("dialog").get_by_role("button", name="Log out").click()
    page.wait_for_url(re.compile("/login$"))


def test_a_passkey_is_added_logs_in_and_confirms_what_is_decided(desks: Desks, hive: HiveProcess) -> None:
    """Register, log out, log in, step-up; then codes, and a lost device replaced."""
    forget(hive)
    desk = desks.by_link(hive)
    page = desk.page
    desk.device()
    desk.seat.go("/settings")
    add(page, "my laptop")
    log_out(page)
    page.get_by_role("button", name="Log in with a passkey").click()
    page.wait_for_url(lambda address: "/login" not in address)
    desk.seat.go("/settings")
    expect(row(page, "my laptop")).to_contain_text(re.compile(r"used .* ago"))
    # recovery codes are a decision about access: the passkey confirms it, and the session gets a new id
    before = desk.cookies()
    page.get_by_role("button", name="Make codes").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make codes").click()
    shown = dialog.get_by_role("list", name="Codes").get_by_role("listitem")
    expect(shown).to_have_count(8)
    codes = shown.all_inner_texts()
    assert desk.cookies() != before
    dialog.get_by_role("button", name="I have kept them").click()
    expect(page.get_by_text("8 recovery codes left")).to_be_visible()
    # who is not recognised by the device decides nothing
    desk.verifies(False)
    page.get_by_role("button", name="Revoke my laptop").click()
    dialog.get_by_role("button", name="Revoke passkey").click()
    expect(dialog).to_contain_text("no passkey was used")
    dialog.get_by_role("button", name="Cancel").click()
    desk.verifies(True)
    # the device is lost: a code logs in, once, and a new passkey takes its place
    log_out(page)
    page.get_by_label("Recovery code").fill(codes[0])
    page.get_by_role("button", name="Use code").click()
    page.wait_for_url(lambda address: "/login" not in address)
    desk.device()
    desk.seat.go("/settings")
    add(page, "my phone")
    page.get_by_role("button", name="Revoke my laptop").click()
    dialog.get_by_role("button", name="Revoke passkey").click()
    expect(row(page, "my laptop")).to_have_count(0)
    expect(page.get_by_text("7 recovery codes left")).to_be_visible()
    log_out(page)
    page.get_by_label("Recovery code").fill(codes[0])
    page.get_by_role("button", name="Use code").click()
    expect(page.get_by_role("alert")).to_contain_text("this recovery code is wrong or was used")
    confirmed = hive.client.get("/events/page?kind=login.confirmed")["items"]
    assert "recovery:codes" in confirmed[0]["data"]["decision"]


def test_axe_finds_nothing_serious_in_settings_that_are_full(desks: Desks, hive: HiveProcess) -> None:
    """With people, tokens, passkeys, codes and sessions there and each dialog about them open, in both themes, on a
    desk and on a phone."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm ci in web/")
    forget(hive)
    for name, role in (("mara", "viewer"), ("ben", "operator"), ("eve", "admin")):
        with suppress(Problem):
            hive.client.post("/people", {"name": name, "role": role})
    hive.client.patch("/people/ben", {"disabled": True})
    for scopes in (["read"], ["read", "act", "approve"]):
        hive.client.post("/tokens", {"name": "-".join(scopes), "scopes": scopes})
    desks.by_link(hive)
    desk = desks.by_link(hive)
    page = desk.page
    desk.device()
    desk.seat.go("/settings")
    add(page, "my laptop")
    found = list[object]()

    def look(where: str) -> None:
        for width, theme in ((1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            expect(page.locator("main")).to_have_css("opacity", "1")  # not while the stream of a new session begins
            found.extend(found_by_axe(page, f"{where} {width} {theme}"))
            if SHOTS:
                page.screenshot(path=f"{SHOTS}/{where.replace(' ', '-')}-{width}-{theme}.png", full_page=True)

    page.get_by_role("button", name=re.compile("^Make (new )?codes$")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make codes").click()
    expect(dialog.get_by_role("list", name="Codes").get_by_role("listitem")).to_have_count(8)
    look("codes")
    dialog.get_by_role("button", name="I have kept them").click()
    expect(page.get_by_role("region", name="People")).to_contain_text("ben")
    expect(page.get_by_role("region", name="Tokens")).to_contain_text("read-act-approve")
    look("settings")
    for opens in ("Add passkey", "Rename my laptop", "Revoke my laptop", "Log out"):
        page.get_by_role("button", name=opens, exact=True).first.click()
        expect(dialog).to_be_visible()
        look(opens)
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_have_count(0)
    assert found == []


def test_a_passkey_is_offered_where_the_browser_fills_in_names(desks: Desks, hive: HiveProcess) -> None:
    """Nothing on the page is pressed."""
    forget(hive)
    desk = desks.by_link(hive)
    page = desk.page
    desk.device()
    desk.seat.go("/settings")
    add(page, "quiet")
    there = desks.at(hive, quietly=True)
    session, name = desk.devices[-1]
    known = session.send("WebAuthn.getCredentials", {"authenticatorId": name})["credentials"]
    there.device()
    other, copy = there.devices[-1]
    other.send("WebAuthn.addCredential", {"authenticatorId": copy, "credential": known[0]})
    there.page.goto(there.seat.home + "/login?next=/settings")
    there.page.wait_for_url(there.seat.home + "/settings")


def test_at_a_bare_address_the_page_says_where_passkeys_work_and_why(desks: Desks, hive: HiveProcess) -> None:
    """`127.0.0.1` is no name that a browser keeps passkeys for."""
    desk = desks.by_link(hive, "127.0.0.1")
    page = desk.seat.go("/settings")
    expect(page.get_by_text("Passkeys do not work at this address")).to_be_visible()
    expect(page.get_by_text("those of this hive are for localhost")).to_be_visible()
    there = desk.seat.home.replace("127.0.0.1", "localhost") + "/settings"
    expect(page.get_by_role("link", name="Open http://localhost")).to_have_attribute("href", there)
    expect(page.get_by_role("button", name="Add passkey")).to_have_count(0)


def test_a_used_link_says_what_to_do(desks: Desks, hive: HiveProcess) -> None:
    link = str(hive.client.post("/login-links")["url"])
    desks_two = [desks.at(hive, "127.0.0.1") for _ in range(2)]
    for desk in desks_two:
        desk.page.goto(link)
    page = desks_two[1].page
    expect(page.get_by_role("alert")).to_contain_text("used already or is too old")
    expect(page.get_by_role("alert")).to_contain_text("mel login")
    assert "#" not in page.url


@pytest.mark.threat("T39")
def test_a_link_to_another_site_leads_to_our_first_page(desks: Desks, hive: HiveProcess) -> None:
    """`next=//evil` is not a page of ours."""
    forget(hive)
    desk = desks.by_link(hive)
    page = desk.page
    desk.device()
    desk.seat.go("/settings")
    add(page, "for this test")
    log_out(page)
    page.goto(desk.seat.home + "/login?next=//evil.example/")
    page.get_by_role("button", name="Log in with a passkey").click()
    page.wait_for_url(desk.seat.home + "/")


def at_provider(desk: Desk, provider: OidcProvider, path: str = "/login") -> Page:
    """Press the provider's button, and log in there."""
    page = desk.page
    desk.seat.wrong.clear()
    page.goto(desk.seat.home + path)
    page.get_by_role("button", name="Log in with Example").click()
    page.wait_for_url(re.compile(re.escape(provider.issuer) + "/authorize"))
    page.locator("#go").click()
    desk.seat.wrong[:] = [line for line in desk.seat.wrong if provider.issuer not in line]
    return page


def test_a_provider_logs_a_viewer_in_who_may_not_act(
    desks: Desks, oidc_hive: HiveProcess, provider: OidcProvider
) -> None:
    desk = desks.at(oidc_hive)
    page = at_provider(desk, provider, "/login?next=/settings")
    page.wait_for_url(desk.seat.home + "/settings")
    expect(page.get_by_text("by oidc").first).to_be_visible()
    refused = page.evaluate(
        """async () => (await fetch("/api/v1/agents", {method: "POST", body: '{"name": "bob", "engine": "playbook"}',
        headers: {"content-type": "application/json"}})).status"""
    )
    assert refused == 403
    provider_asked = [line for line in desk.seat.wrong if provider.issuer not in line]
    desk.seat.wrong[:] = provider_asked


def test_who_has_no_passkey_logs_in_at_the_provider_once_more_to_decide(
    desks: Desks, oidc_hive: HiveProcess, provider: OidcProvider
) -> None:
    """In a tab of its own: the dialog stays, and goes on by itself when that has come back."""
    desk = desks.at(oidc_hive)
    page = at_provider(desk, provider, "/login?next=/settings")
    page.wait_for_url(desk.seat.home + "/settings")
    before = desk.cookies()
    page.get_by_role("button", name=re.compile("^Make (new )?codes$")).first.click()
    dialog = page.get_by_role("dialog")
    with desk.context.expect_page() as opened:
        dialog.get_by_role("button", name="Make codes").click()
    again = opened.value
    again.wait_for_url(re.compile(re.escape(provider.issuer) + "/authorize.*prompt=login"))
    again.locator("#go").click()
    expect(dialog.get_by_label("Codes").get_by_role("listitem")).to_have_count(8)
    assert desk.cookies() != before
    confirmed = oidc_hive.client.get("/events/page?kind=login.confirmed")["items"][0]
    assert (confirmed["person"], confirmed["data"]["proof"]["provider"]) == ("ana", provider.issuer)


def test_a_stranger_at_the_provider_is_told_whom_to_ask(
    desks: Desks, oidc_hive: HiveProcess, provider: OidcProvider
) -> None:
    desk = desks.at(oidc_hive)
    provider.person.subject, provider.person.email = "a-stranger", "mallory@elsewhere.example"
    try:
        page = at_provider(desk, provider)
        expect(page.get_by_role("alert")).to_contain_text("mallory@elsewhere.example is not on this hive's list")
        assert page.url == desk.seat.home + "/login/oidc"
        page.get_by_role("link", name="Back to the login page").click()
        expect(page.get_by_role("button", name="Log in with Example")).to_be_visible()
    finally:
        provider.person.subject, provider.person.email = "248289761001", "ana@example.org"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("swapped key", "not signed by the provider"),
        ("other nonce", "belongs to another login"),
        ("wrong audience", "for another application"),
        ("names another", "another provider"),
    ],
)
def test_a_provider_that_misbehaves_is_refused_in_plain_words(
    desks: Desks, oidc_hive: HiveProcess, provider: OidcProvider, fault: str, words: str
) -> None:
    desk = desks.at(oidc_hive)
    provider.faults = {fault}
    try:
        page = at_provider(desk, provider)
        expect(page.get_by_role("alert")).to_contain_text(words)
        assert "code=" not in page.url
    finally:
        provider.faults = set()
