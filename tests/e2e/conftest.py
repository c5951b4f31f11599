"""Whole hives for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from melipona.testing.hive import HiveProcess, running_hive


@pytest.fixture
def hive(tmp_path: Path) -> Generator[HiveProcess]:
    """A hive of its own, brought down at the end with no box left."""
    with running_hive(tmp_path) as running:
        yield running
