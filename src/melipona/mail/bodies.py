"""Long bodies as files that their recipients can read (OP-1). The rows keep the first lines and the path.

The files lie in folders that the daemon owns and that no box can write (D-8): an agent's inbox, `/shared/mail` for
broadcasts, and a folder of the operator's own. A file is on the disk before the row that names it is; a transaction
that is rolled back leaves a file that the next message of that number replaces.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from melipona.errors import WorldFailed
from melipona.faults import fault_here


class LongBodies(Protocol):
    """Where bodies over the cap go. Paths that are returned are as the recipient sees them."""

    def for_agent(self, name: str, message: int, body: str) -> str:
        """Store a body for one agent."""
        ...

    def for_everybody(self, message: int, body: str) -> str:
        """Store a broadcast's body; `message` is the first of its rows."""
        ...

    def for_operator(self, message: int, body: str) -> str:
        """Store a body that only the operator reads."""
        ...

    def whole(self, recipient: str, path: str) -> str:
        """The body at `path`, as stored for `recipient`.

        Raises:
            WorldFailed: it is gone.
        """
        ...

    def remove(self, recipient: str, path: str) -> None:
        """Remove a body; one that is gone is a success."""
        ...

    def sweep(self, newest: int) -> list[Path]:
        """Remove what was stored for messages above `newest`, and what was not stored to its end; for the start."""
        ...


class FileBodies:
    """Long bodies below a data folder: `agents/NAME/inbox`, `shared/mail`, `operator/mail`."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def for_agent(self, name: str, message: int, body: str) -> str:
        self._write(self._data / "agents" / name / "inbox", message, body)
        return f"/agents/{name}/inbox/{message}.md"

    def for_everybody(self, message: int, body: str) -> str:
        self._write(self._data / "shared" / "mail", message, body)
        return f"/shared/mail/{message}.md"

    def for_operator(self, message: int, body: str) -> str:
        return str(self._write(self._data / "operator" / "mail", message, body))

    def whole(self, recipient: str, path: str) -> str:
        try:
            return self._host_path(recipient, path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise WorldFailed(
                f"the body at {path} cannot be read: {error}", remedy="its first lines are kept"
            ) from error

    def sweep(self, newest: int) -> list[Path]:
        data = self._data
        folders = [*(data / "agents").glob("*/inbox"), data / "shared" / "mail", data / "operator" / "mail"]
        left: list[Path] = []
        for folder in folders:
            found = folder.iterdir() if folder.is_dir() else ()
            left += [path for path in found if _left_over(path.name, newest)]
        for path in left:
            path.unlink(missing_ok=True)
        return left

    def remove(self, recipient: str, path: str) -> None:
        fault_here("mail.body.before_unlink")
        self._host_path(recipient, path).unlink(missing_ok=True)
        fault_here("mail.body.after_unlink")

    def _host_path(self, recipient: str, path: str) -> Path:
        """Where a path lies here. It comes from our own row; only its last part, a number, is used."""
        number = Path(path).name
        if path.startswith("/shared/mail/"):
            return self._data / "shared" / "mail" / number
        if path.startswith(f"/agents/{recipient}/inbox/"):
            return self._data / "agents" / recipient / "inbox" / number
        return self._data / "operator" / "mail" / number

    def _make_folders(self, folder: Path) -> None:
        """Make what is missing below the data folder, with modes that no umask changes (D-9)."""
        path = self._data
        for part in folder.relative_to(self._data).parts:
            path = path / part
            try:
                path.mkdir()
            except FileExistsError:
                continue
            path.chmod(_mode(part))

    def _write(self, folder: Path, message: int, body: str) -> Path:
        """Put the file in place whole and durable, readable by the box's uid."""
        path, draft = folder / f"{message}.md", folder / f".{message}.new"
        try:
            fault_here("mail.body.before_write")
            self._make_folders(folder)
            draft.unlink(missing_ok=True)
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            with open(fd, "w", encoding="utf-8", newline="") as file:
                os.fchmod(fd, 0o644)
                file.write(body)
                file.flush()
                os.fsync(fd)
            fault_here("mail.body.before_replace")
            draft.replace(path)
            fault_here("mail.body.after_replace")
            _sync_folder(folder)
            fault_here("mail.body.after_write")
        except OSError as error:
            raise WorldFailed(f"{path} cannot be written: {error.strerror}", remedy="free some space") from error
        return path


def _left_over(name: str, newest: int) -> bool:
    number, _, kind = name.lstrip(".").partition(".")
    return kind == "new" or (kind == "md" and number.isdecimal() and int(number) > newest)


def _mode(part: str) -> int:
    return 0o700 if part == "operator" else 0o755


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
