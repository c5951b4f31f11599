"""Connections that would hold the daemon: slow heads, and strangers who fill the port (T34, T40)."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from melipona.api import server
from melipona.testing.served import ServedHive, served


def test_a_head_that_does_not_arrive_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the second one on a connection that is kept alive."""
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    with served(tmp_path / "hive") as hive:
        for first in (b"", _request(hive)):
            with socket.create_connection(("127.0.0.1", hive.port), timeout=10) as slow:
                slow.sendall(first)
                if first:
                    assert slow.recv(65536).startswith(b"HTTP/1.1 200")
                slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
                assert _ended(slow)


def test_a_full_port_does_not_keep_the_owner_from_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user of the machine may open as many connections as the port takes."""
    monkeypatch.setattr(server, "CONNECTIONS", 20)
    with served(tmp_path / "hive") as hive, ExitStack() as stack:
        for _ in range(server.CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", hive.port), timeout=10))
        last = stack.enter_context(socket.create_connection(("127.0.0.1", hive.port), timeout=10))
        last.sendall(_request(hive))
        assert last.recv(65536).startswith(b"HTTP/1.1 503")
        assert hive.client.get("/agents")["items"] == []


def _request(hive: ServedHive) -> bytes:
    return f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{hive.port}\r\n\r\n".encode()


def _ended(sock: socket.socket) -> bool:
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True
