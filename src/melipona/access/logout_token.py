"""Logout tokens: by these a provider says that somebody has logged out there (OpenID Connect Back-Channel Logout 1.0).

Pure: keys, texts and the time are given. Whoever can reach the hive can post one, so all of it is hostile until the
provider's signature is found to be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

from melipona.access.identity import LEEWAY_SECONDS, named, signed
from melipona.access.oidc import refused

EVENT = "http://schemas.openid.net/event/backchannel-logout"
SECONDS = 300
"""How old one may be. Whoever takes one down can show it again for as long, and is refused by its `jti`."""
TYPES = (None, "JWT", "logout+jwt")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """Who has logged out: an account, or one login of it; at least one is given."""

    subject: str | None
    session: str | None
    jti: str


def check_logout(token: str, keys: Sequence[Any], issuer: str, client_id: str, at: int) -> LoggedOut:
    """Whom a logout token names that is right in everything, at the time `at` (seconds).

    Raises:
        KeyUnknown: none of `keys` has the name that it gives.
        Refused: it was not signed by the provider, is not for us, not of now, or no logout token.
    """
    read = signed(token, keys)
    claims: Json = dict(read.claims)
    if claims.get("iss") != issuer:
        raise refused("the logout token is another provider's")
    if claims.get("aud") not in (client_id, [client_id]):
        raise refused("the logout token is for another application")
    if read.header.get("typ") not in TYPES or "nonce" in claims or not _is_logout(claims.get("events")):
        raise refused("this is no logout token")
    made, ends = claims.get("iat"), claims.get("exp", at)
    is_new = _is_time(made) and at - SECONDS <= made <= at + LEEWAY_SECONDS
    if not is_new or not _is_time(ends) or ends < at - LEEWAY_SECONDS:
        raise refused("the logout token is too old, or from the future")
    jti, subject, session = (named(claims, claim) for claim in ("jti", "sub", "sid"))
    if jti is None or (subject is None and session is None):
        raise refused("the logout token names nobody")
    return LoggedOut(subject, session, jti)


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_logout(events: object) -> bool:
    return isinstance(events, dict) and isinstance(cast("Json", events).get(EVENT), dict)
