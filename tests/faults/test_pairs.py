"""Every fault point is crashed at in a story that passes it (SECURITY.md section 7, 29; I-1 to I-9, I-11, I-12, I-14).

One run of `melipona.testing.crash_pairs` serves all tests here: each story as it is, each point once with the
quickest story that passes it, the pairs that once failed, and as many of the others, and of other faults (delay,
hang, cancel, exception, disk, short write, duplicate), as fit into the time. All pairs:
`python -m melipona.testing.crash_pairs`. It is not marked `boxes`: the ordinary user's run of CI would tell the same
stories again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from melipona.testing.crash_pairs import Pair, Result
from melipona.testing.crash_stories import STORIES
from melipona.testing.fault_plugin import KINDS
from melipona.testing.fault_points import Code

pytestmark = pytest.mark.timeout(1500)

SEED = 20261201
"""The same pairs each time, as far as the time lasts; `python -m bench.faults pairs` draws others."""
SECONDS, OTHERS = 70, 30
"""After this no pair is begun beyond one for each point; and what is given to other faults than crashes."""

REGRESSIONS = {
    "turn=crash:agents.publish.after_write:1": "a draft stayed in /shared for ever, and counted",
    "turn=crash:agents.publish.before_replace:1": "the same",
    "peers=crash:mail.body.after_replace:1": "a long body stayed in an inbox though its message was never stored",
    "peers=crash:mail.body.before_replace:1": "so did its draft",
    "retention=crash:mail.body.before_unlink:1": "the body of a deleted message stayed: no row named it any more",
    "backup=crash:store.backup.after_copy:1": "a copy of the store stayed beside the target",
    "backup=crash:store.backup.after_place:1": "the same",
    "restored=crash:store.restore.after_file:1": "half a restore was taken for a hive, and could not be begun again",
    "restored=crash:store.restore.after_check:1": "the same",
    "stop_start=crash:turns.operation.before_act:1": "a stop was carried out before the box was taken over: it ran on",
    "too_long=crash:turns.put_interrupt.before_commit:1": "an adopted turn ended while its engine worked on",
    "too_long=crash:link.spool.after_read:1": "a late answer to an interrupt was taken for words after the end",
    "first_start=crash:store.delete_spend.after_commit:1": "the folder of a box whose start was cancelled stayed",
}

OF_OTHER_FAULTS = {
    "budget=eio:gate.settlement.before_write:1": "the cost of a call that could not be written was never written",
    "adopted=cancel:gate.tool.before_call:1": "the story took the turn after a lost answer for a fault",
    "parked=cancel:gate.answer.before_start:1": "the same",
    "backup=enospc:store.mark_new.before_commit:1": "the story took a refused restore for a bad backup",
}

EXCUSED = {
    "agents.set_trouble.": "the upstream refuses the key",
    "boxes.end.after_kill": "a box that ignores TERM",
    "boxes.named_folder.": "a destroyed agent whose name a namesake takes",
    "budgets.release.": "a box that hangs up before its model call is sent",
    "link.resize.": "a person's terminal",
    "link.signal.": "an engine that takes no interrupt as a line",
    "operations.begin.": "a person's terminal: all other operations begin in a verb's transaction",
    "operations.finish.": "the same",
    "operations.postpone.": "an operation that fails",
    "store.record.": "a start that finds the clock set back",
    "store.record_jump.": "a clock that jumps while the daemon runs",
    "store.record_wal.": "a reader that never ends",
    "store.shift_waits.": "a clock that jumps while the daemon runs",
    "turns.due_now.": "more warm engines than may be kept",
    "turns.end_program.": "a warm engine that is not what its agent needs any more",
    "turns.forget_session.": "the claude engine, whose session is lost",
    "turns.log.after_truncate": "a torn line: os._exit tears none",
    "turns.log.before_truncate": "the same",
    "turns.put_line.": "the claude engine, which asks its harness",
    "turns.put_model.": "the claude engine, warm, told another model",
    "turns.set_box_wake.": "an idle box that cannot be ended",
    "turns.store.": "a turn whose calls are not settled in time",
    "turns.store_phase.": "the claude engine, whose context is full",
    "turns.swept.": "a box that no row names",
    "turns.too_big.": "an agent over its disk limit",
}
"""Points that no story passes, by the beginning of their names, and what they would need."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Result]:
    """What became of each pair that was told."""
    report = tmp_path_factory.mktemp("pairs") / "report.jsonl"
    argv = [sys.executable, "-m", "melipona.testing.crash_pairs", "--report", str(report), "--jobs", "3"]
    argv += ["--seed", str(SEED)]
    argv += [
        "--seconds",
        str(SECONDS),
        "--others",
        str(OTHERS),
        *(part for pair in (*REGRESSIONS, *OF_OTHER_FAULTS) for part in ("--also", pair)),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=1400, check=False)
    print(done.stdout[-20_000:], done.stderr[-5_000:])  # the seed, and what failed
    lines = report.read_text().splitlines() if report.exists() else []
    assert lines, done.stderr
    return {result.pair: result for result in (Result(**json.loads(line)) for line in lines)}


def _by_chance(result: Result) -> bool:
    """A point that no story means to pass was passed in the story without a fault, and not again: nothing was tried."""
    wish = Pair.parse(result.pair).wish
    by_chance = wish is not None and wish.point.startswith(tuple(EXCUSED))
    return by_chance and not result.deaths and result.findings[0] == "the point was not passed"


@pytest.mark.parametrize("story", STORIES)
def test_a_story_and_its_crashes_break_no_invariant(results: Mapping[str, Result], story: str) -> None:
    assert story in results
    mine = [result for result in results.values() if Pair.parse(result.pair).story == story]
    failed = {result.pair: result.findings for result in mine if result.findings and not _by_chance(result)}
    assert not failed, json.dumps(failed, indent=1)


def test_every_point_is_crashed_at_in_some_story(results: Mapping[str, Result]) -> None:
    crashed = {wish.point for pair in results if (wish := Pair.parse(pair).wish) is not None and results[pair].deaths}
    left = {name for name in Code().points() - crashed if not name.startswith(tuple(EXCUSED))}
    assert not left


def test_every_point_that_is_passed_can_be_listed(results: Mapping[str, Result]) -> None:
    passed = {name for result in results.values() for name in result.passed}
    assert passed <= Code().points()
    assert len(passed) >= 120


def test_other_faults_than_crashes_are_tried_too(results: Mapping[str, Result]) -> None:
    """SECURITY.md section 6.3: each kind in turn, so that one of each is among the first."""
    kinds = {wish.kind for pair in results if (wish := Pair.parse(pair).wish) is not None}
    assert kinds == set(KINDS)


@pytest.mark.parametrize("pair", REGRESSIONS)
def test_what_once_failed_holds(results: Mapping[str, Result], pair: str) -> None:
    assert results[pair].findings == []
    assert results[pair].deaths == 1


@pytest.mark.parametrize("pair", OF_OTHER_FAULTS)
def test_what_once_failed_of_another_fault_holds(results: Mapping[str, Result], pair: str) -> None:
    assert results[pair].findings == []
