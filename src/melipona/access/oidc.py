"""OpenID Connect: what is asked of a provider, and what must hold of its answers. Pure: no request, no row, no clock.

The code flow with PKCE, `state` and `nonce` (SECURITY.md 5). All three follow from the cookie that the browser got
with the login page: no other browser can end the login, and nothing of it is stored. The libraries are
imported when the first login comes. What must hold of a token stands in `identity.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast
from urllib.parse import urlsplit

from melipona.errors import Refused, UpstreamError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SCOPES = "openid email profile"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flow:
    """What binds an answer to the question."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def of(cls, cookie: str) -> Flow:
        """The flow of the browser that holds `cookie`."""
        return cls(_derived("state", cookie), _derived("nonce", cookie), _derived("verifier", cookie))


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider is asked, from its own description."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str | None
    auth_method: str
    names_itself: bool
    """Whether its answers say whose they are (RFC 9207)."""

    @classmethod
    def read(cls, issuer: str, data: Json, *, has_secret: bool) -> Provider:
        """The provider that describes itself by `data`.

        Raises:
            UpstreamError: it is another issuer, or an address is missing or unsafe.
        """
        if data.get("issuer") != issuer:
            raise _unusable(f"it calls itself {str(data.get('issuer'))[:200]!r}, not {issuer!r}")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        asked, token, keys = (_endpoint(issuer, name, data.get(name)) for name in names)
        userinfo = data.get("userinfo_endpoint")
        known = _texts(data.get("token_endpoint_auth_methods_supported")) or ["client_secret_basic"]
        method = "client_secret_basic" if "client_secret_basic" in known else "client_secret_post"
        return cls(
            issuer,
            asked,
            token,
            keys,
            None if userinfo is None else _endpoint(issuer, "userinfo_endpoint", userinfo),
            method if has_secret else "none",
            data.get("authorization_response_iss_parameter_supported") is True,
        )


def authorization_address(provider: Provider, client_id: str, redirect: str, flow: Flow, *, again: bool) -> str:
    """Where the browser is sent to. `again`: its person must show who they are, also when they are logged in there."""
    challenge = authlib("oauth2.rfc7636").create_s256_code_challenge(flow.verifier)
    address: str = authlib("oauth2.rfc6749.parameters").prepare_grant_uri(
        provider.authorization,
        client_id,
        "code",
        redirect_uri=redirect,
        scope=SCOPES,
        state=flow.state,
        nonce=flow.nonce,
        code_challenge=challenge,
        code_challenge_method="S256",
        **({"prompt": "login", "max_age": "0"} if again else {}),
    )
    return address


def authlib(module: str) -> Any:
    """A module of Authlib, which has no types."""
    return import_module(f"authlib.{module}")


def check_sender(provider: Provider, issuer: str | None) -> None:
    """That an answer which says whose it is is this provider's (RFC 9207).

    Raises:
        Refused: it is another's, or it should say so and does not.
    """
    if (issuer is None and provider.names_itself) or issuer not in (None, provider.issuer):
        raise refused("the answer comes from another provider than the one that was asked")


def refused(text: str, remedy: str = "") -> Refused:
    """A login by a provider that is refused."""
    return Refused(text, remedy=remedy or "log in again; if it stays, ask whoever runs this hive", code="oidc")


def check_issuer(issuer: str) -> str | None:
    """None for an issuer's address that can be used, else why not."""
    parts = urlsplit(issuer)
    if not parts.hostname or parts.username or parts.query or parts.fragment or not issuer.isascii():
        return "it is not an address like https://login.example.org"
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return "it must begin with https://; plain http is only for this machine itself"
    return None


def _endpoint(issuer: str, name: str, value: object) -> str:
    """An address of a provider: https, or plain http where the provider is on this machine too."""
    if not isinstance(value, str) or len(value) > 2000 or not value.isascii():
        raise _unusable(f"it has no {name}")
    parts, home = urlsplit(value), urlsplit(issuer)
    local = home.scheme == "http" and parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or parts.username or parts.fragment or (parts.scheme != "https" and not local):
        raise _unusable(f"its {name} is not safe")
    return value


def _derived(use: str, cookie: str) -> str:
    digest = hmac.new(cookie.encode(), f"oidc {use}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _texts(value: object) -> list[str]:
    return [item for item in _list(value) if isinstance(item, str)]


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _unusable(why: str) -> UpstreamError:
    return UpstreamError(
        f"the login provider cannot be used: {why}", remedy="whoever runs this hive looks at [access.oidc] in mel.toml"
    )
