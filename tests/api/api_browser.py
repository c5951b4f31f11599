"""A browser by hand: raw requests over TCP with the headers that matter."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from melipona.testing.served import ServedHive


@dataclass
class Answer:
    """A response, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    """Raw requests over TCP, with the headers that a page of the hive would send, unless others are given."""

    def __init__(self, hive: ServedHive, host: str = "127.0.0.1") -> None:
        self.hive = hive
        self.host = f"{host}:{hive.port}"
        self.origin = f"http://{self.host}"
        self.cookies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """One request; a header that is None is left out."""
        sent: dict[str, str | None] = {"Host": self.host, "Sec-Fetch-Site": "same-origin"}
        if method not in ("GET", "HEAD"):
            sent |= {"Origin": self.origin, "Content-Type": "application/json"}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent |= dict(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.hive.port, timeout=20)
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
            kind = response.headers.get("content-type", "")
            whole = response.readline() if kind.startswith("text/event-stream") else response.read()
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, whole, kept)
        finally:
            connection.close()

    def login(self) -> None:
        """Use a fresh link, as the login page does."""
        link = self.hive.client.post("/login-links")["url"]
        self.keep(self.ask("GET", "/login"))
        answer = self.post("/api/v1/login", {"token": link.partition("#")[2]})
        assert answer.status == 200, answer.body
        self.keep(answer)

    def keep(self, answer: Answer) -> None:
        """Keep its cookies."""
        for cookie in answer.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            if value.strip('"'):
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None) -> Answer:
        """A JSON POST."""
        return self.ask("POST", path, json.dumps(body if body is not None else {}).encode(), headers)
