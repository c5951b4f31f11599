"""`mel turns` and `mel interrupt`."""

from __future__ import annotations

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import NAME, Command, complete_agents, paging
from melipona.cli.out import Cell, Column
from melipona.cli.words import ago, amount, duration, money
from melipona.client import Json, segment

COLUMNS = (
    Column("turn"),
    Column("agent"),
    Column("result"),
    Column("woken by", wide=True),
    Column("took", right=True),
    Column("tools", right=True),
    Column("in", right=True),
    Column("out", right=True),
    Column("cost", right=True),
    Column("began", right=True),
)
STYLES = {"ok": "green", "failed": "red", "too_long": "red", "lost": "magenta", "interrupted": "yellow"}


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=complete_agents)
@paging
@pass_env
def turns(env: Env, name: str | None, limit: int, following: int | None) -> None:
    """What an agent (or everybody) did, turn by turn, newest first."""
    listed = env.listing(f"/agents/{segment(name)}/turns" if name else "/turns", limit, following)
    if env.json:
        env.out.json(listed)
    elif listed["items"]:
        env.out.table(COLUMNS, [_row(turn) for turn in listed["items"]])
    else:
        env.out.line("no turns yet; mail begins one: mel send NAME TEXT")


@click.command(cls=Command)
@NAME
@pass_env
def interrupt(env: Env, name: str) -> None:
    """Stop an agent's running turn. Its mail is given back and waits until you write or `mel agent resume`."""
    answer = env.client.post(f"/agents/{segment(name)}/interrupt")
    env.out.json(answer) if env.json else env.out.line(f"{name} is asked to stop: mel why {name}")


def cause_text(cause: Json) -> str:
    """What woke a turn, in a few words."""
    parts = [str(cause.get("kind", ""))]
    if cause.get("from"):
        parts.append("from " + ", ".join(str(name) for name in cause["from"]))
    if cause.get("messages"):
        parts.append("(" + ", ".join(f"m{number}" for number in cause["messages"][:4]) + ")")
    return " ".join(part for part in parts if part)


def took(turn: Json) -> str:
    """How long a turn took, or has been running."""
    if turn["duration_ms"] is None:
        return ago(turn["started_at"])
    seconds = turn["duration_ms"] / 1000
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _row(turn: Json) -> list[str | Cell]:
    result = turn["result"] or turn["state"]
    return [
        f"t{turn['id']}",
        turn["agent"],
        Cell(result + (f", {turn['reason']}" if turn["reason"] else ""), STYLES.get(result, "cyan")),
        cause_text(turn["cause"]),
        took(turn),
        str(turn["tool_calls"] or ""),
        amount(turn["tokens"]["input"]),
        amount(turn["tokens"]["output"]),
        money(turn["cost_usd"]),
        ago(turn["started_at"]),
    ]
