"""A client of the operator's API over the unix socket, on the standard library alone (D-40); `remote.py` gets it to a
hive on another machine.

It dials the socket through `/proc/self/fd`, so that the data folder's path may be of any length (D-10), makes sure that
the one who answers is the folder's owner, and checks the protocol's number before it trusts anything else in a response
(ASK-4). Nothing that may have had an effect is sent twice, except with an idempotency key.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import quote, urlencode

if TYPE_CHECKING:  # a third of the time of `mel --help`, which asks nobody: imported by what asks
    from http.client import HTTPConnection, HTTPResponse

PROTOCOL = 1
PREFIX = "/api/v1"
TIMEOUT = 30.0
AGAIN_SECONDS = 15.0
"""How long a call that may be repeated waits for a daemon that is being restarted."""

FAILED, USAGE, NOT_FOUND, REFUSED, UNREACHABLE, UNKNOWN = 1, 2, 3, 4, 5, 75
"""Exit codes (D-5)."""
_EXIT = {400: USAGE, 401: REFUSED, 403: REFUSED, 404: NOT_FOUND, 409: REFUSED, 421: REFUSED, 422: USAGE, 429: REFUSED}

Json = dict[str, Any]


class ClientError(Exception):
    """A call failed: what happened, what to do, and the exit code that says it (D-5)."""

    def __init__(self, what: str, remedy: str = "", *, code: str = "failed", exit_code: int = FAILED) -> None:
        super().__init__(what)
        self.what, self.remedy, self.code, self.exit_code = what, remedy, code, exit_code


class Unreachable(ClientError):
    """No daemon answers. `code` tells why: no_socket, refused, permission, timeout (ASK-21)."""

    def __init__(self, what: str, remedy: str, code: str) -> None:
        super().__init__(what, remedy, code=code, exit_code=UNREACHABLE)


class Problem(ClientError):
    """The daemon answered with a problem document."""

    def __init__(self, status: int, document: Json) -> None:
        code = str(document.get("code", "error"))
        exit_code = UNKNOWN if code == "outcome_unknown" else _EXIT.get(status, FAILED)
        what = str(document.get("detail") or document.get("title") or f"status {status}")
        super().__init__(what, str(document.get("remedy", "")), code=code, exit_code=exit_code)
        self.status, self.document = status, document


class Endpoint(Protocol):
    """Where a daemon is."""

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        ...

    def connect(self, timeout: float) -> HTTPConnection:
        """A connection that stands.

        Raises:
            Unreachable: why there is none.
        """
        ...

    def refused(self, status: int) -> ClientError | None:
        """What an answer with that status means here, if something else than it says."""
        ...


class _Socket:
    """The unix socket of the hive in `data`."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.headers: dict[str, str] = {}

    def connect(self, timeout: float) -> HTTPConnection:
        from http.client import HTTPConnection

        connection = HTTPConnection("localhost", timeout=timeout)
        connection.auto_open = 0  # it would open another one over TCP
        try:
            connection.sock = _dialled(self._data / "run", timeout)
        except OSError as error:
            raise _unreachable(self._data, error) from error
        return connection

    def refused(self, status: int) -> None:
        del status


def _dialled(run: Path, timeout: float) -> socket.socket:
    """The socket in the folder `run`, whose path may be longer than an address."""
    folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(f"/proc/self/fd/{folder}/mel.sock")
        _check_owner(sock, os.fstat(folder).st_uid)
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


