"""Passkeys: what they are bound to, and what a browser is asked for (SECURITY.md 5). Pure: no row, no clock.

The library for WebAuthn is imported when the first passkey is used: a hive without passkeys never pays for it. What
must hold of the answers stands in `answers.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from melipona.errors import Invalid

LOCALHOST = "localhost"
TIMEOUT_MS = 300_000
"""How long a browser may ask its person for; as long as a challenge lives."""
TRANSPORTS = frozenset({"ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb"})

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """What passkeys of this hive are bound to: a name, and the pages that may use them."""

    id: str
    origins: tuple[str, ...]

    @classmethod
    def of(cls, url: str, port: int) -> Site | None:
        """The site of a hive whose configured address is `url` (empty: none); None where browsers allow no passkeys:
        at a bare address, or without TLS on anything but `localhost`."""
        if not url:
            return cls(LOCALHOST, (f"http://{LOCALHOST}:{port}",))
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        if not _is_name(host) or (parts.scheme != "https" and host != LOCALHOST):
            return None
        return cls(host, (f"{parts.scheme}://{parts.netloc}",))


@dataclass(frozen=True, slots=True)
class Known:
    """A passkey that was registered: what an answer is checked against."""

    credential_id: bytes
    person_id: str
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...] = ()


def registration_options(site: Site, name: str, person: str, challenge: bytes, known: Sequence[Known]) -> Json:
    """What `navigator.credentials.create` is given. The key must be discoverable and must verify its person."""
    from webauthn import generate_registration_options
    from webauthn.helpers import options_to_json_dict
    from webauthn.helpers.structs import AuthenticatorSelectionCriteria, ResidentKeyRequirement
    from webauthn.helpers.structs import UserVerificationRequirement as Verification

    options = generate_registration_options(
        rp_id=site.id,
        rp_name="Melipona",  # browsers show it where they ask
        user_name=name,
        user_id=person.encode(),
        challenge=challenge,
        timeout=TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=Verification.REQUIRED
        ),
        exclude_credentials=_descriptors(known),
    )
    return options_to_json_dict(options)


def assertion_options(site: Site, challenge: bytes, known: Sequence[Known] = ()) -> Json:
    """What `navigator.credentials.get` is given; without `known` any passkey of this site may answer."""
    from webauthn import generate_authentication_options
    from webauthn.helpers import options_to_json_dict
    from webauthn.helpers.structs import UserVerificationRequirement as Verification

    options = generate_authentication_options(
        rp_id=site.id,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        allow_credentials=_descriptors(known),
        user_verification=Verification.REQUIRED,
    )
    return options_to_json_dict(options)


def label_of(text: str) -> str:
    """A label that people gave a passkey.

    Raises:
        Invalid: empty, too long, or with characters that do not show.
    """
    label = " ".join(text.split())
    if not 1 <= len(label) <= 60 or not label.isprintable():
        raise Invalid("a passkey's label has 1 to 60 visible characters", remedy='say where it is, as in "my phone"')
    return label


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == LOCALHOST or "." in host
    return False


def _descriptors(known: Sequence[Known]) -> list[Any]:
    from webauthn.helpers.structs import AuthenticatorTransport, PublicKeyCredentialDescriptor

    return [
        PublicKeyCredentialDescriptor(
            id=key.credential_id,
            transports=[AuthenticatorTransport(name) for name in key.transports] or None,
        )
        for key in known
    ]
