"""What boxd is allowed to cost and to need: any Python from 3.8, few modules, and secrecy from its children."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from melipona.boxes.inside import boxd as inside
from melipona.boxes.sockets import listen_unix
from melipona.ids import ProgramId
from melipona.testing.boxd_outside import BOXD, boxd_outside

from .conftest import hear, shell

SOURCE = BOXD.read_text()
DEAR = {"asyncio", "subprocess", "json", "socket", "typing", "threading", "enum", "re", "signal", "ctypes", "selectors"}


def _interpreters() -> list[str]:
    """This one, the system's, and older or newer ones of pyenv, as they are here."""
    found = {sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable}
    for version in ("3.8", "3.9", "3.12", "3.13", "3.14"):
        found |= {str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python3")}
    return sorted(found)


def test_the_source_is_python_3_8() -> None:
    """D-14: a box's image brings its own interpreter."""
    ast.parse(SOURCE, feature_version=(3, 8))


@pytest.mark.anyio
@pytest.mark.parametrize("python", _interpreters())
async def test_it_serves_on_every_interpreter_that_is_here(python: str, tmp_path: Path) -> None:
    async with boxd_outside(tmp_path, python=python) as link:
        await link.start(shell("p", "cat; stty size", terminal=(5, 6)))
        await link.write(ProgramId("p"), 1, b"hello\n\x04")
        heard = await hear(link, "p")
        assert heard.code == 0
        assert b"5 6" in heard.data


@pytest.mark.parametrize("python", _interpreters())
def test_it_imports_little(python: str) -> None:
    """PERFORMANCE rule 18 and 4b: 43 ms instead of 103 to a box's first word."""
    code = (
        "import sys, builtins; before = set(sys.modules)\n"
        f"source = open({str(BOXD)!r}).read()\n"
        "exec(compile(source, 'boxd.py', 'exec'), {'__name__': 'boxd', '__builtins__': builtins})\n"
        "print(' '.join(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert not loaded & DEAR, loaded & DEAR
    assert len(loaded) < 20, loaded


def test_json_of_its_c_half_and_of_the_package_agree() -> None:
    """Private modules differ between versions; then the package takes over."""
    fast, slow = inside._fast_json(), inside._slow_json()
    for value in ({}, {"a": [1, -2.5, None, True, "é\n\ud800"]}, {"deep": [[[[{}]]]]}, {"big": 1 << 80}):
        assert fast[0](slow[1](value)) == slow[0](fast[1](value)) == value
        assert fast[1](value) == slow[1](value)
    for text in (b"", b"{", b"nul", b"{} 1", b"\xff"):
        for loads, _ in (fast, slow):
            with pytest.raises(ValueError):
                loads(text)


def test_it_runs_without_the_private_modules(tmp_path: Path) -> None:
    """`_json`, `_socket`, `_ctypes` and `_signal` are conveniences."""
    (tmp_path / "run").mkdir()
    block = (
        "import sys, json, socket, signal, ctypes, builtins\n"
        "real = builtins.__import__\n"
        "def guard(name, *rest, **more):\n"
        "    if name in ('_json', '_ctypes', '_signal'): raise ImportError(name)\n"
        "    if name == '_socket': return type('Bare', (), {'socket': object})\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = guard\n"
        f"source = open({str(BOXD)!r}).read()\n"
        "exec(compile(source, 'boxd.py', 'exec'), {'__name__': '__main__', '__builtins__': builtins})"
    )
    settings = {"box": "b", "run": str(tmp_path / "run"), "gate_port": 0, "egress_port": 0}
    with listen_unix(tmp_path / "run", "ctl.sock") as listener:
        listener.settimeout(20)
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", block, json.dumps(settings)])
        try:
            daemon, _ = listener.accept()
            daemon.settimeout(20)
            with daemon:
                assert b'"ev":"hello"' in daemon.recv(10_000)
        finally:
            process.kill()
            process.wait()


def test_no_process_of_its_uid_may_look_into_it() -> None:
    """SECURITY 3.5: an undumpable PID 1 keeps its environment, memory and descriptors from its children."""
    user = 65534 if os.getuid() == 0 else os.getuid()
    folder = Path(tempfile.mkdtemp(prefix="boxd-"))
    try:
        folder.chmod(0o755)
        settings = json.dumps({"box": "b", "run": str(folder), "gate_port": 0, "egress_port": 0})
        with listen_unix(folder, "ctl.sock", mode=0o666) as listener:
            listener.settimeout(20)
            python = "/usr/bin/python3" if os.getuid() == 0 else sys.executable
            who = {"user": user} if os.getuid() == 0 else {}
            process = subprocess.Popen([python, "-I", "-S", "-c", SOURCE, settings], **who)  # type: ignore
            try:
                listener.accept()[0].close()
                look = f"import os; os.listdir('/proc/{process.pid}/fd'); open('/proc/{process.pid}/environ').read()"
                looked = subprocess.run([python, "-I", "-S", "-c", look], capture_output=True, timeout=20, **who)  # type: ignore
                assert b"PermissionError" in looked.stderr
            finally:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder)
