"""Login by one-time links, and sessions: rows that can be listed, that end, and that can be revoked (SECURITY.md 5).

Secrets are stored as SHA-256 only; they are random, 128 bits or more, so that no slow hash is needed. A link's token
travels in the URL's fragment and is posted by the page. The browser that posts it must have loaded our login page just
before: it shows a cookie that was signed with a key of this process.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from melipona.clock import Clock, later, rfc3339
from melipona.errors import LimitReached, NotFound, Refused
from melipona.ids import OPERATOR
from melipona.principals import OperatorPrincipal
from melipona.store import events
from melipona.store.engine import Store, now
from melipona.store.schema import login_links, sessions

LINK_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(days=30)
SESSION_IDLE = timedelta(days=7)
SEEN_EVERY = timedelta(hours=1)
"""How often a session's last use is written down. It is bookkeeping of the login, not a change of the hive."""
FAILURES_PER_MINUTE = 10
CLOCK_MOST = timedelta(minutes=2)
"""How far a clock may go back before logins from its future count no more."""


@dataclass(frozen=True, slots=True)
class Link:
    """A login link that was just made; the only time that its token is known."""

    token: str
    ends_at: int


class Logins:
    """Makes links, turns them into sessions, and knows sessions again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._key = secrets.token_bytes(32)
        self._failures: deque[float] = deque()

    async def make_link(self, by: str) -> Link:
        """A new link; single use, ten minutes."""
        token = secrets.token_urlsafe(24)
        ends = await self._store.reserved.write(_add_link, _hash(token), by)
        return Link(token, ends)

    async def open(self, token: str, before: str | None, user_agent: str) -> str:
        """Use a link up; the new session's secret.

        Raises:
            Refused: the link is unknown, used or too old, or this browser did not load the login page.
            LimitReached: too many wrong links in the last minute.
        """
        self._throttle()
        if before is None or not self._is_ours(before):
            raise Refused(
                "this browser did not open the login page", remedy="open the link that `mel login` prints", code="login"
            )
        secret = secrets.token_urlsafe(32)
        try:
            await self._store.reserved.write(_use_link, _hash(token), _hash(secret), user_agent[:200])
        except Refused:
            self._failures.append(self._clock.monotonic())
            raise
        return secret

    async def session(self, secret: str) -> OperatorPrincipal | None:
        """Whose session this is, None when it is unknown, revoked or has ended."""
        hashed = _hash(secret)
        row = await self._store.read(_live_session, hashed)
        if row is None:
            return None
        if row.seen_at < self._clock.now() - int(SEEN_EVERY / timedelta(microseconds=1)):
            await self._store.reserved.write(_seen, hashed)
        return OperatorPrincipal("session", session=public_id(hashed))

    async def alive(self, session: str) -> bool:
        """Whether the session with this public id goes on."""
        return await self._store.read(_alive, session)

    def before_login(self) -> str:
        """What the login page's cookie holds."""
        stamp = f"{int(self._clock.monotonic()):x}.{secrets.token_hex(16)}"
        return f"{stamp}.{self._sign(stamp)}"

    def _is_ours(self, cookie: str) -> bool:
        stamp, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._sign(stamp).encode(), signature.encode()):
            return False
        age = self._clock.monotonic() - int(stamp.partition(".")[0], 16)
        return age <= LINK_LIFE.total_seconds()

    def _sign(self, stamp: str) -> str:
        return hmac.new(self._key, stamp.encode(), hashlib.sha256).hexdigest()

    def _throttle(self) -> None:
        while self._failures and self._failures[0] < self._clock.monotonic() - 60:
            self._failures.popleft()
        if len(self._failures) >= FAILURES_PER_MINUTE:
            raise LimitReached("too many wrong login links", remedy="wait a minute, then use a new one", code="login")


def public_id(hashed: str) -> str:
    """The short name of a session by which it is listed and revoked."""
    return hashed[:16]


def list_sessions(c: Connection, current: str | None) -> dict[str, Any]:
    """Sessions that go on, newest first."""
    rows = c.execute(select(sessions).where(*_goes_on(c)).order_by(sessions.c.created_at.desc())).all()
    items = [
        {
            "id": public_id(row.id_hash),
            "method": row.method,
            "user_agent": row.user_agent,
            "created_at": rfc3339(row.created_at),
            "seen_at": rfc3339(row.seen_at),
            "ends_at": rfc3339(min(row.ends_at, row.idle_ends_at)),
            "current": public_id(row.id_hash) == current,
        }
        for row in rows
    ]
    return {"items": items, "next": None}


def revoke(c: Connection, identifier: str) -> None:
    """End a session. Its streams close because of the event.

    Raises:
        NotFound: no live session goes by that name.
    """
    hashed = c.execute(select(sessions.c.id_hash).where(_is_public(identifier), *_goes_on(c))).scalar_one_or_none()
    if hashed is None:
        raise NotFound(f"there is no session {identifier}", remedy="`mel login --list` shows all")
    c.execute(update(sessions).where(sessions.c.id_hash == hashed).values(revoked_at=now(c)))
    events.record(c, "session.revoked", subject=identifier, by=OPERATOR, data={"id": identifier})


def _add_link(c: Connection, hashed: str, by: str) -> int:
    ends = later(now(c), LINK_LIFE)
    c.execute(insert(login_links).values(token_hash=hashed, created_at=now(c), ends_at=ends))
    events.record(c, "login.link_made", by=by)
    return ends


def _use_link(c: Connection, token: str, session: str, user_agent: str) -> None:
    at = now(c)
    usable = (
        login_links.c.token_hash == token,
        login_links.c.used_at.is_(None),
        login_links.c.ends_at > at,
        login_links.c.created_at <= later(at, CLOCK_MOST),  # a clock that went back must not lengthen a link's life
    )
    if c.execute(update(login_links).where(*usable).values(used_at=at)).rowcount != 1:
        raise Refused("this link was used already or is too old", remedy="run `mel login` for a new one", code="login")
    c.execute(
        insert(sessions).values(
            id_hash=session,
            method="link",
            user_agent=user_agent,
            created_at=at,
            seen_at=at,
            ends_at=later(at, SESSION_LIFE),
            idle_ends_at=later(at, SESSION_IDLE),
        )
    )
    identifier = public_id(session)
    events.record(c, "session.opened", subject=identifier, by=OPERATOR, data={"id": identifier, "method": "link"})


def _live_session(c: Connection, hashed: str) -> Any:
    return c.execute(select(sessions).where(sessions.c.id_hash == hashed, *_goes_on(c))).first()


def _alive(c: Connection, identifier: str) -> bool:
    return c.execute(select(sessions.c.id_hash).where(_is_public(identifier), *_goes_on(c))).first() is not None


def _seen(c: Connection, hashed: str) -> None:
    values = {"seen_at": now(c), "idle_ends_at": later(now(c), SESSION_IDLE)}
    c.execute(update(sessions).where(sessions.c.id_hash == hashed, sessions.c.revoked_at.is_(None)).values(**values))


def _goes_on(c: Connection) -> tuple[Any, ...]:
    at = now(c)
    back = sessions.c.seen_at <= later(at, CLOCK_MOST)  # a clock that went back ends it: else it would last too long
    return sessions.c.revoked_at.is_(None), sessions.c.ends_at > at, sessions.c.idle_ends_at > at, back


def _is_public(identifier: str) -> Any:
    return (
        sessions.c.id_hash.startswith(identifier, autoescape=True)
        if len(identifier) == 16
        else sessions.c.id_hash == ""
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
