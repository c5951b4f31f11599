"""Publishing: an agent's file becomes a copy below `/shared/NAME`, which every box sees and none can write (D-8).

The agent writes what is read here, so it is opened beneath its folder (T23); the copy is the daemon's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from melipona.beneath import read_regular
from melipona.errors import Invalid, LimitReached, WorldFailed
from melipona.faults import fault_here
from melipona.ids import AgentId, AgentName, new_id
from melipona.principals import AgentPrincipal
from melipona.store import events

FILE_MOST = 1 << 20
"""Bytes of a published file."""
FILES_MOST = 1000
"""Files that one agent may have published."""
TOTAL_MOST = 256 << 20
"""Bytes of all its published files."""


class AgentFolders(Protocol):
    """Where an agent's folders lie on the host."""

    @property
    def shared(self) -> Path: ...

    @property
    def drafts(self) -> Path:
        """Where a copy lies until it has its name; what a crash leaves there is removed at the next start."""
        ...

    def home(self, agent: AgentId) -> Path: ...

    def work(self, agent: AgentId) -> Path: ...

    def state(self, name: AgentName) -> Path: ...


@dataclass(frozen=True, slots=True)
class Draft:
    """A copy that is complete on the disk but not yet under its name."""

    draft: Path
    target: Path
    seen_as: str
    size: int

    def discard(self) -> None:
        """Remove it unless it was put in place."""
        self.draft.unlink(missing_ok=True)


def copy(folders: AgentFolders, agent: AgentPrincipal, path: str) -> Draft:
    """Copy the file at `path`, as its box sees it, to a draft. Blocks on the disk: run it in a thread.

    Raises:
        Invalid, NotFound: `path` is not a plain file below one of the agent's own folders.
        LimitReached: it is too large, or there are too many.
        WorldFailed: it cannot be written.
    """
    folder, relative = _located(folders, agent, path)
    name = _file_name(relative)
    body = read_regular(folder, relative, limit=FILE_MOST)
    shelf = folders.shared / agent.agent
    target = shelf / name
    draft = folders.drafts / f"{new_id()}.new"
    try:
        shelf.mkdir(mode=0o755, exist_ok=True)
        shelf.chmod(0o755)
        _check_quota(shelf, name, len(body))
        fault_here("agents.publish.before_write")
        _write(draft, body)
        fault_here("agents.publish.after_write")
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise WorldFailed(f"{target} cannot be written: {error.strerror}", remedy="free some space") from error
    return Draft(draft, target, f"/shared/{agent.agent}/{name}", len(body))


def put(c: Connection, agent: AgentPrincipal, draft: Draft) -> dict[str, object]:
    """Give a draft its name, replacing an older copy, and record it."""
    fault_here("agents.publish.before_replace")
    draft.draft.replace(draft.target)
    fault_here("agents.publish.after_replace")
    data = {"path": draft.seen_as, "bytes": draft.size}
    events.record(c, "file.published", agent=agent.agent, by=agent.agent, data=data)
    return {"path": draft.seen_as, "bytes": draft.size}


def _located(folders: AgentFolders, agent: AgentPrincipal, path: str) -> tuple[Path, str]:
    """The host folder and the path below it. A relative path starts at /ws, where turns start."""
    places = {
        "/ws/": folders.work(agent.id),
        "/home/agent/": folders.home(agent.id),
        f"/agents/{agent.agent}/state/": folders.state(agent.agent),
    }
    if not path.startswith("/"):
        return places["/ws/"], path
    for prefix, folder in places.items():
        if path.startswith(prefix):
            return folder, path.removeprefix(prefix).lstrip("/")
    where = ", ".join(prefix.rstrip("/") for prefix in places)
    raise Invalid(f"{path} is not below {where}", remedy="copy it there first", code="bad_path")


def _file_name(relative: str) -> str:
    name = relative.rsplit("/", 1)[-1]
    if not name.isprintable() or name.startswith(".") or not 0 < len(name.encode(errors="replace")) <= 200:
        raise Invalid(
            f"{name!r} cannot be the name of a published file",
            remedy="use up to 200 printable characters, not beginning with a dot",
            code="bad_path",
        )
    return name


def _check_quota(shelf: Path, name: str, size: int) -> None:
    with os.scandir(shelf) as entries:
        others = [entry.stat(follow_symlinks=False).st_size for entry in entries if entry.name != name]
    if len(others) >= FILES_MOST or sum(others) + size > TOTAL_MOST:
        raise LimitReached(
            f"you have published {len(others)} files of {sum(others)} bytes, which is the limit",
            remedy="publish under the name of an old one to replace it",
            code="publish_limit",
        )


def _write(path: Path, body: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as file:
        os.fchmod(fd, 0o644)
        file.write(body)
        file.flush()
        os.fsync(fd)
