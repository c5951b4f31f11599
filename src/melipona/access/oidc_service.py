"""Logging in by a provider: from the login page there and back."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from melipona.access import challenges, identity_rows
from melipona.access import store as rows
from melipona.access.identity import Identity
from melipona.access.logout_token import LoggedOut
from melipona.access.model import Visitor, hashed, new_secret
from melipona.access.oidc import Flow, refused
from melipona.access.oidc_client import ProviderClient
from melipona.access.service import Access
from melipona.access.throttle import Throttle
from melipona.errors import Conflict, Refused, UpstreamError
from melipona.principals import Role
from melipona.store.engine import Actor

KIND = "oidc:login"
LOGOUT = "oidc:logout"
CALLBACK = "/login/oidc"
"""Where the provider sends the browser back: an address of the page, which posts what it was given. So the cookies,
which no other site sends, are there, and a GET changes nothing."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may come in by the provider."""

    label: str
    allow: tuple[str, ...] = ()
    newcomers: Role | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider sent the browser back with."""

    state: str
    code: str = ""
    issuer: str | None = None
    error: str = ""


class OidcLogin:
    """The provider of this hive, if it has one."""

    def __init__(self, access: Access, client: ProviderClient | None = None, rules: Rules | None = None) -> None:
        self._access, self._store = access, access.store
        self._client, self._rules = client, rules
        self._logouts = Throttle(access.clock)

    @property
    def label(self) -> str | None:
        """What the login page's button says; None without a provider."""
        return None if self._rules is None else self._rules.label

    @property
    def issuer(self) -> str:
        """Whose accounts are linked here.

        Raises:
            Conflict: there is no provider.
        """
        return self.configured()[0].issuer

    async def begin(self, before: str | None, visitor: Visitor) -> str:
        """Where the browser goes.

        Raises:
            Refused: this browser did not load the login page.
            Conflict: there is no provider.
            UpstreamError: it cannot be used now.
        """
        client, _ = self.configured()
        self._access.throttle.check(visitor.address)
        flow = Flow.of(self._access.check_before(before))
        return await client.begin(visitor.origin + CALLBACK, flow)

    async def finish(self, answer: Answer, before: str | None, visitor: Visitor) -> str:
        """The new session's secret.

        Raises:
            Refused: the answer is wrong, or whoever it names may not come in.
            LimitReached: too many wrong ones in the last minute.
            UpstreamError: the provider cannot be used now.
        """
        client, rules = self.configured()
        self._access.throttle.check(visitor.address)
        flow = Flow.of(self._access.check_before(before))
        try:
            check_answer(answer, flow)
            at = self._access.clock.now() // 1_000_000
            redirect = visitor.origin + CALLBACK
            who = await client.finish(answer.code, answer.issuer, redirect, flow, at)
            return await self._let_in(who, flow.state, rules, visitor)
        except Refused:
            self._access.throttle.failed(visitor.address)
            raise

    async def logged_out(self, token: str, visitor: Visitor) -> None:
        """The provider says that somebody has logged out there: the sessions which that login opened end.

        Raises:
            Refused: the logout token is wrong, or was shown before.
            LimitReached: too many wrong ones in the last minute.
            UpstreamError: the provider cannot be used now.
        """
        client, _ = self.configured()
        self._logouts.check(visitor.address, overall=False)  # nobody else keeps the provider from being heard
        try:
            who = await client.logged_out(token, self._access.clock.now() // 1_000_000)
            await self._store.reserved.write(_log_out, client.issuer, who)
        except (Refused, UpstreamError):
            self._logouts.failed(visitor.address)
            raise

    async def aclose(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _let_in(self, who: Identity, state: str, rules: Rules, visitor: Visitor) -> str:
        secret = new_secret()
        try:
            await self._store.reserved.write(_log_in, state, who, rules.allow, rules.newcomers, hashed(secret), visitor)
        except Refused as error:
            if error.code == "stranger":
                await self._store.reserved.write(identity_rows.refuse, who, error.message)
            raise
        return secret

    def configured(self) -> tuple[ProviderClient, Rules]:
        """The provider and its rules.

        Raises:
            Conflict: there is none.
        """
        if self._client is None or self._rules is None:
            raise Conflict(
                "this hive has no login provider", remedy="set [access.oidc] in mel.toml", code="no_provider"
            )
        return self._client, self._rules


def check_answer(answer: Answer, flow: Flow) -> None:
    """That the provider let somebody in, and that they come back from where `flow` sent them.

    Raises:
        Refused: it did not, or they do not.
    """
    if not hmac.compare_digest(answer.state.encode(), flow.state.encode()):
        raise refused("this login was not begun in this browser, or too long ago", "log in again from here")
    if answer.error == "access_denied":
        raise refused("the login was ended at the provider", "log in again, or in another way")
    if answer.error or not answer.code:
        known = answer.error if answer.error.replace("_", "").isalnum() and len(answer.error) <= 40 else "no reason"
        raise refused(f"the provider did not log you in ({known})")


def _log_in(
    c: Connection,
    state: str,
    who: Identity,
    allow: Sequence[str],
    newcomers: Role | None,
    session: str,
    visitor: Visitor,
) -> None:
    challenges.spend(c, state, KIND)
    person_id = identity_rows.person_of(c, who, allow, newcomers)
    rows.add_session(c, session, person_id, "oidc", visitor, account=(who.subject, who.session))


def _log_out(c: Connection, issuer: str, who: LoggedOut) -> int:
    challenges.spend(c, f"{issuer} {who.jti}", LOGOUT)
    return rows.end_of_account(c, who.subject, who.session, Actor(None, "provider"))
