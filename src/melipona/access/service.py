"""Knows people again: the owner of the unix socket, sessions by their cookie, programs by their token.

A link's token travels in the URL's fragment and is posted by the page. The browser that posts it must have loaded our
login page just before: it shows a cookie that was signed with a key of this process.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from melipona.access import people, tokens
from melipona.access import store as rows
from melipona.access.model import (
    LINK_LIFE,
    SEEN_EVERY,
    TOKEN_DAYS_MOST,
    USED_EVERY,
    Person,
    Visitor,
    hashed,
    new_secret,
    new_token,
    parsed_token,
    public_id,
    same,
)
from melipona.access.throttle import Throttle
from melipona.clock import Clock
from melipona.errors import Invalid, Refused
from melipona.principals import Authority, OperatorPrincipal, Role, Scope
from melipona.store.engine import Store

_NEEDS = {Scope.READ: Authority.READ, Scope.ACT: Authority.ACT, Scope.APPROVE: Authority.APPROVE}


@dataclass(frozen=True, slots=True)
class Link:
    """A login link that was just made; the only time that its token is known."""

    token: str
    ends_at: int


class Access:
    """Every way in. `owner` is who opens the unix socket."""

    def __init__(self, store: Store, clock: Clock, owner: Person) -> None:
        self.store, self.clock, self.owner = store, clock, owner
        self.throttle = Throttle(clock)
        self._key = secrets.token_bytes(32)

    # ---- knowing people again -------------------------------------------------------------------------------------

    def of_socket(self) -> OperatorPrincipal:
        """Whoever may open the unix socket."""
        return OperatorPrincipal("socket", person_id=self.owner.id, person=self.owner.name, role=self.owner.role)

    async def of_session(self, secret: str) -> OperatorPrincipal | None:
        """Whose session this is, None when it is unknown, revoked or has ended."""
        session = hashed(secret)
        row = await self.store.read(rows.live_session, session)
        if row is None:
            return None
        if row.seen_at < self._ago(SEEN_EVERY):
            await self.store.reserved.write(rows.seen, session, row.role, outside=bool(row.outside))
        return OperatorPrincipal(
            "session",
            public_id(session),
            row.person_id,
            row.name,
            Role(row.role),
            verified_at=row.verified_at,
            outside=bool(row.outside),
        )

    async def of_token(self, text: str, visitor: Visitor) -> OperatorPrincipal | None:
        """Whose token this is, None when it is wrong, revoked or has ended.

        Raises:
            LimitReached: too many wrong ones came from there in the last minute.
        """
        self.throttle.check(visitor.address, overall=False)
        parts = parsed_token(text)
        row = None if parts is None else await self.store.read(tokens.live_token, parts[0])
        if parts is None or row is None or not same(parts[1], row.secret_hash):
            self.throttle.failed(visitor.address)
            return None
        if row.last_used_at is None or row.last_used_at < self._ago(USED_EVERY):
            await self.store.reserved.write(tokens.used, row.id, visitor.address)
        scopes = tokens.scopes_of(row)
        return OperatorPrincipal(
            "token", row.id, row.person_id, row.person, Role(row.role), scopes, outside=visitor.outside
        )

    async def goes_on(self, by: OperatorPrincipal) -> bool:
        """Whether the session or token by which somebody came in goes on, with the role that they had."""
        if by.login is None:
            return True
        return by.role == await self.store.read(
            rows.live_role if by.method == "session" else tokens.live_role, by.login
        )

    # ---- links and sessions ---------------------------------------------------------------------------------------

    async def make_link(self, by: OperatorPrincipal, name: str | None, *, outside: bool) -> Link:
        """A new link of the owner, or of the person `name`; single use, ten minutes.

        Raises:
            Refused: a link of the owner was asked for by another way than the unix socket, or the person is disabled.
            NotFound: there is no such person.
        """
        person = self.owner if name is None else await self.store.read(people.named, name)
        if person.is_owner and by.method not in ("socket", "test"):
            raise Refused("links of the owner are made on the machine itself", remedy="run `mel login` there")
        if person.disabled_at is not None:
            raise Refused(f"{person.name} is disabled", remedy=f"run `mel people enable {person.name}` first")
        token = secrets.token_urlsafe(24)
        ends = await self.store.reserved.write(rows.add_link, hashed(token), person.id, outside=outside)
        return Link(token, ends)

    async def use_link(self, token: str, before: str | None, visitor: Visitor) -> str:
        """Use a link up; the new session's secret.

        Raises:
            Refused: the link is unknown, used or too old, or this browser did not load the login page.
            LimitReached: too many wrong ones in the last minute.
        """
        self.throttle.check(visitor.address)
        self.check_before(before)
        secret = new_secret()
        try:
            await self.store.reserved.write(rows.use_link, hashed(token), hashed(secret), visitor)
        except Refused:
            self.throttle.failed(visitor.address)
            raise
        return secret

    async def revoke(self, session: str, by: OperatorPrincipal) -> None:
        """End a session; its streams close within a second.

        Raises:
            NotFound: there is no such session for `by`.
        """
        await self.store.reserved.write(rows.revoke, session, by)

    def before_login(self) -> str:
        """What the login page's cookie holds."""
        stamp = f"{int(self.clock.monotonic()):x}.{secrets.token_hex(16)}"
        return f"{stamp}.{self._sign(stamp)}"

    def check_before(self, cookie: str | None) -> str:
        """The login page's cookie, if this browser has loaded the login page a short while ago.

        Raises:
            Refused: it did not.
        """
        if cookie is None or not self._is_ours(cookie):
            raise Refused(
                "this browser did not open the login page", remedy="open the link that `mel login` prints", code="login"
            )
        return cookie

    def secret_of(self, use: str) -> str:
        """A secret that follows from `use` while this process lives, and that nobody else can make."""
        return self._sign(f"secret of {use}")

    # ---- tokens ---------------------------------------------------------------------------------------------------

    async def make_token(
        self, by: OperatorPrincipal, name: str, scopes: Collection[Scope], days: int
    ) -> tuple[str, dict[str, Any]]:
        """A new token of the person who asks: the text, shown this once, and its row.

        Raises:
            Invalid: no scope, or a life of no day or more than the most.
            Refused: a scope is more than the person may.
        """
        if not scopes:
            raise Invalid("a token without a scope is good for nothing", remedy="give it read, act or approve")
        if not 1 <= days <= TOKEN_DAYS_MOST:
            raise Invalid(f"a token lives 1 to {TOKEN_DAYS_MOST} days", remedy="make a new one when it ends")
        for scope in scopes:
            if not by.may(_NEEDS[scope]):
                raise Refused(f"a {by.role.value} may not {scope.value}", remedy="leave that scope out")
        identifier, secret, text = new_token()
        row = await self.store.reserved.write(tokens.add, identifier, secret, by.person_id, name, scopes, days)
        return text, row

    async def revoke_token(self, identifier: str, by: OperatorPrincipal) -> None:
        """End a token, by its id, or one's own by its name.

        Raises:
            NotFound: there is no such token for `by`.
        """
        await self.store.reserved.write(tokens.revoke, identifier, by)

    # ---- parts ----------------------------------------------------------------------------------------------------

    def _ago(self, life: timedelta) -> int:
        return self.clock.now() - int(life / timedelta(microseconds=1))

    def _is_ours(self, cookie: str) -> bool:
        stamp, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(self._sign(stamp).encode(), signature.encode()):
            return False
        age = self.clock.monotonic() - int(stamp.partition(".")[0], 16)
        return age <= LINK_LIFE.total_seconds()

    def _sign(self, stamp: str) -> str:
        return hmac.new(self._key, stamp.encode(), hashlib.sha256).hexdigest()
