"""How much disk the boxes of this daemon use, measured every while; a plain bind has no limit of its own (D-26, T6)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SEEN_MOST = 2_000_000
"""A folder with more entries than this is over any limit."""

_HIDES = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes on disk (blocks, not lengths) and inodes. `hidden`: there is more that cannot be seen: deeper than any path
    can name, or in folders that their owner closed to a daemon which is not root."""

    bytes: int
    inodes: int
    hidden: bool = False

    def over(self, limit_bytes: int, limit_inodes: int) -> str | None:
        """What is over its limit, for people; 0 = no limit."""
        if self.hidden and (limit_bytes or limit_inodes):
            return "it has folders that cannot be measured: nested too deep, or closed (chmod u+rx)"
        if limit_bytes and self.bytes > limit_bytes:
            return f"its files take {self.bytes >> 20} MiB, the limit is {limit_bytes >> 20} MiB"
        if limit_inodes and self.inodes > limit_inodes:
            return f"it has {self.inodes} files, the limit is {limit_inodes}"
        return None


def measure(folders: Iterable[Path]) -> DiskUse:
    """Disk use below `folders`, links not followed, names never interpreted. Blocks: run it in a thread."""
    total = inodes = 0
    todo = [os.fspath(folder) for folder in folders]
    while todo and inodes < SEEN_MOST:
        try:
            entries = os.scandir(todo.pop())
        except OSError as error:
            if error.errno in _HIDES:
                return DiskUse(total, inodes, hidden=True)
            continue  # gone: its inode was counted with its parent
        with entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                    inner = entry.is_dir(follow_symlinks=False)
                except OSError as error:
                    if error.errno in _HIDES:
                        return DiskUse(total, inodes, hidden=True)
                    continue
                inodes += 1
                total += found.st_blocks * 512
                if inner:
                    todo.append(entry.path)
    return DiskUse(total, inodes)
