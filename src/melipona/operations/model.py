"""What an operation in flight is: a row with a holder, so that a crash can neither leak nor hide it (TG-1, TG-2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from melipona.clock import Micros
from melipona.ids import AgentId, EpochId, OperationId


class OperationState(StrEnum):
    """`running` is the only state that is not the end."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


COMPACTING, RENEWING = "compacting", "renewing"
YIELDING = frozenset({COMPACTING, RENEWING})
"""Kinds that wait for the end of a turn that runs, and that are taken back when the agent's box is to end."""
RESUMABLE = frozenset({"stopping", "restarting", "destroying", "purging"}) | YIELDING
"""Kinds whose wish is a row: a new daemon takes them over and goes on. Others end as `lost`."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One action in flight or ended. `epoch` is the daemon's life that holds it; `generation` grows at a takeover."""

    id: OperationId
    kind: str
    agent_id: AgentId | None
    state: OperationState
    detail: str | None
    error: str | None
    principal: str
    epoch: EpochId
    host: str
    generation: int
    started_at: Micros
    entered_at: Micros
    wake_at: Micros | None
