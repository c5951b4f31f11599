"""Ways in besides passkeys, as rows: recovery codes, and whether one-time links log anybody in.

Links may be switched off only while some admin has two passkeys, or one and a recovery code (SECURITY.md 5): nobody
locks themselves out by one lost device. Whoever has the machine can always switch them on again.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select, update

from melipona.access import passkey_rows
from melipona.access.model import hashed
from melipona.errors import Conflict, Refused
from melipona.ids import OPERATOR
from melipona.principals import Role
from melipona.store import events
from melipona.store.engine import Actor, now
from melipona.store.schema import meta, people, recovery_codes

LINKS_OFF = "login_links_off"


def keep_codes(c: Connection, person_id: str, codes: list[str]) -> None:
    """A person's new recovery codes; older ones are good no more."""
    at = now(c)
    unused = recovery_codes.c.person_id == person_id, recovery_codes.c.used_at.is_(None)
    c.execute(update(recovery_codes).where(*unused).values(used_at=at))
    rows = [{"code_hash": hashed(code), "person_id": person_id, "created_at": at} for code in codes]
    c.execute(insert(recovery_codes), rows)
    events.record(c, "recovery.codes_made", by=OPERATOR, data={"count": len(codes)})


def use_code(c: Connection, code: str) -> str:
    """Use a recovery code up; whose it is.

    Raises:
        Refused: it is wrong or was used.
    """
    which = recovery_codes.c.code_hash == hashed(code), recovery_codes.c.used_at.is_(None)
    row = c.execute(select(recovery_codes.c.person_id).where(*which)).first()
    if row is None:
        raise Refused("this recovery code is wrong or was used", remedy="use another of your codes", code="login")
    c.execute(update(recovery_codes).where(*which).values(used_at=now(c)))
    name = c.execute(select(people.c.name).where(people.c.id == row.person_id)).scalar_one()
    left = codes_left(c, row.person_id)
    data = {"person": name, "left": left}
    events.record(c, "recovery.code_used", by=OPERATOR, data=data, actor=Actor(name, "recovery"))
    return row.person_id


def codes_left(c: Connection, person_id: str) -> int:
    """How many recovery codes a person has."""
    query = select(func.count()).select_from(recovery_codes)
    unused = recovery_codes.c.person_id == person_id, recovery_codes.c.used_at.is_(None)
    return int(c.execute(query.where(*unused)).scalar_one())


def links_are_off(c: Connection) -> bool:
    """Whether one-time links log nobody in."""
    return c.execute(select(meta.c.value).where(meta.c.key == LINKS_OFF)).first() is not None


def is_safe(c: Connection, rp_id: str) -> bool:
    """Whether some admin has two passkeys of this site, or one and a recovery code."""
    admins = c.execute(select(people.c.id).where(people.c.role == Role.ADMIN.value, people.c.disabled_at.is_(None)))
    counted = ((len(passkey_rows.known(c, admin, rp_id)), codes_left(c, admin)) for admin in admins.scalars().all())
    return any(keys >= 2 or (keys == 1 and codes >= 1) for keys, codes in counted)


def check_safe(c: Connection, rp_id: str) -> None:
    """After a way in was taken away: with links off, enough must be left.

    Raises:
        Conflict: too few are.
    """
    if links_are_off(c) and not is_safe(c, rp_id):
        raise Conflict(
            "with login links off, too few ways in would be left",
            remedy="add another passkey or make recovery codes first, or switch login links on",
            code="too_few_ways",
        )


def switch_links(c: Connection, *, on: bool, rp_id: str) -> None:
    """Let one-time links log people in, or not.

    Raises:
        Conflict: off, while no admin has two passkeys, or one and a recovery code.
    """
    if on is not links_are_off(c):
        return
    if on:
        c.execute(delete(meta).where(meta.c.key == LINKS_OFF))
    elif not is_safe(c, rp_id):
        raise Conflict(
            "an admin needs two passkeys, or one and a recovery code, before login links are switched off",
            remedy="add another passkey, or make recovery codes, in Settings",
            code="too_few_ways",
        )
    else:
        c.execute(insert(meta).values(key=LINKS_OFF, value="1"))
    events.record(c, "login.links_switched", by=OPERATOR, data={"on": on})
