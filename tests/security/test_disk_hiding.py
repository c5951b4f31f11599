"""A box cannot hide what it wrote from the disk limit (T6)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from melipona.boxes.folders import box_owner

MEASURE = """
import os, sys
from pathlib import Path
from melipona.turns.disk import measure
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
print(measure([Path(sys.argv[1])]).over(10 << 30, 500_000))
"""


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600], ids=oct)
@pytest.mark.threat("T6")
def test_a_folder_that_its_owner_closed_is_over_any_limit(mode: int) -> None:
    """T6: to the daemon of an ordinary user a closed folder of any size counted as nothing."""
    uid = box_owner().uid
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        top, closed = Path(name), Path(name, "closed")
        top.chmod(0o755)
        closed.mkdir()
        (closed / "big").write_bytes(b"x" * 100_000)
        if os.geteuid() == 0:
            os.chown(closed, uid, uid)
        closed.chmod(mode)
        argv = [sys.executable, "-c", MEASURE, str(top), str(uid)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        closed.chmod(0o700)
    assert "cannot be measured" in done.stdout, done.stderr
