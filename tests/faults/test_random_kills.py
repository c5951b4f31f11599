"""Random kills under load, as CI runs them; and a checker that is checked: what it is shown broken it must name.

Not marked `boxes`: once is what CI's time allows, and the conformance suite runs as an ordinary user too.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.faults import checker, kills, swarm
from bench.faults.campaign import CampaignResult
from melipona.client import Client
from melipona.testing.folding import Folded, FoldingClient
from melipona.testing.invariants import Expect
from melipona.testing.leftovers import hive_id, leftovers
from melipona.testing.model_stub import ModelStub
from melipona.testing.turn_logs import log_lines

SEED = 20261121
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the campaign, and what it left: `folder` holds `hive/` and `workers/`."""

    result: CampaignResult
    folder: Path


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("kills")
    return Run(kills.run(SEED, kills.QUICK, folder), folder)


def test_three_hundred_random_kills_break_no_promise(killed: Run) -> None:
    """I-1 to I-12, I-14, I-17, I-19; no orphan process, mount, socket, cgroup, lease or folder."""
    result = killed.result
    assert result.violations == {}, result.command
    assert (result.lost, result.duplicated) == (0, 0), result.command
    assert sum(result.faults.values()) == kills.QUICK
    assert result.faults.keys() == kills.KINDS.keys()
    assert result.acknowledged > kills.QUICK
    assert result.numbers["snapshots_compared"] > 5
    assert result.numbers["model_calls"] > 0


def test_a_swarm_that_comes_and_goes_leaves_the_daemon_as_it_was(tmp_path: Path) -> None:
    """I-20, with the bound that so few turns allow; `python -m bench.faults swarm --full` has the real one."""
    result = swarm.run(SEED, swarm.QUICK, tmp_path)
    assert result.violations == {}, (result.command, result.numbers)


# ---- the checker is checked -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of what a run left, to break something in it."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "hive"

    @property
    def agents(self) -> dict[str, str]:
        return dict(self.rows("SELECT name, id FROM agents"))

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data / "mel.db")) as c, c:
            return c.execute(query, values).fetchall()

    def broken(self) -> set[str]:
        """The names of what the checkers find."""
        expect = Expect(settled=True, cap=kills.CAP, attempts=kills.ATTEMPTS)
        return {f.invariant for f in checker.of_load(self.data, self.folder / "workers", self.agents, expect=expect)}

    def log_of_a_good_turn(self, having: str) -> Path:
        """The log of a turn that ended well and tells of `having`."""
        for (path,) in self.rows("SELECT log_path FROM turns WHERE result = 'ok' ORDER BY id DESC"):
            if f'"{having}"' in (self.data / path).read_text():
                return self.data / path
        raise AssertionError(f"no good turn has a {having}")

    def change_log(self, having: str, change: Callable[[list[Any]], list[Any]]) -> None:
        path = self.log_of_a_good_turn(having)
        lines = change(log_lines(path)[0])
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def copy(killed: Run, tmp_path: Path) -> Copy:
    """Small enough to be copied for each test; without the homes but for what the agents wrote down."""
    shutil.copytree(killed.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("trees", "home", "run"))
    return Copy(tmp_path / "copy")


def test_what_a_run_leaves_is_found_whole(copy: Copy) -> None:
    assert copy.broken() == set()


def test_a_promise_without_a_message_is_found(copy: Copy) -> None:
    line = {"key": "w9-1", "to": "ana", "body": "note w9-1", "ids": [10**9], "outcome": "ok", "tries": 1}
    (copy.folder / "workers" / "w9.jsonl").write_text(json.dumps(line) + "\n")
    assert copy.broken() == {"I-1"}


def test_a_refusal_of_what_was_stored_is_found(copy: Copy) -> None:
    log = copy.folder / "workers" / "w0.jsonl"
    first = next(line for line in map(json.loads, log.read_text().splitlines()) if line["outcome"] == "ok")
    with log.open("a") as file:
        file.write(json.dumps(first | {"outcome": "failed", "ids": []}) + "\n")
    assert copy.broken() == {"I-1"}


def test_an_agent_that_got_something_twice_without_a_flag_is_found(copy: Copy) -> None:
    with (copy.data / "homes" / copy.agents["ana"] / "ws" / "promises").open("a") as file:
        file.write("seen 999999 false\nseen 999999 false\n")
    assert copy.broken() == {"I-3"}


