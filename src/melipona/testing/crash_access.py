"""The crash story of logins: a passkey, a recovery code, a provider, and decisions that a passkey confirms.

A page and its person do what they do when no answer comes: they load the page again, log in again where their cookie is
worth nothing, and look whether it was done. The provider is a process of its own: whoever forks daemons has one thread.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from melipona.testing.authenticator import Authenticator
from melipona.testing.crash_rig import READY_SECONDS, Rig, StoryFailed

Json = dict[str, Any]
API = "/api/v1"
ANA = "248289761001"
AWAY = 0
"""The status of an answer that did not come."""


@dataclass(slots=True)
class Page:
    """A browser at `localhost`, with its cookies."""

    rig: Rig
    port: int
    cookies: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def ask(self, method: str, path: str, body: Json | None = None, confirmed: str = "") -> tuple[int, Json]:
        """One request as a page makes it; the status is `AWAY` when no answer came, and the daemon is there again."""
        headers = {
            "Host": f"localhost:{self.port}",
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/json",
        }
        if method != "GET":
            headers["Origin"] = self.origin
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if confirmed:
            headers["Melipona-Step-Up"] = confirmed
        return self._sent(method, path, None if method == "GET" else json.dumps(body or {}), headers)

    def post_form(self, path: str, **form: str) -> int:
        """What a server posts."""
        headers = {"Host": f"localhost:{self.port}", "Content-Type": "application/x-www-form-urlencoded"}
        return self._sent("POST", path, urlencode(form), headers)[0]

    def _sent(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, Json]:
        self.rig.ensure()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            for cookie in answer.headers.get_all("set-cookie") or []:
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
        except (OSError, http.client.HTTPException):
            return AWAY, {}
        finally:
            connection.close()
        is_json = (answer.headers.get_content_type() or "").endswith("json") and data
        return answer.status, json.loads(data) if is_json else {}


@dataclass(slots=True)
class Person:
    """Somebody at a page, with a passkey."""

    rig: Rig
    page: Page
    key: Authenticator

    def again(self, what: str, attempt: Callable[[], object], done: str, *values: object) -> None:
        """Attempt something until the query `done` has a row: an attempt whose answer was lost may have done it."""
        end = time.monotonic() + READY_SECONDS
        while not self.rig.rows(done, *values):
            attempt()
            if time.monotonic() > end:
                raise StoryFailed(f"{what}: it never came to that")

    def by_link(self) -> None:
        """Log in by a fresh link."""
        token = str(self.rig.ask("POST", "/login-links")["url"]).partition("#")[2]
        self.page.ask("GET", "/login")
        self.page.ask("POST", f"{API}/login", {"token": token})

    def by_passkey(self) -> Json:
        """Log in by the passkey; what was answered."""
        self.page.cookies.clear()
        self.page.ask("GET", "/login")
        status, options = self.page.ask("POST", f"{API}/login/passkey/options")
        if status != 200:
            return {}
        return self.page.ask("POST", f"{API}/login/passkey", {"answer": self.key.get(options)})[1]

    def by_code(self, code: str) -> None:
        """Log in by a recovery code, in another browser."""
        other = Page(self.rig, self.page.port)
        other.ask("GET", "/login")
        other.ask("POST", f"{API}/login/recovery", {"code": code})

    def add_passkey(self) -> None:
        """Add the passkey, in the first minutes after a link."""
        self.by_link()
        status, options = self.page.ask("POST", f"{API}/passkeys/options")
        if status == 200:
            self.page.ask("POST", f"{API}/passkeys", {"label": "mine", "answer": self.key.create(options)})

    def decide(self, method: str, path: str, body: Json | None = None) -> None:
        """Ask for a decision, confirm it with the passkey, ask again."""
        status, needed = self.page.ask(method, API + path, body)
        if status == 401:
            self.by_passkey()
        if "step_up" not in needed:
            return
        challenge = needed["step_up"]
        answer = self.key.get(challenge["options"])
        if self.page.ask("POST", f"{API}/step-up", {"id": challenge["id"], "answer": answer})[0] == 204:
            self.page.ask(method, API + path, body, challenge["id"])


@dataclass(slots=True)
class Provider:
    """The provider in its process."""

    process: subprocess.Popen[str]
    issuer: str

    def tell(self, **wanted: Any) -> Json:
        """Have it be told something; its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def log_in(self, page: Page) -> None:
        """Log a browser in by it."""
        page.cookies.clear()
        page.ask("GET", "/login")
        status, began = page.ask("POST", f"{API}/login/oidc/start")
        if status == 200:
            page.ask("POST", f"{API}/login/oidc", self._answer(str(began["url"])))

    def _answer(self, address: str) -> Json:
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}")
            shown = connection.getresponse().read().decode()
        finally:
            connection.close()
        found = re.search(r'id="go" href="([^"]+)"', shown)
        assert found is not None
        query = parse_qs(urlsplit(found[1].replace("&amp;", "&")).query)
        return {name: values[0] for name, values in query.items()}


