"""Which words of a text are files: looked up here, with the resolver that also reads them (FR-7, invariant 41).

A page gets the list with the text and links what is on it. It asks nothing itself, because a question "is this a file?"
would be one about the whole disk (FR-10). Agents never get a list: it would tell them what others have.

What a look costs is bounded, whatever the text: `TOKENS_MOST` tokens of it are looked up, and a `Lookup` that several
texts share has a limit of its own. `cut` says that there were more. A file takes about 50 microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from melipona.files.references import Files

TOKENS_MOST = 32
"""Tokens of one text that are looked up."""
CHANGE_MOST = 64
"""Files that are looked up for one change in the store, in its writer's thread."""
PAGE_MOST = 1000
"""Files that are looked up for one page of a list."""
_TOKEN = re.compile(r"(?<![\w./~-])/(?:[^\s\0<>\"'`|*?]{1,4095})")
_TRAILING = ".,;:!)]}…。，、；：！？）」』】"
"""What ends a sentence rather than a path."""
_LINE = re.compile(r"(?::[0-9]{1,7}){1,2}$")
"""The line that a file is named with: `notes.md:12`."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Tokens of a text that are files. `cut`: more looked like paths than were looked up."""

    paths: tuple[str, ...] = ()
    cut: bool = False


NO_FILES = Vouched()
Vouch = Callable[[str], Vouched]
"""Looks a text up."""


def vouch_for_nothing(_: str) -> Vouched:
    """For texts that nobody is shown."""
    return NO_FILES


class Lookup:
    """Looks texts up as of now, at most `most` files; a file that several of them name is looked up once.

    Blocks on the disk. Not to be kept: what is a file now need not be one later.
    """

    def __init__(self, files: Files, most: int) -> None:
        self._files, self._left = files, most
        self._known: dict[str, bool] = {}

    def vouched(self, text: str) -> Vouched:
        """The tokens of `text` that are files, each once, in the text's order."""
        if "/agents/" not in text and "/shared/" not in text:
            return NO_FILES
        tokens, cut = candidates(text)
        found: dict[str, None] = {}
        for token in tokens:
            for path in dict.fromkeys((token, _LINE.sub("", token))):
                known = self._is_file(path)
                cut = cut or known is None
                if known:
                    found.setdefault(path)
                    break
        return Vouched(tuple(found), cut)

    def _is_file(self, path: str) -> bool | None:
        """None: the look's limit is reached."""
        if path not in self._known:
            if self._left <= 0:
                return None
            self._left -= 1
            self._known[path] = self._files.is_served(path)
        return self._known[path]


def candidates(text: str) -> tuple[list[str], bool]:
    """Tokens that look like paths of agents' files, each once, and whether there are more than `TOKENS_MOST`.

    Says nothing about files.
    """
    found: dict[str, None] = {}
    for match in _TOKEN.finditer(text):
        token = match.group().rstrip(_TRAILING)
        if ("/agents/" in token or "/shared/" in token) and token not in found:
            if len(found) == TOKENS_MOST:
                return list(found), True
            found[token] = None
    return list(found), False
