"""Taking over turns of older daemons (D-16)."""

from __future__ import annotations

from pathlib import Path

import pytest

from melipona.testing.rooms import temporary_rooms
from melipona.turns import store as rows


@pytest.mark.anyio
async def test_only_a_turn_of_an_older_daemon_is_adopted(tmp_path: Path) -> None:
    """I-7: a turn that this daemon opened while it still accounts for older boxes has its runner already."""
    async with temporary_rooms(tmp_path) as rooms:
        ana = await rooms.agent("ana")
        turn = await rooms.begin(ana)
        assert not await rooms.store.write(rows.adopt, turn.id, rooms.epoch)
        assert await rooms.store.write(rows.adopt, turn.id, rooms.epoch + 1)
        assert not await rooms.store.write(rows.adopt, turn.id, rooms.epoch + 1)
