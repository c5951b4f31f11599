"""`mel people`: who may come in, and what as."""

from __future__ import annotations

import click

from melipona.cli.completing import PERSON
from melipona.cli.env import Env, pass_env
from melipona.cli.options import Group
from melipona.cli.out import Column
from melipona.cli.ways_in import identity, passkeys
from melipona.cli.words import ago
from melipona.client import Json, segment

ROLES = click.Choice(["viewer", "operator", "admin"])
COLUMNS = (Column("person", wide=True), Column("role"), Column("since", right=True), Column(""))


@click.group(cls=Group)
def people() -> None:
    """Who may come in: a viewer reads, an operator acts, an admin also decides who may."""


@people.command(name="list")
@pass_env
def list_(env: Env) -> None:
    """Everybody, with their roles."""
    answer = env.client.get("/people")
    if env.json:
        env.out.json(answer)
        return
    env.out.table(
        COLUMNS, [[item["name"], item["role"], ago(item["created_at"]), _mark(item)] for item in answer["items"]]
    )


def _mark(item: Json) -> str:
    if item["owner"]:
        return "owner"
    return f"disabled {ago(item['disabled_at'])} ago" if item["disabled_at"] else ""


@people.command()
@click.argument("name")
@click.option("--role", type=ROLES, default="viewer", show_default=True, help="What they may.")
@pass_env
def add(env: Env, name: str, role: str) -> None:
    """Let somebody in; `mel login --for NAME` makes them a link."""
    _tell(env, env.client.post("/people", {"name": name, "role": role}))


@people.command()
@PERSON
@click.argument("role", type=ROLES)
@pass_env
def role(env: Env, name: str, role: str) -> None:
    """Give somebody another role; it counts at once."""
    _tell(env, env.client.patch(f"/people/{segment(name)}", {"role": role}))


@people.command()
@PERSON
@pass_env
def disable(env: Env, name: str) -> None:
    """Shut somebody out: their sessions, links and tokens end at once."""
    _tell(env, env.client.patch(f"/people/{segment(name)}", {"disabled": True}))


@people.command()
@PERSON
@pass_env
def enable(env: Env, name: str) -> None:
    """Let somebody in again, by new logins."""
    _tell(env, env.client.patch(f"/people/{segment(name)}", {"disabled": False}))


def _tell(env: Env, person: Json) -> None:
    if env.json:
        env.out.json(person)
    elif person["disabled_at"]:
        env.out.line(f"{person['name']} may not come in any more")
    else:
        env.out.line(f"{person['name']} is {person['role']}")


people.add_command(identity)
people.add_command(passkeys)
