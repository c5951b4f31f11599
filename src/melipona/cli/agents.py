"""`mel agent ...`: make, show, change and move agents."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import NAME, Group, complete_agents
from melipona.cli.out import Cell
from melipona.cli.status import agent_table
from melipona.cli.words import ago, ahead, amount, money
from melipona.client import USAGE, ClientError, Json, Problem, segment

WAIT_SECONDS = 90.0
"""How long a verb waits until what it asked for is so."""


@click.group(cls=Group)
def agent() -> None:
    """Make, show and move agents."""


@agent.command("new")
@click.argument("name")
@click.option("--engine", required=True, type=click.Choice(["claude", "playbook"]), help="What runs its turns.")
@click.option("--playbook", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TOML for `playbook`.")
@click.option("--role", type=click.Choice(["worker", "manager"]), help="At most one agent is the manager.")
@click.option("--model", help="As the model API calls it.")
@click.option("--budget", type=click.FloatRange(min=0), help="USD a day; 0 is the default of the hive.")
@click.option("--turns-per-hour", type=click.IntRange(min=0), help="0 means no limit.")
@click.option("--allow", multiple=True, metavar="NAME", help="Whom it may write to; default everybody.")
@pass_env
def new(env: Env, name: str, **options: Any) -> None:
    """Make an agent: mel agent new ana --engine claude"""
    made = env.client.post("/agents", {"name": name, "engine": options.pop("engine")} | _settings(options))
    if env.json:
        env.out.json(made)
    else:
        env.out.line(f"{made['name']} is there; it starts when there is mail: mel send {made['name']} TEXT")


@agent.command("list")
@click.option("--gone", is_flag=True, help="Destroyed ones whose files are kept too.")
@click.option("--limit", type=click.IntRange(1), help="Most to show, by name; default all.")
@click.option("--next", "following", metavar="NAME", help="`next` of the page before.")
@pass_env
def list_(env: Env, gone: bool, limit: int | None, following: str | None) -> None:
    """Every agent."""
    answer = env.agents(limit, following, gone=str(gone).lower())
    if env.json:
        env.out.json(answer)
    elif answer["items"]:
        agent_table(env.out, answer["items"])
        if answer["next"] is not None:
            env.out.line(Cell(f"more: mel agent list --next {answer['next']}", "dim"))
    else:
        env.out.line("no agents yet; make one: mel agent new ana --engine playbook")


@agent.command("show")
@NAME
@pass_env
def show(env: Env, name: str) -> None:
    """One agent, with everything that is known about it."""
    found = env.client.get(f"/agents/{segment(name)}")
    if env.json:
        env.out.json(found)
        return
    env.out.line(Cell(found["name"], "bold"), "  ", env.out.state(found["state"]), f"  {ago(found['since'])}")
    for label, value in _facts(found):
        if value:
            env.out.line(Cell(f"  {label:<16}", "dim"), value)


@agent.command("set")
@NAME
@click.option("--model", help="As the model API calls it; `default` for the hive's.")
@click.option("--playbook", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--role", type=click.Choice(["worker", "manager"]))
@click.option("--budget", type=click.FloatRange(min=0), help="USD a day; 0 is the default of the hive.")
@click.option("--turns-per-hour", type=click.IntRange(min=0), help="0 means no limit.")
@click.option("--allow", multiple=True, metavar="NAME", help="Whom it may write to; `*` alone means everybody.")
@pass_env
def set_(env: Env, name: str, **options: Any) -> None:
    """Change an agent: mel agent set ana --model claude-sonnet-4-5 --budget 5"""
    changes = _settings(options)
    if not changes:
        raise click.UsageError("there is nothing to change; name at least one option")
    changed = env.client.patch(f"/agents/{segment(name)}", changes)
    if env.json:
        env.out.json(changed)
    else:
        env.out.line(f"{name} is changed: {', '.join(changes)}")


@agent.command("destroy")
@NAME
@click.option("--purge", is_flag=True, help="Remove its files too; there is no undo.")
@click.option("--yes", is_flag=True, help="Do not ask (for scripts).")
@pass_env
def destroy(env: Env, name: str, purge: bool, yes: bool) -> None:
    """End an agent. Its files are kept, and `new` brings it back; with --purge everything of it goes."""
    if purge and not yes:
        _confirm(name)
    _move(env, name, "purge" if purge else "destroy")


def _confirm(name: str) -> None:
    """Have the name typed, because a purge cannot be taken back."""
    if not sys.stdin.isatty():
        raise ClientError("a purge must be confirmed", "add --yes", code="not_confirmed", exit_code=USAGE)
    click.echo(f"This removes {name} with its home, workspace, notes and logs. There is no undo.", err=True)
    if click.prompt("Type the agent's name", default="", show_default=False, err=True) != name:
        raise ClientError("that is not its name", "nothing was removed", code="not_confirmed", exit_code=USAGE)


def _verb(verb: str, text: str) -> None:
    @agent.command(verb, help=text)
    @click.argument("name", shell_complete=complete_agents)
    @click.option("--no-wait", is_flag=True, help="Do not wait until it is so.")
    @pass_env
    def run(env: Env, name: str, no_wait: bool) -> None:
        _move(env, name, verb, wait=not no_wait)

    del run


for _name, _text in {
    "start": "Let a stopped agent run again.",
    "stop": "End its turn and box; its mail waits until `start`.",
    "restart": "End its box, then wake it.",
    "pause": "No new turns until `resume`; a running one may finish.",
    "resume": "End a pause, or the hold after an interrupt.",
}.items():
    _verb(_name, _text)


def _control(verb: str, text: str, done: str) -> None:
    @agent.command(verb, help=text)
    @click.argument("name", shell_complete=complete_agents)
    @click.option("--no-wait", is_flag=True, help="Do not wait until it is so.")
    @pass_env
    def run(env: Env, name: str, no_wait: bool) -> None:
        asked = env.client.post(f"/agents/{segment(name)}/{verb}")
        found = _look(env, name) if no_wait else _without_pending(env, name, asked["operation"], verb)
        error = None if no_wait else _error_of(env, name, asked["operation"])
        if error is not None:
            raise ClientError(f"{name}: {error}", f"`mel why {name}` says how it stands", code="control_failed")
        if env.json:
            env.out.json(asked | {"agent": found})
        else:
            env.out.line(f"{name}: {done if not no_wait else (found or {}).get('detail') or done}")

    del run


_control("compact", "Have its engine compact the conversation, between two turns.", "its conversation is compacted")
_control(
    "new-session",
    "Have its next turn begin a new conversation. Files, notes and mail stay.",
    "its next turn begins a new conversation",
)


@agent.command("take-back")
@NAME
@pass_env
def take_back(env: Env, name: str) -> None:
    """Take back a compaction or a new session that waits for its turn to end."""
    answer = env.client.post(f"/agents/{segment(name)}/take-back")
    env.out.json(answer) if env.json else env.out.line(f"{name}: taken back")


def _without_pending(env: Env, name: str, operation: str, verb: str) -> Json | None:
    """The agent once the operation is over; a turn that runs ends first, however long that takes."""
    begun = told = time.monotonic()
    while True:
        found = _look(env, name)
        if found is None or found["pending"] is None or found["pending"]["id"] != operation:
            return found
        elapsed = time.monotonic() - begun
        if time.monotonic() - told > 1.0 and not env.json:
            told = time.monotonic()
            env.out.note(f"{verb} {name}: {elapsed:.0f} s, {found['detail'] or found['state']}")
        time.sleep(0.05 if elapsed < 1 else 0.3)


def _error_of(env: Env, name: str, operation: str) -> str | None:
    """Why the operation failed, None when it did not."""
    ended = env.client.get("/events/page", agent=name, kind="operation.ended")["items"]
    return next((event["data"]["error"] for event in ended if event["data"]["id"] == operation), None)


def _move(env: Env, name: str, verb: str, *, wait: bool = True) -> None:
    env.client.post(f"/agents/{segment(name)}/{verb}")
    after = _settled(env, name, verb) if wait else _look(env, name)
    if env.json:
        env.out.json(after or {"name": name, "state": "off", "reason": "purged"})
    elif after is None:
        env.out.line(f"{name} is gone")
    else:
        env.out.line(f"{name}: ", env.out.state(after["state"]), f"  {after['detail'] or ''}".rstrip())


def _settled(env: Env, name: str, verb: str) -> Json | None:
    """The agent once nothing of it is in flight; None when it is gone."""
    begun = told = time.monotonic()
    while True:
        found = _look(env, name)
        if found is None or found["state"] != "changing":
            return found
        elapsed = time.monotonic() - begun
        if elapsed > WAIT_SECONDS:
            raise ClientError(f"{name} is still changing after {elapsed:.0f} s", f"look at `mel why {name}`")
        if time.monotonic() - told > 1.0 and not env.json:
            told = time.monotonic()
            env.out.note(f"{verb} {name}: {elapsed:.0f} s, {found['detail']}")
        time.sleep(0.05 if elapsed < 1 else 0.3)


def _look(env: Env, name: str) -> Json | None:
    try:
        return env.client.get(f"/agents/{segment(name)}")
    except Problem as problem:
        if problem.status == 404:
            return None
        raise


def _settings(options: dict[str, Any]) -> Json:
    """Options as the settings of the API; what was not given is absent."""
    given = {key: value for key, value in options.items() if value not in (None, ())}
    if "playbook" in given:
        given["playbook"] = given["playbook"].read_text(encoding="utf-8")
    if given.get("model") == "default":
        given["model"] = None
    if "budget" in given:
        given["budget_usd"] = given.pop("budget")
    if "allow" in given:
        names = list(given.pop("allow"))
        given["send_allow"] = None if names == ["*"] else names
    return given


def _facts(found: Json) -> list[tuple[str, str]]:
    context, until = found["context"], ahead(found["until"])
    size = amount(context["tokens"]) + (f" of {amount(context['window'])}" if context["window"] else "")
    rest = {"reason", "id", "name", "state"}
    extra = [(key, str(value)) for key, value in found.items() if key not in _SHOWN | rest and isinstance(value, str)]
    return [
        ("what", (found["detail"] or "") + (f", for {until} more" if until else "")),
        ("says", f'"{found["status"]}", {ago(found["status_at"])} ago' if found["status"] else ""),
        ("engine", found["engine"] + (f", {found['model']}" if found["model"] else "")),
        ("role", found["role"]),
        ("mail", f"{found['waiting']} waiting" if found["waiting"] else ""),
        ("turn", f"t{found['turn']}" if found["turn"] else ""),
        ("context", size),
        ("today", money(found["spent_usd"]) + (f" of {money(found['budget_usd'])}" if found["budget_usd"] else "")),
        ("writes to", ", ".join(found["send_allow"]) if found["send_allow"] is not None else "everybody"),
        ("made", f"{ago(found['created_at'])} ago"),
        ("work", found.get("work_folder", "")),
        *((f"{limit['name']}", _limit(limit)) for limit in found.get("limits", ())),
        *extra,
    ]


def _limit(limit: Json) -> str:
    if limit["name"] == "own_uid":
        return str(limit["how"])
    return f"limited by {limit['how']}" if limit["binds"] else f"not limited: {limit['how']}"


_SHOWN = frozenset(
    {
        "work_folder",
        "detail",
        "until",
        "status",
        "status_at",
        "engine",
        "model",
        "role",
        "created_at",
        "since",
        "wish",
        "paused_at",
        "paused_by",
    }
)
