"""`mel token`: tokens for scripts and for `mel` on another machine."""

from __future__ import annotations

import click

from melipona.cli.completing import complete_tokens
from melipona.cli.env import Env, pass_env
from melipona.cli.options import Group
from melipona.cli.out import Column
from melipona.cli.words import ago, ahead
from melipona.client import segment

SCOPES = ("read", "act", "approve")
COLUMNS = (
    Column("token"),
    Column("name", wide=True),
    Column("person"),
    Column("scopes"),
    Column("ends in", right=True),
    Column("used", right=True),
    Column("from"),
)


@click.group(cls=Group)
def token() -> None:
    """Tokens for scripts and for mel on another machine."""


def _scopes(ctx: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    del ctx, parameter
    found = [part.strip() for part in value.split(",") if part.strip()]
    wrong = [part for part in found if part not in SCOPES]
    if wrong or not found:
        raise click.BadParameter(f"{', '.join(wrong) or 'nothing'} is no scope; there are {', '.join(SCOPES)}")
    return found


@token.command()
@click.argument("name")
@click.option("--scope", "scopes", default="read,act", show_default=True, callback=_scopes, help="What it may.")
@click.option("--days", type=click.IntRange(1, 90), default=30, show_default=True, help="How long it is good.")
@pass_env
def new(env: Env, name: str, scopes: list[str], days: int) -> None:
    """Make a token and print it; it is shown this once."""
    answer = env.client.post("/tokens", {"name": name, "scopes": scopes, "days": days})
    if env.json:
        env.out.json(answer)
        return
    env.out.raw(answer["token"])
    env.out.note(f"it may {' and '.join(scopes)} for {days} days, and is shown this once")


@token.command(name="list")
@pass_env
def list_(env: Env) -> None:
    """Tokens that are good."""
    answer = env.client.get("/tokens")
    if env.json:
        env.out.json(answer)
        return
    rows = [
        [
            item["id"],
            item["name"],
            item["person"],
            ",".join(item["scopes"]),
            ahead(item["ends_at"]),
            ago(item["last_used_at"]) if item["last_used_at"] else "never",
            item["last_address"] or "",
        ]
        for item in answer["items"]
    ]
    env.out.table(COLUMNS, rows) if rows else env.out.line("no tokens")


@token.command()
@click.argument("which", metavar="ID", shell_complete=complete_tokens)
@pass_env
def revoke(env: Env, which: str) -> None:
    """End a token, by its id or by the name of one of your own."""
    env.client.delete(f"/tokens/{segment(which)}")
    env.out.json({"id": which, "revoked": True}) if env.json else env.out.line(f"token {which} is ended")
