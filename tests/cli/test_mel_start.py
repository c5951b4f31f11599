"""`mel` starts fast and completes names: what it imports, and what the shell gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from melipona.cli.main import COMMANDS, MODULES
from melipona.testing.served import ServedHive

Mel = Any
HEAVY = (
    "pydantic",
    "httpx2",
    "sqlalchemy",
    "fastapi",
    "uvicorn",
    "alembic",
    "mcp",
    "rich",
    "asyncio",
    "melipona.daemon",
)


@pytest.mark.parametrize("args", [["--help"], ["status", "--help"], ["agent", "new", "--help"], ["send", "ana", "x"]])
def test_mel_imports_nothing_heavy(args: list[str], tmp_path: Any) -> None:
    """PERFORMANCE.md section 11, rule 21: neither for help nor for a command that talks to the daemon."""
    code = (
        "import json, sys\n"
        "from melipona.cli.main import run\n"
        f"run({args!r})\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "MEL_DATA": str(tmp_path / "none")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    modules = set(json.loads(done.stderr.splitlines()[-1]))
    assert not [name for name in HEAVY if name in modules]


def test_the_help_imports_neither_http_nor_openssl() -> None:
    """PERFORMANCE.md section 9: `mel --help` asks nobody."""
    code = (
        "import sys\nfrom melipona.cli.main import run\nrun(['--help'])\n"
        "print(bool({'http.client', 'hashlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_help_lists_every_command_in_groups(mel: Mel) -> None:
    """DESIGN.md: by noun."""
    said = mel("--help")
    assert said.code == 0
    assert all(f"  {name} " in said.out for name in COMMANDS)
    assert COMMANDS.keys() == MODULES.keys()
    for name in COMMANDS:
        assert mel(name, "--help").code == 0


def test_the_version(mel: Mel) -> None:
    """One line."""
    assert mel("--version").out.startswith("mel ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_each_shell(mel: Mel, shell: str) -> None:
    """It asks `mel` itself."""
    said = mel("completion", shell)
    assert said.code == 0
    assert f"_MEL_COMPLETE={shell}_complete" in said.out


def test_completion_knows_commands_and_agents(hive: ServedHive) -> None:
    """DESIGN.md: completion knows agents' names; with no daemon it is silent."""
    hive.client.post("/agents", {"name": "anton", "engine": "playbook"})
    assert _completed(str(hive.data), "mel sta", 1) == ["status"]
    for line, word in (("mel send an", 2), ("mel agent show an", 3), ("mel why an", 2), ("mel log an", 2)):
        assert _completed(str(hive.data), line, word) == ["ana", "anton"], line
    assert _completed("/nonexistent", "mel send an", 2) == []


def _completed(data: str, line: str, word: int) -> list[str]:
    environment = {**os.environ, "MEL_DATA": data, "COMP_WORDS": line, "COMP_CWORD": str(word)}
    environment["_MEL_COMPLETE"] = "bash_complete"
    done = subprocess.run(
        [sys.executable, "-m", "melipona.cli.main"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]