@pytest.mark.parametrize(
    ("having", "change"),
    [
        ("tool_call", lambda lines: [*lines, next(x for x in lines if x["event"]["type"] == "tool_call")]),
        ("tool_result", lambda lines: [x for x in lines if x["event"]["type"] != "tool_result"]),
        ("result", lambda lines: [x for x in lines if x["event"]["type"] != "result"]),
        ("text", lambda lines: [x for x in lines if x["event"]["type"] != "text"]),
        ("text", lambda lines: [*lines, lines[-1] | {"offset": 0}]),
    ],
    ids=["taken twice", "result missing", "end missing", "words missing", "offset goes back"],
)
def test_a_log_that_is_not_whole_is_found(copy: Copy, having: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """I-12."""
    copy.change_log(having, change)
    assert copy.broken() == {"I-12"}


def test_a_log_that_ends_inside_a_line_is_found(copy: Copy) -> None:
    path = copy.log_of_a_good_turn("result")
    path.write_bytes(path.read_bytes() + b'{"offset": 1')
    assert copy.broken() == {"I-12"}


def test_a_second_open_turn_and_one_over_the_cap_are_found(copy: Copy) -> None:
    """I-7, at any moment of the history."""
    for number in range(2):
        data = json.dumps({"id": 10**6 + number, "cause": {"messages": [1]}})
        copy.rows(
            "INSERT INTO events (at, kind, agent, subject, principal, data)"
            " VALUES (1, 'turn.started', 'ana', 't', 's', ?)",
            data,
        )
    found = [f.what for f in checker.never_over(copy.data, 1)]
    assert any("still open" in what for what in found)
    assert any("turns run, the cap is 1" in what for what in found)


def test_everything_that_is_left_behind_is_found(copy: Copy) -> None:
    copy.rows("UPDATE messages SET state = 1 WHERE id = (SELECT max(id) FROM messages WHERE state = 2)")
    copy.rows("UPDATE turns SET state = 'running' WHERE id = (SELECT max(id) FROM turns)")
    (copy.data / "boxes" / "somebody").mkdir(parents=True)
    code = "import sys; sys.stdin.read()"
    argv = [sys.executable, "-c", code, hive_id(copy.data)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        found = {finding.invariant for finding in leftovers(copy.data)}
        process.communicate()
    assert found == {"orphan lease", "orphan turn", "orphan folder", "orphan process"}


def test_model_calls_that_nobody_counted_are_found(copy: Copy) -> None:
    """I-14."""
    settled = len(copy.rows("SELECT id FROM spend WHERE state = 'settled'"))
    stub = cast("ModelStub", SimpleNamespace(messages=[{}] * (settled + 1)))
    assert {finding.invariant for finding in checker.money(copy.data, stub)} == {"I-14"}


def _snapshot(event: int, waiting: int) -> dict[str, Any]:
    agent = {"name": "ana", "waiting": waiting, "turn": None, "wish": "running"}
    mail = {"waiting": waiting, "leased": 0, "parked": 0}
    return {"store": "s", "event": event, "agents": [agent], "mail": mail, "operations": []}


def _sent(number: int) -> dict[str, Any]:
    return {"id": number, "kind": "message.sent", "agent": "ana", "subject": f"m{number}", "data": {}}


class Told:
    """A hive that tells `events` once, and shows `waiting` messages."""

    def __init__(self, events: list[dict[str, Any]], waiting: int) -> None:
        self._events, self._waiting, self._begun = events, waiting, False

    def get(self, path: str) -> dict[str, Any]:
        if not self._begun:
            self._begun = True
            return _snapshot(0, 0)
        return _snapshot(self._events[-1]["id"], self._waiting)

    def stream(self, path: str, *, last: str) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        after = int(last.rpartition("-")[2])
        for event in self._events:
            if event["id"] > after:
                yield "message", f"s-{event['id']}", event


@pytest.mark.parametrize(
    ("numbers", "waiting", "word"),
    [([1, 2, 3], 3, None), ([1, 3], 2, "missing"), ([1, 2, 3], 2, "mail: folded")],
    ids=["right", "an event is lost", "the snapshot says something else"],
)
def test_a_client_that_folds_another_state_than_is_shown_says_so(
    numbers: list[int], waiting: int, word: str | None
) -> None:
    """I-10."""
    client = cast("Client", Told([_sent(number) for number in numbers], waiting))
    found = [finding.what for finding in FoldingClient(client, 1).finish()]
    assert (found == []) if word is None else any(word in what for what in found)


def test_the_folding_client_knows_every_change_of_a_message() -> None:
    folded = Folded.of(_snapshot(0, 0))
    moves = [
        ("message.sent", {}),
        ("message.leased", {"turn": 1}),
        ("message.given_back", {"turn": 1}),
        ("message.leased", {"turn": 2}),
        ("message.parked", {"turn": 2}),
        ("message.retried", {}),
        ("message.leased", {"turn": 3}),
        ("message.handled", {"turn": 3}),
    ]
    counts: list[tuple[int, int, int]] = []
    for number, (kind, data) in enumerate(moves, 1):
        folded.take({"id": number, "kind": kind, "agent": "ana", "subject": "m1", "data": data})
        counts.append((folded.mail["waiting"], folded.mail["leased"], folded.mail["parked"]))
    assert counts == [(1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 0)]
    assert folded.waiting == {}
