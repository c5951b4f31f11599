"""Where passkeys can be used: their site, and what somebody at another address of the hive is told."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from melipona.access.passkeys import Site
from melipona.errors import Refused


@dataclass(frozen=True, slots=True)
class Place:
    """Whether passkeys work at the address that somebody sees, else why not and where they do (empty: nowhere)."""

    site: Site | None
    why: str = ""
    address: str = ""


class Places:
    """The one place of passkeys of a hive. `url` is its public address, if it has one."""

    def __init__(self, url: str, port: int) -> None:
        self.url, self.site = url, Site.of(url, port)

    def at(self, origin: str) -> Place:
        """The place that `origin` is."""
        if self.site is None:
            why = f"passkeys need a name and TLS, and {self.url} has not both"
            return Place(None, why)
        if origin in self.site.origins:
            return Place(self.site)
        host = urlsplit(origin).hostname or ""
        address = self.site.origins[0]
        if host == self.site.id:
            return Place(None, f"passkeys of this hive are used at {address}", address)
        return Place(None, f"browsers keep passkeys for a name, and those of this hive are for {self.site.id}", address)

    def site_at(self, origin: str) -> Site:
        """The site, for somebody who sees `origin`.

        Raises:
            Refused: passkeys do not work there.
        """
        place = self.at(origin)
        if place.site is None:
            remedy = f"open {place.address}" if place.address else "docs/how-to/log-in-with-passkeys.md says how to"
            raise Refused(place.why, remedy=remedy, code="passkey_place")
        return place.site
