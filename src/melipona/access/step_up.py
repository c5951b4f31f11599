"""Step-up: whoever has a passkey shows it again for each decision about access, and signs what is decided.

A decision asks `require`. Without a confirmation it is refused with a challenge, SHA-256 over the canonical
description of the decision and a nonce, so that the authenticator signs what is decided (SECURITY.md 5). The browser
has it signed (`confirm`, which also gives the session a new id) and asks for the same decision again, naming it. A
confirmation is good once, for this decision, this session, and five minutes. The proof stands in the event
`login.confirmed`, which has the decision's own request id.

Whoever has no passkey logs in once more instead: at the provider, which signs the decision's challenge as the nonce of
its answer (`provider_step_up.py`), or by a fresh one-time link or recovery code, which stands for five minutes. So a
stolen session makes no other way in. The unix socket needs nothing: who opens it has the machine. A token is never
enough.
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

from melipona.access import challenges, identity_rows, passkey_rows
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
FRESH = frozenset({"link", "recovery"})
"""Ways in that stand for a passkey just after they were used, for somebody who has none."""

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
    """The decision must be confirmed first, by a passkey or at the provider; `more` has the challenge."""

    code = "step_up"

    def __init__(self, decision: Decision, identifier: str, *, options: Json | None, provider: str | None) -> None:
        how = "with your passkey" if provider is None else "by logging in once more"
        super().__init__(f"{decision.words}: confirm {how}", remedy="use the page, which asks for it")
        needed = {"id": identifier, "words": decision.words, "options": options, "provider": provider}
        self.more = {"step_up": needed}


class StepUp:
    """Asks for confirmations and checks them. `provider`: the label of its button, and its issuer."""

    def __init__(self, access: Access, places: Places, provider: tuple[str, str] | None = None) -> None:
        self._access, self._places, self._provider = access, places, provider
        self._store = access.store

    async def require(
        self, by: OperatorPrincipal, decision: Decision, given: str | None, visitor: Visitor | None
    ) -> None:
        """Let `by` decide, if they need no passkey or have confirmed this very decision as `given`.

        Raises:
            StepUpNeeded: they have not.
            Refused: the confirmation is of something else or over, their login is too old, or passkeys do not work
                where they are.
        """
        if by.method not in ("session", "token"):
            return
        if by.session is None or visitor is None:
            raise Refused("a token never stands for a passkey", remedy="use the page", code="step_up")
        site = self._places.site
        known = [] if site is None else await self._store.read(passkey_rows.known, by.person_id, site.id)
        if await self._is_enough(by.session, decision, has_passkey=bool(known)):
            return
        if given is not None:
            await self._store.reserved.write(_use, given, by.session, decision)
        elif known:
            raise await self._challenge(by, decision, known, self._places.site_at(visitor.origin))
        else:
            raise await self._without_passkey(by, decision)

    async def _is_enough(self, session: str, decision: Decision, *, has_passkey: bool) -> bool:
        """Whether the way in by which somebody has just come is enough."""
        if has_passkey:
            recovers = decision.kind in RECOVERING
            return recovers and await self._store.read(rows.opened_lately, session, {"recovery"})
        return await self._store.read(rows.opened_lately, session, FRESH)

    async def _without_passkey(self, by: OperatorPrincipal, decision: Decision) -> Refused:
        """What somebody is told who has no passkey and did not just come."""
        label, issuer = self._provider or ("", "")
        if self._provider is None or not await self._store.read(identity_rows.has_account, by.person_id, issuer):
            return Refused(
                f"{decision.words}: that needs a login not older than five minutes, as you have no passkey here",
                remedy="open a new link of `mel login`, then add a passkey in Settings",
                code="login_again",
            )
        identifier = await self._open(by, decision)
        return StepUpNeeded(decision, identifier, options=None, provider=label)

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
        identifier = await self._open(by, decision)
        options = await to_thread.run_sync(assertion_options, site, unpacked(identifier), known)
        return StepUpNeeded(decision, identifier, options=options, provider=None)

    async def _open(self, by: OperatorPrincipal, decision: Decision) -> str:
        """A challenge of the decision, which waits for its proof; its name."""
        nonce = secrets.token_hex(16)
        identifier, session = packed(decision.challenge(nonce)), by.session or ""
        data = {"decision": decision.canonical, "nonce": nonce}
        await self._store.reserved.write(challenges.add, identifier, KIND, session, by.person_id, data)
        return identifier


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
    passkey_rows.used(c, found, known, rp_id)
    prove(c, identifier, session, found.proof, new)


def prove(c: Connection, identifier: str, session: str, proof: Json, new: str) -> None:
    """The challenge `identifier` was answered: keep the proof, and give the session another secret (hash `new`)."""
    data = challenges.find(c, identifier, KIND, session)
    renewed = rows.renew(c, session, new)
    challenges.rebind(c, identifier, renewed, {**data, "proof": proof})


def _use(c: Connection, identifier: str, session: str, decision: Decision) -> None:
    data = challenges.take(c, identifier, KIND, session)
    if data.get("proof") is None or data["decision"] != decision.canonical:
        raise Refused("your passkey confirmed something else", remedy="begin again", code="step_up_other")
    events.record(c, "login.confirmed", subject=session, by=OPERATOR, data=data)
