"""Fixtures of the gate's tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from .hive import Hive, open_hive


@pytest.fixture
async def hive(tmp_path: Path, anyio_backend: str) -> AsyncGenerator[Hive]:
    """A hive with the default settings."""
    async with open_hive(tmp_path) as hive:
        yield hive
