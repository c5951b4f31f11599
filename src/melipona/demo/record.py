"""What has been seen of the hive so far, and telling it as it comes.

A turn's lines are held back until the message that woke it has been told, so that nobody answers what was not asked.
Anything that should not happen in this story ends it at once.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, cast

from melipona.demo.follow import Follower, Happened, Item, Over
from melipona.demo.looks import Call
from melipona.demo.screen import Screen

Json = dict[str, Any]
WRONG = {
    "agent.trouble": "{agent} is in trouble: {detail}",
    "agent.crashed": "the box of {agent} crashed: {detail}",
    "agent.gave_up": "{agent} was given up: {why}",
    "message.given_back": "a message was given back: {reason}",
    "message.parked": "a message was parked: {reason}",
    "thread.tripped": "a conversation was stopped: {reason}",
}
"""Events that have no place in the story."""


class Broken(Exception):
    """Something of the story did not happen as it should: what, and more lines about it."""

    def __init__(self, what: str, *more: str) -> None:
        super().__init__(what)
        self.more = more


@dataclass(slots=True)
class Turn:
    """A turn as its events and log tell it."""

    number: int
    agent: str
    woken_by: list[int]
    calls: list[Call] = field(default_factory=list[Call])
    over: bool = False
    """Its log has been read to the end."""
    ended: bool = False
    adopted: bool = False


class Record:
    """Takes items from the follower and tells them."""

    def __init__(self, screen: Screen, follower: Follower, queue: SimpleQueue[Item]) -> None:
        self._screen, self._follower, self._queue = screen, follower, queue
        self.turns: dict[int, Turn] = {}
        self.events: list[Json] = []
        self._open: dict[str, Json] = {}
        self._told: set[int] = set()
        self._held: dict[int, list[Item]] = {}

    def take(self, seconds: float) -> None:
        """Take one item, if there is one within that time.

        Raises:
            Broken: it tells of something that should not happen.
            queue.Empty: nothing came.
        """
        self._sort(self._queue.get(timeout=seconds))

    def turn_of(self, agent: str, nth: int) -> Turn | None:
        """The agent's nth turn, counted from 1, if it has begun."""
        found = [turn for turn in self.turns.values() if turn.agent == agent]
        return found[nth - 1] if len(found) >= nth else None

    @staticmethod
    def calls_with(turn: Turn, command: str) -> list[Call]:
        """The turn's calls whose command has this in it."""
        return [call for call in turn.calls if command in call.command]

    def count(self, kind: str, agent: str | None = None) -> int:
        """How many such events there were."""
        return sum(event["kind"] == kind and agent in (None, event["agent"]) for event in self.events)

    def sent(self, number: int, recipient: str, body: str) -> None:
        """The operator has sent a message."""
        self._message("you", recipient, number, body)

    # ---- items ----------------------------------------------------------------------------------------------------

    def _sort(self, item: Item) -> None:
        if isinstance(item, Happened):
            self._event(item)
            return
        turn = self.turns[item.turn]
        if turn.number in self._held:
            self._held[turn.number].append(item)
        elif isinstance(item, Over):
            turn.over = True
            self._end(turn)
        else:
            self._piece(turn, item.event)

    def _event(self, item: Happened) -> None:
        event = item.event
        self.events.append(event)
        kind, data = event["kind"], event["data"]
        if kind in WRONG:
            facts = {"agent": event["agent"], "detail": "", "reason": "", "why": "", **data}
            raise Broken(WRONG[kind].format_map(facts))
        if kind == "turn.started":
            turn = Turn(int(data["id"]), str(event["agent"]), list(data["cause"]["messages"]))
            self.turns[turn.number] = turn
            self._held[turn.number] = []
            self._follower.turn(turn.number)
            self._release()
        elif kind == "turn.adopted":
            self.turns[int(data["id"])].adopted = True
        elif kind == "turn.ended":
            if data["result"] != "ok":
                path = f"turns/{int(data['id']) // 1000:05d}/{data['id']}.jsonl"
                raise Broken(
                    f"turn t{data['id']} of {event['agent']} ended as {data['result']} ({data['reason']})",
                    f"what it did stands in {path}",
                )
            self.turns[int(data["id"])].ended = True
            self._end(self.turns[int(data["id"])])
        elif kind == "box.starting":
            self._box(item)

    def _release(self) -> None:
        """Tell what was held back, once the cause of its turn was told."""
        for number in list(self._held):
            if set(self.turns[number].woken_by) <= self._told:
                held = self._held.pop(number)
                turn = self.turns[number]
                causes = ", ".join(f"m{cause}" for cause in turn.woken_by)
                self._screen.line(turn.agent, f"turn t{number}, woken by {causes}", shape="working")
                for item in held:
                    self._box(item) if isinstance(item, Happened) else self._sort(item)

    def _box(self, item: Happened) -> None:
        """A box starts: told after what its agent's turn was woken by."""
        agent = str(item.event["agent"])
        held = [number for number in self._held if self.turns[number].agent == agent]
        if held:
            self._held[held[0]].append(item)
        else:
            self._screen.line(agent, "its box starts", shape="changing")

    def _end(self, turn: Turn) -> None:
        if turn.ended and turn.over:
            handled = ", ".join(f"m{cause}" for cause in turn.woken_by)
            self._screen.line(turn.agent, f"turn t{turn.number} has ended well, {handled} is handled", shape="idle")

    def _piece(self, turn: Turn, event: Json) -> None:
        kind = event.get("type")
        if kind == "text" and event.get("text"):
            self._screen.words(str(event["text"]), who=turn.agent)
        elif kind == "tool_call":
            self._open[str(event["id"])] = event
            self._call(turn, event)
        elif kind == "tool_result":
            self._result(turn, event)

    def _call(self, turn: Turn, event: Json) -> None:
        name, given = str(event["name"]), cast("Json", event.get("input") or {})
        if name in ("shell", "git"):
            command = _command(name, given)
            self._screen.line(turn.agent, command if command.startswith("#") else f"$ {command}")
        elif name != "send":
            values = ", ".join(str(value) for value in given.values())
            self._screen.line(turn.agent, f"{name}: {values}")

    def _result(self, turn: Turn, event: Json) -> None:
        call = self._open.pop(str(event["id"]), None)
        if call is None:
            return
        name, text = str(call["name"]), str(event.get("text") or "")
        if name == "send":
            given = call["input"]
            self._message(turn.agent, str(given.get("to")), _number(text), str(given.get("body")))
        elif name in ("shell", "git"):
            turn.calls.append(Call(_command(name, call["input"], whole=True), event.get("ok") is True, text))
            if text.strip():
                self._screen.words(text.rstrip(), of=turn.agent, style="dim")

    def _message(self, sender: str, recipient: str, number: int, body: str) -> None:
        to = "you" if recipient == "operator" else recipient
        self._screen.line(sender, f"to {to}, m{number}", shape="mail", style="bold")
        self._screen.words(body)
        self._told.add(number)
        self._release()


def _command(name: str, given: Json, *, whole: bool = False) -> str:
    """A call as a command line; of a script its first line, unless `whole`."""
    text = shlex.join(["git", *given.get("arguments", [])]) if name == "git" else str(given.get("command", "")).strip()
    first, _, rest = text.partition("\n")
    return text if whole or not rest else f"{first} …"


def _number(answer: str) -> int:
    """The id of a message in what `send` answered."""
    try:
        found = json.loads(answer)
        return int(str(found.get("id") or found["ids"][0]).removeprefix("m"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return 0
