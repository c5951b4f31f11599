"""`mel --host`: every command against a hive on another machine, over TLS, and what each failure says (ASK-21, D-5)."""

from __future__ import annotations

import io
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from melipona.settings import parse_settings
from melipona.testing.served import ServedHive, served

Mel = Any
NOBODY = "mel_0123456789ab_" + "a" * 43


class TlsProxy:
    """Ends TLS and passes bytes on, as a reverse proxy does; every connection in two threads."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = folder / "ca.pem", folder / "key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-keyout", str(key), "-out", str(self.certificate), "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost"),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}"
        self.to: int | None = None
        """The port to pass on to; None answers with 502, as a proxy does whose hive is down."""
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._start(self._accept)

    def _start(self, work: Any, *args: Any) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                self._start(self._serve, raw)

    def _serve(self, raw: socket.socket) -> None:
        self._open.append(raw)
        with closing(raw), suppress(OSError, ValueError), self._context.wrap_socket(raw, server_side=True) as client:
            self._open.append(client)
            if self.to is None:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self.to)) as hive:
                self._open.append(hive)
                back = threading.Thread(target=_pump, args=(hive, client))
                back.start()
                _pump(client, hive)
                with suppress(OSError):
                    hive.shutdown(socket.SHUT_RDWR)
                back.join()

    def close(self) -> None:
        """End everything."""
        for sock in [self._listener, *self._open]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10)


def _pump(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while data := source.recv(65536):
            to.sendall(data)
    with suppress(OSError):
        to.shutdown(socket.SHUT_RDWR)


@dataclass
class Elsewhere:
    """A hive that is reached by its public address."""

    hive: ServedHive
    proxy: TlsProxy
    token: str


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Elsewhere]:
    """A hive behind TLS, whose authority this `mel` trusts."""
    proxy = TlsProxy(tmp_path)
    settings = parse_settings({"access": {"url": proxy.url, "behind_proxy": True}})
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    try:
        with served(tmp_path / "elsewhere", settings=settings) as hive:
            hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
            proxy.to = hive.port
            made = hive.client.post("/tokens", {"name": "laptop", "scopes": ["read", "act"]})
            yield Elsewhere(hive, proxy, made["token"])
            proxy.close()
    finally:
        proxy.close()


def log_in(mel: Mel, where: Elsewhere, monkeypatch: pytest.MonkeyPatch, token: str | None = None) -> Any:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{token or where.token}\n"))
    return mel("login", "--host", where.proxy.url)


def test_commands_work_against_a_hive_elsewhere(
    mel: Mel, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The token comes by standard input and lies in a 0600 file; then commands, streams included, go there."""
    said = log_in(mel, elsewhere, monkeypatch)
    assert said.code == 0, said.err
    assert said.out == f"you are owner at {elsewhere.proxy.url} and may act, read\n"
    kept = tmp_path / "config" / "melipona" / "hosts.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(kept.read_text()) == {elsewhere.proxy.url: elsewhere.token}
    monkeypatch.setenv("MEL_HOST", elsewhere.proxy.url)
    assert "ana" in mel("status").out
    assert mel("send", "ana", "from afar").code == 0
    assert "from afar" in mel("mail").out
    assert mel("agent", "pause", "ana", "--json").json["state"] == "paused"
    turn = elsewhere.hive.open_turn("ana")
    elsewhere.hive.grow(turn, '{"offset": 1, "at": 2, "event": {"type": "text", "text": "word by word"}}\n')
    elsewhere.hive.end_turn(turn)
    assert "word by word" in mel("log", f"t{turn}", "-f").out
    (sent,) = [e for e in elsewhere.hive.client.get("/events/page")["items"] if e["kind"] == "message.sent"]
    assert (sent["person"], sent["via"]) == ("owner", f"token {elsewhere.token.split('_')[1]}")
    refused = mel("people", "list")
    assert refused.code == 4
    assert "a token is never enough" in refused.err


