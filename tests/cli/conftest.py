"""`mel` in this process, against a served hive."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from melipona.cli.main import run
from melipona.testing.served import ServedHive, served


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Mel = Callable[..., Said]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of its own."""
    return tmp_path / "hive"


@pytest.fixture
def mel(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mel:
    """Runs one command line."""
    monkeypatch.setenv("MEL_DATA", str(data))
    monkeypatch.delenv("MEL_CONFIG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*args: str) -> Said:
        capsys.readouterr()
        code = run(args)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


@pytest.fixture
def hive(data: Path) -> Generator[ServedHive]:
    """A hive with an agent called ana."""
    with served(data) as hive:
        hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
        yield hive
