"""Following a hive across restarts of its daemon: its events and the streams of its turns, put into one queue."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from melipona.client import Client, ClientError

Json = dict[str, Any]
AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the hive."""

    event: Json


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of a turn's log."""

    turn: int
    event: Json


@dataclass(frozen=True, slots=True)
class Over:
    """The last piece of a turn's log has been read."""

    turn: int


Item = Happened | Said | Over


class Follower:
    """Reads in threads, which end with `stop` or with the program."""

    def __init__(self, client: Client, into: SimpleQueue[Item]) -> None:
        self._client, self._into = client, into
        self._ended = threading.Event()

    def events(self) -> None:
        """Follow the hive's events from the first one on."""
        self._start(self._events)

    def turn(self, number: int) -> None:
        """Follow one turn to its end."""
        self._start(lambda: self._turn(number))

    def stop(self) -> None:
        """Read no more."""
        self._ended.set()

    def _start(self, run: Any) -> None:
        threading.Thread(target=run, daemon=True, name="follower").start()

    def _events(self) -> None:
        last: str | None = None
        while not self._ended.is_set():
            start: Json = {} if last else {"after": 0}
            try:
                for name, identifier, data in self._client.stream("/events", last=last, **start):
                    last = identifier or last
                    if name not in ("hello", "beat", "reset") and "kind" in data:
                        self._into.put(Happened(data))
            except ClientError:
                pass  # the daemon is away
            self._ended.wait(AGAIN_SECONDS)

    def _turn(self, number: int) -> None:
        position = 0
        while not self._ended.is_set():
            try:
                for name, identifier, data in self._client.stream(f"/turns/{number}/stream", after=position):
                    position = int(identifier or position)
                    if name == "end":
                        self._into.put(Over(number))
                        return
                    if "event" in data:
                        self._into.put(Said(number, data["event"]))
            except ClientError:
                pass
            self._ended.wait(AGAIN_SECONDS)
