"""How much disk a box uses, measured whatever lies in its folders (D-26, T6)."""

from __future__ import annotations

import os
from pathlib import Path

from melipona.turns.disk import DiskUse, measure


def test_blocks_and_inodes_of_all_folders_count_and_links_are_not_followed(tmp_path: Path) -> None:
    home, work, outside = tmp_path / "home", tmp_path / "ws", tmp_path / "outside"
    for folder in (home, work, outside):
        folder.mkdir()
    (outside / "big").write_bytes(b"x" * 3_000_000)
    (work / "link").symlink_to(outside)
    (home / "inner").mkdir()
    (home / "inner/file").write_bytes(b"x" * 1_000_000)
    with (work / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    used = measure([home, work, tmp_path / "gone"])
    assert 1_000_000 <= used.bytes < 1_100_000
    assert used.inodes == 4


def test_a_tree_too_deep_to_be_named_is_over_any_limit(tmp_path: Path) -> None:
    """An agent hides nothing below names that are too long for a path."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    assert measure([tmp_path]).over(1 << 40, 1 << 40) is not None


def test_what_is_over_a_limit_is_said_and_0_is_no_limit() -> None:
    used = DiskUse(10 << 20, 500)
    assert used.over(0, 0) is None
    assert used.over(11 << 20, 501) is None
    assert "10 MiB" in (used.over(9 << 20, 0) or "")
    assert "500 files" in (used.over(0, 499) or "")
