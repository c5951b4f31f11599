"""A provider of logins (OpenID Connect) on loopback, with real keys and real tokens, which misbehaves when told to.

`with OidcProvider() as provider:` serves it; `provider.person` is who logs in there. Its login page is one button, so
that a browser has something to press; it checks the client, the redirect, PKCE and that a code is used once, as
providers do. `provider.faults` names what it does wrong.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from melipona.access.logout_token import EVENT
from melipona.access.oidc import authlib

Json = dict[str, Any]
CLIENT, SECRET = "melipona", "a-client-secret-of-the-tests"
FAULTS = frozenset(
    {
        "wrong issuer", "wrong audience", "more audiences", "expired", "from the future", "other nonce", "no nonce",
        "alg none", "shared secret", "swapped key", "unknown key", "unverified email", "email verified as text",
        "no email", "no token", "other access token", "long answer", "redirects", "packed", "no json", "names another",
        "other userinfo", "unsafe endpoint", "no second login",
    }
)  # fmt: skip


@dataclass
class Person:
    """Who is at the provider's login page."""

    subject: str = "248289761001"
    email: str = "ana@example.org"
    refuses: bool = False
    """Whether they say no."""
    login: str = ""
    """What the provider calls this login of theirs; empty: nothing."""


@dataclass
class OidcProvider:
    """The provider and everything that was asked of it."""

    person: Person = field(default_factory=Person)
    faults: set[str] = field(default_factory=set[str])
    secret: str = SECRET
    email_in_token: bool = True
    asked: list[str] = field(default_factory=list[str])
    codes: dict[str, Json] = field(default_factory=dict[str, Json])

    def __post_init__(self) -> None:
        self._keys: list[Any] = [_made("the provider's")]
        self._other = _made("another")

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def rotate(self) -> None:
        """Sign with a new key from now on, as providers do every few weeks."""
        self._keys = [ECKey.generate_key("P-256", {"kid": secrets.token_hex(4), "use": "sig"})]

    def sign(self, claims: Json) -> str:
        """A token with these claims, signed as `faults` say."""
        key: Any = self._keys[0]
        header: Json = {"alg": "RS256" if isinstance(key, RSAKey) else "ES256", "kid": key.kid}
        if "alg none" in self.faults:
            return f"{_encoded({'alg': 'none'})}.{_encoded(claims)}."
        if "shared secret" in self.faults:
            from joserfc.jwk import OctKey

            public = json.dumps(key.as_dict(private=False))
            return jwt.encode({"alg": "HS256", "kid": key.kid}, claims, OctKey.import_key(public))
        if "swapped key" in self.faults:
            key = self._other
        if "unknown key" in self.faults:
            header["kid"] = "never shown"
        return jwt.encode(header, claims, key)

    def log_in(self, address: str) -> str:
        """What a browser does that is sent to `address`: where it is sent back to."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        return self.answer(query)

    def answer(self, query: Json) -> str:
        """Where the browser is sent after the person has decided."""
        back: Json = {"state": query.get("state", "")}
        if self.person.refuses:
            back["error"] = "access_denied"
        else:
            code = secrets.token_urlsafe(16)
            self.codes[code] = query
            back["code"] = code
        back["iss"] = "https://other.example" if "names another" in self.faults else self.issuer
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def described(self) -> Json:
        """Its description."""
        return {
            "issuer": self.issuer + "/other" if "wrong issuer" in self.faults else self.issuer,
            "authorization_endpoint": self.issuer + "/authorize",
            "token_endpoint": "ftp://x" if "unsafe endpoint" in self.faults else self.issuer + "/token",
            "jwks_uri": self.issuer + "/keys",
            "userinfo_endpoint": self.issuer + "/userinfo",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
            "authorization_response_iss_parameter_supported": True,
        }

    def keys(self) -> Json:
        """Its public keys."""
        return {"keys": [key.as_dict(private=False) for key in self._keys]}

    def tokens(self, form: Json, authorization: str) -> tuple[int, Json]:
        """What a code is worth, once."""
        asked = self.codes.pop(form.get("code", ""), None)
        if not self._is_client(form, authorization):
            return 401, {"error": "invalid_client"}
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        challenge: str = authlib("oauth2.rfc7636").create_s256_code_challenge(form.get("code_verifier", ""))
        if asked.get("code_challenge_method") != "S256" or challenge != asked.get("code_challenge"):
            return 400, {"error": "invalid_grant"}
        token = {} if "no token" in self.faults else {"id_token": self.sign(self.claims(asked))}
        return 200, {"access_token": "an-access-token", "token_type": "Bearer", "expires_in": 300, **token}

    def claims(self, asked: Json) -> Json:
        """What the token says, with its faults."""
        at = int(time.time())
        said: Json = {"iss": self.issuer, "sub": self.person.subject, "aud": CLIENT, "iat": at, "exp": at + 300}
        said |= {"nonce": asked["nonce"]}
        if self.email_in_token and "no email" not in self.faults:
            said |= self.email()
        wrong: dict[str, Json] = {
            "wrong audience": {"aud": "another-client"},
            "more audiences": {"aud": [CLIENT, "another-client"], "azp": CLIENT},
            "expired": {"iat": at - 7200, "exp": at - 3600},
            "from the future": {"iat": at + 7200, "exp": at + 9000},
            "other nonce": {"nonce": "of-another-login"},
            "other access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
        }
        if asked.get("prompt") == "login" and "no second login" not in self.faults:
            said |= {"auth_time": at}
        elif "no second login" in self.faults:
            said |= {"auth_time": at - 3600}
        if self.person.login:
            said |= {"sid": self.person.login}
        for name in self.faults & set(wrong):
            said |= wrong[name]
        if "no nonce" in self.faults:
            del said["nonce"]
        return said

    def logout_token(self, **said: Any) -> str:
        """What it posts when somebody has logged out there; None leaves a claim out."""
        claims: Json = {"iss": self.issuer, "aud": CLIENT, "iat": int(time.time()), "jti": secrets.token_hex(8)}
        claims |= {"sub": self.person.subject, "sid": self.person.login or None, "events": {EVENT: {}}, **said}
        return self.sign({name: value for name, value in claims.items() if value is not None})

    def email(self) -> Json:
        """The claims about their address."""
        verified: Any = "unverified email" not in self.faults
        if "email verified as text" in self.faults:
            verified = "true"
        return {"email": self.person.email, "email_verified": verified}

    def userinfo(self) -> Json:
        """What it tells besides."""
        subject = "somebody else" if "other userinfo" in self.faults else self.person.subject
        return {"sub": subject, **({} if "no email" in self.faults else self.email())}

    def _is_client(self, form: Json, authorization: str) -> bool:
        if not self.secret:
            return form.get("client_id") == CLIENT
        expected = base64.b64encode(f"{CLIENT}:{self.secret}".encode()).decode()
        return authorization == f"Basic {expected}"


@cache
def _made(whose: str) -> RSAKey:
    """A key, made once in a process: it takes a processor half a second."""
    del whose
    return RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})


PAGE = """<!doctype html><title>Example login</title><h1>Example login</h1>
<p><a id="go" href="{go}">Log in as {email}</a></p>"""


class _Handler(BaseHTTPRequestHandler):
    """One connection to the provider."""

    provider: OidcProvider

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        """Nothing goes to stderr."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.provider.asked.append(parts.path)
        if parts.path == "/authorize":
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            go = self.provider.answer(query).replace("&", "&amp;").replace('"', "&quot;")
            return self._send(200, PAGE.format(go=go, email=self.provider.person.email).encode(), "text/html")
        found: dict[str, Callable[[], Json]] = {
            "/.well-known/openid-configuration": self.provider.described,
            "/keys": self.provider.keys,
            "/userinfo": self.provider.userinfo,
        }
        if parts.path not in found:
            return self._send(404, b"{}")
        return self._json(200, found[parts.path]())

    def do_POST(self) -> None:
        self.provider.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._json(*self.provider.tokens(form, self.headers.get("authorization", "")))

    def _json(self, status: int, data: Json) -> None:
        faults = self.provider.faults
        if "redirects" in faults:
            self.send_response(302)
            self.send_header("location", self.provider.issuer + "/keys")
            self.end_headers()
            return
        body = json.dumps(data).encode()
        if "long answer" in faults:
            body = body[:-1] + b', "x": "' + b"x" * (1 << 20) + b'"}'
        if "no json" in faults:
            body = b"<html>"
        self._send(status, body, "application/json")

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if "packed" in self.provider.faults and kind == "application/json":
            self.send_header("content-encoding", "gzip")
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            return


def _encoded(data: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def main() -> None:
    """Serve one: its issuer on stdout, then an answer to each line of stdin: `subject` sets who logs in, `logout` asks
    for a logout token."""
    with OidcProvider(secret="") as provider:
        print(provider.issuer, flush=True)
        for line in sys.stdin:
            wanted: Json = json.loads(line)
            provider.person.subject = wanted.get("subject", provider.person.subject)
            print(json.dumps({"token": provider.logout_token()} if wanted.get("logout") else {}), flush=True)


if __name__ == "__main__":
    main()
