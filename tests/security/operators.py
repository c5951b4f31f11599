"""A browser of the operator by hand: logs in over TCP and asks, with the headers that a page of the hive would send."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from melipona.client import Client


@dataclass
class Answer:
    """A response; of a stream its first line."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """Requests to the API of the hive behind `client`. `cookies` are kept as a browser keeps them."""

    client: Client
    port: int
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, client: Client) -> Browser:
        """A browser without a session."""
        return cls(client, int(str(client.get("/state")["api"]).rsplit(":", 1)[1].strip("/")))

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def session(self) -> str:
        """Name of the session's cookie."""
        return f"mel-{self.port}"

    def token(self) -> str:
        """The secret of a fresh login link."""
        return str(self.client.post("/login-links")["url"]).partition("/login#")[2]

    def login(self) -> Browser:
        """Log in with a fresh link."""
        assert self.ask("GET", "/login").status == 200
        assert self.ask("POST", "/api/v1/login", json.dumps({"token": self.token()}).encode()).status == 200
        return self

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """One request; a header that is None is left out."""
        sent: dict[str, str | None] = {"Host": f"127.0.0.1:{self.port}", "Sec-Fetch-Site": "same-origin"}
        if method not in ("GET", "HEAD"):
            sent |= {"Origin": self.origin, "Content-Type": "application/json"}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent |= dict(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None or method not in ("GET", "HEAD"):
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
            response = connection.getresponse()
            kept = response.headers.get_all("set-cookie") or []
            stream = response.headers.get("content-type", "").startswith("text/event-stream")
            whole = response.readline() if stream else response.read()
            self._keep(kept)
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, whole, kept)
        finally:
            connection.close()

    def _keep(self, cookies: list[str]) -> None:
        for cookie in cookies:
            name, _, rest = cookie.partition("=")
            value = rest.partition(";")[0].strip('"')
            if "max-age=0" in cookie.lower() or not value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value


PLACEHOLDERS = {
    "name": "ana",
    "message": "m1",
    "turn": "t1",
    "subject": "ana",
    "session": "0123456789abcdef",
    "token": "0123456789ab",
}
UNLISTED = [("GET", "/"), ("GET", "/login"), ("GET", "/assets/x"), ("GET", "/metrics"), ("GET", "/api/v1/openapi.json")]


def routes_of(client: Client) -> list[tuple[str, str]]:
    """Every route of the operator's API, filled in: as its document has it, with the few that it leaves out."""
    document = client.get("/openapi.json")
    found = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert len(found) > 30
    return sorted({*((method, fill(path)) for method, path in found), *UNLISTED})


def fill(path: str) -> str:
    """A route with its parameters filled in."""
    for name, value in PLACEHOLDERS.items():
        path = path.replace("{" + name + "}", value)
    return path.replace("{", "").replace("}", "")
