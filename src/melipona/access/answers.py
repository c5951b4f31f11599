"""What a browser answers for a passkey, and what must hold of it (SECURITY.md 5). Pure: no row, no clock.

All of it is hostile: whatever is wrong ends as `Refused`, in plain words. The library for WebAuthn is imported when
the first answer comes; it takes a quarter of a second and 14 MiB, so these functions are called from a worker thread.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from melipona.access.passkeys import TRANSPORTS, Known, Site
from melipona.errors import Refused

ANSWER_MOST = 16_384
"""Characters of each field of an answer."""
RESPONSE_TEXTS = ("clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle")

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registered:
    """A passkey that a browser has just made."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    synced: bool
    """Whether it may be on more than one device."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """An answer that was found to be right: who signed, and the proof that anybody can check again."""

    credential_id: bytes
    sign_count: int
    proof: Json


def check_registration(site: Site, challenge: bytes, answer: Json) -> Registered:
    """The passkey that a browser made for `challenge`.

    Raises:
        Refused: anything about the answer is not as it must be.
    """
    from webauthn import verify_registration_response
    from webauthn.helpers.structs import CredentialDeviceType

    clean = _cleaned(answer)
    _client_data(clean)
    found = _asked(
        lambda: verify_registration_response(
            credential=clean,
            expected_challenge=challenge,
            expected_rp_id=site.id,
            expected_origin=list(site.origins),
            require_user_verification=True,
        ),
        "this passkey could not be added",
    )
    synced = found.credential_device_type is CredentialDeviceType.MULTI_DEVICE
    return Registered(found.credential_id, found.credential_public_key, found.sign_count, _transports(answer), synced)


def check_assertion(site: Site, challenge: bytes, answer: Json, known: Known) -> Assertion:
    """That `known` signed `challenge`, with its person verified.

    Raises:
        Refused: it did not, or its counter went back (`passkey_copied`).
    """
    from webauthn import verify_authentication_response

    clean = _cleaned(answer)
    _client_data(clean)
    found = _asked(
        lambda: verify_authentication_response(
            credential=clean,
            expected_challenge=challenge,
            expected_rp_id=site.id,
            expected_origin=list(site.origins),
            credential_public_key=known.public_key,
            credential_current_sign_count=0,  # looked at below, for an answer of its own
            require_user_verification=True,
        ),
        "this passkey was not accepted",
    )
    handle = clean["response"].get("userHandle")
    if found.credential_id != known.credential_id or (handle and unpacked(handle) != known.person_id.encode()):
        raise _refused("this passkey was not accepted: it is another person's")
    if max(found.new_sign_count, known.sign_count) > 0 and found.new_sign_count <= known.sign_count:
        raise Refused(
            "this passkey was not accepted: its counter went back, as that of a copy would",
            remedy="log in another way and revoke it, unless you know why",
            code="passkey_copied",
        )
    return Assertion(found.credential_id, found.new_sign_count, _proof(clean))


def credential_of(answer: Json) -> bytes:
    """Which credential answers.

    Raises:
        Refused: the answer names none.
    """
    return unpacked(_cleaned(answer)["id"])


def challenge_of(answer: Json) -> bytes:
    """Which challenge is answered; to find its row by, nothing more.

    Raises:
        Refused: it cannot be told.
    """
    challenge = _client_data(_cleaned(answer)).get("challenge")
    if not isinstance(challenge, str):
        raise _refused("the browser's answer cannot be read")
    return unpacked(challenge)


def packed(data: bytes) -> str:
    """Bytes as WebAuthn writes them in JSON."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    """The bytes of `packed`.

    Raises:
        Refused: it is no such text.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, TypeError) as error:
        raise _refused("the browser's answer cannot be read") from error


def _cleaned(answer: Json) -> Json:
    """Of an answer what is looked at: texts of a bounded size, and how the key can be reached.

    Raises:
        Refused: a text is missing or something else stands in its place.
    """
    given = answer.get("response")
    response: Json = cast("Json", given) if isinstance(given, dict) else {}
    kept = {name: response[name] for name in RESPONSE_TEXTS if response.get(name) is not None}
    texts = [answer.get("id"), answer.get("rawId"), kept.get("clientDataJSON"), *kept.values()]
    if not all(isinstance(text, str) and len(text) <= ANSWER_MOST for text in texts):
        raise _refused("the browser's answer cannot be read")
    return {"id": answer["id"], "rawId": answer["rawId"], "type": answer.get("type"), "response": kept}


def _client_data(answer: Json) -> Json:
    """What the browser says about the page that asked; it never asks for a page in somebody else's frame."""
    try:
        data = json.loads(unpacked(answer["response"]["clientDataJSON"]))
    except (ValueError, RecursionError) as error:
        raise _refused("the browser's answer cannot be read") from error
    if not isinstance(data, dict):
        raise _refused("the browser's answer cannot be read")
    found = cast("Json", data)
    if found.get("crossOrigin") not in (None, False) or "topOrigin" in found:
        raise _refused("this passkey was used from within another page")
    return found


def _transports(answer: Json) -> tuple[str, ...]:
    given = answer["response"].get("transports")
    names = cast("list[Any]", given)[:16] if isinstance(given, list) else []
    return tuple(sorted(TRANSPORTS.intersection(name for name in names if isinstance(name, str))))


def _asked(check: Callable[[], T], refusal: str) -> T:
    """What the library says; its errors are texts for developers, so only their kind is kept."""
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return check()
    except (WebAuthnException, ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise _refused(f"{refusal}: {_reason(str(error))}") from error


REASONS = (
    ("User verification is required", "its person was not verified by fingerprint, face or PIN"),
    ("challenge was not expected", "it answers another question"),
    ("Unexpected client data origin", "it was used on a page of another address"),
    ("Unexpected RP ID hash", "it belongs to another address"),
    ("Could not verify", "its signature is wrong"),
)


def _reason(text: str) -> str:
    return next((words for mark, words in REASONS if mark in text), "the answer is not valid")


def _proof(answer: Json) -> Json:
    fields = ("authenticatorData", "clientDataJSON", "signature")
    return {"credential": answer["id"], **{name: answer["response"][name] for name in fields}}


def _refused(text: str) -> Refused:
    return Refused(text, remedy="try again, or log in another way", code="passkey")
