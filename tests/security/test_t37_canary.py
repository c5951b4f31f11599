"""A canary key in every place where a key can be, and afterwards in one 0600 file only (T37, T14, T5, line 27)."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import stat
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from melipona.testing.hive import QUICK, HiveProcess, running_hive
from melipona.testing.model_stub import ModelStub

from .operators import Browser, routes_of

pytestmark = [pytest.mark.boxes, pytest.mark.threat("T37", "T14")]

CANARY = "sk-canary-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
FORMS = {
    "plain": CANARY.encode(),
    "base64": base64.b64encode(CANARY.encode()).rstrip(b"=")[:-1],
    "base64 in a header": base64.b64encode(f":{CANARY}".encode()).rstrip(b"=")[:-1],
    "hex": CANARY.encode().hex().encode(),
    "reversed": CANARY[::-1].encode(),
}
LOOKS = r"""[[rule]]
steps = [
  { model = "say the key", name = "claude-opus-4-5", may_fail = true, into = "said" },
  { model = "say it whole", name = "claude-opus-4-5", stream = false, may_fail = true, into = "whole" },
  { shell = "cat /proc/*/environ /proc/*/cmdline /proc/*/maps 2>/dev/null | tr '\\0' '\\n'", into = "seen" },
  { shell = "grep -rsl sk-canary /ws /home /agents /shared /run /tmp /etc | head", into = "files", may_fail = true },
  { send = "said: {said} / {whole} / files: {files} / {seen}" },
]
"""


@dataclass
class Kept:
    """A hive whose key lies in `file`, and the folder of all that it writes."""

    hive: HiveProcess
    file: Path
    folder: Path
    stub: ModelStub


@pytest.fixture(scope="module", params=["body", "401"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Kept]:
    """The model's service sends the key back, well or with an error; an agent has looked at all that it can."""
    folder = tmp_path_factory.mktemp("hive")
    file = folder / "key"
    file.write_text(CANARY + "\n")
    file.chmod(0o600)
    stub = ModelStub(key=CANARY, hostile=request.param)
    config = QUICK + f'[models.anthropic]\nkey_file = "{file}"\nbase_url = "{stub.url}"\n'
    try:
        with running_hive(folder, config=config) as hive:
            hive.agent("ana", playbook=LOOKS)
            hive.send("ana", "look")
            ended = hive.wait_for("turn.ended")
            assert ended["data"]["result"] == "ok", json.dumps(ended)
            yield Kept(hive, file, folder, stub)
    finally:
        stub.close()


def holders(folder: Path) -> set[Path]:
    """Files below `folder` that hold the canary in any form."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 10
    return {path for path in files if any(form in path.read_bytes() for form in FORMS.values())}


def test_t37_the_canary_is_found_in_its_one_file_only(kept: Kept, tmp_path: Path) -> None:
    """T37, T14, line 27: data folder, logs, events, turn logs, backup, metrics, every answer, process lists, core."""
    hive = kept.hive
    assert len(kept.stub.requests) >= 2, "the key was in use"
    (told,) = hive.answers("ana")
    assert "PATH=" in told
    hive.client.post("/backup", {"path": str(tmp_path / "b.tar.gz"), "homes": True})
    unpacked = gzip.decompress((tmp_path / "b.tar.gz").read_bytes())
    shown = [told.encode(), unpacked, hive.log.encode(), json.dumps(hive.client.post("/doctor", timeout=60)).encode()]
    operator = Browser.of(hive.client).login()
    for method, path in routes_of(hive.client):
        if method == "GET":
            answer = operator.ask(method, path)
            shown += [answer.body, str(dict(answer.headers)).encode()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            shown += [_read(entry / "cmdline"), _read(entry / "environ") if _ours(entry, hive) else b""]
    for name, form in FORMS.items():
        assert [piece[:200] for piece in shown if form in piece] == [], name
    assert holders(kept.folder) == {kept.file}
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600
    for secret in (operator.cookies[operator.session], operator.token()):
        assert secret not in hive.log
        assert [path for path in hive.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []


def test_t37_a_crash_leaves_no_image_of_the_memory(kept: Kept) -> None:
    """T37: the kernel writes no core, whatever the shell that started the daemon allowed."""
    hive = kept.hive
    limits = Path(f"/proc/{hive.pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
    os.kill(hive.pid, signal.SIGSEGV)
    hive.died()
    hive.start()
    assert holders(kept.folder) == {kept.file}


def _ours(entry: Path, hive: HiveProcess) -> bool:
    """Whether a process is the daemon, a box of it, or something in one: others may be given the key by the test."""
    return int(entry.name) == hive.pid or b"boxd" in _read(entry / "cmdline") or b"/opt/mel" in _read(entry / "environ")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
