"""Who asks. A principal is fixed by the way a request came in, never by anything in the request (BR-16, T10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from melipona.ids import OPERATOR, SYSTEM, AgentId, AgentName


@dataclass(frozen=True, slots=True)
class OperatorPrincipal:
    """A person with full authority. `method` says how they came in: `socket` or `session`."""

    method: Literal["socket", "session", "test"] = "socket"
    session: str | None = None

    @property
    def name(self) -> str:
        return OPERATOR


@dataclass(frozen=True, slots=True)
class AgentPrincipal:
    """An agent, known by the gate socket its box was given."""

    id: AgentId
    agent: AgentName

    @property
    def name(self) -> str:
        return self.agent


@dataclass(frozen=True, slots=True)
class SystemPrincipal:
    """The daemon itself."""

    @property
    def name(self) -> str:
        return SYSTEM


Principal = OperatorPrincipal | AgentPrincipal | SystemPrincipal
