"""`/metrics` for Prometheus, from rows at the time of asking, in a registry of its own; `/healthz` and `/readyz`.

No number here needs a count over all messages or events. A turn without a cause must not exist; its counter is there
to be seen at zero.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import structlog
from fastapi import APIRouter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, literal_column, select
from starlette.responses import JSONResponse, Response

from melipona.api.live import Broadcaster
from melipona.api.problems import Problem, problem_response
from melipona.api.roster import Roster
from melipona.api.services import Services
from melipona.store.events import last_number
from melipona.store.schema import turns
from melipona.views.agents import spent_by_agent
from melipona.views.mail import count_by_state
from melipona.views.turns import OPEN, usd

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LAG_EVERY = 1.0
SLOW_SECONDS = 0.25
"""A loop that is later than this is told in the log."""
CAUSELESS = select(func.count()).select_from(turns).where(turns.c.cause == literal_column("'{}'"))
log = structlog.get_logger("loop")
STATES = ("needs_you", "working", "queued", "waiting", "idle", "paused", "stuck", "failed", "changing", "off")


@dataclass(slots=True)
class Lag:
    """How late the event loop is: the last measurement, and the worst since the last look at it."""

    last: float = 0.0
    worst: float = 0.0

    async def measure(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await anyio.sleep(LAG_EVERY)
            self.last = max(0.0, loop.time() - due)
            self.worst = max(self.worst, self.last)
            if self.last > SLOW_SECONDS:
                log.warning("the event loop was busy", seconds=round(self.last, 3))

    def take_worst(self) -> float:
        """The worst since this was asked last."""
        worst, self.worst = self.worst, self.last
        return worst


_Family = tuple[str, str, str | None, Mapping[str, float]]


@dataclass(eq=False, slots=True)
class _Sample(Collector):
    """One scrape's numbers: name → (help, label, values by label value)."""

    families: list[_Family] = field(default_factory=list["_Family"])

    def add(self, name: str, text: str, value: float) -> None:
        self.families.append((name, text, None, {"": value}))

    def add_by(self, name: str, text: str, label: str, values: Mapping[str, float]) -> None:
        self.families.append((name, text, label, values))

    def collect(self) -> Iterator[Metric]:
        for name, text, label, values in self.families:
            family = GaugeMetricFamily(f"melipona_{name}", text, labels=[label] if label else [])
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            yield family


def metric_routes(services: Services, broadcaster: Broadcaster, roster: Roster, lag: Lag) -> APIRouter:
    """Routes outside `/api/v1`, for machines that watch."""
    router = APIRouter(tags=["machines"])

    @router.get("/healthz", response_model=dict[str, str])
    async def healthz() -> Any:
        """The process answers."""
        return {"status": "ok"}

    @router.get("/readyz", response_model=dict[str, str], responses={503: {"model": Problem}})
    async def readyz() -> Response:
        """All parts run; 503 until then."""
        missing = services.ready()
        if missing is not None:
            return problem_response(503, "not_ready", "the hive is starting", "try again in a moment")
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Numbers in Prometheus' text format."""
        sample = await _sample(services, broadcaster, roster, lag)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(sample)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE)

    del healthz, readyz, metrics
    return router


async def _sample(services: Services, broadcaster: Broadcaster, roster: Roster, lag: Lag) -> _Sample:
    before = time.perf_counter()
    rows = await services.store.read(_rows, roster.day)
    states = await roster.states()
    sample = _Sample()
    sample.add_by("agents", "Agents by state.", "state", {name: states.get(name, 0) for name in STATES})
    sample.add_by("messages", "Messages that are not handled, by state.", "state", rows["mail"])
    sample.add("turns_open", "Turns that have not ended.", rows["turns"])
    sample.add("turns_without_cause", "Turns that nothing woke, of all there were; must be 0.", rows["causeless"])
    sample.add("events_last", "Number of the newest event.", rows["event"])
    sample.add("spent_usd_today", "Money of the operator's day.", rows["spent"])
    sample.add("loop_lag_seconds", "Worst lateness of the event loop since the last scrape.", lag.take_worst())
    sample.add("sse_clients", "Open live streams.", len(broadcaster))
    sample.add("loop_tasks", "Tasks of the event loop.", len(asyncio.all_tasks()))
    for name, value in services.gauges().items():
        sample.add(name, "See docs/reference/metrics.md.", value)
    sample.add("scrape_seconds", "How long these numbers took.", time.perf_counter() - before)
    return sample


def _rows(c: Connection, day: str) -> dict[str, Any]:
    running = select(func.count()).select_from(turns).where(OPEN)
    return {
        "mail": count_by_state(c),
        "turns": c.execute(running).scalar_one(),
        "causeless": c.execute(CAUSELESS).scalar_one(),
        "event": last_number(c),
        "spent": usd(sum(spent_by_agent(c, day).values())) or 0.0,
    }
