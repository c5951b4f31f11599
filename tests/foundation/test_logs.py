"""The daemon's log: nothing that an agent writes forges a line, no key stands in it (T36, T37)."""

from __future__ import annotations

import json
import subprocess
import sys

LOGS = """
import logging, sys
from melipona.logs import configure
configure(readable=sys.argv[1] == "readable")
import structlog
log = structlog.get_logger("test")
evil = '\\n{"event": "login"}\\x1b[31m'
log.info("named", name=evil, key="sk-ant-api03-abcdefghijklmnop", long="x" * 100_000)
logging.getLogger("library").warning("from outside %s sk-ant-api03-abcdefghijklmnop", evil)
try:
    raise ValueError("sk-ant-api03-abcdefghijklmnop")
except ValueError:
    log.exception("failed")
"""


def said(how: str) -> str:
    run = subprocess.run([sys.executable, "-c", LOGS, how], capture_output=True, text=True, timeout=60, check=True)
    return run.stderr


def test_each_entry_is_one_line_of_json_with_bounded_values_and_no_key() -> None:
    """T36, T37, invariant 27."""
    lines = said("json").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["event"][:6] for entry in entries] == ["named", "from o", "failed"]
    assert all(len(line) < 10_000 for line in lines)
    assert "abcdefghijklmnop" not in "".join(lines)
    assert "ValueError" in entries[2]["exception"]


def test_a_person_reads_the_same_without_control_characters() -> None:
    """T36."""
    text = said("readable")
    assert "\x1b" not in text
    assert "abcdefghijklmnop" not in text
    assert not any(line.startswith("{") for line in text.splitlines())
