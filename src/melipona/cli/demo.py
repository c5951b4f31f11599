"""`mel demo`: the story of a minute, played by `melipona.demo`."""

from __future__ import annotations

import click

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command


@click.command(cls=Command)
@click.option("--keep", is_flag=True, help="Leave the hive running at the end and say how to go on.")
@pass_env
def demo(env: Env, keep: bool) -> int:
    """Watch a hive work for a minute: two agents in real boxes, a killed daemon, nothing lost. Needs no key."""
    env.need_machine("`mel demo`")
    from melipona.demo import play

    return play(keep=keep, json=env.json, data=env.data_option)
