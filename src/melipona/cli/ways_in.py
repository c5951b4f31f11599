"""`mel people identity` and `mel people passkeys`: the accounts and passkeys that log somebody in."""

from __future__ import annotations

import click

from melipona.cli.completing import PERSON, complete_accounts, complete_passkeys
from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command, Group
from melipona.cli.out import Column
from melipona.cli.words import ago
from melipona.client import segment

ACCOUNTS = (Column("id"), Column("account", wide=True), Column("seen", right=True))
PASSKEYS = (Column("label", wide=True), Column("for"), Column("added", right=True), Column("used", right=True))


@click.group(cls=Group)
def identity() -> None:
    """Accounts at the login provider."""


@identity.command("add", cls=Command)
@PERSON
@click.option("--email", help="A verified address; whoever first comes with it is NAME from then on.")
@click.option("--subject", help="What the provider calls the account.")
@pass_env
def add(env: Env, name: str, email: str | None, subject: str | None) -> None:
    """Let whoever has an account come in as NAME."""
    made = env.client.post(f"/people/{segment(name)}/identities", {"email": email, "subject": subject})
    env.out.json(made) if env.json else env.out.line(f"{email or subject} logs {name} in, by {made['issuer']}")


@identity.command("list", cls=Command)
@PERSON
@pass_env
def list_(env: Env, name: str) -> None:
    """Show the accounts of NAME."""
    answer = env.client.get(f"/people/{segment(name)}/identities")
    if env.json:
        env.out.json(answer)
        return
    rows = [
        [item["id"], item["email"] or item["subject"], ago(item["seen_at"]) if item["seen_at"] else "never"]
        for item in answer["items"]
    ]
    env.out.table(ACCOUNTS, rows) if rows else env.out.line("no accounts")


@identity.command("remove", cls=Command)
@PERSON
@click.argument("identifier", metavar="ID", shell_complete=complete_accounts)
@pass_env
def remove(env: Env, name: str, identifier: str) -> None:
    """Take an account from NAME."""
    env.client.delete(f"/people/{segment(name)}/identities/{segment(identifier)}")
    env.out.json({"id": identifier, "removed": True}) if env.json else env.out.line(f"it logs {name} in no more")


@click.command(cls=Command)
@PERSON
@click.option(
    "--revoke", metavar="LABEL", shell_complete=complete_passkeys, help="End the passkey of that label or id."
)
@pass_env
def passkeys(env: Env, name: str, revoke: str | None) -> None:
    """Show the passkeys of NAME."""
    answer = env.client.get(f"/people/{segment(name)}/passkeys")
    if revoke is not None:
        _revoke(env, name, revoke, answer["items"])
    elif env.json:
        env.out.json(answer)
    else:
        rows = [
            [
                item["label"],
                item["site"],
                ago(item["created_at"]),
                ago(item["last_used_at"]) if item["last_used_at"] else "never",
            ]
            for item in answer["items"]
        ]
        env.out.table(PASSKEYS, rows) if rows else env.out.line("no passkeys")
        env.out.line(f"{answer['codes']} recovery codes; login links are {'on' if answer['links'] else 'off'}")


def _revoke(env: Env, name: str, which: str, items: list[dict[str, str]]) -> None:
    found = [item for item in items if which in (item["id"], item["label"])]
    if len(found) != 1:
        kind = "no passkey" if not found else "more than one passkey"
        raise click.UsageError(f"{name} has {kind} called {which!r}; --json shows their ids")
    env.client.delete(f"/people/{segment(name)}/passkeys/{segment(found[0]['id'])}")
    env.out.json({"id": found[0]["id"], "revoked": True}) if env.json else env.out.line(f"{which} logs nobody in")
