"""The client on the standard library: long paths, protocol numbers, reasons, exit codes (D-5, D-10, ASK-4, ASK-21)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from melipona import client as client_module
from melipona.client import (
    FAILED,
    NOT_FOUND,
    REFUSED,
    UNKNOWN,
    UNREACHABLE,
    USAGE,
    Client,
    ClientError,
    Problem,
    Unreachable,
)
from melipona.testing.served import ServedHive, served

Answer = Callable[[socket.socket, bytes], None]


def _http(body: object, *, protocol: str = "1", status: str = "200 OK") -> bytes:
    data = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status}",
        f"Melipona-Protocol: {protocol}",
        f"Content-Length: {len(data)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data


def _request(peer: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += peer.recv(65536)
    return head + body


@contextmanager
def answering(folder: Path, *answers: bytes | None) -> Generator[list[bytes]]:
    """A socket that answers each connection with the next bytes; None closes it without an answer."""
    (folder / "run").mkdir(parents=True, mode=0o700)
    requests: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "run" / "mel.sock"))
        listener.listen()

        def serve() -> None:
            for answer in answers:
                peer, _ = listener.accept()
                with peer:
                    requests.append(_request(peer))
                    if answer is not None:
                        peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield requests
        thread.join(10)
        assert not thread.is_alive()


def test_a_data_folder_may_have_a_long_path(tmp_path: Path) -> None:
    """D-10: AF_UNIX ends at 107 bytes, our paths do not."""
    data = tmp_path / ("x" * 120) / ("y" * 80)
    data.mkdir(parents=True, mode=0o700)
    assert len(str(data)) > 200
    with served(data) as hive:
        assert hive.client.get("/agents")["items"] == []


def test_a_newer_protocol_is_refused_before_anything_is_believed(tmp_path: Path) -> None:
    """ASK-4: clients accept older or equal numbers and refuse newer ones with a clear message."""
    with answering(tmp_path, _http({"items": "poison"}, protocol="2")), pytest.raises(ClientError) as caught:
        Client(tmp_path).get("/agents")
    assert caught.value.code == "protocol_too_new"
    assert "install" in caught.value.remedy


def test_an_older_protocol_and_unknown_fields_are_accepted(tmp_path: Path) -> None:
    """ASK-4, LE-15."""
    with answering(tmp_path, _http({"items": [], "new": {"field": 1}}, protocol="0")):
        assert Client(tmp_path).get("/agents")["items"] == []


def test_what_is_no_hive_is_not_believed(tmp_path: Path) -> None:
    """Something else listens on the socket."""
    with (
        answering(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        pytest.raises(ClientError, match="not Melipona"),
    ):
        Client(tmp_path).get("/agents")


def test_why_no_daemon_answers_is_told_apart(tmp_path: Path) -> None:
    """ASK-21: no socket, refused, time-out; each with what to do."""
    with pytest.raises(Unreachable) as caught:
        Client(tmp_path).get("/agents")
    assert (caught.value.code, caught.value.exit_code) == ("no_socket", UNREACHABLE)
    assert "mel up" in caught.value.remedy
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "run" / "mel.sock"))
    with pytest.raises(Unreachable) as caught:
        Client(tmp_path).get("/agents")
    assert caught.value.code == "refused"


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        ("404 Not Found", "no_such_agent", NOT_FOUND),
        ("403 Forbidden", "refused", REFUSED),
        ("409 Conflict", "conflict", REFUSED),
        ("429 Too Many Requests", "limit_reached", REFUSED),
        ("422 Unprocessable", "invalid", USAGE),
        ("500 Internal Server Error", "bug", FAILED),
        ("503 Service Unavailable", "outcome_unknown", UNKNOWN),
    ],
)
def test_problems_become_exit_codes(tmp_path: Path, status: str, code: str, exit_code: int) -> None:
    """D-5."""
    with (
        answering(tmp_path, _http({"detail": "no", "code": code, "remedy": "do"}, status=status)),
        pytest.raises(Problem) as caught,
    ):
        Client(tmp_path).post("/agents", {})
    assert (caught.value.exit_code, caught.value.remedy) == (exit_code, "do")


def test_an_act_whose_answer_is_lost_is_not_repeated_and_its_outcome_is_unknown(tmp_path: Path) -> None:
    """D-5: exit code 75."""
    with answering(tmp_path, None) as requests, pytest.raises(ClientError) as caught:
        Client(tmp_path).post("/agents/ana/restart")
    assert caught.value.exit_code == UNKNOWN
    assert len(requests) == 1


def test_a_keyed_act_is_sent_again_with_its_key(tmp_path: Path) -> None:
    """Rule 24: the daemon restarts in between; one effect."""
    with answering(tmp_path, None, None, _http({"id": 1, "ids": [1]})) as requests:
        assert Client(tmp_path).post_keyed("/messages", {"to": "ana", "body": "x"})["id"] == 1
    keys = {line for request in requests for line in request.split(b"\r\n") if line.lower().startswith(b"idempotency")}
    assert len(requests) == 3
    assert len(keys) == 1


def test_a_look_is_repeated_while_a_daemon_restarts_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GETs are harmless to repeat; a daemon that never comes back is told."""
    with answering(tmp_path, None, _http({"items": []})):
        assert Client(tmp_path).get("/agents") == {"items": []}
    monkeypatch.setattr(client_module, "AGAIN_SECONDS", 0.3)
    with pytest.raises(ClientError) as caught, answering(tmp_path / "other", None):
        Client(tmp_path / "other", timeout=0.5).get("/agents")
    assert caught.value.exit_code == UNREACHABLE


def test_a_daemon_that_says_nothing_is_a_time_out(tmp_path: Path) -> None:
    """ASK-21: bounded; for a look the hive is unreachable, for an act the outcome unknown."""
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "run" / "mel.sock"))
        mute.listen()
        for call, exit_code in (
            (Client(tmp_path, timeout=0.2).get, UNREACHABLE),
            (Client(tmp_path, timeout=0.2).post, UNKNOWN),
        ):
            with pytest.raises(ClientError) as caught:
                call("/state")
            assert (caught.value.code, caught.value.exit_code) == ("timeout", exit_code)


def test_the_client_needs_nothing_of_ours(hive: ServedHive) -> None:
    """D-40: only the standard library."""
    import ast

    tree = ast.parse(Path(client_module.__file__).read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any((name or "").startswith("melipona") for name in names)