def test_events_are_followed_from_elsewhere(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """`events -f` in a process of its own, with MEL_TOKEN; it ends when its token is revoked."""
    env = {**os.environ, "MEL_HOST": elsewhere.proxy.url, "MEL_TOKEN": elsewhere.token, "MEL_DATA": str(tmp_path / "x")}
    argv = [sys.executable, "-m", "melipona.cli.main", "events", "-f", "--after", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as program:
        assert program.stdout is not None
        assert any("agent.created" in line for line in program.stdout)
        assert elsewhere.token not in Path(f"/proc/{program.pid}/cmdline").read_text()
        elsewhere.hive.client.delete("/tokens/laptop")
        _, err = program.communicate(timeout=60)
    assert program.returncode == 4, err
    assert "does not know this token" in err


LOCAL = [["up"], ["down"], ["backup", "x.tar.gz"], ["restore", __file__], ["events", "--verify"], ["demo"]]


@pytest.mark.parametrize("command", LOCAL, ids=lambda command: command[0])
def test_what_needs_the_machine_says_so(mel: Mel, data: Path, command: list[str]) -> None:
    """In one line, before anything is tried or made."""
    said = mel("--host", "https://hive.example.org", *command)
    assert said.code == 2
    assert "works on the hive's own machine alone" in said.err.splitlines()[0]
    assert not data.exists()


def _taken() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "code", "what"),
    [
        ("https://no-such-machine.invalid", 5, "no machine goes by the name no-such-machine.invalid"),
        ("http://hive.example.org", 2, "not encrypted"),
        ("http://192.168.1.5:20000", 2, "not encrypted"),
        ("ftp://hive.example.org", 2, "no address of a hive"),
        ("https://op:secret@hive.example.org", 2, "no address of a hive"),
        ("https://hive.example.org/mel", 2, "no address of a hive"),
        ("https://hive.example.org:port", 2, "no address of a hive"),
    ],
)
def test_addresses_that_lead_nowhere(mel: Mel, host: str, code: int, what: str) -> None:
    said = mel("--host", host, "status")
    assert (said.code, what in said.err.splitlines()[0]) == (code, True), said.err
    assert len(said.err.splitlines()) >= 2, "what it means and what to do"


def test_each_failure_has_its_reason_and_exit_code(
    mel: Mel, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASK-21: refused, no token, a wrong one, a wrong name, an untrusted certificate, a hive that is down."""
    url = elsewhere.proxy.url

    def failed(*args: str) -> tuple[int, str]:
        said = mel(*args)
        return said.code, said.err

    code, err = failed("--host", url, "status")
    assert (code, f"the hive at {url} wants a token" in err, f"mel login --host {url}" in err) == (4, True, True)
    monkeypatch.setenv("MEL_TOKEN", NOBODY)
    code, err = failed("--host", url, "status")
    assert (code, "does not know this token" in err) == (4, True)
    monkeypatch.setenv("MEL_TOKEN", "hunter2")
    code, err = failed("--host", url, "status")
    assert (code, "no token of a hive" in err, "hunter2" in err) == (2, True, False)
    monkeypatch.setenv("MEL_TOKEN", elsewhere.token)
    code, err = failed("--host", f"http://127.0.0.1:{_taken()}", "status")
    assert (code, "nothing answers" in err) == (5, True)
    code, err = failed("--host", url.replace("https", "http"), "status")
    assert code in (1, 5), err
    elsewhere.proxy.to = None
    code, err = failed("--host", url, "status")
    assert (code, "does not reach it" in err) == (5, True)
    elsewhere.proxy.to = elsewhere.hive.port
    monkeypatch.delenv("SSL_CERT_FILE")
    code, err = failed("--host", url, "status")
    assert (code, "is not to be trusted" in err) == (5, True)
    assert "mel: no daemon runs" not in err, "the store of this machine is not another hive's"


def test_a_hive_that_goes_by_another_name_and_one_that_is_silent(
    mel: Mel, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    from melipona.client import Client, Unreachable
    from melipona.remote import Remote

    monkeypatch.setenv("MEL_TOKEN", elsewhere.token)
    with TcpTo(elsewhere.hive.port) as port:
        said = mel("--host", f"http://127.0.0.1:{port}", "status")
    assert (said.code, "does not go by that name" in said.err) == (4, True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = Remote(f"http://127.0.0.1:{silent.getsockname()[1]}", elsewhere.token)
        with pytest.raises(Exception, match="did not answer in time") as late:
            Client(Path("/nowhere"), timeout=0.3, endpoint=there).get("/state")
        assert getattr(late.value, "exit_code", None) == 5
        assert not isinstance(late.value, Unreachable)


class TcpTo:
    """Another port of this machine that leads to the hive: a Host that it does not go by."""

    def __init__(self, to: int) -> None:
        self._to = to

    def __enter__(self) -> int:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._once)
        self._thread.start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _once(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with closing(client), socket.create_connection(("127.0.0.1", self._to)) as hive:
                    back = threading.Thread(target=_pump, args=(hive, client))
                    back.start()
                    _pump(client, hive)
                    back.join()


def test_a_token_that_others_could_read_is_not_used(
    mel: Mel, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = log_in(mel, elsewhere, monkeypatch, NOBODY)
    assert wrong.code == 4
    assert not (tmp_path / "config").exists(), "what does not work is not kept"
    assert log_in(mel, elsewhere, monkeypatch).code == 0
    (tmp_path / "config" / "melipona" / "hosts.json").chmod(0o644)
    said = mel("--host", elsewhere.proxy.url, "status")
    assert said.code == 4
    assert "chmod 600" in said.err


def test_the_command_line_imports_no_tls_for_a_hive_here() -> None:
    """PERFORMANCE.md rule 21: what only `--host` needs is imported only then."""
    code = "import sys; from melipona.cli import main, mail, status; print({'melipona.remote'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
