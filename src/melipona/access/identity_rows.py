"""Which account at a provider is whose: rows, each with its event where it changes something.

An admin names an account by its subject, or by an address: whoever first comes with that address, verified, is it from
then on, by its subject. Who is nobody here is refused, unless mel.toml gives whoever the allow-list names a role.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from melipona.access import people
from melipona.access import store as rows
from melipona.access.identity import Identity, is_allowed, is_entry
from melipona.clock import rfc3339
from melipona.errors import Conflict, Invalid, NotFound, Refused
from melipona.ids import OPERATOR, RESERVED, new_id
from melipona.principals import Role
from melipona.store import events
from melipona.store.engine import now
from melipona.store.schema import identities
from melipona.store.schema import people as people_table

Json = dict[str, Any]


def link(c: Connection, name: str, issuer: str, *, subject: str | None, email: str | None) -> Json:
    """Let whoever has the account come in as the person `name`; as it is listed.

    Raises:
        NotFound: there is no such person.
        Invalid: not exactly one of the two is given, or it is none.
        Conflict: the account is somebody's.
    """
    person = people.named(c, name)
    account = _account(subject, email)
    which = [identities.c[key] == value for key, value in account.items()]
    if c.execute(select(identities.c.id).where(identities.c.issuer == issuer, *which)).first() is not None:
        raise Conflict(
            "this account is linked already",
            remedy="`mel people identity list NAME` shows whose",
            code="exists",
        )
    return _add(c, person.id, name, issuer, account)


def unlink(c: Connection, name: str, identifier: str) -> None:
    """Take an account from a person: it logs them in no more, and the sessions that it opened end.

    Raises:
        NotFound: the person has no such account.
    """
    person = people.named(c, name)
    which = identities.c.id == identifier, identities.c.person_id == person.id
    gone = c.execute(delete(identities).where(*which).returning(identities.c.subject)).first()
    if gone is None:
        raise NotFound(f"{name} has no such account", remedy=f"`mel people identity list {name}` shows all")
    events.record(c, "identity.unlinked", subject=name, by=OPERATOR, data={"id": identifier})
    rows.end_of_account(c, gone.subject, None)


def listed(c: Connection, name: str) -> list[Json]:
    """The accounts of a person.

    Raises:
        NotFound: there is no such person.
    """
    person = people.named(c, name)
    query = select(identities).where(identities.c.person_id == person.id).order_by(identities.c.created_at)
    return [_view(row) for row in c.execute(query)]


def has_account(c: Connection, person_id: str, issuer: str) -> bool:
    """Whether somebody has an account at the provider by which they came before."""
    which = identities.c.person_id == person_id, identities.c.issuer == issuer, identities.c.subject.is_not(None)
    return c.execute(select(identities.c.id).where(*which)).first() is not None


def is_of(c: Connection, who: Identity, person_id: str) -> bool:
    """Whether it is an account of that person."""
    which = identities.c.issuer == who.issuer, identities.c.subject == who.subject
    return c.execute(select(identities.c.person_id).where(*which)).scalar_one_or_none() == person_id


def person_of(c: Connection, who: Identity, allow: Sequence[str], newcomers: Role | None) -> str:
    """Whom to log in, by id. `newcomers` is the role of who is allowed and not known yet; None: they are refused.

    Raises:
        Refused: the allow-list does not name them, or nobody here has that account.
    """
    if allow and not is_allowed(who, allow):
        raise _stranger(f"{who.shown} is not on this hive's list", "ask an admin of this hive")
    found = _by_subject(c, who) or _by_email(c, who)
    if found is None and (newcomers is None or not allow):
        flag = f"--email {who.email}" if who.email else f"--subject {who.subject}"
        raise _stranger(
            f"{who.shown} is nobody on this hive yet", f"ask an admin of it to run: mel people identity add NAME {flag}"
        )
    return found or _newcomer(c, who, newcomers or Role.VIEWER)


def refuse(c: Connection, who: Identity, why: str) -> None:
    """Somebody whom the provider knows was not let in. They are named, so that an admin can link them."""
    data = {"issuer": who.issuer, "subject": who.subject, "email": who.email, "why": why}
    events.record(c, "login.refused", by=OPERATOR, data=data)


def _by_subject(c: Connection, who: Identity) -> str | None:
    which = identities.c.issuer == who.issuer, identities.c.subject == who.subject
    person = c.execute(select(identities.c.person_id).where(*which)).scalar_one_or_none()
    c.execute(update(identities).where(*which).values(seen_at=now(c)))
    return person


def _by_email(c: Connection, who: Identity) -> str | None:
    """Who was named by an address; from now on it is this account, whatever address it has later."""
    if not who.email:
        return None
    which = identities.c.issuer == who.issuer, identities.c.email == who.email, identities.c.subject.is_(None)
    row = c.execute(select(identities.c.id, identities.c.person_id).where(*which)).first()
    if row is None:
        return None
    c.execute(update(identities).where(identities.c.id == row.id).values(subject=who.subject, seen_at=now(c)))
    return row.person_id


def _newcomer(c: Connection, who: Identity, role: Role) -> str:
    person = people.add(c, _free_name(c, who), role)
    taken = select(identities.c.id).where(identities.c.issuer == who.issuer, identities.c.email == who.email)
    email = who.email if who.email and c.execute(taken).first() is None else None
    _add(c, person.id, person.name, who.issuer, {"subject": who.subject, "email": email})
    return person.id


def _free_name(c: Connection, who: Identity) -> str:
    """A name from the address that nobody has."""
    plain = re.sub(r"[^a-z0-9._-]", "", who.email.partition("@")[0])
    plain = re.sub(r"^[^a-z]+", "", plain)[:24] or "person"
    tried = [plain, *(f"{plain}-{number}" for number in range(2, 1000))]
    taken = set(c.execute(select(people_table.c.name)).scalars()) | RESERVED
    return next(name for name in tried if name not in taken)


def _account(subject: str | None, email: str | None) -> Json:
    if (subject is None) == (email is None):
        raise Invalid("an account is named by its subject or by its address", remedy="give one of the two")
    if subject is not None:
        if not is_entry(f"sub:{subject}"):
            raise Invalid("a subject has 1 to 255 visible characters", remedy="the provider shows it")
        return {"subject": subject}
    address = (email or "").lower()
    if not is_entry(address) or address.startswith("@"):
        raise Invalid(f"{email!r} is no address like ana@example.org", remedy="write the whole of it")
    return {"email": address}


def _add(c: Connection, person_id: str, name: str, issuer: str, account: Json) -> Json:
    values = {"id": new_id(), "person_id": person_id, "issuer": issuer, "created_at": now(c), **account}
    c.execute(insert(identities).values(**values))
    events.record(c, "identity.linked", subject=name, by=OPERATOR, data={"issuer": issuer, **account})
    return _view(c.execute(select(identities).where(identities.c.id == values["id"])).one())


def _view(row: Any) -> Json:
    return {
        "id": row.id,
        "issuer": row.issuer,
        "subject": row.subject,
        "email": row.email,
        "created_at": rfc3339(row.created_at),
        "seen_at": None if row.seen_at is None else rfc3339(row.seen_at),
    }


def _stranger(text: str, remedy: str) -> Refused:
    return Refused(text, remedy=remedy, code="stranger")
