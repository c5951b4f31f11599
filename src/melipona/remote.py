"""A hive on another machine, for `melipona.client`: HTTPS with a token, on the standard library alone.

Certificates are checked against the system's (or what SSL_CERT_FILE names). Plain HTTP goes to this very machine alone:
no token is sent in clear text. Redirects are not followed. Tokens are kept in one 0600 file, by address.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from melipona.client import REFUSED, USAGE, ClientError, Unreachable

TOKEN = re.compile(r"mel_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
HOSTS = "hosts.json"
MAKE = "make one with `mel token new NAME` on the hive's machine"


class Remote:
    """How to get to the hive at `url`, and who asks."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = checked(url)
        self._parts = urlsplit(self.url)
        if token is not None and not TOKEN.fullmatch(token):
            raise ClientError("this is no token of a hive", MAKE, code="bad_token", exit_code=USAGE)
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"the hive at {self.url}"

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A connection that stands.

        Raises:
            Unreachable: why there is none.
        """
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from error
        return connection

    def refused(self, status: int) -> ClientError | None:
        """What an answer means that only a hive elsewhere gives; None when it means what it says."""
        if status == 401:
            what = "does not know this token" if self.headers else "wants a token"
            remedy = f"{MAKE}, then `mel login --host {self.url}`"
            return ClientError(f"{self.name} {what}", remedy, code="bad_token", exit_code=REFUSED)
        if status in (502, 503, 504):
            return Unreachable(f"what stands before {self.name} does not reach it", "start it there: `mel up`", "away")
        if 300 <= status < 400:
            what = f"{self.url} sends elsewhere, and a token goes nowhere else"
            return ClientError(what, "give the address that the hive itself names", code="redirected")
        return None

    def _unreachable(self, error: OSError) -> Unreachable:
        if isinstance(error, ssl.SSLCertVerificationError):
            what = f"the certificate of {self.url} is not to be trusted: {error.verify_message}"
            return Unreachable(what, "mend it there, or name your own authority in SSL_CERT_FILE", "certificate")
        if isinstance(error, ssl.SSLError):
            return Unreachable(f"{self.url} does not speak TLS", "look at the address and its port", "tls")
        if isinstance(error, socket.gaierror):
            return Unreachable(f"no machine goes by the name {self._parts.hostname}", "look at the address", "no_host")
        if isinstance(error, ConnectionRefusedError):
            return Unreachable(f"nothing answers at {self.url}", "start the hive, or its proxy, there", "away")
        if isinstance(error, TimeoutError):
            return Unreachable(
                f"{self.name} does not answer", "look at the network between, and at the hive", "timeout"
            )
        return Unreachable(f"{self.name} cannot be reached: {error.strerror or error}", "look at the address", "away")


def checked(url: str) -> str:
    """`url` as an origin.

    Raises:
        ClientError: it is none, or a token would go in clear text to another machine.
    """
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    whole = parts.scheme in ("http", "https") and parts.path in ("", "/") and not (parts.query or parts.fragment)
    if not host or not whole or "@" in parts.netloc:
        remedy = "give the hive's address, such as https://hive.example.org"
        raise ClientError(f"{url!r} is no address of a hive", remedy, code="bad_host", exit_code=USAGE)
    if parts.scheme == "http" and not _is_here(host):
        what = f"{url} is not encrypted: a token would go there in clear text"
        raise ClientError(what, f"use https://{host}", code="not_encrypted", exit_code=USAGE)
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_for(url: str) -> str | None:
    """The token that was kept for the hive at `url`.

    Raises:
        ClientError: others may read the file.
    """
    return _kept().get(checked(url))


def keep_token(url: str, token: str) -> Path:
    """Keep a token for the hive at `url`; the file that holds it."""
    path = _place()
    kept = _kept() | {checked(url): token}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{HOSTS}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kept, file)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ClientError(f"{path} cannot be written: {error.strerror}", "look at who owns that folder") from error
    return path


def _kept() -> dict[str, str]:
    path = _place()
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ClientError(f"{path} may be read by others", f"chmod 600 {path}", exit_code=REFUSED)
            found: object = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ClientError(f"{path} cannot be read: {error}", "remove it, then `mel login --host URL`") from error
    known = cast("dict[Any, Any]", found) if isinstance(found, dict) else {}
    return {str(url): str(token) for url, token in known.items()}


def _place() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "melipona" / HOSTS
