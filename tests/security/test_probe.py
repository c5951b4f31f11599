"""SECURITY.md section 7 line 4: the probe in a real box, under whoever runs the tests, and its table in the documents.

CI runs the tests marked `boxes` as root, where the box has a uid of its own, and again as an ordinary user.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from melipona.testing.box_suite import (
    OPEN,
    OPEN_WITHOUT_MEMORY_LIMIT,
    PROBE,
    PROBE_LIMITS,
    USUALLY_OPEN,
    canaries,
    parse_probe,
)
from melipona.testing.linked_boxes import LinkBench
from melipona.testing.probe import ATTEMPTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.anyio
@pytest.mark.boxes
async def test_a_box_leaves_open_what_is_frozen_and_nothing_else(tmp_path: Path) -> None:
    """The box as agents get it: the real boxd, the real link, and as root a uid that no other process has."""
    with canaries(tmp_path) as targets:
        async with LinkBench(tmp_path / "data") as bench:
            limits = {limit.name: limit for limit in bench.driver.enforced()}
            box = await bench.start(limits=PROBE_LIMITS)
            done = await box.python(PROBE.read_text(), json.dumps(targets))
            uid = int(box.ref.handle["uid"])
    found = parse_probe(done.out)
    assert len(found) == len(ATTEMPTS) == 34, done.err
    allowed = OPEN if limits["memory_bytes"].binds else OPEN | OPEN_WITHOUT_MEMORY_LIMIT
    assert {name for name, worked in found.items() if worked} == allowed, done.out
    if os.geteuid() == 0:
        assert uid != 0
        assert (uid == bench.folders.owner.uid) == (not limits["own_uid"].binds)
    else:
        assert uid == os.geteuid()


def test_the_table_in_the_documents_is_what_boxes_are_held_to() -> None:
    """docs/security.md: made by a script from the frozen lists."""
    argv = [sys.executable, "scripts/probe_table.py", "--check"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_frozen_lists_name_attempts_of_the_probe() -> None:
    """A name that nothing attempts would be no promise; what is open everywhere is not called shut."""
    assert set(ATTEMPTS) >= (OPEN | OPEN_WITHOUT_MEMORY_LIMIT | USUALLY_OPEN)
    assert OPEN <= USUALLY_OPEN
