"""What every command knows: where the hive is, how to talk to it, how to print."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from melipona.cli.out import Out
from melipona.client import TIMEOUT, USAGE, Client, ClientError, Json, Unreachable

OFFLINE = frozenset({"no_socket", "refused"})
"""Why no daemon answers when none runs; any other reason is an error."""
PAGE_MOST = 500


@dataclass(slots=False)
class Env:
    """The options that stand before or after any subcommand (D-38), and what follows from them."""

    data_option: Path | None = None
    config_option: Path | None = None
    host_option: str | None = None
    json: bool = False
    told: list[str] = field(default_factory=list[str])

    @cached_property
    def out(self) -> Out:
        """Where to print."""
        return Out(json=self.json)

    @property
    def data(self) -> Path:
        """The data folder: `--data`, `MEL_DATA`, or the usual place (D-7)."""
        given = self.data_option or os.environ.get("MEL_DATA")
        return Path(given).expanduser().absolute() if given else default_data()

    @property
    def config(self) -> Path | None:
        """The `mel.toml`: `--config`, `MEL_CONFIG`, or the one in the data folder if there is one."""
        given = self.config_option or os.environ.get("MEL_CONFIG")
        if given:
            return Path(given).expanduser().absolute()
        usual = self.data / "mel.toml"
        return usual if usual.exists() else None

    @property
    def host(self) -> str | None:
        """The address of a hive on another machine: `--host` or `MEL_HOST`; None means the one in the data folder."""
        return self.host_option or os.environ.get("MEL_HOST") or None

    @cached_property
    def client(self) -> Client:
        """Talks to the daemon."""
        return self.client_within(TIMEOUT)

    def client_within(self, seconds: float) -> Client:
        """The same, with another time after which an answer is not waited for any more.

        Raises:
            ClientError: the address is none, or no token for it is known.
        """
        if self.host is None:
            return Client(self.data, timeout=seconds)
        from melipona.remote import Remote, token_for  # nobody needs it for a hive here

        token = os.environ.get("MEL_TOKEN") or token_for(self.host)
        return Client(self.data, timeout=seconds, endpoint=Remote(self.host, token))

    def need_machine(self, what: str) -> None:
        """Go no further with a hive that is elsewhere.

        Raises:
            ClientError: it is.
        """
        if self.host is not None:
            remedy = "run it there, or leave --host and MEL_HOST out"
            code = "other_machine"
            raise ClientError(f"{what} works on the hive's own machine alone", remedy, code=code, exit_code=USAGE)

    def read(self, path: str, **query: Any) -> Json:
        """Ask the daemon; with none running, read the store and say so (D-4).

        Raises:
            ClientError: neither is possible.
        """
        try:
            return self.client.get(path, **query)
        except Unreachable as error:
            if error.code not in OFFLINE or self.host is not None:
                raise
            from melipona.cli import offline

            answer = offline.get(self.data, self.config, path, query, error)
        if not self.told:
            self.told.append("offline")
            self.out.note("no daemon runs; this is what the store holds")
        return answer

    def listing(
        self, path: str, limit: int, following: int | str | None, *, offline: bool = False, **query: Any
    ) -> Json:
        """Up to `limit` items of a list, over as many pages as that takes, and where the next one begins."""
        items: list[Json] = []
        get = self.read if offline else self.client.get
        while True:
            answer = get(path, limit=min(limit - len(items), PAGE_MOST), next=following, **query)
            items.extend(answer["items"])
            following = answer.get("next")
            if following is None or len(items) >= limit:
                return {"items": items, "next": following}

    def agents(self, limit: int | None, following: str | None, *, offline: bool = False, **query: Any) -> Json:
        """Agents by name, all or up to `limit`, and the name after which more come."""
        return self.listing("/agents", 1 << 60 if limit is None else limit, following, offline=offline, **query)


def default_data() -> Path:
    """Where a hive lies when nobody says where."""
    if os.geteuid() == 0:
        return Path("/var/lib/melipona")
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local/share") / "melipona"


pass_env = click.make_pass_decorator(Env)