@contextmanager
def provider() -> Generator[Provider]:
    """A provider of logins in a process of its own."""
    argv = [sys.executable, "-m", "melipona.testing.oidc_provider"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Provider(process, process.stdout.readline().strip())
        finally:
            process.terminate()


def logins(rig: Rig) -> None:
    """A passkey is added, logs in, confirms decisions, is copied; a recovery code; an account comes in and goes, and a
    stranger stays out."""
    with provider() as at:
        rig.config_file.write_text(rig.config.replace("https://provider.invalid", at.issuer))
        rig.begin()
        page = Page(rig, int(urlsplit(str(rig.ask("POST", "/login-links")["url"])).port or 0))
        who = Person(rig, page, Authenticator(page.origin))
        _passkeys(rig, who)
        _accounts(rig, who, at)
    rig.quiet()


def _passkeys(rig: Rig, who: Person) -> None:
    who.again("a passkey", who.add_passkey, "SELECT 1 FROM passkeys")
    who.again("a login", who.by_passkey, "SELECT 1 FROM sessions WHERE method = 'passkey'")
    [(name,)] = rig.rows("SELECT credential_id FROM passkeys")

    def rename() -> None:
        if who.page.ask("PATCH", f"{API}/passkeys/{name}", {"label": "my phone"})[0] == 401:
            who.by_passkey()

    who.again("a label", rename, "SELECT 1 FROM passkeys WHERE label = 'my phone'")
    let_in = {"name": "mara", "role": "viewer"}
    who.again("a decision", lambda: who.decide("POST", "/people", let_in), "SELECT 1 FROM people WHERE name = 'mara'")
    rig.expect("let in once", rig.rows("SELECT count(*) FROM events WHERE kind = 'person.added'"), [(1,)])
    proved = rig.rows("SELECT count(*) FROM events WHERE kind = 'login.confirmed'")
    rig.expect(
        "proved", proved in ([(1,)], [(2,)]), True
    )  # a confirmation is used up before its decision is carried out
    codes = list(rig.ask("POST", "/recovery-codes", {})["codes"])
    who.again("a code", lambda: who.by_code(codes.pop()), "SELECT 1 FROM sessions WHERE method = 'recovery'")
    told = rig.rows("SELECT count(*) FROM events WHERE kind = 'recovery.code_used'")
    used = rig.rows(
        "SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL AND code_hash NOT IN (SELECT code_hash "
        "FROM recovery_codes WHERE created_at < (SELECT max(created_at) FROM recovery_codes))"
    )
    rig.expect("each code that was used is told", told, used)
    count, who.key.count = who.key.count, 0
    who.again("a copy", who.by_passkey, "SELECT 1 FROM events WHERE kind = 'passkey.counter_went_back'")
    who.key.count = count + 20


def _accounts(rig: Rig, who: Person, at: Provider) -> None:
    rig.repeated("POST", "/people/mara/identities", {"subject": ANA})
    other = Page(rig, who.page.port)
    is_in = "SELECT 1 FROM sessions WHERE method = 'oidc' AND revoked_at IS NULL"
    who.again("an account", lambda: at.log_in(other), is_in)
    at.tell(subject="a-stranger")
    who.again(
        "a stranger", lambda: at.log_in(Page(rig, other.port)), "SELECT 1 FROM events WHERE kind = 'login.refused'"
    )
    at.tell(subject=ANA)
    token = str(at.tell(logout=True)["token"])
    who.again(
        "a logout",
        lambda: other.post_form(f"{API}/login/oidc/logout", logout_token=token),
        f"SELECT 1 WHERE NOT EXISTS ({is_in})",
    )
    rig.expect(
        "strangers",
        rig.rows(
            "SELECT count(*) FROM sessions AS s JOIN people AS p ON p.id = s.person_id "
            "WHERE s.method = 'oidc' AND p.name <> 'mara'"
        ),
        [(0,)],
    )
