"""Logins by a provider (OpenID Connect) against a local one with real tokens: who comes in, and every refusal
(SECURITY.md 5)."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from melipona.access.identity import Identity, identity_of, is_allowed, is_entry
from melipona.access.oidc import Flow, Provider, check_issuer
from melipona.access.oidc_client import ProviderClient
from melipona.errors import MeliponaError, Refused, UpstreamError
from melipona.testing.oidc_provider import CLIENT, FAULTS, SECRET, OidcProvider

REDIRECT = "http://localhost:4000/login/oidc"
FLOW = Flow.of("a-cookie")


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


class Clock:
    """Monotonic time that the test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def login(provider: OidcProvider, client: ProviderClient | None = None, *, flow: Flow = FLOW) -> Identity:
    """A whole login: to the provider and back."""
    client = client or ProviderClient(provider.issuer, CLIENT, SECRET, time.monotonic)

    async def run() -> Identity:
        back = provider.log_in(await client.begin(REDIRECT, FLOW))
        query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        try:
            return await client.finish(query["code"], query.get("iss"), REDIRECT, flow, int(time.time()))
        finally:
            await client.aclose()

    return anyio.run(run)


def test_whoever_logs_in_at_the_provider_is_known_by_issuer_and_subject(provider: OidcProvider) -> None:
    assert login(provider) == Identity(provider.issuer, "248289761001", "ana@example.org")


def test_the_question_carries_state_nonce_and_a_challenge_and_no_secret(provider: OidcProvider) -> None:
    async def begin() -> str:
        client = ProviderClient(provider.issuer, CLIENT, SECRET, time.monotonic)
        try:
            return await client.begin(REDIRECT, FLOW)
        finally:
            await client.aclose()

    address = anyio.run(begin)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert address.startswith(provider.issuer + "/authorize?")
    assert asked.pop("code_challenge") != FLOW.verifier
    assert asked == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": REDIRECT,
        "scope": "openid email profile",
        "state": FLOW.state,
        "nonce": FLOW.nonce,
        "code_challenge_method": "S256",
    }
    assert FLOW.verifier not in address
    assert SECRET not in address


REFUSALS = {
    "wrong audience": "another application",
    "more audiences": "for others too",
    "expired": "too old",
    "from the future": "from the future",
    "other nonce": "another login",
    "no nonce": "another login",
    "alg none": "not valid",
    "shared secret": "not valid",
    "swapped key": "not signed by the provider",
    "unknown key": "does not show",
    "other access token": "another access token",
    "no token": "no identity token",
    "names another": "another provider",
    "other userinfo": "two different people",
}
UNUSABLE = {
    "wrong issuer": "calls itself",
    "unsafe endpoint": "token_endpoint is not safe",
    "long answer": "too long",
    "redirects": "answers 302",
    "packed": "packed",
    "no json": "no JSON",
}
TOLD_BY_EMAIL = {"unverified email", "email verified as text", "no email"}


def test_every_fault_of_the_provider_has_a_test() -> None:
    of_decisions = {"no second login"}  # tests/api/test_api_step_up.py
    assert {*REFUSALS, *UNUSABLE} | TOLD_BY_EMAIL | of_decisions == FAULTS


@pytest.mark.threat("T39")
@pytest.mark.parametrize("fault", REFUSALS)
def test_a_token_that_is_wrong_is_refused(provider: OidcProvider, fault: str) -> None:
    provider.faults = {fault}
    provider.email_in_token = fault != "other userinfo"
    with pytest.raises(Refused, match=REFUSALS[fault]) as refusal:
        login(provider)
    assert refusal.value.code == "oidc"


@pytest.mark.threat("T14")
@pytest.mark.parametrize("fault", UNUSABLE)
def test_a_provider_that_answers_nonsense_is_not_used(provider: OidcProvider, fault: str) -> None:
    provider.faults = {fault}
    with pytest.raises(UpstreamError, match=UNUSABLE[fault]):
        login(provider)


@pytest.mark.parametrize("fault", sorted(TOLD_BY_EMAIL))
def test_an_address_that_is_not_verified_is_none(provider: OidcProvider, fault: str) -> None:
    provider.faults = {fault}
    assert login(provider) == Identity(provider.issuer, "248289761001", "")


def test_an_address_that_the_token_leaves_out_is_asked_for(provider: OidcProvider) -> None:
    provider.email_in_token = False
    assert login(provider).email == "ana@example.org"
    assert "/userinfo" in provider.asked


@pytest.mark.threat("T39")
def test_another_browser_cannot_end_the_login(provider: OidcProvider) -> None:
    """PKCE and nonce follow from the cookie: with another cookie neither is right."""
    with pytest.raises(Refused, match="invalid_grant"):
        login(provider, flow=Flow.of("another-cookie"))


