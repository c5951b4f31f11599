"""`mel login`: a one-time link to the page, and the sessions that there are."""

from __future__ import annotations

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command
from melipona.cli.out import Column
from melipona.cli.words import ago, ahead
from melipona.client import segment

COLUMNS = (
    Column("session"),
    Column("person"),
    Column("by"),
    Column("opened", right=True),
    Column("seen", right=True),
    Column("ends in", right=True),
    Column("from"),
    Column("browser", wide=True),
)


@click.command(cls=Command)
@click.option("--list", "list_", is_flag=True, help="Show the sessions that go on.")
@click.option("--revoke", metavar="ID", help="End a session; its streams close at once.")
@click.option("--for", "person", metavar="NAME", help="A link for somebody else than the owner.")
@click.option("--outside", is_flag=True, help="A link that is good from other machines too.")
@pass_env
def login(env: Env, list_: bool, revoke: str | None, person: str | None, outside: bool) -> None:
    """Print a one-time link (ten minutes) to the page."""
    if revoke is not None:
        env.client.delete(f"/sessions/{segment(revoke)}")
        env.out.json({"id": revoke, "revoked": True}) if env.json else env.out.line(f"session {revoke} is ended")
    elif list_:
        _list(env)
    else:
        link = env.client.post("/login-links", {"person": person, "outside": outside})
        env.out.json(link) if env.json else env.out.raw(link["url"])


def _list(env: Env) -> None:
    answer = env.client.get("/sessions")
    if env.json:
        env.out.json(answer)
        return
    rows = [
        [
            item["id"],
            item["person"],
            item["method"],
            ago(item["created_at"]),
            ago(item["seen_at"]),
            ahead(item["ends_at"]),
            item["address"] or "",
            item["user_agent"],
        ]
        for item in answer["items"]
    ]
    env.out.table(COLUMNS, rows) if rows else env.out.line("no sessions")
