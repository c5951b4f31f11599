"""Nothing in a box makes an operator (T11, line 25): every route, from every listener, with every credential."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from melipona.testing.hive import QUICK, HiveProcess, running_hive

from .operators import Browser, routes_of

pytestmark = [pytest.mark.boxes, pytest.mark.threat("T11")]

TRIES = r"""
import glob, json, os, socket
told = json.load(open("/ws/told.json"))
seen, reached = {}, []
places = [("tcp", 4141), ("tcp", 4142), ("tcp", told["port"]), ("tcp", 80)] + [("unix", p) for p in told["sockets"]]
places += [("unix", p) for p in glob.glob("/run/mel/*")]
env = {k: v for k, v in os.environ.items() if "KEY" in k or "TOKEN" in k or "ANTHROPIC" in k}

def dialled(kind, place):
    if kind == "tcp":
        return socket.create_connection(("127.0.0.1", place), timeout=20)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(place)
    return sock

def ask(kind, place, method, path, headers):
    body = "{}" if method not in ("GET", "HEAD") else ""
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    lines += [f"Content-Length: {len(body)}"] if body else []
    with dialled(kind, place) as sock:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())  # in one piece: it may be refused at once
        words = sock.recv(4096).split(b" ")
    return int(words[1]) if words[0].startswith(b"HTTP/") else "no HTTP"

for kind, place in places:
    for who, headers in told["credentials"].items():
        headers = {**headers, **({"X-Env": json.dumps(env)} if who == "all" else {})}
        # No HTTP is spoken on ctl.sock, and strangers wait there until they are turned away: a few tries will do.
        for method, path in told["routes"][: 3 if "ctl" in str(place) else None]:
            try:
                status = ask(kind, place, method, path, headers)
            except OSError as error:
                status = type(error).__name__
                if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
                    seen[f"{kind} {place} {status}"] = seen.get(f"{kind} {place} {status}", 0) + 1
                    break
            seen[f"{kind} {place} {status}"] = seen.get(f"{kind} {place} {status}", 0) + 1
            if isinstance(status, int) and status < 400:
                reached.append([kind, place, who, method, path, status])
json.dump({"seen": seen, "reached": reached}, open("/ws/found.json", "w"))
"""
PLAYBOOK = '[[rule]]\nsteps = [{ shell = "python3 -I /ws/tries.py", timeout = 300 }]\n'


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    with running_hive(tmp_path_factory.mktemp("hive"), config=QUICK) as running:
        yield running


def test_t11_operator_authority_cannot_be_had_from_a_box(hive: HiveProcess) -> None:
    """T11: with the operator's own session and an unused login link in the box's hands, all of it is refused.

    The routes come from the running hive's own document, so a new one is tried by itself.
    """
    operator = Browser.of(hive.client).login()
    routes = routes_of(hive.client)
    cookie = f"{operator.session}={operator.cookies[operator.session]}"
    link = operator.token()
    origin = {"Host": f"127.0.0.1:{operator.port}", "Origin": operator.origin, "Sec-Fetch-Site": "same-origin"}
    plain = {"Host": "127.0.0.1:4141", "Content-Type": "application/json"}
    credentials: dict[str, dict[str, str]] = {
        "none": plain,
        "session": {**plain, "Cookie": cookie, "Origin": operator.origin},
        "link": {**plain, "Authorization": f"Bearer {link}", "X-Api-Key": link},
        "socket": {"Host": "localhost", "Content-Type": "application/json"},
        "all": {**plain, **origin, "Cookie": cookie, "Authorization": f"Bearer {link}", "X-Forwarded-User": "operator"},
    }
    hive.agent("ana", playbook=PLAYBOOK)
    found = _tried(
        hive, {"routes": routes, "credentials": credentials, "port": operator.port, "sockets": _sockets(hive)}
    )
    assert found["reached"] == []
    gate = [key for key in found["seen"] if key.startswith(("tcp 4141 ", "unix /run/mel/gate.sock "))]
    assert set(gate) == {"tcp 4141 404", "unix /run/mel/gate.sock 404"}
    assert all(found["seen"][key] == len(credentials) * len(routes) for key in gate)
    assert any(key.startswith("tcp 4142 403") for key in found["seen"])
    assert f"tcp {operator.port} ConnectionRefusedError" in found["seen"]  # its own loopback, not the host's
    _nothing_happened(hive, operator, link)


def _tried(hive: HiveProcess, told: dict[str, Any]) -> dict[str, Any]:
    work = hive.work("ana")
    hive.send("ana", "warm up")  # the first turn makes the folder, and finds no script
    hive.wait_for("turn.ended")
    (work / "told.json").write_text(json.dumps(told))
    (work / "tries.py").write_text(TRIES)
    hive.client.patch("/agents/ana", {"turns_per_hour": 0})
    hive.send("ana", "try")
    ended = hive.wait_for("turn.ended", count=2, within=300)
    assert (work / "found.json").exists(), ended
    return json.loads((work / "found.json").read_text())


def _sockets(hive: HiveProcess) -> list[str]:
    """Every socket of the hive by its path on the host, which a box does not have."""
    found = [str(path) for path in hive.data.rglob("*.sock")]
    assert str(hive.data / "run" / "mel.sock") in found
    return [*found, *(str(Path("/proc/1/root", *Path(path).parts[1:])) for path in found)]


def _nothing_happened(hive: HiveProcess, operator: Browser, link: str) -> None:
    assert hive.count("agent.changed", lambda e: e["data"].get("wish") in ("stopped", "destroyed")) == 0
    assert [agent["name"] for agent in hive.client.get("/agents")["items"]] == ["ana"]
    assert len(hive.client.get("/sessions")["items"]) == 1
    assert operator.ask("GET", "/api/v1/state").status == 200
    fresh = Browser.of(hive.client)
    fresh.ask("GET", "/login")
    assert fresh.ask("POST", "/api/v1/login", json.dumps({"token": link}).encode()).status == 200  # it was not used
    os.kill(hive.pid, 0)
