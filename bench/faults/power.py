"""Loss of power by replay: the disks that it can leave of a database whose writes were recorded (`power.c`).

At any point of the record the disk holds for certain what was synced, and of the writes after the last sync of a file
any subset, each of them whole or torn at a sector. So that is what `Disk` makes: synced content, plus writes that a
random source picks. Directory entries are taken to be durable at the file's first sync; a removed file may be back.

A program under record is started with `recording(...)`; what a caller was told is dated by the size of the record at
that moment: a cut at or after it must keep what was promised.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
_HEAD = struct.Struct("<cc2Q")
NAMES = {b"d": "mel.db", b"l": "mel.db-wal"}


def compiler() -> str | None:
    """A C compiler, without which nothing can be recorded."""
    return shutil.which("gcc") or shutil.which("cc")


def build(source: Path, folder: Path) -> Path:
    """The shared library of `source`, below `folder`.

    Raises:
        FileNotFoundError: there is no C compiler.
    """
    program = compiler()
    if program is None:
        raise FileNotFoundError("no C compiler (gcc or cc)")
    library = folder / f"{source.stem}.so"
    argv = [program, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl", "-lpthread"]
    subprocess.run(argv, check=True, timeout=60)
    return library


def recording(data: Path, record: Path, folder: Path) -> dict[str, str]:
    """The environment in which a program's writes to the database below `data` are recorded in the file `record`."""
    library = build(Path(__file__).with_name("power.c"), folder)
    return {"LD_PRELOAD": str(library), "POWER_DATA": str(data), "POWER_LOG": str(record)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded act; `end` is where the record stood after it."""

    what: bytes
    file: bytes
    offset: int
    data: bytes
    end: int


def entries(record: Path) -> list[Entry]:
    """Everything in a record, oldest first; a torn end is left out."""
    raw = record.read_bytes()
    found: list[Entry] = []
    at = 0
    while at + _HEAD.size <= len(raw):
        what, file, offset, size = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        if at + size > len(raw):
            break
        found.append(Entry(what, file, offset, raw[at : at + size], at + size))
        at += size
    return found


@dataclass(slots=True)
class _File:
    durable: bytearray | None = None
    """None: the file need not be there."""
    pending: list[Entry] = field(default_factory=list[Entry])


@dataclass(slots=True)
class Disk:
    """A disk that has taken the entries so far."""

    files: Mapping[bytes, _File] = field(default_factory=lambda: {name: _File() for name in NAMES})
    unlinked: list[bytes] = field(default_factory=list[bytes])

    def take(self, entry: Entry) -> None:
        """One more act."""
        file = self.files[entry.file]
        if entry.what == b"s":
            content = file.durable if file.durable is not None else bytearray()
            for each in file.pending:
                content = _applied(content, each)
            file.durable, file.pending = content, []
        else:
            file.pending.append(entry)

    def leave(self, folder: Path, chance: random.Random) -> int:
        """Write one of the disks that a loss of power now can leave; how many unsynced writes it lost or tore."""
        lost = 0
        for name, file in self.files.items():
            content = None if file.durable is None else bytearray(file.durable)
            keep = chance.choice((0.0, 0.5, 0.9, 1.0))
            for entry in file.pending:
                kept = _torn(entry, chance) if chance.random() < keep else None
                lost += kept is not entry
                if kept is None:
                    continue
                content = None if entry.what == b"u" else _applied(content or bytearray(), kept)
            if content is not None:
                (folder / NAMES[name]).write_bytes(content)
        return lost


def _torn(entry: Entry, chance: random.Random) -> Entry:
    """The entry, or now and then of a write only some of its sectors."""
    if entry.what != b"w" or len(entry.data) <= SECTOR or chance.random() < 0.8:
        return entry
    sectors = chance.randrange(1, (len(entry.data) + SECTOR - 1) // SECTOR)
    return Entry(entry.what, entry.file, entry.offset, entry.data[: sectors * SECTOR], entry.end)


def _applied(content: bytearray, entry: Entry) -> bytearray:
    if entry.what == b"u":
        return bytearray()
    if entry.what == b"t":
        del content[entry.offset :]
        content.extend(bytes(max(0, entry.offset - len(content))))
        return content
    content.extend(bytes(max(0, entry.offset - len(content))))
    content[entry.offset : entry.offset + len(entry.data)] = entry.data
    return content


def losses(
    record: Path, folder: Path, chance: random.Random, cuts: int, *, first: int = 0
) -> Generator[tuple[Path, int, int]]:
    """Make `cuts` disks at random points of a record from offset `first` on, one after the other in `folder`: the
    folder of each, how far the record had come, and how many writes were lost. It is emptied before the next."""
    every: Sequence[Entry] = entries(record)
    able = [number for number, entry in enumerate(every) if entry.end >= first]
    if not able:
        raise ValueError("nothing was recorded")
    points = sorted(chance.choice(able) for _ in range(cuts))
    disk, done = Disk(), 0
    image = folder / "after-power-loss"
    for point in points:
        for entry in every[done : point + 1]:
            disk.take(entry)
        done = point + 1
        shutil.rmtree(image, ignore_errors=True)
        image.mkdir(mode=0o700)
        lost = disk.leave(image, chance)
        yield image, every[point].end, lost
    shutil.rmtree(image, ignore_errors=True)


def size_of(record: Path) -> int:
    """How far the record has come."""
    try:
        return os.stat(record).st_size
    except FileNotFoundError:
        return 0
