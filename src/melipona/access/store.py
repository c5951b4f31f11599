"""Rows of sessions and one-time links: statements, each with its event where it changes something.

A session is live while its person may come in, it was not revoked, and neither of its ends has come. Whoever reads the
database finds hashes only.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from melipona.access import ways
from melipona.access.model import (
    CLOCK_MOST,
    LINK_LIFE,
    SESSION_LIFE,
    Visitor,
    idle_life,
    public_id,
)
from melipona.clock import later, rfc3339
from melipona.errors import NotFound, Refused
from melipona.ids import OPERATOR
from melipona.principals import Authority, OperatorPrincipal, Role
from melipona.store import events
from melipona.store.engine import Actor, now
from melipona.store.schema import login_links, people, sessions

LATELY = timedelta(minutes=5)
"""How long a recovery code stands for a passkey after it was used, and a link for somebody who has none."""
LINKS_ARE_OFF = "log in with a passkey, or run `mel login --links on` on the hive's machine"
OLD_LINK = "run `mel login` for a new one"


def add_link(c: Connection, hashed: str, person_id: str, *, outside: bool) -> int:
    """A new one-time link of a person; when it ends. `outside`: it may be used from elsewhere than this machine.

    Raises:
        Refused: links are switched off.
    """
    if ways.links_are_off(c):
        raise Refused("login links are switched off here", remedy=LINKS_ARE_OFF, code="links_off")
    at = now(c)
    ends = later(at, LINK_LIFE)
    values = {"token_hash": hashed, "person_id": person_id, "outside": int(outside), "created_at": at, "ends_at": ends}
    c.execute(insert(login_links).values(**values))
    name = c.execute(select(people.c.name).where(people.c.id == person_id)).scalar_one()
    events.record(c, "login.link_made", by=OPERATOR, data={"person": name, "outside": outside})
    return ends


def use_link(c: Connection, link: str, session: str, visitor: Visitor) -> None:
    """Use a link up and begin the session with the hash `session`.

    Raises:
        Refused: it is unknown, used, too old, for this machine alone, or its person may not come in.
    """
    if ways.links_are_off(c):
        raise Refused("login links are switched off here", remedy=LINKS_ARE_OFF, code="links_off")
    at = now(c)
    usable = (
        login_links.c.token_hash == link,
        login_links.c.used_at.is_(None),
        login_links.c.ends_at > at,
        login_links.c.created_at <= later(at, CLOCK_MOST),  # a clock that went back must not lengthen a link's life
    )
    row = c.execute(select(login_links.c.person_id, login_links.c.outside).where(*usable)).first()
    if row is None:
        raise Refused("this link was used already or is too old", remedy=OLD_LINK, code="login")
    if visitor.outside and not row.outside:
        raise Refused(
            "this link is good on the hive's own machine alone",
            remedy="make one with `mel login --outside`, or log in with a passkey",
            code="login",
        )
    c.execute(update(login_links).where(login_links.c.token_hash == link).values(used_at=at))
    add_session(c, session, row.person_id, "link", visitor)


def add_session(
    c: Connection,
    session: str,
    person_id: str,
    method: str,
    visitor: Visitor,
    *,
    verified_at: int | None = None,
    account: tuple[str, str] | None = None,
) -> str:
    """Begin a session with the hash `session`; its public id. `verified_at`: of an assertion with user verification.
    `account`: the provider's names of who logged in there, and of their login there (empty: it has none).

    Raises:
        Refused: the person may not come in.
    """
    at = now(c)
    person = c.execute(
        select(people.c.name, people.c.role).where(people.c.id == person_id, people.c.disabled_at.is_(None))
    ).first()
    if person is None:
        raise Refused("this person may not come in any more", remedy="ask an admin of this hive", code="login")
    idle = later(at, idle_life(Role(person.role), outside=visitor.outside))
    c.execute(
        insert(sessions).values(
            id_hash=session,
            person_id=person_id,
            method=method,
            user_agent=visitor.user_agent[:200],
            address=visitor.address,
            outside=int(visitor.outside),
            created_at=at,
            seen_at=at,
            ends_at=later(at, SESSION_LIFE),
            idle_ends_at=idle,
            verified_at=verified_at,
            provider_subject=None if account is None else account[0],
            provider_session=None if account is None else account[1] or None,
        )
    )
    identifier = public_id(session)
    data = {"id": identifier, "method": method, "person": person.name, "address": visitor.address}
    actor = Actor(person.name, f"session {identifier}")
    events.record(c, "session.opened", subject=identifier, by=OPERATOR, data=data, actor=actor)
    return identifier


def live_session(c: Connection, session: str) -> Any:
    """The row of a live session with its person's name and role, by its hash; None when there is none."""
    query = select(sessions, people.c.name, people.c.role).join(people, people.c.id == sessions.c.person_id)
    return c.execute(query.where(sessions.c.id_hash == session, *_goes_on(c))).first()


