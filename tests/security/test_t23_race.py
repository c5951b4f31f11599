"""A folder that is swapped for a link while its files are read never leads out of it (T23, line 20)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from melipona.beneath import opened_regular, read_regular
from melipona.errors import AskedWrongly

pytestmark = pytest.mark.threat("T23")

SECONDS = 3.0
SECRET = b"SECRET of the host"


@contextmanager
def swapping(work: Path) -> Generator[list[int]]:
    """An agent that swaps `d` for a link to its parent, and `d/f` for a link, a hard link and a pipe, without end."""
    over, rounds = threading.Event(), [0]

    def swap() -> None:
        kinds: list[Callable[[Path], None]] = [
            lambda path: path.symlink_to("../../f"),
            lambda path: os.link(work.parent / "f", path),
            lambda path: os.mkfifo(path),
        ]
        while not over.is_set():
            (work / "d").rename(work / "d2")
            (work / "d").symlink_to("..")
            (work / "d").unlink()
            (work / "d2").rename(work / "d")
            other = work / "d" / "g"
            kinds[rounds[0] % 3](other)
            other.rename(work / "d" / "f")
            other.write_bytes(b"fine")
            other.rename(work / "d" / "f")
            rounds[0] += 1

    agent = threading.Thread(target=swap)
    agent.start()
    try:
        yield rounds
    finally:
        over.set()
        agent.join()


def test_t23_three_seconds_of_swapping_leak_nothing(tmp_path: Path) -> None:
    """T23: 0 leaks in 3 s; a check of the real path before opening lost this race hundreds of times.

    Found by it: a hard link that was removed between opening and counting passed for a file with one name.
    """
    work = tmp_path / "ws"
    (work / "d").mkdir(parents=True)
    (work / "d" / "f").write_bytes(b"fine")
    (tmp_path / "f").write_bytes(SECRET)
    before = len(os.listdir("/proc/self/fd"))
    seen: dict[bytes, int] = {}
    refused = 0
    end = time.monotonic() + SECONDS
    with swapping(work) as rounds:
        while time.monotonic() < end:
            try:
                data = read_regular(work, "d/f", limit=100)
                with opened_regular(work, "d/f") as fd:
                    data += os.pread(fd, 100, 0)
            except AskedWrongly:
                refused += 1
            else:
                seen[data] = seen.get(data, 0) + 1
    assert rounds[0] > 50
    assert refused > 0
    assert seen
    assert not any(SECRET in data for data in seen), seen
    assert len(os.listdir("/proc/self/fd")) == before
