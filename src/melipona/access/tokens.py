"""Tokens of programs: rows with the hash of a secret that was shown once."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from melipona.access.model import CLOCK_MOST, hashed
from melipona.clock import later, rfc3339
from melipona.errors import NotFound
from melipona.ids import OPERATOR
from melipona.principals import Authority, OperatorPrincipal, Scope
from melipona.store import events
from melipona.store.engine import now
from melipona.store.schema import api_tokens, people


def add(
    c: Connection, identifier: str, secret: str, person_id: str, name: str, scopes: Collection[Scope], days: int
) -> dict[str, Any]:
    """Keep a new token; as it is listed."""
    at = now(c)
    kept = sorted(scope.value for scope in scopes)
    c.execute(
        insert(api_tokens).values(
            id=identifier,
            secret_hash=hashed(secret),
            person_id=person_id,
            name=name,
            scopes=json.dumps(kept),
            created_at=at,
            ends_at=later(at, timedelta(days=days)),
        )
    )
    data = {"id": identifier, "name": name, "scopes": kept, "days": days}
    events.record(c, "token.made", subject=identifier, by=OPERATOR, data=data)
    return _view(c.execute(_listed().where(api_tokens.c.id == identifier)).one())


def live_token(c: Connection, identifier: str) -> Any:
    """The row of a token that is good, with its person's name and role; None when there is none."""
    query = select(api_tokens, people.c.name.label("person"), people.c.role)
    joined = query.join(people, people.c.id == api_tokens.c.person_id)
    return c.execute(joined.where(api_tokens.c.id == identifier, *_goes_on(c))).first()


def live_role(c: Connection, identifier: str) -> str | None:
    """The role of whose token has that public id; None: it is good no more."""
    row = live_token(c, identifier)
    return None if row is None else str(row.role)


def scopes_of(row: Any) -> frozenset[Scope]:
    """What a token may; a scope that this program does not know gives nothing."""
    known = {scope.value for scope in Scope}
    return frozenset(Scope(scope) for scope in json.loads(row.scopes) if scope in known)


def used(c: Connection, identifier: str, address: str | None) -> None:
    """It was used, from there."""
    c.execute(update(api_tokens).where(api_tokens.c.id == identifier).values(last_used_at=now(c), last_address=address))


def list_tokens(c: Connection, by: OperatorPrincipal) -> dict[str, Any]:
    """Tokens that are good, newest first: everybody's for an admin, else one's own."""
    rows = c.execute(_listed().where(*_goes_on(c), *_mine(by)).order_by(api_tokens.c.created_at.desc())).all()
    return {"items": [_view(row) for row in rows], "next": None}


def revoke(c: Connection, identifier: str, by: OperatorPrincipal) -> None:
    """End a token. Its streams close because of the event.

    Raises:
        NotFound: no good token goes by that id or name, or it is another person's and `by` is no admin.
    """
    which = (api_tokens.c.id == identifier) | (
        (api_tokens.c.name == identifier) & (api_tokens.c.person_id == by.person_id)
    )
    query = select(api_tokens.c.id).join(people, people.c.id == api_tokens.c.person_id)
    found = c.execute(query.where(which, *_goes_on(c), *_mine(by))).scalars().all()
    if not found:
        raise NotFound(f"there is no token {identifier!r}", remedy="`mel token list` shows all")
    for token in found:
        _end(c, token)


def revoke_all(c: Connection, person_id: str) -> None:
    """End every token of a person."""
    query = select(api_tokens.c.id).where(api_tokens.c.person_id == person_id, api_tokens.c.revoked_at.is_(None))
    for identifier in c.execute(query).scalars().all():
        _end(c, identifier)


def _end(c: Connection, identifier: str) -> None:
    c.execute(update(api_tokens).where(api_tokens.c.id == identifier).values(revoked_at=now(c)))
    events.record(c, "token.revoked", subject=identifier, by=OPERATOR, data={"id": identifier})


def _mine(by: OperatorPrincipal) -> tuple[Any, ...]:
    return () if by.may(Authority.ADMIN) else (api_tokens.c.person_id == by.person_id,)


def _goes_on(c: Connection) -> tuple[Any, ...]:
    at = now(c)
    back = api_tokens.c.created_at <= later(at, CLOCK_MOST)
    return api_tokens.c.revoked_at.is_(None), api_tokens.c.ends_at > at, people.c.disabled_at.is_(None), back


def _listed() -> Any:
    query = select(api_tokens, people.c.name.label("person"), people.c.role)
    return query.join(people, people.c.id == api_tokens.c.person_id)


def _view(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "person": row.person,
        "scopes": sorted(scope.value for scope in scopes_of(row)),
        "created_at": rfc3339(row.created_at),
        "ends_at": rfc3339(row.ends_at),
        "last_used_at": None if row.last_used_at is None else rfc3339(row.last_used_at),
        "last_address": row.last_address,
    }
