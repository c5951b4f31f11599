"""Commands that take `--json`, `--data` and `--config` before or after the subcommand (D-38)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from melipona.cli.env import Env


def _env(ctx: click.Context) -> Env:
    return ctx.find_root().ensure_object(Env)


def _set_data(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        _env(ctx).data_option = Path(value)


def _set_config(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        _env(ctx).config_option = Path(value)


def _set_host(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        _env(ctx).host_option = value


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        _env(ctx).json = True


def common(*, host: bool = True) -> list[click.Parameter]:
    """The options that every command and group has. Without `host` for what starts a hive here."""
    elsewhere = click.Option(
        ["--host"],
        metavar="URL",
        expose_value=False,
        callback=_set_host,
        is_eager=True,
        help="A hive on another machine (MEL_HOST).",
    )
    return [
        *([elsewhere] if host else []),
        click.Option(["--json"], is_flag=True, expose_value=False, callback=_set_json, is_eager=True, help="JSON."),
        click.Option(
            ["--data"],
            metavar="DIR",
            type=click.Path(file_okay=False),
            expose_value=False,
            callback=_set_data,
            is_eager=True,
            help="The hive's data folder (MEL_DATA).",
        ),
        click.Option(
            ["--config"],
            metavar="FILE",
            type=click.Path(dir_okay=False),
            expose_value=False,
            callback=_set_config,
            is_eager=True,
            help="The mel.toml (MEL_CONFIG).",
        ),
    ]


class Command(click.Command):
    """A command with the common options."""

    has_host = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(common(host=self.has_host))


class LocalCommand(Command):
    """One that makes no sense for a hive on another machine, and whose `--host` is something else."""

    has_host = False


class Group(click.Group):
    """A group with the common options, whose commands have them too."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(common())


Group.group_class = Group


def complete_agents(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of agents for the shell; none when no daemon answers at once."""
    from melipona.client import ClientError

    try:
        agents = _env(ctx).client_within(1.0).get("/agents", next=incomplete or None)["items"]
    except (ClientError, KeyError, TypeError):
        return []
    return [
        CompletionItem(agent["name"], help=str(agent.get("state", "")))
        for agent in agents
        if str(agent["name"]).startswith(incomplete)
    ]


NAME = click.argument("name", shell_complete=complete_agents)
"""The argument of commands about one agent."""

_LIMIT = click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most to show.")
_NEXT = click.option("--next", "following", type=click.IntRange(min=0), metavar="N", help="`next` of the page before.")


def paging(command: Any) -> Any:
    """`--limit` and `--next` of lists (D-38)."""
    return _LIMIT(_NEXT(command))
