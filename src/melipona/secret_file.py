"""Secrets from files that nobody else can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from melipona.errors import Invalid

MOST = 8192


def read_secret(path: Path, setting: str) -> str:
    """The secret in a file; `setting` names it in `mel.toml`.

    Raises:
        Invalid: it cannot be read, is empty, is no plain file, or somebody else could read it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", remedy=f"check {setting}") from error
    try:
        found = os.fstat(fd)
        private = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        if not private:
            raise Invalid(f"{path} is not private to this user", remedy=f"chmod 600 {path}, owned by the daemon's user")
        secret = os.read(fd, MOST).decode("utf-8", "replace").strip()
    finally:
        os.close(fd)
    if not secret:
        raise Invalid(f"{path} is empty", remedy=f"write what {setting} is for into it")
    return clean_secret(secret, setting)


def clean_secret(secret: str, name: str) -> str:
    """The secret, if it can be one; empty stays empty.

    Raises:
        Invalid: it has characters that no key has.
    """
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise Invalid(f"{name} has characters that no key has", remedy="check where it comes from")
    return secret
