"""The guard before routing: every route against hostile headers (T38, T39), and what a GET may do."""

from __future__ import annotations

import hashlib
import http.client
import socket
import sqlite3

import pytest
from api_browser import Answer, Browser
from operator_routes import OPEN, ROUTES, path_of

from melipona.api.authority import OF_SERVERS
from melipona.api.guard import BODY_LIMIT
from melipona.testing.served import ServedHive

EVIL = "http://evil.example"


def routes_of_app(hive: ServedHive) -> set[tuple[str, str]]:
    """Every route, as OpenAPI and the router know it."""
    from melipona.access.logins import Logins
    from melipona.access.people import owner
    from melipona.access.service import Access
    from melipona.api.app import create_app
    from melipona.api.board import Board
    from melipona.api.hive_routes import place_of
    from melipona.api.live import Broadcaster
    from melipona.api.metrics import Lag
    from melipona.api.roster import Roster

    async def make() -> set[tuple[str, str]]:
        access = Access(hive.services.store, hive.services.clock, await hive.services.store.read(owner))
        roster = Roster(hive.services)
        broadcaster = Broadcaster(hive.services.store, "x", access)
        board = Board(hive.services, broadcaster, roster, lambda: place_of(hive.services, roster))
        logins = Logins.of(access, "", hive.port, None, hive.services.settings.access.oidc)
        app = create_app(hive.services, logins, board, Lag())
        found: set[tuple[str, str]] = set()
        for context in app.routes:
            for route in getattr(context, "effective_route_contexts", list)() or [context]:
                methods = set(getattr(route, "methods", None) or ()) - {"HEAD"}
                path = getattr(route, "path", None) or getattr(route, "path_format", "")
                found |= {(method, str(path)) for method in methods}
        return found

    return hive.run(make())


def test_the_operators_routes_are_a_frozen_list(hive: ServedHive) -> None:
    """T11, section 7 line 25: a new route of the operator is seen here first."""
    assert sorted(routes_of_app(hive)) == sorted(ROUTES)


@pytest.fixture
def peopled(operator: Browser) -> Browser:
    """A hive with an agent, a message and a turn, so that every route finds what it names."""
    hive = operator.hive
    hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
    hive.client.post_keyed("/messages", {"to": "ana", "body": "hello"})
    hive.end_turn(hive.open_turn("ana"))
    (hive.data / "shared").mkdir(exist_ok=True)
    (hive.data / "shared" / "note.md").write_text("a note")
    return operator


@pytest.mark.threat("T38")
def test_hostile_headers_are_refused_on_every_route(peopled: Browser) -> None:
    """T38, section 7 line 21: before routing, with a session in the cookie."""
    before = _dump(peopled.hive)
    for method, route in ROUTES:
        path = path_of(route)
        if path in OF_SERVERS:  # a form that another server posts; see `test_api_oidc_logout.py`
            continue
        acts = method != "GET" or path == "/api/v1/events" or path.endswith("/stream")
        hostile: list[tuple[dict[str, str | None], int]] = [
            ({"Host": "evil.example"}, 421),
            ({"Host": f"127.0.0.1.evil.example:{peopled.hive.port}"}, 421),
            ({"Host": f"127.0.0.1:{peopled.hive.port + 1}"}, 421),
            ({"Host": None}, 421),
            ({"Origin": EVIL}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": f"http://127.0.0.1:{peopled.hive.port + 1}"}, 403),
            ({"Origin": f"https://127.0.0.1:{peopled.hive.port}"}, 403),
            ({"Origin": None, "Sec-Fetch-Site": "cross-site"}, 403),
            ({"Origin": None, "Sec-Fetch-Site": "same-site"}, 403),
        ]
        if acts:
            hostile += [
                ({"Origin": None, "Sec-Fetch-Site": None}, 403),
                ({"Origin": None, "Sec-Fetch-Site": "none"}, 403),
            ]
        if method != "GET":
            for form in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "x"):
                hostile.append(({"Content-Type": form}, 415))
        for headers, status in hostile:
            answer = peopled.ask(method, path, headers=headers)
            assert answer.status == status, (method, path, headers, answer.status, answer.body[:200])
    assert _dump(peopled.hive) == before


def test_without_a_session_only_the_open_routes_answer(browser: Browser) -> None:
    """T40: loopback never authenticates by itself."""
    for method, route in ROUTES:
        answer = browser.ask(method, path_of(route))
        assert (answer.status == 401) == (route not in OPEN), (method, route, answer.status)


def test_a_link_from_elsewhere_may_open_a_page_but_no_data(operator: Browser) -> None:
    """Somebody clicks a link in a chat: the page opens; the API does not answer such a request."""
    clicked: dict[str, str | None] = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert operator.ask("GET", "/", headers=clicked).status == 200
    assert operator.ask("GET", "/api/v1/state", headers=clicked).status == 403


