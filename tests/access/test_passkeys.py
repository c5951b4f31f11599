"""Passkeys, without rows: what a browser is asked for, and that every wrong answer is refused (SECURITY.md 5)."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melipona.access.answers import challenge_of, check_assertion, check_registration, credential_of, packed
from melipona.access.passkeys import Known, Site, assertion_options, label_of, registration_options
from melipona.errors import Invalid, Refused
from melipona.testing.authenticator import Authenticator, altered

ORIGIN = "https://hive.example.org"
SITE = Site("hive.example.org", (ORIGIN,))
PERSON = "018f0000-0000-7000-8000-000000000001"
CHALLENGE = bytes(range(32))
Json = dict[str, Any]


def made(device: Authenticator) -> Known:
    """A passkey of `device`, registered."""
    answer = device.create(registration_options(SITE, "ana", PERSON, CHALLENGE, []))
    found = check_registration(SITE, CHALLENGE, answer)
    return Known(found.credential_id, PERSON, found.public_key, found.sign_count, found.transports)


def test_a_passkey_that_was_made_here_logs_its_person_in() -> None:
    device = Authenticator(ORIGIN)
    known = made(device)
    answer = device.get(assertion_options(SITE, CHALLENGE))
    found = check_assertion(SITE, CHALLENGE, answer, known)
    assert (found.credential_id, found.sign_count) == (device.credential_id, 1)
    assert credential_of(answer) == device.credential_id
    assert challenge_of(answer) == CHALLENGE
    assert set(found.proof) == {"credential", "authenticatorData", "clientDataJSON", "signature"}
    assert known.transports == ("hybrid", "internal")


def test_browsers_are_asked_for_a_discoverable_key_that_verifies_its_person() -> None:
    options = registration_options(SITE, "ana", PERSON, CHALLENGE, [made(Authenticator(ORIGIN))])
    selection = options["authenticatorSelection"]
    assert (selection["residentKey"], selection["userVerification"]) == ("required", "required")
    assert (options["attestation"], options["rp"]["id"]) == ("none", "hive.example.org")
    assert len(options["excludeCredentials"]) == 1
    login = assertion_options(SITE, CHALLENGE)
    assert (login["userVerification"], login["allowCredentials"]) == ("required", [])


REGISTRATIONS = {
    "of another page": (Authenticator("https://evil.example"), "another address"),
    "of another site": (Authenticator(ORIGIN, rp_id="evil.example"), "another address"),
    "without verification": (Authenticator(ORIGIN, verifies=False), "not verified"),
    "in a frame": (Authenticator(ORIGIN, client={"crossOrigin": True}), "within another page"),
    "under another page": (Authenticator(ORIGIN, client={"topOrigin": "https://evil.example"}), "within another page"),
    "of another kind": (Authenticator(ORIGIN, client={"type": "webauthn.get"}), "not valid"),
    "to another challenge": (Authenticator(ORIGIN, client={"challenge": packed(bytes(32))}), "another question"),
}


@pytest.mark.threat("T38")
@pytest.mark.parametrize("case", REGISTRATIONS)
def test_a_registration_that_is_wrong_is_refused(case: str) -> None:
    device, reason = REGISTRATIONS[case]
    answer = device.create(registration_options(SITE, "ana", PERSON, CHALLENGE, []))
    with pytest.raises(Refused, match=reason):
        check_registration(SITE, CHALLENGE, answer)


@pytest.mark.threat("T38")
@pytest.mark.parametrize("case", REGISTRATIONS)
def test_an_assertion_that_is_wrong_is_refused(case: str) -> None:
    wrong, reason = REGISTRATIONS[case]
    device = Authenticator(ORIGIN)
    known = made(device)
    device.origin, device.rp_id, device.verifies = wrong.origin, wrong.rp_id, wrong.verifies
    device.client = {**wrong.client} if case != "of another kind" else {"type": "webauthn.create"}
    with pytest.raises(Refused, match=reason):
        check_assertion(SITE, CHALLENGE, device.get(assertion_options(SITE, CHALLENGE)), known)


@pytest.mark.parametrize("name", ["signature", "authenticatorData"])
def test_an_assertion_with_one_bit_turned_is_refused(name: str) -> None:
    device = Authenticator(ORIGIN)
    known = made(device)
    answer = altered(device.get(assertion_options(SITE, CHALLENGE)), name, at=-1)
    with pytest.raises(Refused):
        check_assertion(SITE, CHALLENGE, answer, known)


def test_another_keys_signature_is_refused() -> None:
    known = made(Authenticator(ORIGIN))
    other = Authenticator(ORIGIN, credential_id=known.credential_id)
    with pytest.raises(Refused, match="signature is wrong"):
        check_assertion(SITE, CHALLENGE, other.get(assertion_options(SITE, CHALLENGE)), known)


def test_a_key_that_names_another_person_is_refused() -> None:
    device = Authenticator(ORIGIN)
    known = made(device)
    device.user = packed(b"somebody else")
    with pytest.raises(Refused, match="another person"):
        check_assertion(SITE, CHALLENGE, device.get(assertion_options(SITE, CHALLENGE)), known)


@pytest.mark.parametrize(("known_count", "step", "right"), [(5, 6, True), (5, 5, False), (5, 4, False), (0, 0, True)])
def test_a_counter_that_does_not_go_on_is_refused_as_a_copy(known_count: int, step: int, right: bool) -> None:
    device = Authenticator(ORIGIN)
    first = made(device)
    known = Known(first.credential_id, PERSON, first.public_key, known_count)
    device.step = step
    answer = device.get(assertion_options(SITE, CHALLENGE))
    if right:
        assert check_assertion(SITE, CHALLENGE, answer, known).sign_count == step
        return
    with pytest.raises(Refused) as refusal:
        check_assertion(SITE, CHALLENGE, answer, known)
    assert refusal.value.code == "passkey_copied"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["id", "rawId", "type", "response"]
INNER = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle", "transports"]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FIELDS + INNER), JSON | st.binary(max_size=400).map(packed))
def test_hostile_answers_are_refused_and_nothing_else(name: str, value: Any) -> None:
    device = Authenticator(ORIGIN)
    known = made(device)
    for answer, check in (
        (device.get(assertion_options(SITE, CHALLENGE)), lambda a: check_assertion(SITE, CHALLENGE, a, known)),
        (
            device.create(registration_options(SITE, "ana", PERSON, CHALLENGE, [])),
            lambda a: check_registration(SITE, CHALLENGE, a),
        ),
    ):
        where = answer if name in FIELDS else answer["response"]
        where[name] = value
        try:
            check(answer)
            challenge_of(answer)
        except Refused:
            pass


def test_an_answer_larger_than_any_browser_sends_is_refused_unread() -> None:
    device = Authenticator(ORIGIN)
    answer = device.create(registration_options(SITE, "ana", PERSON, CHALLENGE, []))
    answer["response"]["attestationObject"] = "A" * 20_000
    with pytest.raises(Refused, match="cannot be read"):
        check_registration(SITE, CHALLENGE, answer)


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("", Site("localhost", ("http://localhost:4000",))),
        ("https://hive.example.org", SITE),
        ("https://hive.example.org:8443", Site("hive.example.org", ("https://hive.example.org:8443",))),
        ("http://localhost:5000", Site("localhost", ("http://localhost:5000",))),
        ("http://hive.example.org", None),
        ("https://192.168.1.7", None),
        ("https://[fd00::7]", None),
        ("https://hive", None),
    ],
)
def test_passkeys_are_bound_to_a_name_with_tls_or_to_localhost(url: str, site: Site | None) -> None:
    assert Site.of(url, 4000) == site


@pytest.mark.parametrize("text", ["", "  ", "x" * 61, "a\u202eb", "a\x1b[2J"])
def test_labels_are_short_and_visible(text: str) -> None:
    with pytest.raises(Invalid):
        label_of(text)
    assert label_of("  my \t phone ") == "my phone"


def test_the_library_is_loaded_when_the_first_passkey_is_used() -> None:
    code = "import sys, melipona.access.passkeys as p; assert 'webauthn' not in sys.modules; p.Site.of('', 1)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 0
