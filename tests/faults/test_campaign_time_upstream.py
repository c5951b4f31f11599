"""Short runs of the campaigns against clocks and the model service, with real daemons and boxes (campaigns E and F)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from bench.faults import time as clocks
from bench.faults import upstream

pytestmark = pytest.mark.boxes


@pytest.mark.parametrize(("campaign", "size"), [(clocks, 3), (upstream, 4)], ids=["time", "upstream"])
def test_a_campaign_breaks_nothing(campaign: ModuleType, size: int, tmp_path: Path) -> None:
    """T45, D-18, I-9, I-14: the same decisions each time; by hand with other seeds, and longer."""
    result = campaign.run(7, size, tmp_path)
    assert result.ok, result.violations
    assert result.acknowledged == result.operations > 0
