"""People: statements and what is done to them, each a transaction with its event."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select, update

from melipona.access import store as logins
from melipona.access import tokens
from melipona.access.model import Person, person_name
from melipona.clock import rfc3339
from melipona.errors import Conflict, NotFound, Refused
from melipona.ids import OPERATOR, new_id
from melipona.principals import Role
from melipona.store import events
from melipona.store.engine import now
from melipona.store.schema import people

_columns = (
    people.c.id,
    people.c.name,
    people.c.role,
    people.c.is_owner,
    people.c.created_at,
    people.c.disabled_at,
)


def owner(c: Connection) -> Person:
    """Whose hive it is: who opens the unix socket."""
    return _person(c.execute(select(*_columns).where(people.c.is_owner == 1)).one())


def named(c: Connection, name: str) -> Person:
    """The person of that name.

    Raises:
        NotFound: there is none.
    """
    row = c.execute(select(*_columns).where(people.c.name == name)).first()
    if row is None:
        raise NotFound(f"there is no person {name!r}", remedy="`mel people list` shows all")
    return _person(row)


def by_id(c: Connection, identifier: str) -> Person | None:
    """The person with that id, None when there is none."""
    row = c.execute(select(*_columns).where(people.c.id == identifier)).first()
    return None if row is None else _person(row)


def everybody(c: Connection) -> list[Person]:
    """Everybody by name, the disabled ones too."""
    return [_person(row) for row in c.execute(select(*_columns).order_by(people.c.name))]


def add(c: Connection, name: str, role: Role) -> Person:
    """Let somebody in. They have no way in yet: an admin makes them a link (`mel login --for NAME`).

    Raises:
        Invalid: the name cannot be one.
        Conflict: there is such a person.
    """
    wanted = person_name(name)
    if c.execute(select(people.c.id).where(people.c.name == wanted)).first() is not None:
        raise Conflict(f"there is a person {wanted!r} already", remedy="choose another name", code="exists")
    values = {"id": new_id(), "name": wanted, "role": role.value, "created_at": now(c)}
    c.execute(insert(people).values(**values))
    events.record(c, "person.added", subject=wanted, by=OPERATOR, data={"role": role.value})
    return named(c, wanted)


def set_role(c: Connection, name: str, role: Role) -> Person:
    """Give somebody another role. It counts from their next request on; their streams are closed.

    Raises:
        NotFound: there is no such person.
        Refused: it is the owner.
    """
    person = _other(c, name)
    if person.role is not role:
        c.execute(update(people).where(people.c.id == person.id).values(role=role.value))
        data = {"role": role.value, "before": person.role.value}
        events.record(c, "person.role_changed", subject=name, by=OPERATOR, data=data)
    return named(c, name)


def disable(c: Connection, name: str) -> Person:
    """Shut somebody out: their sessions, links and tokens end at once. Their name stays in what they did.

    Raises:
        NotFound: there is no such person.
        Refused: it is the owner.
    """
    person = _other(c, name)
    if person.disabled_at is None:
        c.execute(update(people).where(people.c.id == person.id).values(disabled_at=now(c)))
        events.record(c, "person.disabled", subject=name, by=OPERATOR)
        logins.end_all(c, person.id)
        tokens.revoke_all(c, person.id)
    return named(c, name)


def enable(c: Connection, name: str) -> Person:
    """Let somebody in again, by new logins: ended sessions and tokens stay ended.

    Raises:
        NotFound: there is no such person.
    """
    person = named(c, name)
    if person.disabled_at is not None:
        c.execute(update(people).where(people.c.id == person.id).values(disabled_at=None))
        events.record(c, "person.enabled", subject=name, by=OPERATOR)
    return named(c, name)


def view(person: Person) -> dict[str, Any]:
    """A person as the API shows them."""
    return {
        "name": person.name,
        "role": person.role.value,
        "owner": person.is_owner,
        "created_at": rfc3339(person.created_at),
        "disabled_at": None if person.disabled_at is None else rfc3339(person.disabled_at),
    }


def _other(c: Connection, name: str) -> Person:
    person = named(c, name)
    if person.is_owner:
        raise Refused(
            f"{name} owns this hive: whoever has its unix socket is an admin of it", remedy="change somebody else"
        )
    return person


def _person(row: Any) -> Person:
    return Person(row.id, row.name, Role(row.role), bool(row.is_owner), row.created_at, row.disabled_at)
