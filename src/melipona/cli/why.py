"""`mel why`: why something does not move, who or what acts next, and which timer runs."""

from __future__ import annotations

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command, complete_agents
from melipona.client import segment


@click.command(cls=Command)
@click.argument("subject", shell_complete=complete_agents)
@pass_env
def why(env: Env, subject: str) -> None:
    """Why an agent, a message (m12) or a turn (t7) does not move."""
    answer = env.read(f"/why/{segment(subject)}")
    if env.json:
        env.out.json(answer)
        return
    for line in str(answer.get("text", "")).splitlines():
        env.out.line(line)
