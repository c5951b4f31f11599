"""`mel log`: a turn word by word, from its log or live."""

from __future__ import annotations

import json
import re
import time
from typing import cast

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command, complete_agents
from melipona.cli.out import Cell
from melipona.cli.turns import cause_text
from melipona.cli.words import duration, moment, money
from melipona.client import NOT_FOUND, ClientError, Json, Problem, Unreachable, segment

AGAIN_SECONDS = 0.5
LOOK_BACK = 50
_TURN = re.compile(r"t?[0-9]+")
RESULT_LINES = 6
QUIET = frozenset({"start", "text_delta", "drop_partial", "usage_claim", "context_size", "unknown"})
"""Events that say nothing to a reader, or that a complete one follows."""
DULL = frozenset({"type", "session", "usage"})
"""Facts of an event that say nothing to a reader."""


@click.command(cls=Command)
@click.argument("name", metavar="NAME|TURN", shell_complete=complete_agents)
@click.option("-f", "--follow", is_flag=True, help="Go on, also with the turns that come.")
@pass_env
def log(env: Env, name: str, follow: bool) -> None:
    """The last turn of an agent, or the turn t7, word by word."""
    turn = _latest(env, name)
    if turn is None and not follow:
        raise ClientError(f"{name} has had no turn yet", f"mail begins one: mel send {name} TEXT", exit_code=NOT_FOUND)
    one = turn is not None and turn["agent"] != name
    while True:
        if turn is not None:
            _show(env, turn, follow)
        if one or not follow:
            return
        turn = _next(env, name, 0 if turn is None else turn["id"])


def _latest(env: Env, name: str) -> Json | None:
    """The agent's last turn; a name of no agent that looks like a turn's number is that turn."""
    try:
        items: list[Json] = env.client.get(f"/agents/{segment(name)}/turns", limit=1)["items"]
    except Problem as problem:
        if problem.status == 404 and _TURN.fullmatch(name):
            return env.client.get(f"/turns/{name}")
        raise
    return items[0] if items else None


def _next(env: Env, name: str, after: int) -> Json:
    """The agent's next turn, once there is one: the oldest after `after`, however many came meanwhile."""
    while True:
        try:
            found = _first_after(env, name, after)
        except Unreachable:
            found = None
        if found is not None:
            return found
        time.sleep(AGAIN_SECONDS)


def _first_after(env: Env, name: str, after: int) -> Json | None:
    path = f"/agents/{segment(name)}/turns"
    page = env.client.get(path, limit=LOOK_BACK)
    newer: list[Json] = [turn for turn in page["items"] if turn["id"] > after]
    while len(newer) == LOOK_BACK and page["next"]:
        page = env.client.get(path, limit=LOOK_BACK, next=page["next"])
        newer = [turn for turn in page["items"] if turn["id"] > after] or newer[-1:]
    return newer[-1] if newer else None


def _show(env: Env, turn: Json, follow: bool) -> None:
    """Print one turn to its end (with `follow`), across restarts of the daemon."""
    if not env.json:
        head = f"t{turn['id']}  {turn['agent']}  woken by {cause_text(turn['cause'])}"
        env.out.line(Cell(head, "bold"), Cell(f"  {moment(turn['started_at'])}", "dim"))
    position, over = 0, False
    while not over:
        over = not follow
        path = f"/turns/{turn['id']}/stream"
        try:
            for kind, identifier, piece in env.client.stream(path, after=position, follow=str(follow).lower()):
                position = int(identifier or position)
                over = over or kind == "end"
                if kind != "end":
                    _piece(env, piece)
        except Unreachable:
            pass
        if not over:
            time.sleep(AGAIN_SECONDS)
    ended = env.client.get(f"/turns/{turn['id']}")
    if not env.json and ended["result"]:
        env.out.line(Cell(f"t{turn['id']}  {ended['result']}", "bold"), Cell(ending(ended), "dim"))


def ending(turn: Json) -> str:
    """Why a turn ended, how long it took and what it cost, as far as that is known."""
    took, cost = turn["duration_ms"], turn["cost_usd"]
    facts = [turn["reason"], None if took is None else duration(took / 1000), money(cost) if cost else None]
    return "".join(f"  {fact}" for fact in facts if fact)


def _piece(env: Env, piece: Json) -> None:
    if env.json:
        env.out.json(piece)
        return
    event: Json = piece.get("event", {})
    kind = str(event.get("type", ""))
    if kind in QUIET:
        return
    if kind == "text":
        env.out.words(str(event.get("text", "")), style="dim" if event.get("thinking") else None)
    elif kind == "tool_call":
        env.out.line(Cell(f"  {event.get('name', '')}  ", "cyan"), _brief(event.get("input")))
    elif kind == "tool_result":
        _result(env, event)
    elif kind == "prompt":
        env.out.line(Cell(f"  prompt  {', '.join(f'm{number}' for number in event.get('messages', []))}", "dim"))
    elif kind != "result" or event.get("outcome") != "ok":
        facts = {key: value for key, value in event.items() if key not in DULL and value not in (None, "", [], {})}
        env.out.line(Cell(f"  {kind.replace('_', ' ')}  {_brief(facts) if facts else ''}".rstrip(), "dim"))


def _result(env: Env, event: Json) -> None:
    lines = str(event.get("text", "")).splitlines()
    style = "dim" if event.get("ok", True) else "red"
    for line in lines[:RESULT_LINES]:
        env.out.words(line, indent="    ", style=style)
    if len(lines) > RESULT_LINES:
        env.out.line(Cell(f"    … {len(lines) - RESULT_LINES} more lines", "dim"))


def _brief(value: object) -> str:
    """A tool's input on one line: the only value alone, else `key=value`."""
    if not isinstance(value, dict):
        return _text(value)[:300]
    pairs = cast("Json", value)
    if len(pairs) == 1:
        return _text(next(iter(pairs.values())))[:300]
    return "  ".join(f"{key}={_text(item)}" for key, item in pairs.items())[:300]


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
