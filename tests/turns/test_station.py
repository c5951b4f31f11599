"""Boxes that a daemon holds: what becomes of one that dies before it has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from melipona.boxes.driver import BoxRef, BoxState
from melipona.errors import BoxStartFailed
from melipona.settings import BoxSettings
from melipona.testing.rooms import Rooms, temporary_rooms
from melipona.turns import box_rows
from melipona.turns.station import StationParts, Stations

pytestmark = pytest.mark.anyio


class Stillborn:
    """A driver whose boxes start, and are gone when they are looked at."""

    name = "stillborn"

    def __init__(self) -> None:
        self.stopped: list[str] = []

    async def start(self, spec: Any) -> BoxRef:
        return BoxRef(spec.id, {"pid": 1})

    async def inspect(self, ref: BoxRef) -> BoxState:
        return BoxState.GONE

    async def failure(self, ref: BoxRef) -> str:
        return "out of memory"

    async def stop(self, ref: BoxRef, **_: Any) -> None:
        self.stopped.append(ref.id)

    def is_init(self, ref: BoxRef, pid: int) -> bool:
        return False

    def limit_hits(self, ref: BoxRef) -> Mapping[str, int]:
        return {}


class Closed:
    async def aclose(self) -> None:
        """Nothing was opened."""


def parts(rooms: Rooms, driver: Stillborn) -> StationParts:
    async def serve_gate(sock: Any, who: Any) -> Closed:
        sock.close()
        return Closed()

    async def crashed(agent: Any, why: str) -> None:
        raise AssertionError("a box that did not start is its turn's business")

    values: dict[str, Any] = {
        "store": rooms.store,
        "driver": driver,
        "folders": rooms.folders,
        "settings": BoxSettings(),
        "clock": rooms.clock,
        "host": "testhost",
        "serve_gate": serve_gate,
        "mounts": lambda agent: [],
        "crashed": crashed,
    }
    return cast("StationParts", SimpleNamespace(**values))


async def test_a_box_that_dies_before_it_answers_is_known_at_once(tmp_path: Path) -> None:
    """Found by `python -m bench.faults kills --seed 3 --size 300`: its turn waited for as long as a start may take."""
    driver = Stillborn()
    async with temporary_rooms(tmp_path / "d") as rooms, anyio.create_task_group() as tasks:
        await rooms.agent("ana")
        stations = Stations(parts(rooms, driver), tasks)
        async with asyncio.timeout(BoxSettings().start / 2):
            with pytest.raises(BoxStartFailed, match="out of memory"):
                await stations.up(await rooms.look("ana"))
        assert await rooms.store.read(box_rows.live_boxes, "testhost") == []
        assert stations.all() == []
        assert list(rooms.folders.boxes.iterdir()) == []
        tasks.cancel_scope.cancel()
