"""The data folder as `mel up` wants it: ours alone (T40)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from melipona.client import REFUSED, ClientError


def make_private(data: Path) -> None:
    """Make the folder if it is missing; refuse one that others may enter.

    Raises:
        ClientError: it is a link, another user's, open to others, or cannot be made.
    """
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(data):
            data.mkdir(mode=0o700)
            data.chmod(0o700)
        status = data.lstat()
    except OSError as error:
        raise ClientError(f"{data} cannot be made: {error.strerror}", "choose another folder with --data") from error
    if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
        raise _refused(f"{data} is not a folder of its own but a link or a file", "give the real folder with --data")
    if status.st_uid != os.geteuid():
        raise _refused(f"{data} belongs to uid {status.st_uid}", "run mel as that user, or choose another with --data")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise _refused(f"{data} can be entered by others", f"close it: chmod 700 {data}")


def _refused(what: str, remedy: str) -> ClientError:
    return ClientError(what, remedy, code="data_folder", exit_code=REFUSED)
