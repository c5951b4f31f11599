"""`mel completion`: a script for the shell, which then asks `mel` itself; agents' names come from the daemon."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from melipona.cli.env import Env, pass_env
from melipona.cli.options import Command


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_env
def completion(env: Env, shell: str) -> None:
    """Print the completion script of a shell: eval "$(mel completion bash)" """
    from melipona.cli.main import root

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(root, {}, "mel", "_MEL_COMPLETE")
    env.out.raw(script.source_template % script.source_vars())
