"""`mel down`: end turns (their mail is given back), boxes, daemon and its parent (D-2)."""

from __future__ import annotations

import os
import select
import signal
import time

import click

from melipona.cli import supervise
from melipona.cli.env import OFFLINE, Env, pass_env
from melipona.cli.options import Command
from melipona.client import ClientError, Unreachable

END_SECONDS = 120.0


@click.command(cls=Command)
@pass_env
def down(env: Env) -> None:
    """End turns, boxes and daemon. Mail and agents stay and go on with the next `mel up`."""
    env.need_machine("`mel down`")
    parent = supervise.running(env.data)
    try:
        pid = int(env.client.post("/stop")["pid"])
        if parent is not None:
            os.kill(parent, signal.SIGTERM)  # should the daemon crash on its way, it is not started again
    except Unreachable as error:
        if error.code not in OFFLINE or parent is None:
            raise
        os.kill(parent, signal.SIGTERM)  # no daemon at this moment: the parent must not start another
        pid = parent
    _wait(env, pid)
    end = time.monotonic() + END_SECONDS
    while supervise.running(env.data) is not None:
        if time.monotonic() > end:
            raise ClientError("the daemon's parent does not end", f"look at {env.data / 'daemon.log'}")
        time.sleep(0.05)
    env.out.json({"stopped": True, "pid": pid}) if env.json else env.out.line(f"the hive in {env.data} is down")


def _wait(env: Env, pid: int) -> None:
    """Until the process has ended, telling what is waited for."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    begun = time.monotonic()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        while not poll.poll(1000):
            elapsed = time.monotonic() - begun
            if elapsed > END_SECONDS:
                raise ClientError(f"the daemon (pid {pid}) is not down after {elapsed:.0f} s", "look at its log")
            if not env.json:
                env.out.note(f"ending turns and boxes: {elapsed:.0f} s")
    finally:
        os.close(descriptor)
