"""The root of `mel`: a table of commands whose modules are imported when they are used, and what errors become.

Exit codes (D-5): 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 daemon unreachable, 75 outcome unknown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from melipona.cli.env import Env
from melipona.cli.options import Group
from melipona.client import FAILED, NOT_FOUND, REFUSED, UNKNOWN, UNREACHABLE, USAGE, ClientError

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("hive", "Start the hive: mel up --detach"),
    "down": ("hive", "End turns, boxes and daemon."),
    "status": ("hive", "What needs you, and every agent."),
    "demo": ("hive", "Watch a hive work for a minute; needs no key."),
    "login": ("hive", "Print a one-time link to the page; list and revoke sessions."),
    "token": ("hive", "Tokens for scripts: mel token new deploy --scope read"),
    "people": ("hive", "Who may come in, and what as."),
    "doctor": ("hive", "Try everything that a hive needs, and say how to mend it."),
    "backup": ("hive", "Write a backup: mel backup hive.tar.gz"),
    "restore": ("hive", "Put a backup into an empty data folder."),
    "completion": ("hive", 'Shell completion: eval "$(mel completion bash)"'),
    "agent": ("agents", "Make, show and move agents: mel agent new ana --engine claude"),
    "interrupt": ("agents", "Stop an agent's running turn."),
    "attach": ("agents", "A shell in an agent's box: mel attach ana"),
    "why": ("agents", "Why something does not move: mel why ana"),
    "send": ("mail", 'Write to an agent: mel send ana "please look at the build"'),
    "inbox": ("mail", "What agents wrote to you: mel inbox --wait 60"),
    "mail": ("mail", "The hive's mail; parked messages: mel mail parked"),
    "turns": ("work", "What agents did: mel turns ana"),
    "log": ("work", "A turn, word by word: mel log ana -f"),
    "events": ("work", "Everything that happened: mel events -f"),
    "file": ("work", "A file that an agent named: mel file /agents/ana/state/notes.md"),
}
"""Command → its group in the help, and its line there."""

MODULES = {
    "up": "up",
    "down": "down",
    "status": "status",
    "demo": "demo",
    "login": "login",
    "token": "token",
    "people": "people",
    "doctor": "doctor",
    "backup": "backup",
    "restore": "backup",
    "completion": "completion",
    "agent": "agents",
    "interrupt": "turns",
    "why": "why",
    "send": "mail",
    "inbox": "mail",
    "mail": "mail",
    "turns": "turns",
    "log": "log",
    "events": "events",
    "attach": "attach",
    "file": "file",
}

MEANS = {
    USAGE: "nothing was changed",
    NOT_FOUND: "nothing was changed",
    REFUSED: "nothing was changed",
    UNREACHABLE: "nothing was changed; agents' mail and work are kept",
    UNKNOWN: "it may or may not have been done",
}
"""What a failure means, by its exit code."""


class Root(Group):
    """Imports a command's module only when the command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"melipona.cli.{MODULES[cmd_name]}")
        return getattr(module, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in COMMANDS:
            import difflib  # 7 ms, and only who mistypes needs it (rule 21)

            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean `mel {close[0]}`?" if close else "`mel --help` lists all"
            ctx.fail(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in dict.fromkeys(entry[0] for entry in COMMANDS.values()):
            with formatter.section(group.capitalize()):
                formatter.write_dl([(name, text) for name, (where, text) in COMMANDS.items() if where == group])


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from melipona import __version__

        click.echo(f"mel {__version__}")
        ctx.exit()


@click.command(cls=Root, name="mel")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def root() -> None:
    """Run a swarm of persistent coding agents on your own machine.

    Begin with `mel up --detach`, then `mel agent new ana --engine claude` and `mel send ana "hello"`.
    """


def main() -> None:
    """Entry point of `mel`."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    env = Env()
    try:
        code = root.main(args=list(args), prog_name="mel", standalone_mode=False, obj=env)
        sys.stdout.flush()
    except click.ClickException as error:
        return _usage(env, error)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except ClientError as error:
        means = MEANS.get(error.exit_code, "")
        env.out.error(error.what, means, error.remedy, code=error.code, exit_code=error.exit_code)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        return _unexpected(env, error)
    return code if isinstance(code, int) else 0


def _usage(env: Env, error: click.ClickException) -> int:
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else "mel"
    code = USAGE if isinstance(error, click.UsageError) else error.exit_code
    env.out.error(error.format_message(), MEANS[USAGE], f"see `{command} --help`", code="usage", exit_code=code)
    return code


def _unexpected(env: Env, error: Exception) -> int:
    """Errors of our own tree, where a command worked without a daemon; everything else is a bug and shows itself."""
    from melipona import errors

    if not isinstance(error, errors.MeliponaError):
        raise error
    code = exit_code_of(error)
    env.out.error(error.message, MEANS.get(code, ""), error.remedy, code=error.code, exit_code=code)
    return code


def exit_code_of(error: Exception) -> int:
    """D-5 for errors of our own tree."""
    from melipona import errors

    table = (
        (errors.Invalid, USAGE),
        (errors.NotFound, NOT_FOUND),
        (errors.AskedWrongly, REFUSED),
        (errors.OutcomeUnknown, UNKNOWN),
        (errors.DaemonUnreachable, UNREACHABLE),
    )
    return next((code for kind, code in table if isinstance(error, kind)), FAILED)


if __name__ == "__main__":
    main()
