"""Which limit of its box a turn failed at (T6): a reason code and a sentence. Pure.

It is known from what the kernel counted and, where it counts nothing, from what the engine said last.

The engine's word may be forged. It names the reason of a turn that has failed anyway and decides nothing (LE-2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from signal import SIGXFSZ

from melipona.settings import BoxSettings
from melipona.turns.model import Ending

OUT_OF_MEMORY = "out_of_memory"
PROCESS_LIMIT = "process_limit"
OPEN_FILES_LIMIT = "open_files_limit"
FILE_SIZE_LIMIT = "file_size_limit"
NO_SPACE = "no_space"

_UNEXPLAINED = frozenset({"engine_failed", "engine_ended", "box_gone"})
"""Reasons that say how a turn ended and not why."""

_WORDS = (
    (OUT_OF_MEMORY, re.compile(r"out of memory", re.IGNORECASE)),
    (OPEN_FILES_LIMIT, re.compile(r"too many open files|\bEMFILE\b", re.IGNORECASE)),
    (
        FILE_SIZE_LIMIT,
        re.compile(rf"file too large|file size limit exceeded|\bEFBIG\b|\bsignal {int(SIGXFSZ)}\b", re.I),
    ),
    (NO_SPACE, re.compile(r"no space left on device|\bENOSPC\b", re.IGNORECASE)),
    (PROCESS_LIMIT, re.compile(r"resource temporarily unavailable|cannot fork|can't start new thread", re.IGNORECASE)),
)


def blamed_on_limit(ending: Ending, before: Mapping[str, int], after: Mapping[str, int], boxes: BoxSettings) -> Ending:
    """`ending`, with the limit that the box ran into as its reason.

    `before` and `after` are the driver's counts at the turn's begin and end.
    """
    if ending.good or ending.reason not in _UNEXPLAINED:
        return ending
    reason = _counted(before, after) or next((code for code, words in _WORDS if words.search(ending.note)), None)
    if reason is None:
        return ending
    return replace(ending, reason=reason, note=f"{_sentence(reason, boxes)}: {ending.note}")


def _counted(before: Mapping[str, int], after: Mapping[str, int]) -> str | None:
    for limit, code in (("memory_bytes", OUT_OF_MEMORY), ("processes", PROCESS_LIMIT)):
        if after.get(limit, 0) > before.get(limit, 0):
            return code
    return None


def _sentence(reason: str, boxes: BoxSettings) -> str:
    return {
        OUT_OF_MEMORY: f"the box ran out of memory ({boxes.memory_bytes >> 20} MiB, boxes.memory_bytes)",
        PROCESS_LIMIT: f"the box may not have more than {boxes.processes} processes (boxes.processes)",
        OPEN_FILES_LIMIT: f"no process may open more than {boxes.open_files} files (boxes.open_files)",
        FILE_SIZE_LIMIT: f"no file may be larger than {boxes.file_size_bytes >> 20} MiB (boxes.file_size_bytes)",
        NO_SPACE: f"no space is left in /tmp ({boxes.tmp_bytes >> 20} MiB, boxes.tmp_bytes) or on the host's disk",
    }[reason]
