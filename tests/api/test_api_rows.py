"""Rows beside the events: a page that loads the snapshot once and applies what follows sees what a cold load shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from melipona.api import board
from melipona.client import Problem
from melipona.testing.served import ServedHive, served

Json = dict[str, Any]
DEADLINE = 20.0
NAMES = ("ana", "ben", "cleo")
STEPS = ("send", "pause", "resume", "stop", "start", "say", "set", "turn", "end", "drop")


class Page:
    """What the dashboard does, in a few lines: the snapshot once, then rows replace rows."""

    def __init__(self, hive: ServedHive) -> None:
        self.hive = hive
        state = hive.client.get("/state")
        self.agents: dict[str, Json] = {agent["name"]: agent for agent in state["agents"]}
        self.rest: Json = board.rest_of(state)  # type: ignore[arg-type]
        self.last = f"{state['store']}-{state['event']}"
        self.seen: list[int] = []

    def follow(self, until: Callable[[], bool]) -> None:
        """Follow from where it stopped until `until` holds."""
        end = time.monotonic() + DEADLINE
        for name, identifier, data in self.hive.client.stream("/events", last=self.last, rows=True):
            self.last = identifier or self.last
            if name == "message":
                self.seen.append(data["id"])
            if name == "rows":
                self.agents |= {agent["name"]: agent for agent in data["agents"]}
                for gone in data["gone"]:
                    self.agents.pop(gone, None)
                self.rest = data["hive"] or self.rest
            if until():
                return
            assert time.monotonic() < end, "what was waited for did not come"

    def is_as_cold(self) -> bool:
        """Whether it shows what a fresh load would."""
        state = self.hive.client.get("/state")
        cold = {agent["name"]: agent for agent in state["agents"]}
        return self.agents == cold and self.rest == board.rest_of(state)  # type: ignore[arg-type]


@contextmanager
def _hive(folder: Path) -> Generator[ServedHive]:
    with served(folder) as hive:
        for name in NAMES:
            hive.client.post("/agents", {"name": name, "engine": "playbook"})
        yield hive


def _act(hive: ServedHive, step: str, name: str) -> None:
    """One thing that an operator, an agent or the turn loop does; what cannot be done now is refused."""
    client = hive.client
    with suppress(Problem):
        match step:
            case "send":
                client.post_keyed("/messages", {"to": name, "body": "hello"})
            case "say":
                hive.agent_says(name, "a word")
            case "set":
                client.patch(f"/agents/{name}", {"budget_usd": 3.5})
            case "turn":
                if not any(a["turn"] for a in client.get("/state")["agents"] if a["name"] == name):
                    hive.open_turn(name)
            case "end":
                for turn in client.get(f"/agents/{name}/turns")["items"]:
                    if turn["state"] != "ended":
                        hive.end_turn(turn["id"])
            case "drop":
                client.post("/inbox/read", {})
            case _:
                client.post(f"/agents/{name}/{step}")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(NAMES)), max_size=6), max_size=3))
def test_applying_what_follows_gives_what_a_cold_load_gives(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, str]]]
) -> None:
    """I-37, I-38: random actions, some while the page is away; no event is missed and none is seen twice."""
    with _hive(tmp_path_factory.mktemp("hive") / "hive") as hive:
        page = Page(hive)
        for actions in rounds:
            for step, name in actions:
                _act(hive, step, name)
            page.follow(page.is_as_cold)
        assert page.seen == sorted(set(page.seen))


def test_a_change_by_anybody_reaches_a_page_that_is_open(tmp_path: Path) -> None:
    """I-39: by the command line, by an agent, by the turn loop; without a reload and without asking."""
    with _hive(tmp_path / "hive") as hive:
        page = Page(hive)
        hive.client.post("/agents/ana/pause")
        page.follow(lambda: page.agents["ana"]["state"] == "paused")
        hive.agent_says("ben", "look at this")
        page.follow(lambda: page.rest["mail"]["unread"] == 1)
        turn = hive.open_turn("cleo")
        page.follow(lambda: page.agents["cleo"]["turn"] == turn)
        hive.client.post("/agents", {"name": "dora", "engine": "playbook"})
        page.follow(lambda: "dora" in page.agents)


def test_a_row_that_only_time_changes_is_pushed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No event tells which tool is in flight: while somebody looks, the hive is looked at again."""
    monkeypatch.setattr(board, "BUSY_SECONDS", 0.1)
    with _hive(tmp_path / "hive") as hive:
        turn = hive.open_turn("ana")
        page = Page(hive)
        hive.write(_backdate, turn)
        page.follow(lambda: page.agents["ana"]["since"].startswith("2001"))


def test_who_does_not_ask_for_rows_gets_none(tmp_path: Path) -> None:
    """`mel events -f` prints events."""
    with _hive(tmp_path / "hive") as hive:
        page = Page(hive)
        hive.client.post("/agents/ana/pause")
        page.follow(lambda: page.agents["ana"]["state"] == "paused")
        names: list[str] = []
        for name, _, data in hive.client.stream("/events", after=0):
            names.append(name)
            if data.get("kind") == "agent.paused":
                break
        assert set(names) == {"message"}


def _backdate(c: Any, turn: int) -> None:
    from sqlalchemy import update

    from melipona.store.schema import turns

    c.execute(update(turns).where(turns.c.id == turn).values(started_at=1_000_000_000_000_000))
