"""Read-only trees that boxes see: their /etc and /opt/mel, made by the daemon with exact modes.

A tree is named by the hash of its content and never changed once made, so a living box keeps what it started with, also
across an upgrade of the package, and a private umask of whoever installed it does not hide files from the box's uid.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from melipona.boxes.removal import remove_tree
from melipona.faults import fault_here
from melipona.ids import new_id

MANAGED_SETTINGS = "claude-code/managed-settings.json"

_ETC_WHOLE = ("ssl", "pki", "ca-certificates", "alternatives")
_ETC_FILES = ("ld.so.cache", "localtime", "mime.types", "protocols", "services", "os-release")
_ETC_OWN = {
    "passwd": (
        b"root:x:0:0::/:/bin/false\nagent:x:1000:1000::/home/agent:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n"
    ),
    "group": b"root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": b"127.0.0.1 localhost box\n::1 localhost\n",
    "nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
    "hostname": b"box\n",
    MANAGED_SETTINGS: b"{}\n",
}


@dataclass(frozen=True, slots=True)
class File:
    """A regular file of a tree."""

    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link of a tree."""

    target: str


Tree = Mapping[str, File | Link]


def etc_tree(more: Mapping[str, bytes] | None = None, host: Path = Path("/etc")) -> Tree:
    """The /etc of boxes: the host's certificates, alternatives and loader cache, our own accounts and names.

    `more` adds or replaces files by their path below /etc (`claude-code/managed-settings.json`, say).
    """
    tree: dict[str, File | Link] = {}
    for name in _ETC_WHOLE:
        tree.update(_read(host / name, name, skip="private"))
    for name in _ETC_FILES:
        tree.update(_read(host / name, name))
    tree.update({name: File(data) for name, data in (_ETC_OWN | dict(more or {})).items()})
    return tree


def folder_tree(folder: Path) -> Tree:
    """All regular files and links of a folder of ours, without caches of the interpreter."""
    return _read(folder, "", skip="__pycache__")


def keep_tree(store: Path, name: str, tree: Tree) -> Path:
    """The folder below `store` that holds `tree`, made when it is not there yet. It is world-readable and read-only."""
    folder = store / f"{name}-{_digest(tree)}"
    if folder.is_dir():
        return folder
    made = store / f".{new_id()}"
    try:
        _write(made, tree)
        fault_here("boxes.tree.before_rename")
        made.rename(folder)
        fault_here("boxes.tree.after_rename")
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if not folder.is_dir():  # else somebody made it meanwhile
            raise
    return folder


def sweep_trees(store: Path, used: Collection[str]) -> list[str]:
    """Remove the trees below `store` that are not among `used`, such as those of older versions; their names.

    Raises:
        WorldFailed: one could not be removed.
    """
    gone = [path.name for path in sorted(store.iterdir()) if path.name not in used and not path.name.startswith(".")]
    for name in gone:
        remove_tree(store / name)
    return gone


def _read(path: Path, name: str, skip: str = "") -> dict[str, File | Link]:
    """What lies at `path` as entries below `name`; unreadable and special files are left out."""
    try:
        if path.is_symlink():
            return {name: Link(str(path.readlink()))}
        if path.is_file():
            return {name: File(path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))}
        inner = sorted(path.iterdir()) if path.is_dir() else []
    except OSError:
        return {}
    found: dict[str, File | Link] = {}
    for entry in inner:
        if entry.name != skip:
            found.update(_read(entry, f"{name}/{entry.name}".lstrip("/"), skip))
    return found


def _digest(tree: Tree) -> str:
    total = hashlib.sha256()
    for path, entry in sorted(tree.items()):
        body = entry.data if isinstance(entry, File) else os.fsencode(entry.target)
        mark = f"{path}\0{type(entry).__name__}\0{entry == File(body, executable=True)}\0{len(body)}\0"
        total.update(os.fsencode(mark) + body)
    return total.hexdigest()[:16]


def _write(folder: Path, tree: Tree) -> None:
    _make_folder(folder)
    for path, entry in tree.items():
        target = folder / path
        for above in reversed(Path(path).parents[:-1]):
            _make_folder(folder / above)
        if isinstance(entry, Link):
            target.symlink_to(entry.target)
        else:
            target.write_bytes(entry.data)
            target.chmod(0o755 if entry.executable else 0o644)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        os.mkdir(folder)  # noqa: PTH102  (the mode is set below, whatever the umask)
        folder.chmod(0o755)
