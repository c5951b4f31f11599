"""`mel login`: a one-time link to the page, and the sessions that there are."""

from __future__ import annotations

import sys

import click

from melipona.cli.completing import complete_people, complete_sessions
from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command
from melipona.cli.out import Column
from melipona.cli.words import ago, ahead
from melipona.client import Client, segment

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
@click.option(
    "--revoke", metavar="ID", shell_complete=complete_sessions, help="End a session; its streams close at once."
)
@click.option(
    "--for", "person", metavar="NAME", shell_complete=complete_people, help="A link for somebody else than the owner."
)
@click.option("--outside", is_flag=True, help="A link that is good from other machines too.")
@click.option("--links", type=click.Choice(["on", "off"]), help="Whether such links log anybody in.")
@pass_env
def login(env: Env, list_: bool, revoke: str | None, person: str | None, outside: bool, links: str | None) -> None:
    """Print a one-time link (ten minutes) to the page. With --host: keep a token for the hive there.

    The token is asked for, or read from standard input; it is never an argument.
    """
    if revoke is not None:
        env.client.delete(f"/sessions/{segment(revoke)}")
        env.out.json({"id": revoke, "revoked": True}) if env.json else env.out.line(f"session {revoke} is ended")
    elif links is not None:
        env.client.post("/login-links/switch", {"on": links == "on"})
        env.out.json({"links": links}) if env.json else env.out.line(f"login links are {links}")
    elif list_:
        _list(env)
    elif env.host is not None and person is None:
        _keep_token(env, env.host)
    else:
        link = env.client.post("/login-links", {"person": person, "outside": outside})
        env.out.json(link) if env.json else env.out.raw(link["url"])


def _keep_token(env: Env, host: str) -> None:
    """Ask for a token, try it, keep it."""
    import getpass

    from melipona.remote import Remote, checked, keep_token

    where = checked(host)
    token = (getpass.getpass(f"token for {where}: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    me = Client(env.data, endpoint=Remote(where, token)).get("/me")
    path = keep_token(where, token)
    if env.json:
        env.out.json({"host": where, "person": me["person"], "may": me["may"], "file": str(path)})
        return
    env.out.line(f"you are {me['person']} at {where} and may {', '.join(me['may'])}")
    env.out.note(f"the token is kept in {path}")


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
