"""The campaign of process faults at the size that CI runs: nothing lost, nothing left, each turn with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.faults import processes

SEED = 20261121


@pytest.mark.timeout(400)
def test_random_faults_of_processes_break_no_promise(tmp_path: Path) -> None:
    """SECURITY.md 6.3 D and section 7 line 6; a failing seed is replayed by the command in the message."""
    result = processes.run(SEED, processes.QUICK, tmp_path)
    assert result.ok, (result.command, result.violations)
    assert sum(result.faults.values()) == processes.QUICK
    assert result.faults["daemon killed"] == processes.QUICK // processes.RESTART_EVERY
    assert result.numbers["restarts"] >= 4
    assert {"I-1", "I-2", "fault reason", "orphan cgroup"} <= set(result.checked)


def test_every_fault_is_played_by_the_agents() -> None:
    """A kind without a rule would be an agent that says `done` to everything."""
    played = processes.playbook()
    assert all(f"'^{kind}$'" in played for kind in processes.KINDS)
    assert len(processes.KINDS) >= 16