def test_a_wrong_client_secret_is_said_in_words_and_never_shown(
    provider: OidcProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = ProviderClient(provider.issuer, CLIENT, "a-wrong-secret", time.monotonic)
    with pytest.raises(Refused, match="invalid_client") as refusal:
        login(provider, client)
    assert "a-wrong-secret" not in str(refusal.value) + repr(client) + caplog.text


def test_a_public_client_needs_no_secret(provider: OidcProvider) -> None:
    provider.secret = ""
    assert login(provider, ProviderClient(provider.issuer, CLIENT, "", time.monotonic)).subject == "248289761001"


def test_new_keys_of_a_provider_are_found_but_not_asked_for_again_and_again(provider: OidcProvider) -> None:
    clock = Clock()
    client = ProviderClient(provider.issuer, CLIENT, SECRET, clock)
    login(provider, client)
    provider.rotate()
    with pytest.raises(Refused, match="does not show"):
        login(provider, client)
    assert provider.asked.count("/keys") == 1
    clock.at += 61
    assert login(provider, client).subject == "248289761001"
    assert provider.asked.count("/keys") == 2
    assert provider.asked.count("/.well-known/openid-configuration") == 1


def test_a_provider_that_is_away_is_said_to_be() -> None:
    with OidcProvider() as gone:
        issuer = gone.issuer
    client = ProviderClient(issuer, CLIENT, SECRET, time.monotonic)
    with pytest.raises(UpstreamError, match="cannot be used now"):
        anyio.run(client.begin, REDIRECT, FLOW)


@pytest.mark.parametrize(
    ("issuer", "endpoint"),
    [
        ("https://login.example.org", "http://login.example.org/token"),
        ("https://login.example.org", "http://127.0.0.1:80/token"),
        ("https://login.example.org", "https://user@login.example.org/token"),
        ("https://login.example.org", "/token"),
        ("https://login.example.org", ["https://login.example.org/token"]),
        ("http://127.0.0.1:1", "http://login.example.org/token"),
    ],
)
def test_an_address_that_is_not_encrypted_is_never_asked(issuer: str, endpoint: object) -> None:
    data = {
        "issuer": issuer,
        "authorization_endpoint": issuer + "/authorize",
        "token_endpoint": endpoint,
        "jwks_uri": issuer + "/keys",
    }
    with pytest.raises(MeliponaError, match="token_endpoint"):
        Provider.read(issuer, data, has_secret=True)


@pytest.mark.parametrize(
    ("issuer", "right"),
    [
        ("https://login.example.org", True),
        ("https://login.example.org/realms/a", True),
        ("http://127.0.0.1:9000", True),
        ("http://login.example.org", False),
        ("https://user:pw@login.example.org", False),
        ("https://login.example.org?x=1", False),
        ("login.example.org", False),
    ],
)
def test_an_issuer_is_an_address_with_tls_or_of_this_machine(issuer: str, right: bool) -> None:
    assert (check_issuer(issuer) is None) is right


ANA = Identity("https://i", "42", "ana@example.org")


@pytest.mark.parametrize(
    ("entry", "right"),
    [
        ("sub:42", True),
        ("sub:4", False),
        ("ana@example.org", True),
        ("Ana@Example.org", True),
        ("@example.org", True),
        ("@ample.org", False),
        ("@org", False),
        ("@sub.example.org", False),
        ("ben@example.org", False),
    ],
)
def test_an_allow_list_names_subjects_addresses_and_domains_exactly(entry: str, right: bool) -> None:
    assert is_allowed(ANA, [entry]) is right


def test_without_a_verified_address_only_the_subject_counts() -> None:
    nobody = Identity("https://i", "42", "")
    assert not is_allowed(nobody, ["ana@example.org", "@example.org", "@"])
    assert is_allowed(nobody, ["sub:42"])


@pytest.mark.parametrize(
    "email", ["\u212aate@example.org", "ana@ex\u0430mple.org", "a@b@example.org", "@example.org", 7]
)
def test_an_address_that_looks_like_another_is_none(email: object) -> None:
    claims = {"iss": "https://i", "sub": "42", "email": email, "email_verified": True}
    assert identity_of(claims).email == ""


@pytest.mark.parametrize("entry", ["", "ana", "*", "@", "sub:", "a b@example.org", "@org"])
def test_an_entry_that_means_nothing_is_no_entry(entry: str) -> None:
    assert not is_entry(entry)


def test_the_libraries_are_loaded_when_the_first_login_comes() -> None:
    code = (
        "import sys, melipona.access.oidc_client as o; o.ProviderClient('https://i', 'c', '', lambda: 0.0);"
        "assert not {'authlib', 'joserfc', 'httpx2', 'cryptography'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0


def test_a_daemon_that_logs_nobody_in_by_passkey_or_provider_loads_no_library_for_it() -> None:
    """And `mel` neither: start and memory stay as they are."""
    code = (
        "import sys, melipona.daemon, melipona.api.app, melipona.cli.login, melipona.cli.ways_in;"
        "assert not {'webauthn', 'authlib', 'joserfc', 'cryptography', 'OpenSSL', 'cbor2'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
