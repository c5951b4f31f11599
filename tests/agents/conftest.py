"""A hive without boxes and engines, over a real store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from melipona.testing.rooms import Rooms, temporary_rooms


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Rooms]:
    async with temporary_rooms(tmp_path / "data") as rooms:
        yield rooms
