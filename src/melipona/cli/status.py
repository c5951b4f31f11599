"""`mel status`: first what needs you, then every agent, on one screen."""

from __future__ import annotations

from collections import Counter

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command
from melipona.cli.out import NEED, Cell, Column, Out
from melipona.cli.words import ago, ahead, amount, money
from melipona.client import Json

USED_LINES = 5
"""Lines of a status besides agents and needs: the sentence, a blank, the head, what is left out, the prompt."""
COLUMNS = (
    Column("agent"),
    Column("state"),
    Column("what", wide=True),
    Column("model"),
    Column("ctx", right=True),
    Column("mail", right=True),
    Column("today", right=True),
    Column("since", right=True),
)


@click.command(cls=Command)
@pass_env
def status(env: Env) -> None:
    """What needs you, and every agent."""
    state = env.read("/state")
    if state.get("agents_next") is not None:
        state["agents"] += env.agents(None, state["agents_next"], offline=True)["items"]
        state["agents_next"] = None
    if env.json:
        env.out.json(state)
        return
    out = env.out
    for line in needs(state):
        out.line(Cell(line, "yellow"))
    out.line(Cell(f"{state['name']}: {sentence(state['agents'])}", "bold"), Cell(_beside(state), "dim"))
    if state["agents"]:
        out.line()
        left_out = agent_table(out, state["agents"], most=out.room(len(needs(state)) + USED_LINES))
        if left_out:
            out.line(Cell(f"and {left_out} more: mel agent list", "dim"))
    else:
        out.line("Make one: mel agent new ana --engine playbook")


def needs(state: Json) -> list[str]:
    """What waits for a person, most urgent first."""
    lines = [*_of_the_disk(state.get("disk"), state.get("checked"))]
    asking = [agent["name"] for agent in state["agents"] if agent["state"] == "needs_you"]
    broken = [agent["name"] for agent in state["agents"] if agent["state"] in ("stuck", "failed")]
    if asking:
        lines.append(f"{', '.join(asking)} {'needs' if len(asking) == 1 else 'need'} you: mel why {asking[0]}")
    if broken:
        lines.append(f"{', '.join(broken)} cannot go on: mel why {broken[0]}")
    if state["mail"]["unread"]:
        lines.append(f"{_count(state['mail']['unread'], 'unread message')} for you: mel inbox")
    if state["mail"]["parked"]:
        lines.append(f"{_count(state['mail']['parked'], 'parked message')}: mel mail parked")
    return lines


def _of_the_disk(disk: Json | None, checked: Json | None) -> list[str]:
    """A full or short disk, and a database that is not whole."""
    lines: list[str] = []
    if disk and disk["level"] == "full":
        lines.append(f"{disk['detail']}: the hive only reads; make room (mel doctor), it goes on by itself")
    elif disk and disk["level"] == "low":
        lines.append(f"{disk['detail']}: no new turns; make room (mel doctor)")
    if checked and checked["result"] == "damaged":
        lines.append(f"the database is damaged: {checked['problem']}; mel doctor")
    return lines


def sentence(agents: list[Json]) -> str:
    """How the swarm is, in a few words."""
    counts = Counter(agent["state"] for agent in agents)
    parts = [_in_words(counts[state], state) for state in (*NEED, *sorted(set(counts) - set(NEED))) if counts[state]]
    return ", ".join([_count(len(agents), "agent") if agents else "no agents", *parts])


def _in_words(count: int, state: str) -> str:
    return f"{count} {'need you' if state == 'needs_you' and count > 1 else state.replace('_', ' ')}"


def agent_table(out: Out, agents: list[Json], *, most: int | None = None) -> int:
    """Agents, those in need first and of them what changed last, at most `most`; how many were left out."""
    order = sorted(agents, key=lambda agent: agent["name"])
    order.sort(key=lambda agent: agent["since"], reverse=True)
    order.sort(key=lambda agent: _need(agent["state"]))
    shown = order if most is None else order[:most]
    out.table(COLUMNS, [_row(out, agent) for agent in shown])
    return len(order) - len(shown)


def _row(out: Out, agent: Json) -> list[str | Cell]:
    context = agent["context"]
    share = f"{100 * context['tokens'] // context['window']} %" if context["tokens"] and context["window"] else ""
    until = ahead(agent["until"])
    return [
        agent["name"],
        out.state(agent["state"]),
        what(agent) + (f" (for {until} more)" if until else ""),
        Cell(agent["model"] or agent["engine"], "dim"),
        share or amount(context["tokens"]),
        str(agent["waiting"] or ""),
        money(agent["spent_usd"]) if agent["spent_usd"] else "",
        ago(agent["since"]),
    ]


def what(agent: Json) -> str:
    """Ours without quotes, the agent's own words in them."""
    if agent["detail"]:
        return str(agent["detail"])
    if agent["status"]:
        return f'"{agent["status"]}" ({ago(agent["status_at"])} ago)'
    return ""


def _beside(state: Json) -> str:
    spent, daemon = state["spent"], state["daemon"]
    budget = f" of ${spent['budget_usd']:g}" if spent["budget_usd"] else ""
    where = f"   {state['api']}" if daemon and state["api"] else "   not running"
    return f"   {money(spent['usd'])}{budget} today{where}"


def _need(state: str) -> int:
    """A state that this version does not know comes right after what needs a person (LE-15)."""
    return NEED.index(state) if state in NEED else 1


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
