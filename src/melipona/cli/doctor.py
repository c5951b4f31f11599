"""`mel doctor`: everything that a hive needs, tried; each failure with its remedy."""

from __future__ import annotations

import click

from melipona.cli.env import OFFLINE, Env, pass_env
from melipona.cli.options import Command
from melipona.cli.out import Cell
from melipona.client import FAILED, Json, Unreachable

MARKS = {"yes": ("ok", "green"), "warn": ("!!", "yellow"), "no": ("no", "red")}
TIMEOUT = 300.0


@click.command(cls=Command)
@pass_env
def doctor(env: Env) -> int:
    """Try everything that a hive needs, a real box included, and say how to mend what fails."""
    checks = _checks(env)
    if env.json:
        env.out.json({"items": checks, "next": None})
    for check in [] if env.json else checks:
        mark, style = MARKS.get(check["ok"], ("??", "dim"))
        env.out.line(Cell(f"{mark}  ", style), Cell(f"{check['name']:<22} ", "bold"), str(check["detail"]))
        if check["remedy"] and check["ok"] != "yes":
            env.out.line(Cell(f"    {check['remedy']}", style))
    return FAILED if any(check["ok"] == "no" for check in checks) else 0


def _checks(env: Env) -> list[Json]:
    try:
        return env.client.post("/doctor", timeout=TIMEOUT)["items"]
    except Unreachable as error:
        if error.code not in OFFLINE or env.host is not None:
            raise
        from melipona.cli import offline

        env.out.note("no daemon runs; these are the checks that need none")
        return offline.doctor(env.data, env.config)
