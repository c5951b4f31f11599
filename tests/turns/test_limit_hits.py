"""Which limit of its box a failed turn is blamed on (T6): the kernel's count first, then the engine's last words."""

from __future__ import annotations

import pytest

from melipona.settings import BoxSettings
from melipona.turns.limit_hits import blamed_on_limit
from melipona.turns.model import STOPPED, Ending

BOXES = BoxSettings()


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ("shell ended with 1: OSError: [Errno 24] Too many open files: 'x'", "open_files_limit"),
        ("the engine ended with signal 25", "file_size_limit"),
        ("shell ended with 1: OSError: [Errno 27] File too large", "file_size_limit"),
        ("OSError: [Errno 28] No space left on device", "no_space"),
        ("sh: 1: Cannot fork", "process_limit"),
        ('box of "ana": out of memory', "out_of_memory"),
        ("shell ended with 2: no such file", "engine_failed"),
        ("signal 255", "engine_failed"),
    ],
)
def test_what_the_engine_said_last_names_the_limit(note: str, reason: str) -> None:
    """Where the kernel counts nothing."""
    ending = blamed_on_limit(Ending("failed", "engine_failed", note, failed=True), {}, {}, BOXES)
    assert ending.reason == reason
    assert note in ending.note
    assert (ending.result, ending.failed) == ("failed", True)
    assert ("boxes." in ending.note) == (reason != "engine_failed")


def test_what_the_kernel_counted_in_this_turn_goes_before_words() -> None:
    """A count of an earlier turn of the same box says nothing of this one."""
    ending = Ending("failed", "engine_ended", "the engine ended with signal 9", failed=True)
    hit = blamed_on_limit(ending, {"memory_bytes": 1, "processes": 3}, {"memory_bytes": 2, "processes": 3}, BOXES)
    assert hit.reason == "out_of_memory"
    assert "4096 MiB" in hit.note
    assert blamed_on_limit(ending, {"memory_bytes": 2}, {"memory_bytes": 2}, BOXES) == ending
    forks = blamed_on_limit(ending, {}, {"memory_bytes": 0, "processes": 7}, BOXES)
    assert forks.reason == "process_limit"


@pytest.mark.parametrize("ending", [Ending("ok"), STOPPED, Ending("failed", "time_silence", "out of memory")])
def test_an_end_that_is_explained_keeps_its_reason(ending: Ending) -> None:
    """Only ends without a why are looked into."""
    assert blamed_on_limit(ending, {}, {"memory_bytes": 5}, BOXES) == ending
