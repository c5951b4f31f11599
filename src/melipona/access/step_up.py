"""Step-up: whoever has a passkey shows it again for each decision about access, and signs what is decided.

A decision asks `require`. Without a confirmation it is refused with a challenge, SHA-256 over the canonical
description of the decision and a nonce, so that the authenticator signs what is decided (SECURITY.md 5). The browser
has it signed (`confirm`, which also gives the session a new id) and asks for the same decision again, naming it. A
confirmation is good once, for this decision, this session, and five minutes. The proof stands in the event
`login.confirmed`, which has the decision's own request id.

Whoever has no passkey has nothing to show. The unix socket needs none: who opens it has the machine. A token is never
enough for somebody who has one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anyio import to_thread
from sqlalchemy import Connection

from melipona.access import challenges, passkey_rows
from melipona.access import store as rows
from melipona.access.answers import Assertion, check_assertion, credential_of, packed, unpacked
from melipona.access.model import Visitor, hashed, new_secret
from melipona.access.passkeys import Known, Site, assertion_options
from melipona.access.place import Places
from melipona.access.service import Access
from melipona.errors import Refused
from melipona.ids import OPERATOR
from melipona.principals import OperatorPrincipal
from melipona.store import events

KIND = "step_up"
RECOVERING = frozenset({"passkey:add", "passkey:revoke"})
"""What a recovery code stands for too, just after it was used: else a lost key could not be replaced."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decides. `words` are for the person, `about` says all that matters, for the signature."""

    kind: str
    words: str
    about: Mapping[str, Any]

    @property
    def canonical(self) -> str:
        """The one way to write it down."""
        return json.dumps({"decision": self.kind, "about": dict(self.about)}, sort_keys=True, separators=(",", ":"))

    def challenge(self, nonce: str) -> bytes:
        """What is signed."""
        return hashlib.sha256(f"{self.canonical}|{nonce}".encode()).digest()


class StepUpNeeded(Refused):
    """The decision must be confirmed by a passkey first; `more` has the challenge."""

    code = "step_up"

    def __init__(self, decision: Decision, identifier: str, options: Json) -> None:
        super().__init__(f"{decision.words}: confirm with your passkey", remedy="use the page, which asks for it")
        self.more = {"step_up": {"id": identifier, "words": decision.words, "options": options}}


class StepUp:
    """Asks for confirmations and checks them."""

    def __init__(self, access: Access, places: Places) -> None:
        self._access, self._places = access, places
        self._store = access.store

    async def require(
        self, by: OperatorPrincipal, decision: Decision, given: str | None, visitor: Visitor | None
    ) -> None:
        """Let `by` decide, if they need no passkey or have confirmed this very decision as `given`.

        Raises:
            StepUpNeeded: they have not.
            Refused: the confirmation is of something else or over, or passkeys do not work where they are.
        """
        site = self._places.site
        if by.method not in ("session", "token") or site is None:
            return
        known = await self._store.read(passkey_rows.known, by.person_id, site.id)
        if not known:
            return
        if by.session is None or visitor is None:
            raise Refused("a token never stands for a passkey", remedy="use the page", code="step_up")
        if decision.kind in RECOVERING and await self._store.read(rows.has_just_recovered, by.session):
            return
        if given is None:
            raise await self._challenge(by, decision, known, self._places.site_at(visitor.origin))
        await self._store.reserved.write(_use, given, by.session, decision)

    async def confirm(self, by: OperatorPrincipal, identifier: str, answer: Json, visitor: Visitor) -> str:
        """A passkey has signed the challenge `identifier`; the session's new secret.

        Raises:
            Refused: it is not the person's, the answer is wrong, or the challenge is over.
        """
        site = self._places.site_at(visitor.origin)
        session = by.session or ""
        await self._store.read(challenges.find, identifier, KIND, session)
        known = await self._store.read(passkey_rows.by_credential, credential_of(answer), site.id)
        if known is None or known.person_id != by.person_id:
            raise Refused("this passkey is not one of yours here", remedy="use another", code="passkey")
        found = await checked(self._access, site, unpacked(identifier), answer, known)
        secret = new_secret()
        await self._store.reserved.write(_confirm, identifier, session, found, known, site.id, hashed(secret))
        return secret

    async def _challenge(
        self, by: OperatorPrincipal, decision: Decision, known: list[Known], site: Site
    ) -> StepUpNeeded:
        nonce = secrets.token_hex(16)
        challenge = decision.challenge(nonce)
        data = {"decision": decision.canonical, "nonce": nonce}
        identifier, session = packed(challenge), by.session or ""
        await self._store.reserved.write(challenges.add, identifier, KIND, session, by.person_id, data)
        options = await to_thread.run_sync(assertion_options, site, challenge, known)
        return StepUpNeeded(decision, identifier, options)


async def checked(access: Access, site: Site, challenge: bytes, answer: Json, known: Known) -> Assertion:
    """`check_assertion` beside the event loop; a counter that went back is also told to whoever reads the events.

    Raises:
        Refused: the answer is wrong.
    """
    try:
        return await to_thread.run_sync(check_assertion, site, challenge, answer, known)
    except Refused as error:
        if error.code == "passkey_copied":
            await access.store.reserved.write(passkey_rows.went_back, known)
        raise


def _confirm(
    c: Connection, identifier: str, session: str, found: Assertion, known: Known, rp_id: str, new: str
) -> None:
    data = challenges.find(c, identifier, KIND, session)
    passkey_rows.used(c, found, known, rp_id)
    renewed = rows.renew(c, session, new)
    challenges.rebind(c, identifier, renewed, {**data, "proof": found.proof})


def _use(c: Connection, identifier: str, session: str, decision: Decision) -> None:
    data = challenges.take(c, identifier, KIND, session)
    if data.get("proof") is None or data["decision"] != decision.canonical:
        raise Refused("your passkey confirmed something else", remedy="begin again", code="step_up_other")
    events.record(c, "login.confirmed", subject=session, by=OPERATOR, data=data)
