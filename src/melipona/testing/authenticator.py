"""A passkey without a device: it makes keys and signs as an authenticator does, and misbehaves when it is told to.

What it answers are the JSON forms that a browser's `PublicKeyCredential.toJSON()` has.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from melipona.access.answers import packed, unpacked

Json = dict[str, Any]
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """One key on one device. Each field that a test changes is a way to be wrong."""

    origin: str
    """The page that the browser says is asking."""
    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    count: int = 0
    step: int = 1
    """How much the counter goes on with each use; 0 as synced passkeys do."""
    verifies: bool = True
    """Whether it makes sure of its person."""
    rp_id: str | None = None
    """Another name than the one that is asked for."""
    client: Json = field(default_factory=dict[str, Any])
    """More of the browser's data, such as `crossOrigin`."""
    user: str = ""
    """The user handle, as a passkey keeps it from its making."""

    def create(self, options: Json) -> Json:
        """Answer `navigator.credentials.create`."""
        self.user = options["user"]["id"]
        credential = len(self.credential_id).to_bytes(2, "big") + self.credential_id + self._public_key()
        data = self._data(options["rp"]["id"], ATTESTED) + bytes(16) + credential
        made = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        answer = {
            "clientDataJSON": packed(self._client_data("webauthn.create", options)),
            "attestationObject": packed(made),
            "transports": ["internal", "hybrid"],
            "publicKeyAlgorithm": -7,
        }
        return self._credential(answer)

    def get(self, options: Json) -> Json:
        """Answer `navigator.credentials.get`."""
        self.count += self.step
        data = self._data(options["rpId"], 0)
        client = self._client_data("webauthn.get", options)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ECDSA(SHA256()))
        answer = {
            "authenticatorData": packed(data),
            "clientDataJSON": packed(client),
            "signature": packed(signature),
            "userHandle": self.user or None,
        }
        return self._credential(answer)

    def _data(self, rp_id: str, flags: int) -> bytes:
        flags |= PRESENT | (VERIFIED if self.verifies else 0)
        return hashlib.sha256((self.rp_id or rp_id).encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _client_data(self, kind: str, options: Json) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said | self.client).encode()

    def _public_key(self) -> bytes:
        numbers = self.key.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})

    def _credential(self, response: Json) -> Json:
        name = packed(self.credential_id)
        return {
            "id": name,
            "rawId": name,
            "type": "public-key",
            "response": response,
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
        }


def altered(answer: Json, name: str, at: int = 0) -> Json:
    """The same answer with one bit of a field of its response turned."""
    data = bytearray(unpacked(answer["response"][name]))
    data[at] ^= 1
    return {**answer, "response": {**answer["response"], name: packed(bytes(data))}}