def live_role(c: Connection, identifier: str) -> str | None:
    """The role of whose session has that public id; None: it does not go on."""
    query = select(people.c.role).join(sessions, people.c.id == sessions.c.person_id)
    return c.execute(query.where(_is_public(identifier), *_goes_on(c))).scalar()


def seen(c: Connection, session: str, role: str, *, outside: bool) -> None:
    """It was used."""
    values = {"seen_at": now(c), "idle_ends_at": later(now(c), idle_life(Role(role), outside=outside))}
    c.execute(update(sessions).where(sessions.c.id_hash == session, sessions.c.revoked_at.is_(None)).values(**values))


def renew(c: Connection, session: str, new: str) -> str:
    """Give the session with that public id another secret, whose hash is `new`: its person has just proved themselves
    by a passkey (step-up). Its new public id; streams of the old one close because of the event."""
    values = {"id_hash": new, "verified_at": now(c)}
    c.execute(update(sessions).where(_is_public(session)).values(**values))
    identifier = public_id(new)
    events.record(c, "session.renewed", subject=session, by=OPERATOR, data={"id": identifier, "before": session})
    return identifier


def opened_lately(c: Connection, session: str, methods: Collection[str]) -> bool:
    """Whether the session with that public id was opened a short while ago, in one of these ways."""
    since = later(now(c), -LATELY)
    query = select(sessions.c.id_hash).where(_is_public(session), sessions.c.method.in_(methods))
    return c.execute(query.where(sessions.c.created_at > since)).first() is not None


def list_sessions(c: Connection, by: OperatorPrincipal) -> dict[str, Any]:
    """Sessions that go on, newest first: everybody's for an admin, else one's own."""
    query = select(sessions, people.c.name, people.c.role).join(people, people.c.id == sessions.c.person_id)
    mine = () if by.may(Authority.ADMIN) else (sessions.c.person_id == by.person_id,)
    rows = c.execute(query.where(*_goes_on(c), *mine).order_by(sessions.c.created_at.desc())).all()
    items = [
        {
            "id": public_id(row.id_hash),
            "person": row.name,
            "role": row.role,
            "method": row.method,
            "user_agent": row.user_agent,
            "address": row.address,
            "outside": bool(row.outside),
            "created_at": rfc3339(row.created_at),
            "seen_at": rfc3339(row.seen_at),
            "ends_at": rfc3339(min(row.ends_at, row.idle_ends_at)),
            "current": public_id(row.id_hash) == by.session,
        }
        for row in rows
    ]
    return {"items": items, "next": None}


def revoke(c: Connection, identifier: str, by: OperatorPrincipal) -> None:
    """End a session. Its streams close because of the event.

    Raises:
        NotFound: no live session goes by that name, or it is another person's and `by` is no admin.
    """
    mine = () if by.may(Authority.ADMIN) else (sessions.c.person_id == by.person_id,)
    query = select(sessions.c.id_hash).join(people, people.c.id == sessions.c.person_id)
    found = c.execute(query.where(_is_public(identifier), *_goes_on(c), *mine)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"there is no session {identifier}", remedy="`mel login --list` shows all")
    _end(c, found)


def end_all(c: Connection, person_id: str) -> None:
    """End every session of a person, and their links."""
    query = select(sessions.c.id_hash).where(sessions.c.person_id == person_id, sessions.c.revoked_at.is_(None))
    for session in c.execute(query).scalars().all():
        _end(c, session)
    unused = (login_links.c.person_id == person_id, login_links.c.used_at.is_(None))
    c.execute(update(login_links).where(*unused).values(used_at=now(c)))


def end_of_account(c: Connection, subject: str | None, login: str | None, actor: Actor | None = None) -> int:
    """End the sessions that an account at the provider opened, or one login of it there; how many went on."""
    which = [sessions.c.provider_subject == subject] if subject is not None else []
    which += [sessions.c.provider_session == login] if login is not None else []
    if not which:
        return 0
    query = select(sessions.c.id_hash).where(*which, sessions.c.method == "oidc", sessions.c.revoked_at.is_(None))
    found = c.execute(query).scalars().all()
    for session in found:
        _end(c, session, actor)
    return len(found)


def _end(c: Connection, session: str, actor: Actor | None = None) -> None:
    c.execute(update(sessions).where(sessions.c.id_hash == session).values(revoked_at=now(c)))
    identifier = public_id(session)
    events.record(c, "session.revoked", subject=identifier, by=OPERATOR, data={"id": identifier}, actor=actor)


def _goes_on(c: Connection) -> tuple[Any, ...]:
    at = now(c)
    back = sessions.c.seen_at <= later(at, CLOCK_MOST)  # a clock that went back ends it: else it would last too long
    may = people.c.disabled_at.is_(None)
    return sessions.c.revoked_at.is_(None), sessions.c.ends_at > at, sessions.c.idle_ends_at > at, back, may


def _is_public(identifier: str) -> Any:
    """By the beginning of the hash, and by no shorter beginning than that."""
    if len(identifier) != 16:
        return sessions.c.id_hash == ""
    return sessions.c.id_hash.startswith(identifier, autoescape=True)
