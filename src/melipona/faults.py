"""Fault points: named places where a test can make something go wrong, before and after every step that matters.

A step is a commit, a call to another process or service, the start of a process, a read of what a box has spooled, a
file that gets its name. Its points are called `room.action.before_step` and `room.action.after_step`, such as
`mail.send.before_commit`. Without a plug-in passing one costs a comparison. A plug-in is installed by tests' own entry
points only (`melipona.testing.fault_plugin`): no file, setting or environment of a hive leads here.

The points of commits have the name of what is written: `store.write(mail.send)` gives `mail.send.before_commit` and
`mail.send.after_commit`. Which points there are, and that none is missing, is read off the code by
`melipona.testing.fault_points`.
"""

from __future__ import annotations

from typing import Any, Protocol


class Plugin(Protocol):
    """What is told of each point that is passed; it may raise, wait, or end the process."""

    async def at(self, name: str) -> None:
        """A point on the event loop."""
        ...

    def here(self, name: str) -> None:
        """A point in a thread, or where nothing can be awaited."""
        ...


class _Installed:
    """The plug-in of this process, if any."""

    plugin: Plugin | None = None


def install(plugin: Plugin | None) -> None:
    """Make `plugin` this process's own; None takes it away. For tests."""
    _Installed.plugin = plugin


async def fault(name: str) -> None:
    """Pass a point."""
    if _Installed.plugin is not None:
        await _Installed.plugin.at(name)


def fault_here(name: str) -> None:
    """Pass a point in a thread, or where nothing can be awaited."""
    if _Installed.plugin is not None:
        _Installed.plugin.here(name)


def watched() -> bool:
    """Whether a plug-in is there: a place that would have to make up its names asks this first."""
    return _Installed.plugin is not None


def commit_point(op: Any, when: str) -> None:
    """Pass the point `when` (`before_commit`, `after_commit`) of the operation `op` that is written."""
    fault_here(f"{name_of(op)}.{when}")


def name_of(op: Any) -> str:
    """The name of an operation of the store: its room and its function, as in `mail.send`."""
    room = str(op.__module__).removeprefix("melipona.").partition(".")[0]
    return f"{room}.{str(op.__qualname__).rpartition('.')[2].lstrip('_')}"
