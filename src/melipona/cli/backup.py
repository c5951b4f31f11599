"""`mel backup FILE` and `mel restore FILE`: store, turn logs, agents' notes, shared files; never keys (D-35)."""

from __future__ import annotations

from pathlib import Path

import click

from melipona.cli.env import OFFLINE, Env, pass_env
from melipona.cli.options import Command
from melipona.cli.out import Cell
from melipona.cli.place import make_private
from melipona.client import REFUSED, ClientError, Json, Unreachable

TIMEOUT = 3600.0


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--homes", is_flag=True, help="With the agents' homes, which hold engine sessions.")
@pass_env
def backup(env: Env, file: Path, homes: bool) -> None:
    """Write a backup of the hive, running or not: mel backup hive.tar.gz"""
    env.need_machine("`mel backup`")
    path = file.absolute()
    try:
        result = env.client.post("/backup", {"path": str(path), "homes": homes}, timeout=TIMEOUT)
    except Unreachable as error:
        if error.code not in OFFLINE:
            raise
        from melipona.cli import offline

        env.out.note("no daemon runs; the store is read as it is")
        result = offline.backup(env.data, path, homes=homes)
    if env.json:
        env.out.json(result)
        return
    size = f"{result['bytes'] / (1 << 20):.1f} MiB"
    env.out.line(f"{result['path']}: {result['files']} files, {size}, events up to {result['events']}")
    for note in result["notes"]:
        env.out.line(f"  left out: {note}")
    _head(env, result)


@click.command(cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_env
def restore(env: Env, file: Path) -> None:
    """Put a backup into an empty data folder: mel restore hive.tar.gz --data DIR"""
    env.need_machine("`mel restore`")
    if env.client.ready():
        raise ClientError(f"a hive runs in {env.data}", "choose an empty folder with --data", exit_code=REFUSED)
    make_private(env.data)
    from melipona.cli import offline

    result = offline.restore(file.absolute(), env.data, env.config)
    if env.json:
        env.out.json(result)
        return
    env.out.line(f"{result['path']}: {result['files']} files, events up to {result['events']}; start it with `mel up`")
    _head(env, result)


def _head(env: Env, result: Json) -> None:
    """Whoever keeps the head can tell later whether the events were changed."""
    if result["head"]:
        env.out.line(Cell(f"  seal head {result['head']}", "dim"))
