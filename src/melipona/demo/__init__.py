"""`mel demo`: a hive in a temporary folder plays a story of a minute, and says what it has shown (D-1).

It runs what a user runs and judges what it sees; whatever does not happen as it should is said plainly, with exit code
1 and the logs kept. Nothing of it is left behind otherwise, unless it is to be kept.
"""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import melipona
from melipona.client import ClientError
from melipona.demo.hive import DemoHive, HiveFailed
from melipona.demo.record import Broken
from melipona.demo.screen import Screen
from melipona.demo.story import Story
from melipona.demo.summary import show, summary

__all__ = ["play"]

INTERRUPTED = 130
STOPPED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def play(*, keep: bool = False, json: bool = False, data: Path | None = None) -> int:
    """Play the demo; its exit code: 0, 1 when something went wrong, 130 after Ctrl-C.

    With `keep` the hive is left running. With `json` one object is printed at the end and nothing else. `data` is a
    folder to use instead of a temporary one; it must be empty or missing.
    """
    screen = Screen(quiet=json)
    with _stoppable():
        try:
            hive = DemoHive(data)
        except (HiveFailed, OSError) as error:
            return _refused(screen, str(error), json=json)
        try:
            result = _played(hive, screen, keep=keep)
        except KeyboardInterrupt:
            return _interrupted(hive, screen)
        except (Broken, HiveFailed, ClientError) as error:
            return _failed(hive, screen, error, json=json)
        except OSError:  # nobody reads what is printed any more
            _ended(hive, screen)
            hive.remove()
            raise
        except BaseException:
            _ended(hive, screen)
            raise
    if json:
        screen.document(result)
    else:
        show(screen, result)
        _farewell(screen, result)
    return 0


def _played(hive: DemoHive, screen: Screen, *, keep: bool) -> dict[str, Any]:
    screen.plain("Melipona demo: a story of a minute with two scripted agents in real boxes. No key is needed.")
    story = Story(hive, screen)
    try:
        story.play()
        result = summary(story, kept=keep)
    finally:
        story.follower.stop()
    if not keep:
        wrong = _ended(hive, screen)
        if wrong:
            raise Broken("the hive did not come down in order", *wrong)
        hive.remove()
    return result


def _ended(hive: DemoHive, screen: Screen) -> list[str]:
    with _undisturbed():
        return hive.down(lambda waited: screen.busy("ending turns and boxes", waited))


def _failed(hive: DemoHive, screen: Screen, error: Exception, *, json: bool) -> int:
    left = _ended(hive, screen)
    why, more = str(error), list(error.more) if isinstance(error, Broken | HiveFailed) else []
    logs = f"the logs are kept in {hive.data}: daemon.log, and each turn in turns/"
    remedy = f"`{_mel()} doctor` tries everything that a hive needs"
    if json:
        screen.document(
            {"ok": False, "failure": why, "details": more, "data": str(hive.data), "log": str(hive.log), "left": left}
        )
    screen.error(why, *more, logs, remedy, *left)
    return 1


def _refused(screen: Screen, why: str, *, json: bool) -> int:
    if json:
        screen.document({"ok": False, "failure": why})
    screen.error(why, "nothing was started", "choose another folder with --data, or none for a temporary one")
    return 1


def _interrupted(hive: DemoHive, screen: Screen) -> int:
    left = _ended(hive, screen)
    hive.remove()
    with suppress(OSError):  # the terminal may be gone
        screen.error("stopped; " + ("the hive did not end in order" if left else "nothing is left of the hive"), *left)
    return INTERRUPTED


def _farewell(screen: Screen, result: dict[str, Any]) -> None:
    mel, data = _mel(), shlex.quote(result["data"])
    if not result["kept"]:
        screen.plain("Nothing is left of this hive: its processes have ended and its folder is gone.")
        screen.plain(f"Next: `{mel} demo --keep` leaves it running, `{mel} --help` shows the commands.")
        return
    screen.plain(f"The hive is left running in {data}. Look around:", "bold")
    for words in ("status", "inbox", "log ben", "why ana", "events"):
        screen.plain(f"  {mel} --data {data} {words}")
    screen.plain("End it:", "bold")
    screen.plain(f"  {mel} --data {data} down && rm -r {data}")


def _mel() -> str:
    """The command as this user types it: `./mel` in a clone, else `mel`."""
    script = Path(melipona.__file__).resolve().parents[2] / "mel"
    if not script.is_file():
        return "mel"
    relative = os.path.relpath(script)
    return f"./{relative}" if relative == "mel" else str(script)


@contextmanager
def _stoppable() -> Generator[None]:
    """Ctrl-C, SIGTERM and a closed terminal end the story in order."""

    def stop(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in STOPPED_BY}
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):
                signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Generator[None]:
    """What ends the hive is not ended itself by a second Ctrl-C."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOPPED_BY}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
