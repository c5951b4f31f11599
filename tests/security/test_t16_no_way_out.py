"""There is no way out of a box yet: no name is looked up, no address dialled, whatever is asked (T16, T17, T18, T19).

When an egress proxy comes, these rows get its rules; until then each of them is answered by the same refusal.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from melipona.testing.hive import QUICK, HiveProcess, running_hive

pytestmark = [pytest.mark.boxes, pytest.mark.threat("T16", "T17", "T18", "T19", "T13")]

NAMES = (
    *("example.com", "api.anthropic.com", "api.openai.com", "localhost", "localhost.", "LOCALHOST", "gate", "box"),
    *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0.0.0.0", "0", "10.0.0.1", "192.168.1.1"),
    *("169.254.169.254", "metadata.google.internal", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "127.0.0.1.nip.io", "localtest.me", "user@127.0.0.1"),
    *("example.com%00.evil", "ex\u0430mple.com", "xn--exmple-4nf.com", "a" * 300, "example.com:443@evil", "*", ""),
)
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "PATCH")
TRIES = r"""
import json, socket
names, methods = json.load(open("/ws/names.json"))
said, direct = {}, []

def ask(line):
    try:
        with socket.create_connection(("127.0.0.1", 4142), timeout=10) as s:
            s.sendall(line)
            got = b""
            while part := s.recv(4096):
                got += part
    except OSError as error:
        return type(error).__name__
    return " ".join(got.decode("latin-1").split("\r\n")[0].split()[:2])

for name in names:
    for port in (443, 80, 22):
        n = name.encode("utf-8", "surrogateescape")
        said[f"CONNECT {name[:40]}:{port}"] = ask(b"CONNECT %s:%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (n, port, n))
for method in methods:
    said[f"{method} absolute"] = ask(f"{method} http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
said["socks 4"] = ask(b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00")
said["socks 5"] = ask(b"\x05\x01\x00")
places = [(2, (a, 80)) for a in ("10.255.255.1", "169.254.169.254", "192.0.2.1")] + [(10, ("2001:db8::1", 80))]
for family, address in places:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(family, kind) as s:
                s.settimeout(3)
                s.connect(address)
                s.send(b"x")
            direct.append([address[0], kind])
        except OSError:
            pass
for name in ("example.com", "metadata.google.internal"):
    try:
        direct.append(socket.getaddrinfo(name, 80)[0][4][0])
    except OSError:
        pass
json.dump({"said": said, "direct": direct}, open("/ws/found.json", "w"))
"""
PLAYBOOK = '[[rule]]\nsteps = [{ shell = "python3 -I /ws/tries.py", timeout = 170, may_fail = true }]\n'


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Any]]:
    """What a program in a real box was told."""
    with running_hive(tmp_path_factory.mktemp("hive"), config=QUICK) as hive:
        yield _asked(hive)


def _asked(hive: HiveProcess) -> dict[str, Any]:
    hive.agent("ana", playbook=PLAYBOOK)
    hive.send("ana", "warm up")  # the first turn makes the folder, and finds no script
    hive.wait_for("turn.ended")
    (hive.work("ana") / "names.json").write_text(json.dumps([NAMES, METHODS]))
    (hive.work("ana") / "tries.py").write_text(TRIES)
    hive.send("ana", "try")
    ended = hive.wait_for("turn.ended", count=2, within=170)
    assert (hive.work("ana") / "found.json").exists(), ended
    return json.loads((hive.work("ana") / "found.json").read_text())


def test_t16_every_name_and_address_is_refused_alike(found: dict[str, Any]) -> None:
    """T16, T17, T18: 403 for all of them, at once: nothing depends on what a name means, so nothing looks it up."""
    tunnels = {ask: answer for ask, answer in found["said"].items() if ask.startswith("CONNECT ")}
    assert len(tunnels) >= 3 * (len(set(NAMES)) - 2)
    assert {ask: answer for ask, answer in tunnels.items() if answer != "HTTP/1.1 403"} == {}


def test_t19_no_other_protocol_passes(found: dict[str, Any]) -> None:
    """T19: plain proxying and SOCKS get a refusal or nothing."""
    others = {ask: answer for ask, answer in found["said"].items() if not ask.startswith("CONNECT ")}
    assert len(others) == len(METHODS) + 2
    assert all(
        answer in ("HTTP/1.1 403", "HTTP/1.1 405", "HTTP/1.1 400") or "HTTP" not in answer for answer in others.values()
    )


def test_t17_a_box_reaches_no_address_and_no_resolver_by_itself(found: dict[str, Any]) -> None:
    """T16, T17: no route leads out, and no name is resolved inside."""
    assert found["direct"] == []
