"""Random histories of every noun, with crashes before and after commits, hold the invariants (SECURITY.md 6.4).

How far they go: `profiles.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from .base import StoreMachine
from .gate import MACHINES
from .profiles import REACHES, base_seed, chosen, play

LONG = chosen() != REACHES["ci"]
FILE_SECONDS = 1.5
pytestmark = pytest.mark.timeout(0 if LONG else 180)


@pytest.mark.parametrize("name", MACHINES)
def test_no_history_breaks_an_invariant(name: str) -> None:
    """SECURITY.md section 7, line 28: every noun has a machine with crashes before and after commits."""
    assert play(MACHINES[name], chosen(), base_seed()) > 0


@pytest.mark.parametrize("name", [name for name, machine in MACHINES.items() if issubclass(machine, StoreMachine)])
def test_no_history_on_a_file_breaks_an_invariant(name: str) -> None:
    """The same over the product's own store: writer thread, WAL and all."""
    on_file: Any = type(name, (MACHINES[name],), {"kind": "file", "chunk": 5})
    reach = chosen() if LONG else replace(chosen(), seconds=FILE_SECONDS)
    assert play(on_file, reach, base_seed() + 10_000) > 0
