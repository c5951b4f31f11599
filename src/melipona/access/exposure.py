"""How far a hive can be reached, and what that needs (T41).

On loopback nothing is needed. Another address is refused unless somebody else does TLS and people come in by more than
a link: a link is as good as whoever reads it.
"""

from __future__ import annotations

import ipaddress

from sqlalchemy import Connection, select

from melipona.boxes.driver import Finding
from melipona.errors import Refused
from melipona.settings import AccessSettings
from melipona.store.schema import passkeys, people

HOW = "see docs/how-to/reach-it-from-elsewhere.md"


def strong_ways(c: Connection, settings: AccessSettings) -> list[str]:
    """How people can come in besides links and tokens: `passkeys`, `provider`."""
    del settings
    usable = select(passkeys.c.credential_id).join(people, people.c.id == passkeys.c.person_id)
    query = usable.where(passkeys.c.revoked_at.is_(None), people.c.disabled_at.is_(None)).limit(1)
    return ["passkeys"] if c.execute(query).first() is not None else []


def check_exposure(c: Connection, settings: AccessSettings) -> None:
    """Let the hive be bound to the address of the settings.

    Raises:
        Refused: it is not loopback, and there is no proxy with TLS or no strong way in.
    """
    if ipaddress.ip_address(settings.host).is_loopback:
        return
    if not (settings.behind_proxy and settings.url.startswith("https://")):
        raise Refused(
            f"{settings.host} can be reached from other machines, and what goes there would not be encrypted",
            remedy=f"let a proxy do TLS, and set `behind_proxy` and an https `url` under [access]; {HOW}",
            code="exposed_plain",
        )
    if not strong_ways(c, settings):
        raise Refused(
            f"{settings.host} can be reached from other machines, and nobody has a passkey or a provider to log in by",
            remedy=f"add a passkey in Settings at {settings.url} first, with `host` still 127.0.0.1; {HOW}",
            code="exposed_weak",
        )


def finding(c: Connection, settings: AccessSettings) -> Finding:
    """How far this hive can be reached, for `mel doctor`."""
    loopback = ipaddress.ip_address(settings.host).is_loopback
    if loopback and not settings.url:
        return Finding("reach", True, f"from this machine alone ({settings.host})")
    where = settings.url or settings.host
    detail = f"at {where}, bound to {settings.host}"
    if settings.behind_proxy:
        detail += f", behind a proxy at {', '.join(settings.trusted_proxies)}"
    ways = strong_ways(c, settings)
    if not ways:
        remedy = f"log in at {where} by `mel login --outside` and add a passkey in Settings"
        return Finding("reach", False, f"{detail}; only by one-time links", remedy, fatal=False)
    if settings.url and not settings.behind_proxy:
        remedy = "set `behind_proxy` under [access]: without it everybody seems to be on this machine"
        return Finding("reach", False, f"{detail}; logins by {' and '.join(ways)}", remedy, fatal=False)
    return Finding("reach", True, f"{detail}; logins by {' and '.join(ways)}")
