"""Room on the disk: how much is left, when the hive stops accepting, and the ballast that lets it act then (I-17).

Three levels. `ok`. `low`: less is free than the floor; no new turn begins, everything else goes on. `full`: a write
found no space, or nearly; the hive is read-only: what is new is refused and says so. When the disk gets full the
ballast, a file that only takes space, is removed: with its room turns under way end, agents can be purged and the hive
can be brought down. Deleting rows needs space too, so without ballast nothing could.

Entering `full` may happen in any thread, at the moment a write fails. Leaving it is `disk.py`'s, which looks
every second.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from melipona.errors import StoreFull
from melipona.settings import StoreSettings

BALLAST = "ballast"
"""The file's name below the data folder."""
FULL_MOST = 16 << 20
"""Bytes: with less than this, or a quarter of the ballast, the disk counts as full before a write has failed."""
AGAIN = 1.1
"""What ends `low` is this many floors, so that it does not come and go."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


class Level(StrEnum):
    """How much room there is."""

    OK = "ok"
    LOW = "low"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Room:
    """Room at one moment, in bytes. `floor` is what must be free for a new turn to begin."""

    free: int
    total: int
    floor: int
    level: Level


def floor_of(settings: StoreSettings, total: int) -> int:
    """Bytes that must be free on a disk of `total` bytes for a new turn: the smaller of the two limits that are set."""
    share = int(total * settings.floor_percent / 100)
    return min((limit for limit in (share, settings.floor_bytes) if limit), default=0)


def level_of(free: int, floor: int, full: int, before: Level) -> Level:
    """The level that `free` bytes make after `before`; what ends `full` is more than the floor (and the ballast)."""
    if free < full or (before is Level.FULL and free <= floor):
        return Level.FULL
    if free < floor or (before is not Level.OK and free < floor * AGAIN):
        return Level.LOW
    return Level.OK


class Space:
    """The room below one data folder. `measure` stands for statvfs in tests: free and total bytes of a folder."""

    def __init__(
        self, data: Path, settings: StoreSettings, *, measure: Callable[[Path], tuple[int, int]] | None = None
    ) -> None:
        self.data, self._settings = data, settings
        self._measure = measure or statvfs
        self._ballast = data / BALLAST
        self._lock = threading.Lock()
        self.level = Level.OK
        self.refused = 0
        """Changes that were refused since the disk got full."""
        self.on_full: Callable[[], None] = lambda: None
        """Called in any thread when a write has found no space."""

    @property
    def full(self) -> bool:
        return self.level is Level.FULL

    def room(self) -> Room:
        """What is free now; the level does not change. Looks at the file system."""
        free, total = self._measure(self.data)
        return Room(free, total, floor_of(self._settings, total), self.level)

    def begin(self) -> Level:
        """Before the store is opened: with a full disk the ballast goes first, so that it can be opened at all."""
        found = self.shown()
        if found is Level.FULL:
            self.filled()
        else:
            self.level = found
            self.make_ballast()
        return self.level

    def look(self) -> Level:
        """The level that the disk shows now; entering `full` acts at once, what else follows is the caller's."""
        found = self.shown()
        if found is Level.FULL and not self.full:
            self.filled()
        return found

    def filled(self) -> None:
        """A write found no space: be read-only, and let the ballast go. May be called in any thread, and again."""
        with self._lock:
            if not self.full:
                self.level, self.refused = Level.FULL, 0
            with suppress(OSError):  # a read-only disk: nothing can be done
                self._ballast.unlink()
        self.on_full()

    def over(self, level: Level) -> None:
        """Leave `full`, or change between the two others."""
        with self._lock:
            self.level = level

    def make_ballast(self) -> bool:
        """Have the ballast in place with its full size; False when there is no room for it. Blocks on the disk."""
        wanted = self._settings.ballast_bytes
        with self._lock:
            try:
                if wanted == 0:
                    self._ballast.unlink(missing_ok=True)
                    return True
                fd = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                try:
                    if os.fstat(fd).st_size != wanted or os.fstat(fd).st_blocks * 512 < wanted:
                        os.ftruncate(fd, 0)
                        os.posix_fallocate(fd, 0, wanted)
                finally:
                    os.close(fd)
            except OSError:
                with suppress(OSError):
                    self._ballast.unlink(missing_ok=True)
                return False
        return True

    def refusal(self) -> StoreFull:
        """What somebody is told who wants something new while the disk is full."""
        self.refused += 1
        room = self.room()
        wanted = self._back(room.floor)
        return StoreFull(
            f"the disk of {self.data} is full ({room.free >> 20} MiB free): the hive only reads until there is room",
            remedy=f"free {max(1, wanted - room.free + (1 << 20) >> 20)} MiB (`mel agent destroy NAME --purge`, or "
            "files elsewhere on that disk); it goes on by itself",
        )

    def _back(self, floor: int) -> int:
        """What must be free for `full` to end: the floor, and room to put the ballast back."""
        there = self._ballast.exists()
        return max(floor, self._full) + (0 if there else self._settings.ballast_bytes)

    @property
    def _full(self) -> int:
        return min(self._settings.ballast_bytes // 4, FULL_MOST)

    def shown(self) -> Level:
        """The level that the disk shows now; nothing is done about it."""
        room = self.room()
        floor = self._back(room.floor) if self.full else room.floor
        return level_of(room.free, floor, self._full, self.level)


def statvfs(folder: Path) -> tuple[int, int]:
    """Free and total bytes of a folder's file system, as far as this user may use it."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def short_of_room(space: Space | None) -> str:
    """Why no turn begins, for people; empty when there is room."""
    if space is None or space.level is Level.OK:
        return ""
    room = space.room()
    if space.full:
        return f"the disk is full ({room.free >> 20} MiB free)"
    return f"only {room.free >> 20} MiB of the disk are free, a turn begins with {room.floor >> 20} MiB"
