"""What a box must not see. `ben.toml` takes the looks, one shell step each, in this order; here is what they must show.

A look is judged by what the command in the box really printed, as the turn's log has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BOX_HAS = (Path("/"), Path("/home/agent"), Path("/usr"))
"""Folders that every box has too, of its own or read-only."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of a turn, as its log has it."""

    command: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Look:
    """One attempt: what is looked for, a part of the command that does it, and whether an answer shows nothing."""

    what: str
    command: str
    hidden: Callable[[Call], bool]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look showed."""

    what: str
    answer: str
    hidden: bool


def _says(answer: str) -> Callable[[Call], bool]:
    return lambda call: call.text.strip() == answer


def _missing(call: Call) -> bool:
    return not call.ok and "No such file or directory" in call.text


def _none_of_some(call: Call) -> bool:
    """`0 of 5 processes`: nothing found, and there was something to search."""
    words = call.text.split()
    return len(words) > 2 and words[0] == "0" and words[2].isdigit() and int(words[2]) > 0


LOOKS = (
    Look("network interfaces", "/proc/net/dev", _says("lo")),
    Look("the API's port on this machine", "127.0.0.1", _says("Connection refused")),
    Look("an address outside", "192.0.2.1", _says("Network is unreachable")),
    Look("your home folder", "ls -A", _missing),
    Look("the hive's folder", "ls -A", _missing),
    Look("the notes of the other agent", "/agents/ana/", _missing),
    Look("the daemon's process", "melipona[.]daemon", _none_of_some),
    Look("the daemon's model key", "sk-[a]nt", _none_of_some),
)


def judged(calls: Sequence[Call]) -> list[Seen]:
    """What the looks showed.

    Raises:
        ValueError: these are not the calls of the looks.
    """
    pairs = list(zip(LOOKS, calls, strict=False))
    if len(calls) != len(LOOKS) or any(look.command not in call.command for look, call in pairs):
        raise ValueError(f"{len(calls)} commands were run, which are not the {len(LOOKS)} looks")
    return [Seen(look.what, " ".join(call.text.split()), look.hidden(call)) for look, call in pairs]


def home_to_hide(data: Path) -> Path:
    """The user's home, or the hive's folder where a box has a folder of that name itself."""
    home = Path(os.path.realpath(Path.home()))
    shared = any(home == place for place in BOX_HAS) or home.is_relative_to("/usr")
    return data if shared or not home.is_dir() else home
