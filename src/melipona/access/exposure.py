"""How far a hive can be reached, and what that needs (T41).

On loopback nothing is needed. Another address is refused unless somebody else does TLS and people come in by more than
a link: a link is as good as whoever reads it.
"""

from __future__ import annotations

import ipaddress

from sqlalchemy import Connection

from melipona.access.passkey_rows import any_here, counts
from melipona.access.passkeys import Site
from melipona.boxes.driver import Finding
from melipona.errors import Refused
from melipona.settings import AccessSettings

HOW = "see docs/how-to/reach-it-from-elsewhere.md"


def strong_ways(c: Connection, settings: AccessSettings) -> list[str]:
    """How people can come in besides links and tokens: `passkeys`, `a provider`."""
    site = Site.of(settings.url, 0)
    found = ["passkeys"] if site is not None and any_here(c, site.id) else []
    return [*found, "a provider"] if settings.oidc.issuer else found


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


def passkeys_finding(c: Connection, settings: AccessSettings) -> list[Finding]:
    """Whether there are passkeys that were made when the hive went by another name. None: there are no passkeys."""
    site = Site.of(settings.url, 0)
    name = "" if site is None else site.id
    found = counts(c)
    lost = ", ".join(f"{count} for {other}" for other, count in sorted(found.items()) if other != name)
    if lost:
        here = f"this hive is {name}" if name else f"{settings.url} is no place for passkeys"
        remedy = "set `url` back, or let everybody add theirs anew and revoke the old ones"
        return [Finding("passkeys", False, f"{lost} can be used no more: {here}", remedy, fatal=False)]
    return [Finding("passkeys", True, f"{found[name]} for {name}")] if found else []
