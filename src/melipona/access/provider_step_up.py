"""Step-up for somebody who has no passkey and comes in by a provider: they log in there once more for the decision.

The provider is asked to have its person show who they are, whether they are logged in there or not, and the nonce of
its answer is the decision's challenge: so what it signs is about this decision, and about no other. `state` and PKCE
follow from the session, so another browser's answer is worth nothing. Whoever has a passkey shows that instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from melipona.access import challenges, identity_rows, passkey_rows, step_up
from melipona.access.identity import LEEWAY_SECONDS, Identity
from melipona.access.model import Visitor, hashed, new_secret
from melipona.access.oidc import Flow, refused
from melipona.access.oidc_service import CALLBACK, Answer, OidcLogin, check_answer
from melipona.access.place import Places
from melipona.access.service import Access
from melipona.errors import Refused
from melipona.principals import OperatorPrincipal

SECOND = 1_000_000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProviderStepUp:
    """Sends people to the provider once more, and takes what they bring back."""

    access: Access
    places: Places
    oidc: OidcLogin

    async def begin(self, by: OperatorPrincipal, identifier: str, visitor: Visitor) -> str:
        """Where the browser goes to confirm the decision of the challenge `identifier`.

        Raises:
            Refused: the challenge is over, or not this session's.
            Conflict: there is no provider.
            UpstreamError: it cannot be used now.
        """
        client, _ = self.oidc.configured()
        await self.access.store.read(challenges.find, identifier, step_up.KIND, by.session or "")
        return await client.begin(visitor.origin + CALLBACK, self._flow(by, identifier), again=True)

    async def finish(self, by: OperatorPrincipal, identifier: str, answer: Answer, visitor: Visitor) -> str:
        """The session's new secret, when the person has come back from the provider.

        Raises:
            Refused: the challenge is over, the answer is wrong, or of somebody else.
            LimitReached: too many wrong ones in the last minute.
            UpstreamError: the provider cannot be used now.
        """
        client, _ = self.oidc.configured()
        store, session = self.access.store, by.session or ""
        self.access.throttle.check(visitor.address)
        await store.read(challenges.find, identifier, step_up.KIND, session)
        flow, secret = self._flow(by, identifier), new_secret()
        try:
            check_answer(answer, flow)
            at = self.access.clock.now() // SECOND
            who = await client.finish(answer.code, answer.issuer, visitor.origin + CALLBACK, flow, at)
            rp_id = "" if self.places.site is None else self.places.site.id
            await store.reserved.write(_confirm, by, identifier, who, rp_id, hashed(secret))
        except Refused:
            self.access.throttle.failed(visitor.address)
            raise
        return secret

    def _flow(self, by: OperatorPrincipal, identifier: str) -> Flow:
        """The nonce is the challenge; by its `state` the page knows which decision it comes back to."""
        derived = Flow.of(self.access.secret_of(f"step-up {by.session} {identifier}"))
        return Flow(f"{identifier}.{derived.state}", identifier, derived.verifier)


def _confirm(c: Connection, by: OperatorPrincipal, identifier: str, who: Identity, rp_id: str, new: str) -> None:
    if passkey_rows.known(c, by.person_id, rp_id):
        raise Refused("a login at the provider never stands for a passkey", remedy="use your passkey", code="step_up")
    if not identity_rows.is_of(c, who, by.person_id):
        raise refused(f"{who.shown} is not {by.person}", "log in at the provider as yourself")
    challenges.find(c, identifier, step_up.KIND, by.session or "")
    begun = challenges.opened_at(c, identifier) // SECOND
    if who.proved_at is None or who.proved_at < begun - LEEWAY_SECONDS:
        raise refused("the provider did not ask you who you are once more", "add a passkey after a link of `mel login`")
    proof = {"provider": who.issuer, "subject": who.subject, "proved_at": who.proved_at, "nonce": identifier}
    step_up.prove(c, identifier, by.session or "", proof, new)
