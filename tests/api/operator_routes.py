"""The frozen list of the operator's routes (T11): a new one is a decision, and this is where it is seen."""

import re

ROUTES = [
    ("GET", "/"),
    ("GET", "/agents/{name}"),
    ("GET", "/assets/{name}"),
    ("GET", "/audit"),
    ("GET", "/costs"),
    ("GET", "/health"),
    ("GET", "/login"),
    ("GET", "/login/oidc"),
    ("GET", "/messages"),
    ("GET", "/settings"),
    ("GET", "/ui"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/readyz"),
    ("GET", "/api/v1/agents"),
    ("GET", "/api/v1/agents/{name}"),
    ("GET", "/api/v1/agents/{name}/turns"),
    ("GET", "/api/v1/costs"),
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/events/page"),
    ("GET", "/api/v1/files"),
    ("GET", "/api/v1/files/download"),
    ("GET", "/api/v1/folders"),
    ("GET", "/api/v1/health"),
    ("GET", "/api/v1/inbox"),
    ("GET", "/api/v1/inbox/unread"),
    ("GET", "/api/v1/login/ways"),
    ("GET", "/api/v1/me"),
    ("GET", "/api/v1/messages"),
    ("GET", "/api/v1/messages/{message}"),
    ("GET", "/api/v1/messages/{message}/body"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/passkeys"),
    ("GET", "/api/v1/people/{name}/identities"),
    ("GET", "/api/v1/people/{name}/passkeys"),
    ("GET", "/api/v1/sessions"),
    ("GET", "/api/v1/people"),
    ("GET", "/api/v1/settings"),
    ("GET", "/api/v1/state"),
    ("GET", "/api/v1/terminals/{terminal}/stream"),
    ("GET", "/api/v1/tokens"),
    ("GET", "/api/v1/turns"),
    ("GET", "/api/v1/turns/{turn}"),
    ("GET", "/api/v1/turns/{turn}/stream"),
    ("GET", "/api/v1/why/{subject}"),
    ("PATCH", "/api/v1/agents/{name}"),
    ("PATCH", "/api/v1/people/{name}"),
    ("PATCH", "/api/v1/passkeys/{passkey}"),
    ("POST", "/api/v1/agents"),
    ("POST", "/api/v1/agents/{name}/compact"),
    ("POST", "/api/v1/agents/{name}/destroy"),
    ("POST", "/api/v1/agents/{name}/interrupt"),
    ("POST", "/api/v1/agents/{name}/new-session"),
    ("POST", "/api/v1/agents/{name}/pause"),
    ("POST", "/api/v1/agents/{name}/purge"),
    ("POST", "/api/v1/agents/{name}/restart"),
    ("POST", "/api/v1/agents/{name}/resume"),
    ("POST", "/api/v1/agents/{name}/start"),
    ("POST", "/api/v1/agents/{name}/stop"),
    ("POST", "/api/v1/agents/{name}/take-back"),
    ("POST", "/api/v1/agents/{name}/terminals"),
    ("POST", "/api/v1/backup"),
    ("POST", "/api/v1/doctor"),
    ("POST", "/api/v1/inbox/read"),
    ("POST", "/api/v1/login"),
    ("POST", "/api/v1/login-links"),
    ("POST", "/api/v1/login-links/switch"),
    ("POST", "/api/v1/login/oidc"),
    ("POST", "/api/v1/login/oidc/logout"),
    ("POST", "/api/v1/login/oidc/start"),
    ("POST", "/api/v1/login/passkey"),
    ("POST", "/api/v1/login/passkey/options"),
    ("POST", "/api/v1/login/recovery"),
    ("POST", "/api/v1/logout"),
    ("POST", "/api/v1/messages"),
    ("POST", "/api/v1/messages/{message}/retry"),
    ("POST", "/api/v1/people"),
    ("POST", "/api/v1/tokens"),
    ("POST", "/api/v1/passkeys"),
    ("POST", "/api/v1/passkeys/options"),
    ("POST", "/api/v1/people/{name}/identities"),
    ("POST", "/api/v1/recovery-codes"),
    ("POST", "/api/v1/step-up"),
    ("POST", "/api/v1/step-up/provider"),
    ("POST", "/api/v1/step-up/provider/start"),
    ("POST", "/api/v1/stop"),
    ("POST", "/api/v1/terminals/{terminal}/input"),
    ("POST", "/api/v1/terminals/{terminal}/size"),
    ("DELETE", "/api/v1/passkeys/{passkey}"),
    ("DELETE", "/api/v1/people/{name}/identities/{identity}"),
    ("DELETE", "/api/v1/people/{name}/passkeys/{passkey}"),
    ("DELETE", "/api/v1/sessions/{session}"),
    ("DELETE", "/api/v1/terminals/{terminal}"),
    ("DELETE", "/api/v1/tokens/{token}"),
]

OWN = {
    ("GET", "/api/v1/sessions"),
    ("GET", "/api/v1/tokens"),
    ("DELETE", "/api/v1/sessions/{session}"),
    ("DELETE", "/api/v1/tokens/{token}"),
    ("POST", "/api/v1/logout"),
    ("POST", "/api/v1/tokens"),
    ("GET", "/api/v1/passkeys"),
    ("PATCH", "/api/v1/passkeys/{passkey}"),
    ("POST", "/api/v1/passkeys"),
    ("POST", "/api/v1/passkeys/options"),
    ("POST", "/api/v1/recovery-codes"),
    ("POST", "/api/v1/step-up"),
    ("POST", "/api/v1/step-up/provider"),
    ("POST", "/api/v1/step-up/provider/start"),
    ("DELETE", "/api/v1/passkeys/{passkey}"),
}
"""One's own logins: a viewer's too, never a token's."""
ADMIN = {
    ("GET", "/api/v1/people"),
    ("PATCH", "/api/v1/people/{name}"),
    ("POST", "/api/v1/backup"),
    ("POST", "/api/v1/login-links"),
    ("POST", "/api/v1/people"),
    ("POST", "/api/v1/stop"),
    ("GET", "/api/v1/people/{name}/identities"),
    ("GET", "/api/v1/people/{name}/passkeys"),
    ("POST", "/api/v1/people/{name}/identities"),
    ("POST", "/api/v1/login-links/switch"),
    ("DELETE", "/api/v1/people/{name}/identities/{identity}"),
    ("DELETE", "/api/v1/people/{name}/passkeys/{passkey}"),
}
SHOWS_SECRETS = {("GET", "/api/v1/terminals/{terminal}/stream")}
"""What reads and is an operator's all the same."""


def authority_of(method: str, route: str) -> str:
    """What a route needs. Frozen: another answer is a decision, and this is where it is seen."""
    if route in OPEN:
        return "open"
    if (method, route) in OWN:
        return "own"
    if (method, route) in ADMIN:
        return "admin"
    return "read" if method == "GET" and (method, route) not in SHOWS_SECRETS else "act"


PAGES = {"/", "/agents/{name}", "/audit", "/costs", "/health", "/login", "/login/oidc", "/messages", "/settings", "/ui"}
"""Addresses of the one page, which holds no data."""
LOGIN = {
    "/api/v1/login",
    "/api/v1/login/oidc",
    "/api/v1/login/oidc/logout",
    "/api/v1/login/oidc/start",
    "/api/v1/login/passkey",
    "/api/v1/login/passkey/options",
    "/api/v1/login/recovery",
    "/api/v1/login/ways",
}
"""How a stranger gets in."""
OPEN = PAGES | LOGIN | {"/assets/{name}", "/healthz", "/readyz"}
"""Routes that a stranger may ask for."""

PARAMETERS = {
    "{name}": "ana",
    "{message}": "m1",
    "{turn}": "t1",
    "{subject}": "ana",
    "{terminal}": "old",
    "{session}": "0123456789abcdef",
    "{token}": "0123456789ab",
    "{passkey}": "AAAAAAAAAAAAAAAA",
    "{identity}": "01890000-0000-7000-8000-000000000000",
}


def path_of(route: str) -> str:
    """The route with its parameters filled in."""
    if route == "/assets/{name}":
        return "/assets/mark.svg"
    if route.startswith("/api/v1/files"):
        return f"{route}?path=/shared/note.md"
    if route == "/api/v1/folders":
        return f"{route}?path=/shared"
    route = re.sub(r"/people/\{name\}/(?=identities|passkeys)", "/people/owner/", route)
    for name, value in PARAMETERS.items():
        route = route.replace(name, value)
    return route
