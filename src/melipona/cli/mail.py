"""`mel send`, `mel inbox`, `mel mail ...`: writing to agents, reading what they wrote, looking at all mail."""

from __future__ import annotations

import shlex
import sys
import time

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command, Group, complete_agents, paging
from melipona.cli.out import Cell, Column
from melipona.cli.words import ago, ahead
from melipona.client import ClientError, Json, segment

WAIT_PIECE = 50.0
"""Seconds of one request of a longer wait."""
SHOWN_STATE = {"waiting": "unread", "handled": ""}
COLUMNS = (
    Column("message"),
    Column("from"),
    Column("to"),
    Column("state"),
    Column("age", right=True),
    Column("body", wide=True),
)


@click.command(cls=Command)
@click.argument("name", shell_complete=complete_agents)
@click.argument("text", nargs=-1, required=True)
@click.option("--reply-to", metavar="ID", help="The message that this one answers.")
@click.option("--no-wake", is_flag=True, help="Let it ride along with the next turn.")
@click.option("--key", help="Sending again with the same key has no second effect.")
@pass_env
def send(env: Env, name: str, text: tuple[str, ...], reply_to: str | None, no_wake: bool, key: str | None) -> None:
    """Write to an agent, or to all with `*`: mel send ana "please look at the build"; `-` reads standard input."""
    body = sys.stdin.read() if text == ("-",) else " ".join(text)
    message: Json = {"to": name, "body": body, "wake": not no_wake}
    if reply_to is not None:
        message["reply_to"] = _number(reply_to)
    sent = env.client.post_keyed("/messages", message, key=key)
    if env.json:
        env.out.json(sent)
        return
    ids = ", ".join(f"m{number}" for number in sent["ids"][:5]) + (" …" if len(sent["ids"]) > 5 else "")
    env.out.line(f"{ids} to {name}" + (f"; {sent['note']}" if sent["note"] else ""))


@click.command(cls=Command)
@click.argument("ids", nargs=-1)
@click.option("--wait", type=click.FloatRange(min=0), metavar="S", help="Wait for an unread message of an agent.")
@click.option("--read", is_flag=True, help="Mark messages as read: those named, else all.")
@paging
@pass_env
def inbox(env: Env, ids: tuple[str, ...], wait: float | None, read: bool, limit: int, following: int | None) -> None:
    """What agents wrote to you, newest first. Showing a message on a terminal marks it as read; --json never does."""
    if ids and not read:
        raise click.UsageError("ids go with --read; `mel mail show ID` shows one message")
    if read:
        _mark(env, ids)
        return
    listed = env.listing("/inbox", limit, following) if wait is None else _waited(env, wait, limit)
    items = listed["items"]
    if env.json:
        env.out.json(listed)
        return
    if not items:
        env.out.line("no mail yet" if wait is None else f"nothing within {wait:g} s")
    for message in items:
        _show(env, message)
    unread = [message["id"] for message in items if message["state"] == "waiting"]
    if unread and env.out.terminal:
        env.client.post("/inbox/read", {"ids": unread[:1000]})


def _mark(env: Env, ids: tuple[str, ...]) -> None:
    marked = env.client.post("/inbox/read", {"ids": [_number(text) for text in ids] or None})
    env.out.json(marked) if env.json else env.out.line(f"{marked['marked']} marked as read")


def _waited(env: Env, seconds: float, limit: int) -> Json:
    """Unread messages of agents, as soon as there is one; empty when the time is up (D-39)."""
    end = time.monotonic() + seconds
    while True:
        piece = min(WAIT_PIECE, max(0.0, end - time.monotonic()))
        found = env.client.get("/inbox/unread", timeout=piece + 15, wait=f"{piece:.3f}", limit=min(limit, 500))
        if found["items"] or time.monotonic() >= end:
            return found


@click.group(cls=Group, invoke_without_command=True)
@click.option("--agent", shell_complete=complete_agents, help="Only what it sent or got.")
@click.option("--state", type=click.Choice(["waiting", "leased", "handled", "parked"]))
@paging
@click.pass_context
def mail(ctx: click.Context, agent: str | None, state: str | None, limit: int, following: int | None) -> None:
    """The whole hive's mail, newest first."""
    if ctx.invoked_subcommand is None:
        env = ctx.ensure_object(Env)
        _list(env, env.listing("/messages", limit, following, offline=True, agent=agent, state=state))


@mail.command("parked")
@paging
@pass_env
def parked(env: Env, limit: int, following: int | None) -> None:
    """Messages that failed too often and wait for you."""
    _list(env, env.listing("/messages", limit, following, offline=True, state="parked"))


@mail.command("retry")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@pass_env
def retry(env: Env, ids: tuple[str, ...]) -> None:
    """Give parked messages a fresh start: mel mail retry m12"""
    for text in ids:
        message = env.client.post(f"/messages/{_number(text)}/retry")
        env.out.json(message) if env.json else env.out.line(f"m{message['id']} waits for {message['recipient']} again")


@mail.command("show")
@click.argument("identifier", metavar="ID")
@pass_env
def show(env: Env, identifier: str) -> None:
    """One message, with its whole body."""
    number = _number(identifier)
    message = env.read(f"/messages/{number}")
    if message["body_path"]:
        message |= env.client.get(f"/messages/{number}/body")
    if env.json:
        env.out.json(message)
        return
    _show(env, message)
    facts = {
        "attempts": str(message["attempts"]),
        "turn": f"t{message['turn']}" if message["turn"] else "",
        "again in": ahead(message["next_try_at"]),
        "last error": message["last_error"] or "",
        "answers": f"m{message['reply_to']}" if message["reply_to"] else "",
    }
    for label, value in facts.items():
        if value:
            env.out.line(Cell(f"  {label:<12}", "dim"), value)


def _show(env: Env, message: Json) -> None:
    state = (
        message["state"] if message["recipient"] != "operator" else SHOWN_STATE.get(message["state"], message["state"])
    )
    to = "" if message["recipient"] == "operator" else f" to {message['recipient']}"
    parts = [f"m{message['id']}", f"{message['sender']}{to}", f"{ago(message['sent_at'])} ago", state]
    env.out.line(Cell("  ".join(part for part in parts if part), "bold" if state == "unread" else "dim"))
    env.out.words(message["body"])
    if message["body_path"] and message["body_bytes"] > len(message["body"].encode()):
        env.out.line(Cell(f"  {message['body_bytes']} bytes in all: mel mail show m{message['id']}", "dim"))
    for path in message.get("files", ()):
        env.out.line(Cell("  mel file ", "dim"), shlex.quote(path))


def _list(env: Env, listed: Json) -> None:
    if env.json:
        env.out.json(listed)
        return
    rows = [
        [
            f"m{message['id']}",
            message["sender"],
            message["recipient"],
            message["state"] + (f" {message['failures']}x" if message["failures"] else ""),
            ago(message["sent_at"]),
            message["body"],
        ]
        for message in listed["items"]
    ]
    env.out.table(COLUMNS, rows) if rows else env.out.line("no messages")


def _number(text: str) -> int:
    digits = text.removeprefix("m")
    if not digits.isascii() or not digits.isdigit():
        raise ClientError(f"{segment(text)} is not a message", "messages look like m12", code="bad_id", exit_code=2)
    return int(digits)
