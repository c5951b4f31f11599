"""Whole hives by a seed: the product's rooms and loops, fake boxes, no threads, no time (SECURITY.md section 6.4)."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(300)
SECONDS = 20
BUGS = ("acknowledge all", "acknowledge what waits", "no flag", "a flag that is told but not stored", "flag too late")


def python(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: dead daemons are never cleared up, which tests of ours take for leaks."""
    argv = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=280, check=False, env={**os.environ, "PYTHONHASHSEED": "0"}
    )


def test_random_histories_of_a_whole_hive_break_no_invariant() -> None:
    """I-1 to I-9, I-14, I-17; a seed that broke something is printed with the command that plays it again."""
    first = str(random.randrange(10**6))
    done = python("melipona.testing.simulation", "--first", first, "--seconds", str(SECONDS))
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_plays_the_same_history_again() -> None:
    told = [python("melipona.testing.simulation", "--seed", "4").stdout.splitlines()[-1] for _ in range(2)]
    assert "digest" in told[0]
    assert told[0] == told[1]


def test_the_simulation_finds_seeded_bugs() -> None:
    done = python("tests.faults.machines.simulated_bugs", *BUGS)
    missed = [line for line in done.stdout.splitlines() if line.endswith("= None")]
    assert len(done.stdout.splitlines()) == len(BUGS), done.stderr
    assert missed == []