class Client:
    """Calls the daemon of the hive in `data`, or the one at `endpoint`."""

    def __init__(self, data: Path, *, timeout: float = TIMEOUT, endpoint: Endpoint | None = None) -> None:
        self.data = data
        self._timeout = timeout
        self._endpoint: Endpoint = endpoint or _Socket(data)

    def get(self, path: str, /, *, timeout: float | None = None, **query: Any) -> Json:
        """Read something; repeated by itself while a daemon restarts.

        Raises:
            ClientError: and its kinds.
        """
        return self._repeated(lambda: self._call("GET", _with(PREFIX + path, query), None, {}, timeout))

    def post(self, path: str, body: Json | None = None, *, timeout: float | None = None) -> Json:
        """Do something, once.

        Raises:
            ClientError: with exit code 75 when the connection broke and it is not known whether it was done.
        """
        return self._call("POST", PREFIX + path, body or {}, {}, timeout)

    def post_keyed(self, path: str, body: Json, *, key: str | None = None) -> Json:
        """Do something that a key makes safe to send again: it is, while a daemon restarts.

        Raises:
            ClientError: and its kinds.
        """
        headers = {"Idempotency-Key": key or os.urandom(16).hex()}
        return self._repeated(lambda: self._call("POST", PREFIX + path, body, headers, None))

    def patch(self, path: str, body: Json) -> Json:
        """Change something. Setting a value twice is harmless.

        Raises:
            ClientError: and its kinds.
        """
        return self._repeated(lambda: self._call("PATCH", PREFIX + path, body, {}, None))

    def delete(self, path: str) -> Json:
        """Remove something.

        Raises:
            ClientError: and its kinds.
        """
        return self._call("DELETE", PREFIX + path, None, {}, None)

    def ready(self) -> bool:
        """Whether a daemon answers and all its parts run."""
        try:
            self._call("GET", "/readyz", None, {}, 5.0)
        except (Unreachable, Problem):
            return False
        except ClientError as error:
            if error.exit_code != UNREACHABLE:
                raise
            return False
        return True

    def stream(self, path: str, /, *, last: str | None = None, **query: Any) -> Iterator[tuple[str, str | None, Json]]:
        """Server-sent events as (event name, id, data), until the daemon ends the stream or goes away.

        Raises:
            ClientError: it could not be opened.
        """
        from http.client import HTTPException

        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        connection, response = self._open("GET", _with(PREFIX + path, query), None, headers, 60.0)
        try:
            _check(response)
            if response.status >= 400:
                raise _problem(response.status, response.read())
            yield from _pieces(response)
        except (OSError, HTTPException):
            return
        finally:
            response.close()
            connection.close()

    # ---- parts ----------------------------------------------------------------------------------------------------

    def _repeated(self, call: Callable[[], Json]) -> Json:
        """`call` again, while a daemon that was there is away. A hive that is not running is told at once."""
        end, answered = time.monotonic() + AGAIN_SECONDS, False
        while True:
            try:
                return call()
            except ClientError as error:
                answered = answered or error.code == "broken"
                if time.monotonic() >= end or not (answered and error.code in ("broken", "refused", "no_socket")):
                    raise
                time.sleep(0.2)

    def _call(self, method: str, path: str, body: Json | None, headers: dict[str, str], timeout: float | None) -> Json:
        from http.client import HTTPException

        connection, response = self._open(method, path, body, headers, timeout or self._timeout)
        try:
            _check(response)
            raw = response.read()
        except TimeoutError as error:
            raise _timed_out(method) from error
        except (OSError, HTTPException) as error:
            raise _broken(method) from error
        finally:
            response.close()
            connection.close()
        if response.status >= 400:
            raise _problem(response.status, raw)
        return json.loads(raw) if raw else {}

    def _open(
        self, method: str, path: str, body: Json | None, headers: dict[str, str], timeout: float
    ) -> tuple[HTTPConnection, HTTPResponse]:
        from http.client import HTTPException

        connection = self._endpoint.connect(timeout)
        payload = None if body is None else json.dumps(body).encode()
        sent = (
            headers
            | self._endpoint.headers
            | {"Melipona-Protocol": str(PROTOCOL)}
            | ({"Content-Type": "application/json"} if payload else {})
        )
        try:
            connection.request(method, path, payload, sent)
            response = connection.getresponse()
        except TimeoutError as error:
            connection.close()
            raise _timed_out(method) from error
        except (OSError, HTTPException) as error:
            connection.close()
            raise _broken(method) from error
        if (refused := self._endpoint.refused(response.status)) is not None:
            response.close()
            connection.close()
            raise refused
        return connection, response


def _check_owner(sock: socket.socket, owner: int) -> None:
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid != owner:
        raise ClientError("another user answers on the hive's socket", "look at who owns the data folder")


def segment(text: str) -> str:
    """`text` as one part of a path."""
    return quote(text, safe="")


def _with(path: str, query: Json) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _check(response: HTTPResponse) -> None:
    """Refuse what speaks a newer protocol, or is no hive at all, before anything in it is believed."""
    number = response.headers.get("Melipona-Protocol", "")
    if not number.isdigit():
        raise ClientError("what answers on the socket is not Melipona", "look at who listens there")
    if int(number) > PROTOCOL:
        raise ClientError(
            f"the daemon speaks protocol {number}, this mel only {PROTOCOL}",
            "install the Melipona that the daemon runs",
            code="protocol_too_new",
        )


def _problem(status: int, raw: bytes) -> ClientError:
    try:
        document: object = json.loads(raw)
    except ValueError:
        document = None
    return Problem(status, cast("Json", document) if isinstance(document, dict) else {})


def _unreachable(data: Path, error: OSError) -> Unreachable:
    start = "start it with `mel up --detach`"
    if isinstance(error, PermissionError):
        return Unreachable(f"{data} may not be entered", "run mel as the user that runs the hive", "permission")
    if isinstance(error, FileNotFoundError):
        return Unreachable(f"no hive runs in {data}", start, "no_socket")
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"the hive in {data} is down", start, "refused")
    if isinstance(error, TimeoutError):
        return Unreachable(f"the hive in {data} does not answer", "look at its log, or `mel down`", "timeout")
    return Unreachable(f"the hive in {data} cannot be reached: {error.strerror or error}", start, "unreachable")


def _broken(method: str) -> ClientError:
    return _lost(method, "the connection to the daemon broke", "broken")


def _timed_out(method: str) -> ClientError:
    return _lost(method, "the daemon did not answer in time", "timeout")


def _lost(method: str, what: str, code: str) -> ClientError:
    """A request went out and no answer came: for one that acts, nobody knows what it did."""
    if method == "GET":
        return ClientError(what, "look at `mel status`, then try again", code=code, exit_code=UNREACHABLE)
    remedy = "look at `mel events` before you repeat it"
    return ClientError(f"{what}; it is not known whether this was done", remedy, code=code, exit_code=UNKNOWN)


def _pieces(response: HTTPResponse) -> Iterator[tuple[str, str | None, Json]]:
    name, identifier, data = "message", None, ""
    for raw in response:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if not line:
            if data:
                yield name, identifier, json.loads(data)
            name, data = "message", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            identifier = value
        elif field == "data":
            data = f"{data}\n{value}" if data else value