@pytest.mark.threat("T38")
def test_get_and_head_change_nothing(peopled: Browser) -> None:
    """Section 7 line 21: every GET route is called over both transports, and the database is compared."""
    hive = peopled.hive
    before = _dump(hive)
    for method, route in ROUTES:
        if method == "GET":
            answer = peopled.ask("GET", path_of(route))
            assert answer.status == 200, (route, answer.status, answer.body[:200])
            peopled.ask("HEAD", path_of(route))
    for path in ("/state", "/inbox", "/inbox/unread", "/agents", "/agents/ana", "/messages/1/body", "/turns/1"):
        hive.client.get(path)
    assert _dump(hive) == before


def test_every_answer_carries_the_protocol_and_tells_browsers_to_trust_nothing(peopled: Browser) -> None:
    """ASK-4, T25, T39: also errors, also the parser's own."""
    answers = [peopled.ask(method, path_of(route)) for method, route in ROUTES if method == "GET"]
    answers += [peopled.ask("GET", "/api/v1/nothing"), peopled.ask("GET", "/", headers={"Host": "evil"})]
    answers += [peopled.ask("PUT", "/api/v1/agents"), _malformed(peopled.hive)]
    for answer in answers:
        assert answer.headers["melipona-protocol"] == "1"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert "server" not in answer.headers


def test_bodies_are_json_of_at_most_a_mebibyte(operator: Browser) -> None:
    """Section 7 line 21: by the announced size, and by what arrives when none is announced."""
    assert operator.ask("POST", "/api/v1/messages", b" " * (BODY_LIMIT + 1)).status == 413
    assert _chunked(operator, BODY_LIMIT + 100).status == 413
    assert operator.ask("POST", "/api/v1/messages", b'{"to"').status == 422
    assert operator.ask("GET", "/api/v1/state", b"{}").status == 400


def test_a_header_that_decides_may_not_stand_twice(operator: Browser) -> None:
    """T38: two Hosts or two Origins leave open which one counts, so neither does."""
    for name, value in (("Host", f"127.0.0.1:{operator.hive.port}"), ("Origin", operator.origin)):
        text = _raw(operator.hive, [f"Host: 127.0.0.1:{operator.hive.port}", f"{name}: {value}", f"{name}: {value}"])
        assert text.startswith(b"HTTP/1.1 4"), text[:100]


def test_a_browser_on_the_unix_socket_is_refused(hive: ServedHive) -> None:
    """T11: somebody's proxy from a port to the socket must not make pages into operators."""
    for header in (f"Origin: http://127.0.0.1:{hive.port}", "Sec-Fetch-Site: same-origin"):
        assert _on_socket(hive, ["Host: localhost", header]).startswith(b"HTTP/1.1 403")
    assert _on_socket(hive, [f"Host: 127.0.0.1:{hive.port}"]).startswith(b"HTTP/1.1 421")
    assert _on_socket(hive, ["Host: localhost"]).startswith(b"HTTP/1.1 200")


def _dump(hive: ServedHive) -> str:
    connection = sqlite3.connect(hive.data / "mel.db")
    try:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()
    finally:
        connection.close()


def _raw(hive: ServedHive, headers: list[str]) -> bytes:
    with socket.create_connection(("127.0.0.1", hive.port), timeout=10) as sock:
        return _exchange(sock, headers)


def _on_socket(hive: ServedHive, headers: list[str]) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(hive.data / "run" / "mel.sock"))
        return _exchange(sock, headers)


def _exchange(sock: socket.socket, headers: list[str]) -> bytes:
    sock.sendall("\r\n".join(["GET /api/v1/state HTTP/1.1", *headers, "Connection: close", "", ""]).encode())
    parts: list[bytes] = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def _malformed(hive: ServedHive) -> Answer:
    with socket.create_connection(("127.0.0.1", hive.port), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nno header at all\r\n\r\n")
        response = http.client.HTTPResponse(sock)
        response.begin()
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read(), [])


def _chunked(browser: Browser, size: int) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", browser.hive.port, timeout=20)
    try:
        connection.putrequest("POST", "/api/v1/messages", skip_host=True)
        headers = {"Host": f"127.0.0.1:{browser.hive.port}", "Origin": browser.origin, "Transfer-Encoding": "chunked"}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        for name, value in (headers | {"Content-Type": "application/json"}).items():
            connection.putheader(name, value)
        connection.endheaders()
        try:
            for _ in range(size // 65536 + 1):
                connection.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused before everything was sent
        response = connection.getresponse()
        return Answer(response.status, {}, response.read(), [])
    finally:
        connection.close()
