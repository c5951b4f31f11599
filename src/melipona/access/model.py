"""Lifetimes, names and the form of secrets. Pure.

Secrets are random, 128 bits or more, and stored as SHA-256 only: no slow hash is needed for them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

from melipona.errors import Invalid
from melipona.ids import RESERVED
from melipona.principals import Role, Scope

LINK_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(days=30)
IDLE = timedelta(days=7)
IDLE_OUTSIDE = timedelta(hours=12)
"""The same for who can act and came from elsewhere than this machine."""
SEEN_EVERY = timedelta(hours=1)
"""How often a session's last use is written down. It is bookkeeping of the login, not a change of the hive."""
USED_EVERY = timedelta(minutes=5)
"""The same for a token."""
CLOCK_MOST = timedelta(minutes=2)
"""How far a clock may go back before logins from its future count no more."""
TOKEN_DAYS = 30
TOKEN_DAYS_MOST = 90
USUAL_SCOPES = frozenset({Scope.READ, Scope.ACT})

_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_TOKEN = re.compile(r"mel_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Visitor:
    """The browser or program at the other end of a request over TCP, and the site that it sees."""

    address: str | None
    """None: it cannot be told."""
    outside: bool
    """It is elsewhere than on this machine."""
    user_agent: str
    origin: str
    """`http://127.0.0.1:20000` or `https://hive.example.org`."""
    session_cookie: str
    before_cookie: str
    """The cookie that the login page sets: a login is bound to the browser that opened it."""

    @property
    def secure(self) -> bool:
        """Cookies go over TLS alone."""
        return self.origin.startswith("https://")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may come in."""

    id: str
    name: str
    role: Role
    is_owner: bool
    created_at: int
    disabled_at: int | None


def person_name(text: str) -> str:
    """`text` as a person's name.

    Raises:
        Invalid: it is not 1 to 32 characters of a-z, 0-9, `.`, `_` and `-`, beginning with a letter, or it is reserved.
    """
    if not _NAME.fullmatch(text) or text in RESERVED:
        raise Invalid(
            f"{text!r} cannot be a person's name",
            remedy="use 1 to 32 of a-z, 0-9, '.', '_' and '-', beginning with a letter",
            code="bad_name",
        )
    return text


def idle_life(role: Role, *, outside: bool) -> timedelta:
    """After how long without use a session ends."""
    return IDLE_OUTSIDE if outside and role is not Role.VIEWER else IDLE


def hashed(secret: str) -> str:
    """A secret as it is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def public_id(session_hash: str) -> str:
    """The short name of a session by which it is listed and revoked."""
    return session_hash[:16]


def new_secret() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


def new_token() -> tuple[str, str, str]:
    """A token for a program: its public id, its secret, and the whole as it is shown once."""
    identifier, secret = secrets.token_hex(6), new_secret()
    return identifier, secret, f"mel_{identifier}_{secret}"


def parsed_token(text: str) -> tuple[str, str] | None:
    """Public id and secret of what looks like a token, else None."""
    match = _TOKEN.fullmatch(text)
    return None if match is None else (match[1], match[2])


def same(secret: str, stored: str) -> bool:
    """Whether `secret` is the one whose hash is stored, in constant time."""
    return hmac.compare_digest(hashed(secret), stored)
