"""`mel file`: a file that an agent named."""

from __future__ import annotations

import base64
import sys

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command
from melipona.cli.out import Cell, Column
from melipona.cli.words import ago, amount
from melipona.client import Json

COLUMNS = (Column("name", wide=True), Column("bytes", right=True), Column("changed", right=True))


@click.command(cls=Command)
@click.argument("path")
@pass_env
def file(env: Env, path: str) -> None:
    """Show a file that agents name, or a folder with a slash at its end: mel file /agents/ana/state/notes.md

    Shown are /agents/NAME/state/…, /agents/NAME/inbox/… and /shared/…, up to 1 MiB. On a terminal control characters
    are made visible; into a file or a pipe the bytes go as they are: mel file /shared/ana/plan.pdf > plan.pdf
    """
    if path.endswith("/"):
        _folder(env, path)
        return
    found = env.client.get("/files", path=path)
    if env.json:
        env.out.json(found)
        return
    text: str | None = found["text"]
    if not env.out.terminal:
        sys.stdout.buffer.write(base64.b64decode(found["base64"]) if text is None else text.encode())
        sys.stdout.flush()
    elif text is None:
        env.out.note(f"{found['path']} is no text ({found['size']} bytes); to keep it: mel file {found['path']} > FILE")
    else:
        for line in text.splitlines():
            env.out.line(line)


def _folder(env: Env, path: str) -> None:
    """What lies in a folder."""
    found = env.client.get("/folders", path=path.rstrip("/"))
    if env.json:
        env.out.json(found)
        return
    if not found["entries"]:
        env.out.line(f"{found['path']} holds no files")
    else:
        env.out.table(COLUMNS, [_row(entry) for entry in found["entries"]])
    if found["more"]:
        env.out.note("it holds more than is shown")
    if found["unnamed"]:
        env.out.note(f"{found['unnamed']} more are neither files nor folders, or have names that are no text")


def _row(entry: Json) -> list[str | Cell]:
    size = "" if entry["size"] is None else amount(entry["size"])
    return [entry["name"] + ("/" if entry["folder"] else ""), size, ago(entry["modified_at"])]
