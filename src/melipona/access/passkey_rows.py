"""Rows of passkeys: statements, each with its event where it changes something."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from melipona.access.answers import Assertion, Registered, packed, unpacked
from melipona.access.passkeys import Known
from melipona.clock import rfc3339
from melipona.errors import Conflict, NotFound, Refused
from melipona.ids import OPERATOR
from melipona.store import events
from melipona.store.engine import now
from melipona.store.schema import passkeys, people

PASSKEYS_MOST = 20
"""Of one person."""

Json = dict[str, Any]
_alive = passkeys.c.revoked_at.is_(None)


def known(c: Connection, person_id: str, rp_id: str) -> list[Known]:
    """The passkeys of a person that are good for a site."""
    query = select(passkeys).where(passkeys.c.person_id == person_id, passkeys.c.rp_id == rp_id, _alive)
    return [_known(row) for row in c.execute(query.order_by(passkeys.c.created_at))]


def by_credential(c: Connection, credential_id: bytes, rp_id: str) -> Known | None:
    """The passkey of that name that is good for a site, None when there is none."""
    which = passkeys.c.credential_id == packed(credential_id), passkeys.c.rp_id == rp_id
    row = c.execute(select(passkeys).where(*which, _alive)).first()
    return None if row is None else _known(row)


def add(c: Connection, person_id: str, rp_id: str, label: str, made: Registered) -> Json:
    """Keep a passkey that was just made; as it is listed.

    Raises:
        Conflict: it is known already, or the person has too many.
    """
    name = packed(made.credential_id)
    if c.execute(select(passkeys.c.credential_id).where(passkeys.c.credential_id == name)).first() is not None:
        raise Conflict("this passkey is known here already", remedy="use another device or key", code="exists")
    if len(known(c, person_id, rp_id)) >= PASSKEYS_MOST:
        raise Conflict(f"a person has at most {PASSKEYS_MOST} passkeys", remedy="revoke one first", code="too_many")
    c.execute(
        insert(passkeys).values(
            credential_id=name,
            person_id=person_id,
            public_key=packed(made.public_key),
            sign_count=made.sign_count,
            transports=json.dumps(made.transports),
            label=label,
            rp_id=rp_id,
            created_at=now(c),
        )
    )
    _tell(c, "passkey.added", name, {"label": label, "synced": made.synced})
    return _one(c, name, person_id)


def used(c: Connection, assertion: Assertion, before: Known, rp_id: str) -> None:
    """It signed. Of two that use one counter value at once one is refused, as the copy that it may be.

    Raises:
        Refused: the key was revoked or used meanwhile.
    """
    which = passkeys.c.credential_id == packed(assertion.credential_id), passkeys.c.rp_id == rp_id, _alive
    values = {"sign_count": assertion.sign_count, "last_used_at": now(c)}
    changed = c.execute(update(passkeys).where(*which, passkeys.c.sign_count == before.sign_count).values(**values))
    if changed.rowcount != 1:
        raise Refused("this passkey was revoked or used meanwhile", remedy="try again", code="passkey")


def went_back(c: Connection, known: Known) -> None:
    """Its counter went back: it may have been copied. Somebody should look."""
    person = c.execute(select(people.c.name).where(people.c.id == known.person_id)).scalar_one()
    _tell(c, "passkey.counter_went_back", packed(known.credential_id), {"person": person})


def rename(c: Connection, person_id: str, name: str, label: str) -> Json:
    """Give a passkey another label.

    Raises:
        NotFound: the person has none of that name.
    """
    _one(c, name, person_id)
    c.execute(update(passkeys).where(passkeys.c.credential_id == name).values(label=label))
    _tell(c, "passkey.renamed", name, {"label": label})
    return _one(c, name, person_id)


def revoke(c: Connection, person_id: str, name: str) -> None:
    """End a passkey for good.

    Raises:
        NotFound: the person has none of that name.
    """
    found = _one(c, name, person_id)
    c.execute(update(passkeys).where(passkeys.c.credential_id == name).values(revoked_at=now(c)))
    _tell(c, "passkey.revoked", name, {"label": found["label"]})


def listed(c: Connection, person_id: str) -> list[Json]:
    """The passkeys of a person, newest first."""
    query = select(passkeys).where(passkeys.c.person_id == person_id, _alive)
    return [_view(row) for row in c.execute(query.order_by(passkeys.c.created_at.desc()))]


def counts(c: Connection) -> dict[str, int]:
    """How many good passkeys there are for each name that the hive has gone by."""
    query = select(passkeys.c.rp_id, func.count()).where(_alive).group_by(passkeys.c.rp_id)
    return {name: int(count) for name, count in c.execute(query)}


def any_here(c: Connection, rp_id: str) -> bool:
    """Whether anybody who may come in has a passkey of this site."""
    joined = select(passkeys.c.credential_id).join(people, people.c.id == passkeys.c.person_id)
    return (
        c.execute(joined.where(passkeys.c.rp_id == rp_id, _alive, people.c.disabled_at.is_(None))).first() is not None
    )


def _one(c: Connection, name: str, person_id: str) -> Json:
    which = passkeys.c.credential_id == name, passkeys.c.person_id == person_id
    row = c.execute(select(passkeys).where(*which, _alive)).first()
    if row is None:
        raise NotFound("there is no such passkey", remedy="Settings, or `mel people passkeys`, shows all")
    return _view(row)


def _tell(c: Connection, kind: str, name: str, data: Json) -> None:
    events.record(c, kind, subject=short(name), by=OPERATOR, data={"id": short(name), **data})


def short(name: str) -> str:
    """How a passkey is named in events."""
    return name[:12]


def _known(row: Any) -> Known:
    name, key = unpacked(row.credential_id), unpacked(row.public_key)
    return Known(name, row.person_id, key, row.sign_count, tuple(json.loads(row.transports)))


def _view(row: Any) -> Json:
    return {
        "id": row.credential_id,
        "label": row.label,
        "site": row.rp_id,
        "transports": json.loads(row.transports),
        "created_at": rfc3339(row.created_at),
        "last_used_at": None if row.last_used_at is None else rfc3339(row.last_used_at),
    }
