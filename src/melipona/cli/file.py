"""`mel file`: a file that an agent named."""

from __future__ import annotations

import base64
import sys

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command


@click.command(cls=Command)
@click.argument("path")
@pass_env
def file(env: Env, path: str) -> None:
    """Show a file that agents name: mel file /agents/ana/state/notes.md

    Shown are /agents/NAME/state/…, /agents/NAME/inbox/… and /shared/…, up to 1 MiB. On a terminal control characters
    are made visible; into a file or a pipe the bytes go as they are: mel file /shared/ana/plan.pdf > plan.pdf
    """
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
