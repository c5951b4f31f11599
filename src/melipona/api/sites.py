"""Under which names the hive goes, and who is at the other end of a connection (T38, T41).

A Host names a site, and a site has one origin: a page of one is a stranger at the other. What a proxy says of whom it
speaks for counts when the connection comes from a listed proxy, and for nothing but the address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from melipona.access.cookies import before_cookie, session_cookie
from melipona.access.model import Visitor

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Sites:
    """The names of one hive. `url` is its public address, if it has one."""

    port: int
    url: str = ""
    proxies: tuple[Network, ...] = ()
    names: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """What the port is called on this machine, and the address it is bound to."""

    def origin(self, host: str | None) -> str | None:
        """The origin of the site of that Host, None when the hive does not go by it."""
        if host is None:
            return None
        if self.url and host == urlsplit(self.url).netloc:
            return self.url
        return f"http://{host}" if host in {f"{name}:{self.port}" for name in self.names} else None

    def is_direct(self, peer: str | None) -> bool:
        """Whether a peer came around the proxy, from another machine: nothing encrypts what it is told."""
        known = _parsed(peer or "")
        return known is None or not (known.is_loopback or self._is_proxy(known))

    def visitor(self, origin: str, peer: str | None, forwarded: Sequence[str], user_agent: str) -> Visitor:
        """Who is there. `peer` is the address at the other end, `forwarded` the values of X-Forwarded-For."""
        address = self._address(peer, forwarded, public=bool(self.url) and origin == self.url)
        secure = origin.startswith("https://")
        return Visitor(
            address=address,
            outside=address is None or not ipaddress.ip_address(address).is_loopback,
            user_agent=user_agent,
            origin=origin,
            session_cookie=session_cookie(self.port, secure=secure),
            before_cookie=before_cookie(self.port, secure=secure),
        )

    def _address(self, peer: str | None, forwarded: Sequence[str], *, public: bool) -> str | None:
        """The nearest address that is no proxy of ours; None where a proxy does not say for whom it speaks."""
        known = _parsed(peer or "")
        if known is None or not self._is_proxy(known):
            return None if known is None else str(known)
        hops = [hop.strip() for value in forwarded for hop in value.split(",")]
        for hop in reversed(hops):
            known = _parsed(hop)
            if known is None:
                return None
            if not self._is_proxy(known):
                return str(known)
        # Only proxies: with a header, somebody on this machine came through; without one, nobody says who it was.
        return str(known) if hops or not public else None

    def _is_proxy(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address.version == network.version and address in network for network in self.proxies)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
