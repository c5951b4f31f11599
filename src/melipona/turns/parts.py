"""What the runners of a hive share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melipona.agents.service import Agents
from melipona.budgets.service import Budgets
from melipona.clock import Clock
from melipona.engines.engine import EngineDriver
from melipona.mail.service import Mail
from melipona.settings import Settings
from melipona.store.engine import Store
from melipona.turns.station import Stations


@dataclass(frozen=True, slots=True)
class RunnerParts:
    """The hive as a runner needs it."""

    store: Store
    stations: Stations
    engines: Mapping[str, EngineDriver]
    settings: Settings
    clock: Clock
    epoch: int
    turns_folder: Path
    grew: Callable[[int], None]
    """Called with a turn's id when its log grew."""
    playbook: Callable[[str], Mapping[str, Any]]
    """Reads the playbook that an agent's row holds."""
    agents: Agents
    mail: Mail
    budgets: Budgets
    has_key: bool
    """Whether the gate has a key for the model API."""
