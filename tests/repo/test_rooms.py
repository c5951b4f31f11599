"""The rooms of docs/architecture.md and what the command line loads (D-40)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .files import ROOT

HEAVY = ("melipona.daemon", "melipona.store", "sqlalchemy", "fastapi", "pydantic", "mcp", "uvicorn", "alembic")


def test_imports_keep_their_contracts() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    argv = [str(tool), "--no-cache", "--no-logo"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_line_starts_without_the_daemons_modules() -> None:
    """`mel` and its most used commands are a client on the standard library and click."""
    modules = "main, mail, status, agents, turns, events"
    code = f"import sys; from melipona.cli import {modules}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_every_program_of_a_box_is_one_file_on_the_standard_library() -> None:
    """boxd and what it starts run with the host's Python and nothing else."""
    for path in (ROOT / "src/melipona/boxes/inside").glob("*.py"):
        text = path.read_text()
        assert "import melipona" not in text, path
        assert "from melipona" not in text, path
