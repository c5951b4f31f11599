"""What each route of the operator's API needs, in one place. The guard knows no route but these: one that states
nothing here does not exist for anybody (T11). A test freezes the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from melipona.api.protocol import PREFIX
from melipona.principals import Authority, OperatorPrincipal, Role

PAGES = frozenset({"/", "/login", "/login/oidc", "/messages", "/costs", "/audit", "/health", "/settings", "/ui"})
"""Addresses of the page, which holds no data; `AGENT_PAGE` is the other one."""
AGENT_PAGE = re.compile(r"/agents/[a-z0-9-]{1,32}")

OF_SERVERS = frozenset({f"{PREFIX}/login/oidc/logout"})
"""What another server posts, as a form and without a login: it proves itself by what it signs. A browser never may."""

Route = tuple[str, str]
"""Method and path; a part of the path in braces stands for any text without a slash."""


def _of(authority: Authority, routes: Iterable[str], prefix: str = PREFIX) -> dict[Route, Authority]:
    found: dict[Route, Authority] = {}
    for route in routes:
        method, _, path = route.partition(" ")
        found[method, prefix + path] = authority
    return found


_OPEN = (*(f"GET {page}" for page in sorted(PAGES)), "GET /agents/{name}", "GET /assets/{name}", "GET /healthz")
_LOGIN = (
    "GET /login/ways",
    "POST /login",
    "POST /login/oidc",
    "POST /login/oidc/logout",
    "POST /login/oidc/start",
    "POST /login/passkey",
    "POST /login/passkey/options",
    "POST /login/recovery",
)
_READ = (
    "GET /agents",
    "GET /agents/{name}",
    "GET /agents/{name}/turns",
    "GET /costs",
    "GET /events",
    "GET /events/page",
    "GET /files",
    "GET /files/download",
    "GET /folders",
    "GET /health",
    "GET /inbox",
    "GET /inbox/unread",
    "GET /me",
    "GET /messages",
    "GET /messages/{message}",
    "GET /messages/{message}/body",
    "GET /openapi.json",
    "GET /settings",
    "GET /state",
    "GET /turns",
    "GET /turns/{turn}",
    "GET /turns/{turn}/stream",
    "GET /why/{subject}",
)
_OWN = (
    "DELETE /passkeys/{passkey}",
    "DELETE /sessions/{session}",
    "DELETE /tokens/{token}",
    "GET /passkeys",
    "GET /sessions",
    "GET /tokens",
    "PATCH /passkeys/{passkey}",
    "POST /logout",
    "POST /passkeys",
    "POST /passkeys/options",
    "POST /recovery-codes",
    "POST /step-up",
    "POST /step-up/provider",
    "POST /step-up/provider/start",
    "POST /tokens",
)
_ACT = (
    "PATCH /agents/{name}",
    "POST /agents",
    "POST /agents/{name}/compact",
    "POST /agents/{name}/destroy",
    "POST /agents/{name}/interrupt",
    "POST /agents/{name}/new-session",
    "POST /agents/{name}/pause",
    "POST /agents/{name}/purge",
    "POST /agents/{name}/restart",
    "POST /agents/{name}/resume",
    "POST /agents/{name}/start",
    "POST /agents/{name}/stop",
    "POST /agents/{name}/take-back",
    "POST /agents/{name}/terminals",
    "POST /doctor",  # it starts a box
    "POST /inbox/read",
    "POST /messages",
    "POST /messages/{message}/retry",
    "DELETE /terminals/{terminal}",
    "GET /terminals/{terminal}/stream",  # what is typed into a shell may be more than a viewer should see
    "POST /terminals/{terminal}/input",
    "POST /terminals/{terminal}/size",
)
_ADMIN = (
    "DELETE /people/{name}/identities/{identity}",
    "DELETE /people/{name}/passkeys/{passkey}",
    "GET /people/{name}/identities",
    "GET /people/{name}/passkeys",
    "POST /people/{name}/identities",
    "POST /login-links/switch",
    "POST /backup",  # everything, to a path on the daemon's host
    "POST /login-links",
    "GET /people",
    "POST /people",
    "PATCH /people/{name}",
    "POST /stop",
)
AUTHORITIES: Mapping[Route, Authority] = {
    **_of(Authority.OPEN, (*_OPEN, "GET /readyz"), prefix=""),
    **_of(Authority.OPEN, _LOGIN),
    **_of(Authority.READ, _READ),
    **_of(Authority.READ, ("GET /metrics",), prefix=""),
    **_of(Authority.OWN, _OWN),
    **_of(Authority.ACT, _ACT),
    **_of(Authority.ADMIN, _ADMIN),
}


class Authorities:
    """Finds what a request needs by its method and path."""

    def __init__(self, table: Mapping[Route, Authority] = AUTHORITIES) -> None:
        self._plain: dict[str, dict[str, Authority]] = {}
        patterns: dict[str, dict[str, Authority]] = {}
        for (method, path), authority in table.items():
            (patterns if "{" in path else self._plain).setdefault(path, {})[method] = authority
        self._patterns = [(re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path)), by) for path, by in patterns.items()]

    def of(self, method: str, path: str) -> Authority | None:
        """The least that it needs; None: there is no such route."""
        return self._methods(path).get("GET" if method == "HEAD" else method)

    def knows(self, path: str) -> bool:
        """Whether some method is served there."""
        return bool(self._methods(path))

    def _methods(self, path: str) -> Mapping[str, Authority]:
        plain = self._plain.get(path)
        if plain is not None:
            return plain
        nothing: Mapping[str, Authority] = {}
        return next((by for pattern, by in self._patterns if pattern.fullmatch(path)), nothing)


def is_page(path: str) -> bool:
    """Whether it is an address of the page."""
    return path in PAGES or AGENT_PAGE.fullmatch(path) is not None


def refusal(by: OperatorPrincipal, needed: Authority) -> tuple[str, str]:
    """Why somebody may not, and what to do."""
    if needed is Authority.OWN:
        return "a token changes no login: not sessions, tokens or keys", "use the page, or mel on the hive's machine"
    role = Role.ADMIN if needed is Authority.ADMIN else Role.OPERATOR
    if needed is Authority.ADMIN and by.scopes is not None:
        return "that needs an admin's own login; a token is never enough", "use the page, or mel on the hive's machine"
    if by.scopes is not None and by.role in (role, Role.ADMIN):
        return f"this token lacks the scope {needed}", f"make one with `mel token new NAME --scope read,{needed}`"
    return (
        f"{by.person} is a {by.role.value} here; that needs the role {role.value}",
        f"ask an admin of this hive: `mel people role {by.person} {role.value}`",
    )
