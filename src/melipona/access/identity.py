"""Identity tokens: that one is right in everything, and whom it names. Pure: keys, texts and the time are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from melipona.access.oidc import authlib, refused
from melipona.errors import Refused

LEEWAY_SECONDS = 60
"""How far the provider's clock may be from ours."""
TOKEN_MOST = 16_384
SUBJECT_MOST = 255
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a private key only: never `none`, never a shared secret."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at a provider. `email` is one that the provider has verified, else empty."""

    issuer: str
    subject: str
    email: str = ""
    session: str = ""
    """The provider's name of this login there, if it gives one: it may end it later."""
    proved_at: int | None = None
    """When they last showed the provider who they are, in seconds, if it says."""

    @property
    def shown(self) -> str:
        """How it is named to people."""
        return self.email or self.subject


@dataclass(frozen=True, slots=True)
class Asked:
    """What a token must have been made for."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str = ""


class KeyUnknown(Refused):
    """A token is signed by a key that the provider did not show when it was asked last."""


def read_keys(data: Json) -> list[Any]:
    """The public keys that a provider signs with; what cannot sign is left out."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    keys: list[Any] = []
    for given in _items(data.get("keys"))[:100]:
        if given.get("kty") in ("RSA", "EC", "OKP") and given.get("use", "sig") == "sig":
            try:
                keys.append(JWKRegistry.import_key(given))
            except (JoseError, ValueError, TypeError, KeyError):
                continue
    return keys


def check_token(token: str, keys: Sequence[Any], asked: Asked, at: int) -> Json:
    """The claims of an identity token that is right in everything, at the time `at` (seconds).

    Raises:
        KeyUnknown: none of `keys` has the name that it gives.
        Refused: it was not signed by the provider, or not for us, for this login, or not now.
    """
    from joserfc.errors import JoseError

    options: Any = {
        "iss": {"essential": True, "value": asked.issuer},
        "aud": {"essential": True, "value": asked.client_id},
    }
    params = {"nonce": asked.nonce, "client_id": asked.client_id, "access_token": asked.access_token}
    read = signed(token, keys)
    try:
        claims: Any = authlib("oidc.core.claims").CodeIDToken(read.claims, read.header, options, params)
        claims.validate(at, LEEWAY_SECONDS)
    except JoseError as error:
        raise refused(_why(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise refused("the identity token cannot be read") from error
    found: Json = dict(claims)
    if found["aud"] not in (asked.client_id, [asked.client_id]):
        raise refused("the identity token is for others too")
    return found


def signed(token: str, keys: Sequence[Any]) -> Any:
    """A token that the provider signed, read; what it says is not looked at.

    Raises:
        KeyUnknown: none of `keys` has the name that it gives.
        Refused: the provider did not sign it.
    """
    from joserfc import jws, jwt
    from joserfc.errors import JoseError

    if len(token) > TOKEN_MOST:
        raise refused("the identity token is too long")
    try:
        header = jws.extract_compact(token.encode()).headers()
        return jwt.decode(token, _key_for(keys, header), algorithms=list(ALGORITHMS))
    except JoseError as error:
        raise refused(_why(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise refused("the identity token cannot be read") from error


def identity_of(claims: Json, more: Json | None = None) -> Identity:
    """Whom `claims` name; `more` is what the provider tells besides, which must be about the same person.

    Raises:
        Refused: there is no usable name, or the two are of different people.
    """
    subject = named(claims, "sub")
    if subject is None:
        raise refused("the identity token names nobody")
    if more is not None and more.get("sub") != subject:
        raise refused("the provider's answers are about two different people")
    proved_at = claims.get("auth_time")
    return Identity(
        str(claims["iss"]),
        subject,
        _email(claims) or _email(more or {}),
        named(claims, "sid") or "",
        proved_at if type(proved_at) is int else None,
    )


def named(claims: Json, claim: str) -> str | None:
    """A name that a token gives, if it is one."""
    value = claims.get(claim)
    usable = isinstance(value, str) and 1 <= len(value) <= SUBJECT_MOST and value.isprintable()
    return value if usable else None


def is_allowed(identity: Identity, allow: Sequence[str]) -> bool:
    """Whether one of the entries names the identity: `sub:SUBJECT`, `name@example.org`, or `@example.org` for every
    verified address of that domain (not of domains below it)."""
    names = {f"sub:{identity.subject}"}
    if identity.email:
        names |= {identity.email, "@" + identity.email.rpartition("@")[2]}
    return any((entry if entry.startswith("sub:") else entry.lower()) in names for entry in allow)


def is_entry(text: str) -> bool:
    """Whether `text` can stand in an allow-list."""
    if text.startswith("sub:"):
        return 5 <= len(text) <= SUBJECT_MOST + 4 and text.isprintable()
    name, at, domain = text.rpartition("@")
    return at == "@" and text.isascii() and text.isprintable() and " " not in text and "@" not in name and "." in domain


def _key_for(keys: Sequence[Any], header: Any) -> Any:
    named = header.get("kid")
    fitting = [key for key in keys if named is None or key.as_dict(private=False).get("kid") == named]
    if not fitting:
        raise KeyUnknown("the identity token is signed by a key that the provider does not show", code="oidc")
    if len(fitting) > 1:
        raise refused("the identity token does not say which key signed it")
    return fitting[0]


def _why(error: Any) -> str:
    claim = getattr(error, "claim", None)
    words = {
        "iss": "the identity token is another provider's",
        "aud": "the identity token is for another application",
        "azp": "the identity token is for another application",
        "nonce": "the identity token belongs to another login",
        "exp": "the identity token is too old",
        "iat": "the identity token is from the future: somebody's clock is wrong",
        "nbf": "the identity token is from the future: somebody's clock is wrong",
        "at_hash": "the identity token belongs to another access token",
    }
    if claim in words:
        return words[claim]
    by_error = {"expired_token": words["exp"], "bad_signature": "the identity token was not signed by the provider"}
    return by_error.get(error.error, "the identity token is not valid")


def _email(claims: Json) -> str:
    """The address if the provider says that it is verified; ASCII alone, so that nothing looks like another."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ""
    email = email.lower() if email.isascii() and len(email) <= 254 else ""
    return email if is_entry(email) and not email.startswith("@") else ""


def _items(value: object) -> list[Json]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
