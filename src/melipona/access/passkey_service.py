"""Adding passkeys, logging in by them, and by recovery codes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from anyio import to_thread
from sqlalchemy import Connection

from melipona.access import challenges, passkey_rows, people, ways
from melipona.access import store as rows
from melipona.access.answers import Assertion, Registered, challenge_of, check_registration, credential_of, packed
from melipona.access.model import Person, Visitor, hashed, new_secret
from melipona.access.passkeys import Known, assertion_options, label_of, registration_options
from melipona.access.place import Places
from melipona.access.service import Access
from melipona.access.step_up import checked
from melipona.errors import Refused
from melipona.principals import OperatorPrincipal
from melipona.store.engine import now

ADDING = "passkey:add"
LOGIN = "passkey:login"
CODES = 8
CODE_ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"
CODE_LETTERS = 28
"""137 bits: no slow hash is needed (SECURITY.md 5)."""

Json = dict[str, Any]


class Passkeys:
    """Passkeys and recovery codes of people."""

    def __init__(self, access: Access, places: Places) -> None:
        self._access, self._store, self.places = access, access.store, places

    # ---- one's own ------------------------------------------------------------------------------------------------

    async def begin_adding(self, by: OperatorPrincipal, visitor: Visitor) -> Json:
        """What the browser is asked to make. Whoever asks has been through step-up.

        Raises:
            Refused: passkeys do not work where they are, or they have no session.
        """
        site = self.places.site_at(visitor.origin)
        challenge = secrets.token_bytes(32)
        await self._store.reserved.write(
            challenges.add, packed(challenge), ADDING, _session(by), by.person_id, {"site": site.id}
        )
        known = await self._store.read(passkey_rows.known, by.person_id, site.id)
        return await to_thread.run_sync(registration_options, site, by.person, by.person_id, challenge, known)

    async def add(self, by: OperatorPrincipal, label: str, answer: Json, visitor: Visitor) -> Json:
        """Keep the passkey that the browser made.

        Raises:
            Refused: the answer is wrong, or took too long.
            Conflict: the key is known.
        """
        site, wanted = self.places.site_at(visitor.origin), label_of(label)
        challenge, session = challenge_of(answer), _session(by)
        await self._store.read(challenges.find, packed(challenge), ADDING, session)
        made = await to_thread.run_sync(check_registration, site, challenge, answer)
        return await self._store.reserved.write(_add, packed(challenge), session, by.person_id, site.id, wanted, made)

    async def make_codes(self, by: OperatorPrincipal) -> list[str]:
        """New recovery codes, shown this once; older ones are good no more."""
        codes = [new_code() for _ in range(CODES)]
        await self._store.reserved.write(ways.keep_codes, by.person_id, codes)
        return codes

    # ---- logging in -----------------------------------------------------------------------------------------------

    async def begin_login(self, before: str | None, visitor: Visitor) -> Json:
        """What the login page asks the browser for.

        Raises:
            Refused: passkeys do not work there, or this browser did not load the login page.
        """
        site = self.places.site_at(visitor.origin)
        challenge = _challenge(self._access.check_before(before))
        return await to_thread.run_sync(assertion_options, site, challenge)

    async def login(self, answer: Json, before: str | None, visitor: Visitor) -> str:
        """The new session's secret.

        Raises:
            Refused: the passkey is not known here, or the answer is wrong.
            LimitReached: too many wrong ones in the last minute.
        """
        self._access.throttle.check(visitor.address)
        challenge = _challenge(self._access.check_before(before))
        site = self.places.site_at(visitor.origin)
        try:
            known = _here(await self._store.read(passkey_rows.by_credential, credential_of(answer), site.id))
            found = await checked(self._access, site, challenge, answer, known)
            secret = new_secret()
            await self._store.reserved.write(_log_in, packed(challenge), found, known, site.id, hashed(secret), visitor)
        except Refused:
            self._access.throttle.failed(visitor.address)
            raise
        return secret

    async def recover(self, code: str, before: str | None, visitor: Visitor) -> str:
        """Use a recovery code up; the new session's secret.

        Raises:
            Refused: it is wrong or was used, or this browser did not load the login page.
            LimitReached: too many wrong ones in the last minute.
        """
        self._access.throttle.check(visitor.address)
        self._access.check_before(before)
        secret = new_secret()
        try:
            await self._store.reserved.write(_recover, plain_code(code), hashed(secret), visitor)
        except Refused:
            self._access.throttle.failed(visitor.address)
            raise
        return secret

    # ---- for admins -----------------------------------------------------------------------------------------------

    async def of_person(self, name: str) -> Person:
        """The person of that name.

        Raises:
            NotFound: there is none.
        """
        return await self._store.read(people.named, name)

    async def revoke(self, person_id: str, name: str) -> None:
        """End a passkey.

        Raises:
            NotFound: the person has none of that name.
            Conflict: too few ways in would be left.
        """
        site = self.places.site
        await self._store.reserved.write(_revoke, person_id, name, None if site is None else site.id)


def new_code() -> str:
    """A recovery code as it is shown."""
    letters = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LETTERS))
    return "-".join(letters[at : at + 7] for at in range(0, CODE_LETTERS, 7))


def plain_code(text: str) -> str:
    """A code as it is stored, from what somebody typed."""
    letters = "".join(letter for letter in text.lower() if letter in CODE_ALPHABET)
    return "-".join(letters[at : at + 7] for at in range(0, len(letters), 7))


def _log_in(
    c: Connection, challenge: str, found: Assertion, known: Known, rp_id: str, session: str, visitor: Visitor
) -> None:
    challenges.spend(c, challenge, LOGIN)
    passkey_rows.used(c, found, known, rp_id)
    rows.add_session(c, session, known.person_id, "passkey", visitor, verified_at=now(c))


def _here(known: Known | None) -> Known:
    if known is None:
        raise Refused("this passkey is not known here", remedy="use another, or log in in another way", code="passkey")
    return known


def _add(c: Connection, challenge: str, session: str, person_id: str, rp_id: str, label: str, made: Registered) -> Json:
    challenges.take(c, challenge, ADDING, session)
    return passkey_rows.add(c, person_id, rp_id, label, made)


def _revoke(c: Connection, person_id: str, name: str, rp_id: str | None) -> None:
    passkey_rows.revoke(c, person_id, name)
    if rp_id is not None:
        ways.check_safe(c, rp_id)


def _recover(c: Connection, code: str, session: str, visitor: Visitor) -> None:
    rows.add_session(c, session, ways.use_code(c, code), "recovery", visitor)


def _challenge(cookie: str) -> bytes:
    """Follows from the login page's cookie: no other browser can answer it, and strangers have no rows made."""
    return hmac.new(cookie.encode(), b"passkey", hashlib.sha256).digest()


def _session(by: OperatorPrincipal) -> str:
    if by.session is None:
        raise Refused("passkeys are added in a browser", remedy="open Settings in the page", code="no_browser")
    return by.session
