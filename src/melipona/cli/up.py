"""`mel up`: start the hive, in the foreground or with a small parent that starts it again (D-2)."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path

import click

from melipona.cli import supervise
from melipona.cli.env import Env, pass_env
from melipona.cli.options import LocalCommand
from melipona.cli.place import make_private
from melipona.client import ClientError, Json
from melipona.text import visible

READY_SECONDS = 90.0
SETTLE_SECONDS = 20.0
LOG_LINES = 12


@click.command(cls=LocalCommand)
@click.option("--detach", "-d", is_flag=True, help="Leave it running, and start it again when it crashes.")
@click.option("--foreground", is_flag=True, help="Run it here (the default), for systemd or to look at.")
@click.option("--host", "address", metavar="ADDRESS", help="Address of the page and the API (127.0.0.1).")
@pass_env
def up(env: Env, detach: bool, foreground: bool, address: str | None) -> None:
    """Start the hive and print a one-time link to its page. On a running hive, only print the link."""
    if detach and foreground:
        raise click.UsageError("--detach and --foreground exclude each other")
    env.need_machine("`mel up`")
    make_private(env.data)
    if env.client.ready():
        _tell(env)
    elif detach:
        _detached(env, address)
        _tell(env)
    else:
        _in_foreground(env, address)


def _detached(env: Env, address: str | None) -> None:
    """Start the supervisor, unless there is one whose daemon is just away, and wait until the hive is ready."""
    child = None if supervise.running(env.data) else supervise.start(env.data, env.config, address)
    begun = told = time.monotonic()
    mark = _log_size(env.data)
    while not env.client.ready():
        elapsed = time.monotonic() - begun
        if child is not None and child.poll() is not None and supervise.running(env.data) is None:
            raise _failed(env.data, mark, "the hive did not start")
        if elapsed > READY_SECONDS:
            raise _failed(env.data, mark, f"the hive is not ready after {elapsed:.0f} s")
        if time.monotonic() - told > 1.0 and not env.json:
            told = time.monotonic()
            env.out.note(f"starting: {elapsed:.0f} s")
        time.sleep(0.05)


def _tell(env: Env) -> None:
    """The address with a one-time link: exactly one line on stdout."""
    link = env.client.post("/login-links")
    if env.json:
        state = env.client.get("/state")
        env.out.json({"daemon": state["daemon"], "api": state["api"], "data": state["data"], "login": link["url"]})
        return
    env.out.raw(link["url"])
    env.out.note(f"the hive in {env.data} runs; the link works once, for ten minutes")


def _in_foreground(env: Env, address: str | None) -> None:
    """Become the daemon. A process beside it tells the link once it is ready: on the terminal, else in a 0600 file."""
    sys.stdout.flush()
    sys.stderr.flush()
    daemon = os.pidfd_open(os.getpid())  # the daemon keeps this process's number
    if os.fork() == 0:
        if os.fork() == 0:  # a grandchild, so that the daemon has no child to reap that it does not know
            _announce(env, daemon)
        os._exit(0)
    os.wait()
    argv = supervise.daemon_argv(env.data, env.config, address)
    os.execv(argv[0], argv)  # noqa: S606


def _announce(env: Env, daemon: int) -> None:
    poll = select.poll()
    poll.register(daemon, select.POLLIN)
    try:
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and not poll.poll(100):
            if env.client.ready():
                link: Json = env.client.post("/login-links")
                _give(env, link["url"])
                return
    except BaseException as error:
        env.out.note(f"no login link: {error}")
    finally:
        os._exit(0)


def _give(env: Env, url: str) -> None:
    if env.out.terminal:
        env.out.raw(url)
        return
    path = env.data / "run" / "login-link"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(url + "\n")
    env.out.note(f"a login link is in {path}")


def _log_size(data: Path) -> int:
    try:
        return (data / "daemon.log").stat().st_size
    except OSError:
        return 0


def _failed(data: Path, mark: int, what: str) -> ClientError:
    path = data / "daemon.log"
    try:
        with path.open("rb") as file:
            file.seek(min(mark, path.stat().st_size))
            lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        lines = []
    for line in lines:
        click.echo(visible(line, lines=False), err=True)
    return ClientError(what, f"the whole log is {path}; `mel doctor` tries everything a hive needs")
