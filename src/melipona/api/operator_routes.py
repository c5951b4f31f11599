"""What only the page's own views need over HTTP: costs, the health of the daemon, the settings in force."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy import Connection
from typing_extensions import TypedDict

from melipona.access.exposure import finding
from melipona.api.board import Board
from melipona.api.metrics import Lag
from melipona.api.services import Services
from melipona.clock import rfc3339
from melipona.store.engine import now
from melipona.store.events import last_number
from melipona.views.costs import Costs, costs
from melipona.views.hive import MailCounts
from melipona.views.mail import count_by_state
from melipona.views.request import room_router

DAYS = 30
DAYS_MOST = 366
Days = Annotated[int, Query(ge=1, le=DAYS_MOST, description="How many days, today included.")]


class Disk(TypedDict):
    """The file system that the data folder lies on, in bytes."""

    free: int
    total: int


class Reach(TypedDict):
    """How far the hive can be reached, and whether that is well."""

    ok: bool
    detail: str
    remedy: str


class Health(TypedDict):
    """The daemon at this moment; `mel doctor` looks at the machine."""

    at: str
    version: str
    pid: int
    started_at: str
    data: str
    disk: Disk
    mail: MailCounts
    events: int
    """Number of the newest event."""
    live_streams: int
    loop_lag_seconds: float
    """The last measured lateness of the event loop."""
    reach: Reach
    gauges: dict[str, float]
    """By the names of docs/reference/metrics.md."""


class SettingView(TypedDict):
    """One setting of `mel.toml` as it is in force."""

    key: str
    value: Any
    default: Any
    description: str


class SettingsView(TypedDict):
    """Every setting. None holds a secret: a key is named by its file."""

    items: list[SettingView]
    next: None


def operator_routes(services: Services, board: Board, lag: Lag) -> APIRouter:
    """Routes below `/api/v1`."""
    router = room_router("hive")

    @router.get("/costs", response_model=Costs)
    async def spent(days: Days = DAYS) -> Any:
        """What was spent by day, agent and model, newest day first, as counted at the gate."""
        limits, budgets = services.facts.limits(), services.settings.budgets
        since = date.fromisoformat(limits.day) - timedelta(days=days - 1)
        look = partial(costs, since=since.isoformat(), day=limits.day, day_ends=limits.day_ends)
        return await services.store.read(
            look, hive_budget_usd=budgets.hive_usd_per_day, agent_budget_usd=budgets.agent_usd_per_day
        )

    @router.get("/health", response_model=Health)
    async def health() -> Any:
        """Disk, queues and lag at this moment."""
        return await services.store.read(_health, services, len(board.broadcaster), lag.last)

    @router.get("/settings", response_model=SettingsView)
    async def settings() -> Any:
        """The settings in force, with their defaults."""
        return {"items": list(setting_views(services.settings)), "next": None}

    del spent, health, settings
    return router


def setting_views(settings: BaseModel, prefix: str = "") -> list[SettingView]:
    """All settings by their dotted names."""
    found: list[SettingView] = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            found += setting_views(value, f"{prefix}{name}.")
        else:
            default, text = field.get_default(), field.description or ""
            found.append({"key": prefix + name, "value": value, "default": default, "description": text})
    return found


def _health(c: Connection, services: Services, streams: int, late: float) -> Health:
    counts = count_by_state(c)
    mail: MailCounts = {
        "waiting": counts["waiting"],
        "leased": counts["leased"],
        "parked": counts["parked"],
        "unread": counts["unread"],
    }
    reach = finding(c, services.settings.access)
    return {
        "at": rfc3339(now(c)),
        "version": services.version,
        "pid": services.pid,
        "started_at": rfc3339(services.started_at),
        "data": str(services.data),
        "disk": _disk(services.data),
        "mail": mail,
        "events": last_number(c),
        "live_streams": streams,
        "loop_lag_seconds": late,
        "reach": {"ok": reach.ok, "detail": reach.detail, "remedy": reach.remedy},
        "gauges": dict(services.gauges()),
    }


def _disk(data: Path) -> Disk:
    usage = shutil.disk_usage(data)
    return {"free": usage.free, "total": usage.total}
