"""Opening beneath a folder holds against a writer that swaps it while we look (T23, prototypes/sec/beneath.py)."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from melipona.beneath import read_regular
from melipona.errors import AskedWrongly, WorldFailed

ROUNDS = 3000


@pytest.mark.threat("T23")
def test_a_folder_that_is_swapped_for_a_link_never_leads_outside(tmp_path: Path) -> None:
    """T23: between a folder and a link to its parent, as fast as it goes."""
    (tmp_path / "ws" / "d").mkdir(parents=True)
    (tmp_path / "ws" / "d" / "f").write_text("fine")
    (tmp_path / "f").write_text("SECRET")
    over = threading.Event()

    def swap() -> None:
        ws = tmp_path / "ws"
        while not over.is_set():
            os.rename(ws / "d", ws / "d2")
            os.symlink("..", ws / "d")
            os.unlink(ws / "d")
            os.rename(ws / "d2", ws / "d")

    agent = threading.Thread(target=swap)
    agent.start()
    seen: set[bytes] = set()
    try:
        for _ in range(ROUNDS):
            try:
                seen.add(read_regular(tmp_path / "ws", "d/f", limit=100))
            except AskedWrongly:
                pass
    finally:
        over.set()
        agent.join()
    assert b"SECRET" not in seen


def test_a_folder_that_is_a_link_itself_is_not_opened(tmp_path: Path) -> None:
    """T23: the root of all is checked, too."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_text("x")
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(WorldFailed):
        read_regular(tmp_path / "link", "f", limit=10)
    assert read_regular(tmp_path / "real", "f", limit=10) == b"x"


def test_no_descriptor_is_left_open_by_refusals(tmp_path: Path) -> None:
    """I-20."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "big").write_bytes(b"xx")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        for path in ("fifo", "big", "nothing", "../x", "a\0b", "."):
            with pytest.raises(AskedWrongly):
                read_regular(tmp_path, path, limit=1)
    assert len(os.listdir("/proc/self/fd")) == before
