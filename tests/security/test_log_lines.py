"""The daemon's log at a terminal: no byte of an agent acts on it (T36)."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest

SAY = """
import sys
from melipona.logs import configure
configure(readable=sys.argv[1] == "readable")
import structlog
log = structlog.get_logger("test")
evil = "a" + "".join(map(chr, [*range(32), 127, *range(128, 160), 0x202e, 0x2028, 0x200b, 0xd800, 0xe0001])) + "%s{0}"
log.warning("box said " + evil, agent=evil, nested={"a": [evil]}, number=7)
try:
    raise ValueError(evil)
except ValueError:
    log.exception("failed")
"""


@pytest.mark.parametrize("how", ["readable", "json"])
@pytest.mark.threat("T36")
def test_every_character_that_could_act_is_shown_and_no_line_is_forged(how: str) -> None:
    """T36: C0 and C1 controls (0x9b begins a terminal's commands too), bidi, separators, half characters."""
    done = subprocess.run([sys.executable, "-c", SAY, how], capture_output=True, timeout=60, check=True)
    text = done.stderr.decode()
    lines = text.split("\n")
    assert len(lines) == (4 if how == "readable" else 3), lines  # for a person the exception stands below
    acting = [ch for ch in text if ch != "\n" and unicodedata.category(ch) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")]
    assert acting == []
