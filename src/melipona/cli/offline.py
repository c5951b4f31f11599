"""What `mel` can tell when no daemon runs: the store, read `query_only` (D-4). Imported only then, for it is heavy.

It answers the same paths of the API in the same shapes, because both use `views/`. Nothing here changes anything.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from melipona.boxes.folders import Folders, box_owner
from melipona.budgets.service import Budgets
from melipona.client import UNREACHABLE, ClientError, Json, Unreachable
from melipona.clock import Micros, SystemClock
from melipona.files.references import Files
from melipona.files.vouching import PAGE_MOST, Lookup
from melipona.settings import Settings, load_settings
from melipona.store import seals
from melipona.store.migrate import HEAD, current_revision
from melipona.store.space import Space
from melipona.store.sqlite import connect
from melipona.turns.agent_facts import Limits
from melipona.turns.status import Status, derive, facts
from melipona.turns.why import Look, why
from melipona.views.agents import list_agents
from melipona.views.events import list_events
from melipona.views.hive import Place, disk_view, snapshot
from melipona.views.mail import list_messages, one_message

STORE = "mel.db"


def get(data: Path, config: Path | None, path: str, query: Json, error: Unreachable) -> Json:
    """What the API would answer to this path, from the store alone.

    Raises:
        ClientError: there is no store, or the path needs a daemon (`error` is why there is none).
    """
    parts = path.strip("/").split("/")
    given = {key: value for key, value in query.items() if value is not None}
    if "next" in given:
        given["following"] = given.pop("next")
    answers: Mapping[str, Callable[[Connection, Hive], Any]] = {
        "state": lambda c, hive: snapshot(c, hive.place, hive.statuses),
        "agents": lambda c, hive: _agents(c, hive, parts, given, error),
        "messages": lambda c, _: (
            one_message(c, int(parts[1]), vouch=vouch) if len(parts) == 2 else list_messages(c, vouch=vouch, **given)
        ),
        "events": lambda c, _: list_events(c, **given),
        "why": lambda c, hive: why(c, parts[1], hive.look).as_json(),
    }
    answer = answers.get(parts[0])
    if answer is None:
        raise error
    settings = load_settings(config)
    vouch = Lookup(Files(Folders(data, box_owner(settings.boxes.owner_uid))), PAGE_MOST).vouched
    with opened(data) as c:
        return dict(answer(c, Hive(data, settings)))


def _agents(c: Connection, hive: Hive, parts: list[str], given: Json, error: Unreachable) -> Any:
    if len(parts) != 1:
        raise error
    return list_agents(c, hive.statuses, hive.place.day, **given)


def verify(data: Path) -> Json:
    """Whether the events are what was sealed; works beside a running daemon too."""
    with opened(data) as c:
        return asdict(seals.verify(c))


def doctor(data: Path, config: Path | None) -> list[Json]:
    """The checks of `mel doctor`, in this process."""
    from melipona.daemon import box_driver, engine_drivers
    from melipona.doctor import examine
    from melipona.gate.upstream import Upstream

    settings = load_settings(config)
    engines = list(engine_drivers(os.environ).values())
    has_key = Upstream.from_settings(settings.models.anthropic, dict(os.environ)).has_key
    return asyncio.run(
        examine(data, box_driver(data, settings, "doctor"), engines, has_key=has_key, store=settings.store)
    )


def backup(data: Path, to: Path, *, homes: bool) -> Json:
    """Write a backup of a hive that is not running."""
    from melipona.store.backup import write_backup

    return write_backup(data, to, homes=homes)


def restore(archive: Path, data: Path, config: Path | None) -> Json:
    """Unpack a backup into an empty folder; as root, what agents wrote belongs to the boxes' user again."""
    from melipona.store.backup import unpack_backup

    owner = box_owner(load_settings(config).boxes.owner_uid)
    return unpack_backup(archive, data, box_owner=(owner.uid, owner.gid))


class Hive:
    """What the views need besides rows, when there is no daemon to tell."""

    def __init__(self, data: Path, settings: Settings) -> None:
        self._settings = settings
        self._now = SystemClock().now()
        budgets = Budgets(settings.budgets, timezone=settings.hive.timezone)
        day = budgets.today(self._now)
        self._limits = Limits(
            day=day,
            day_ends=Micros(budgets.day_ends(self._now)),
            hive_micro_usd=round(settings.budgets.hive_usd_per_day * 1_000_000),
            agent_micro_usd=round(settings.budgets.agent_usd_per_day * 1_000_000),
            turns_per_hour=settings.budgets.turns_per_hour,
        )
        space = Space(data, settings.store)
        space.over(space.shown())
        self.place = Place(
            name=settings.hive.name,
            data=str(data),
            api=None,
            day=day,
            hive_budget_usd=settings.budgets.hive_usd_per_day,
            agent_budget_usd=settings.budgets.agent_usd_per_day,
            daemon=None,
            disk=disk_view(space),
        )

    @property
    def look(self) -> Look:
        """For `why`."""
        return Look(self._now, self._cap, limits=self._limits, turn_seconds=self._settings.turns.total)

    def statuses(self, c: Connection, ids: Sequence[str]) -> Mapping[str, Status]:
        """The state of the agents with these ids as their rows show it."""
        found = facts(c, self._now, self._cap, limits=self._limits, among=ids)
        return {each.name: derive(each, self._now) for each in found}

    @property
    def _cap(self) -> int:
        return self._settings.turns.cap or 2 * (os.cpu_count() or 1)


@contextmanager
def opened(data: Path) -> Generator[Connection]:
    """A connection that cannot write, in one transaction.

    Raises:
        ClientError: there is no store, or a newer program made it.
    """
    path = data / STORE
    revision = current_revision(path)
    if revision is None:
        raise ClientError(
            f"there is no hive in {data}", "start one with `mel up --detach`", code="no_hive", exit_code=UNREACHABLE
        )
    if revision != HEAD:
        raise ClientError(
            f"{path} has schema {revision}, this mel reads {HEAD}", "`mel up` brings an older one up to date"
        )
    engine = create_engine(
        "sqlite://", creator=lambda: connect(path, reader=True), poolclass=StaticPool, skip_autocommit_rollback=True
    )
    try:
        with engine.connect() as c:
            c.info["now"] = SystemClock().now()
            driver: Any = c.connection.driver_connection
            driver.execute("BEGIN")
            try:
                yield c
            finally:
                driver.execute("ROLLBACK")
    finally:
        engine.dispose()
