"""`mel events`: everything that happened; following it live; checking the seals."""

from __future__ import annotations

import json
import time

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command, complete_agents, paging
from melipona.cli.out import Cell
from melipona.cli.words import clock_time, day, today
from melipona.client import ClientError, Json, Unreachable

AGAIN_SECONDS = 1.0
DULL = frozenset({"id", "agent_id"})
"""Facts that a reader sees elsewhere on the line."""


@click.command(cls=Command)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens; one JSON object a line with --json.")
@click.option("--after", type=click.IntRange(min=0), metavar="N", help="Those above this number, oldest first.")
@click.option("--agent", shell_complete=complete_agents)
@click.option("--kind", help="One kind, or a noun with a dot: `turn.`")
@click.option("--verify", is_flag=True, help="Check the seals: was anything changed or removed?")
@paging
@pass_env
def events(
    env: Env,
    follow: bool,
    after: int | None,
    agent: str | None,
    kind: str | None,
    verify: bool,
    limit: int,
    following: int | None,
) -> None:
    """Everything that happened, newest first."""
    if verify:
        _verify(env)
    elif follow:
        _follow(env, after, agent, kind)
    else:
        listed = env.listing("/events/page", limit, following, offline=True, after=after, agent=agent, kind=kind)
        if env.json:
            env.out.json(listed)
            return
        lines = _Lines(env)
        for event in listed["items"]:
            lines.show(event)


def _follow(env: Env, after: int | None, agent: str | None, kind: str | None) -> None:
    """Print events until interrupted; a daemon that restarts is waited for, and nothing is missed."""
    last = None
    lines = _Lines(env)
    env.client.get("/events/page", limit=1)  # a hive that is not there is told at once
    while True:
        try:
            for name, identifier, event in env.client.stream(
                "/events", last=last, after=None if last else after, agent=agent
            ):
                last = identifier or last
                if name == "reset":
                    env.out.note(f"the hive was restored or is another one; it goes on from event {event['event']}")
                elif kind is None or _is_kind(event["kind"], kind):
                    env.out.json(event) if env.json else lines.show(event)
        except Unreachable:
            pass
        time.sleep(AGAIN_SECONDS)


def _is_kind(found: str, wanted: str) -> bool:
    return found.startswith(wanted) if wanted.endswith(".") else found == wanted


class _Lines:
    """Events as lines; the day stands above those of another day than the line before, and than today at first."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._day = today()

    def show(self, event: Json) -> None:
        """Print one."""
        on = day(event["at"])
        if on != self._day:
            self._env.out.line(Cell(on, "dim"))
            self._day = on
        _line(self._env, event)


def _line(env: Env, event: Json) -> None:
    about = "  ".join(part for part in (event["agent"], event["subject"]) if part)
    by = "" if event["by"] in ("system", event["agent"]) else f"  by {_who(event)}"
    data = "  ".join(
        f"{key}={_short(value)}" for key, value in event["data"].items() if key not in DULL and value is not None
    )
    env.out.line(
        Cell(f"{event['id']:>6}  {clock_time(event['at'])}  ", "dim"),
        Cell(f"{event['kind']:<20}  "),
        Cell(f"{about}{by}  ", "bold"),
        Cell(data, "dim"),
    )


def _who(event: Json) -> str:
    """A name; where a person stands behind it, theirs too."""
    person = event.get("person")
    return f"{event['by']} ({person})" if person else str(event["by"])


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _verify(env: Env) -> None:
    env.need_machine("`mel events --verify`")
    from melipona.cli import offline

    result = offline.verify(env.data)
    if env.json:
        env.out.json(result)
    elif result["ok"]:
        env.out.line(
            f"{result['count']} events are as they were sealed; {result['unsealed']} newer ones are not sealed yet"
        )
        env.out.line(Cell(f"head {result['head'] or '-'}", "dim"))
    if not result["ok"]:
        raise ClientError(
            f"the events from {result['first_bad']} on are not what was sealed: {result['problem']}",
            "compare with a backup; somebody changed the database",
            code="seal_broken",
        )
