"""What every response carries: the protocol's number and the headers that tell a browser to trust nothing (T25, T39).

They go out with the server's own 400 and 500 answers too, because `server.py` gives them to the HTTP layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from melipona.views.request import PREFIX

__all__ = ["CSP", "HEADERS", "PREFIX", "PROTOCOL", "embedded_headers"]

PROTOCOL = 1
"""Additive fields do not change it. Clients accept older or equal numbers and refuse newer ones (ASK-4)."""

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    "require-trusted-types-for 'script'"
)

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"melipona-protocol", str(PROTOCOL).encode()),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def embedded_headers(origins: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """The same for an address that pages of `origins` may show in a frame of theirs; without any, the same."""
    if not origins:
        return list(HEADERS)
    policy = CSP.replace("frame-ancestors 'none'", f"frame-ancestors {' '.join(origins)}")
    # X-Frame-Options knows no list, and where both stand browsers go by the policy: it is left out.
    rest = [pair for pair in HEADERS if pair[0] not in (b"content-security-policy", b"x-frame-options")]
    return [*rest, (b"content-security-policy", policy.encode())]
