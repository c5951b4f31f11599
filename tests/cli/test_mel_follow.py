"""Commands that stay open for a day: across a daemon that goes and comes, and turn after turn."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from melipona.cli.log import ending
from melipona.clock import ManualClock
from melipona.store import events
from melipona.testing.served import ServedHive, served

DEADLINE = 30.0


class Lines:
    """A running `mel`, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def next(self) -> str:
        return self._lines.get(timeout=DEADLINE)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(DEADLINE)
        self._thread.join(DEADLINE)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))


@contextmanager
def following(data: Path, *args: str) -> Generator[Lines]:
    environment = {**os.environ, "MEL_DATA": str(data)}
    argv = [sys.executable, "-m", "melipona.cli.main", *args]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:
        lines = Lines(process)
        try:
            yield lines
        finally:
            if process.poll() is None:
                process.kill()
            lines._thread.join(DEADLINE)  # pyright: ignore[reportPrivateUsage]


def _record(hive: ServedHive, count: int) -> None:
    for _ in range(count):
        hive.write(events.record, "test.happened")


def test_following_events_misses_none_across_a_restart(data: Path) -> None:
    """D-33: `mel events -f --after N`, an object a line, resumed by itself; Ctrl-C ends it."""
    with ExitStack() as stack:
        with served(data) as hive:
            _record(hive, 3)
            lines = stack.enter_context(following(data, "events", "-f", "--after", "1", "--json"))
            assert [json.loads(lines.next())["id"] for _ in range(2)] == [2, 3]
            _record(hive, 1)
            assert json.loads(lines.next())["id"] == 4
        with served(data) as hive:
            _record(hive, 2)
            assert [json.loads(lines.next())["id"] for _ in range(2)] == [5, 6]
        assert lines.end() == 130


def test_following_a_log_goes_on_with_the_next_turn(data: Path) -> None:
    """`mel log ana -f`."""
    with served(data) as hive:
        hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
        first = hive.open_turn("ana")
        with following(data, "log", "ana", "-f") as lines:
            assert f"t{first}  ana" in lines.next()
            hive.grow(first, _text("one"))
            assert "one" in lines.next()
            hive.end_turn(first)
            assert lines.next().startswith(f"t{first}  ok")
            second = hive.open_turn("ana")
            assert f"t{second}  ana" in lines.next()
            hive.grow(second, _text("two"))
            assert "two" in lines.next()
            assert lines.end() == 130


def test_following_a_log_shows_every_turn_also_those_that_came_and_went_meanwhile(data: Path) -> None:
    """`mel log ana -f`: two turns may begin and end between two looks; each says when it began."""
    with served(data) as hive:
        hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
        first = hive.open_turn("ana")
        with following(data, "log", "ana", "-f") as lines:
            assert re.fullmatch(rf"t{first}  ana  woken by .*  \d\d:\d\d:\d\d", lines.next())
            quick = []
            hive.grow(first, _text("one"))
            assert "one" in lines.next()
            hive.end_turn(first)
            for _ in range(3):
                quick.append(hive.open_turn("ana"))
                hive.end_turn(quick[-1])
            assert lines.next().startswith(f"t{first}  ok")
            for turn in quick:
                assert lines.next().startswith(f"t{turn}  ana")
                assert lines.next().startswith(f"t{turn}  ok")
            assert lines.end() == 130


def test_the_end_of_a_turn_says_why_how_long_and_how_much() -> None:
    """DESIGN.md: each thing with its time; what was not counted is left out (LE-4)."""
    turn = {"reason": "max_output", "duration_ms": 130_000, "cost_usd": 0.31}
    assert ending(turn) == "  max_output  2 min  $0.31"
    assert ending({"reason": None, "duration_ms": None, "cost_usd": None}) == ""


def test_events_of_another_day_say_which(data: Path) -> None:
    """DESIGN.md: facts with their time, also where `mel events -f` is left open for days."""
    clock = ManualClock(datetime.now(UTC) - timedelta(days=3))
    with served(data, clock=clock) as hive:
        _record(hive, 2)
        before = hive.read(events.last_number)
        clock.advance(timedelta(days=3))
        _record(hive, 1)
        argv = [sys.executable, "-m", "melipona.cli.main", "events", "--kind", "test."]
        environment = {**os.environ, "MEL_DATA": str(data)}
        listed = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [bool(re.fullmatch(r"\d{4}-\d\d-\d\d", line)) for line in listed] == [False, True, False, False]
    assert listed[2].split()[0] == str(before)


def _text(text: str) -> str:
    return json.dumps({"offset": 1, "at": 2, "event": {"type": "text", "text": text}}) + "\n"
