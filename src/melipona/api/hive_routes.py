"""The hive as a whole over HTTP: snapshot, events, why, doctor, backup, stop, liveness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from melipona.api.board import Board
from melipona.api.live import Broadcaster
from melipona.api.roster import Roster
from melipona.api.services import Services
from melipona.api.snapshots import Snapshots
from melipona.api.sse import EventStream, last_event_id
from melipona.clock import rfc3339
from melipona.errors import Invalid
from melipona.views.events import Events, list_events
from melipona.views.hive import Place, StateView, disk_view
from melipona.views.request import LIMIT_DEFAULT, Following, Limit, Number, room_router


class BackupTo(BaseModel):
    """Where a backup goes."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, description="An absolute path on the daemon's host; it must not exist yet.")
    homes: bool = Field(default=False, description="With the agents' homes, which hold engine sessions.")


STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Server-sent events."}
}


def hive_routes(services: Services, broadcaster: Broadcaster, roster: Roster, board: Board) -> APIRouter:
    """Routes below `/api/v1`."""
    router = room_router("hive")
    snapshots = Snapshots(services, roster, lambda: place_of(services, roster))
    _events(router, services, broadcaster, board)

    @router.get("/state", response_model=StateView)
    async def state() -> Response:
        """Everything of this moment; of the agents the first, `/agents?next=<agents_next>` has the rest. Follow
        `/events` from `<store>-<event>`."""
        return Response(await snapshots.encoded(), media_type="application/json")

    @router.get("/why/{subject}", response_model=dict[str, Any])
    async def why(subject: str) -> Any:
        """Why an agent, a message (`m12`) or a turn (`t7`) does not move, who acts next, and which timer runs."""
        return await services.why(subject)

    @router.post("/doctor", response_model=dict[str, Any])
    async def doctor() -> Any:
        """Run every check, a real box included."""
        return {"items": await services.doctor(), "next": None}

    @router.post("/backup", response_model=dict[str, Any])
    async def backup(to: BackupTo) -> Any:
        """Write a backup on the daemon's host (D-35)."""
        path = Path(to.path)
        if not path.is_absolute():
            raise Invalid(f"{to.path} is not an absolute path", remedy="give the whole path")
        return await services.backup(path, to.homes)

    @router.post("/stop", status_code=202, response_model=dict[str, int])
    async def stop() -> Any:
        """Begin the orderly end: turns (their mail is given back), boxes, daemon (D-2)."""
        services.stop()
        return {"pid": services.pid}

    del state, why, doctor, backup, stop
    return router


def _events(router: APIRouter, services: Services, broadcaster: Broadcaster, board: Board) -> None:
    @router.get("/events", response_class=Response, responses=STREAM)
    async def stream(
        last_event: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
        after: Annotated[str | None, Query(description="A number, or `<store>-<number>`; absent means live.")] = None,
        agent: str | None = None,
        rows: Annotated[bool, Query(description="With `event: rows`: what changed in the snapshot.")] = False,
    ) -> Response:
        """Events as they happen. `event: reset` means: fetch the snapshot again (D-33).

        With `rows` there is `event: rows` between them: `{"event", "agents", "gone", "hive"}`: whole rows of the
        snapshot that changed, names of agents that are no more, and the snapshot's `mail`, `turns`, `operations`,
        `spent`, `checked` and `disk` (its level and detail), or null when they did not change.
        """
        known = last_event or after
        told = board if rows else None
        if known is not None and known.isascii() and known.isdigit() and len(known) < 19:
            return EventStream(broadcaster, store=None, after=int(known), agent=agent, board=told)
        place = last_event_id(known)
        store, number = (None, None) if place is None else place
        return EventStream(broadcaster, store=store, after=number, agent=agent, board=told)

    @router.get("/events/page", response_model=Events)
    async def page(
        limit: Limit = LIMIT_DEFAULT,
        following: Following = None,
        after: Number | None = None,
        agent: str | None = None,
        kind: str | None = None,
    ) -> Any:
        """Stored events, newest first; with `after` those above that number, oldest first."""
        narrowed = {"agent": agent, "kind": kind}
        return await services.store.read(list_events, limit=limit, following=following, after=after, **narrowed)

    del stream, page


def place_of(services: Services, roster: Roster) -> Place:
    """What a snapshot tells about the hive that no row holds."""
    return Place(
        name=services.settings.hive.name,
        data=str(services.data),
        api=services.url,
        day=roster.day,
        hive_budget_usd=services.settings.budgets.hive_usd_per_day,
        agent_budget_usd=services.settings.budgets.agent_usd_per_day,
        daemon={"pid": services.pid, "version": services.version, "started_at": rfc3339(services.started_at)},
        disk=disk_view(services.store.space),
    )
