"""What the API needs from the rest of the daemon, filled in by `daemon.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from melipona.access.oidc_client import ProviderClient
from melipona.agents.service import Agents
from melipona.clock import Clock
from melipona.engines.playbook_format import parse_playbook
from melipona.files.references import Files
from melipona.ids import AgentId, AgentName
from melipona.mail.service import Mail
from melipona.principals import Principal
from melipona.settings import Settings
from melipona.store.engine import Store
from melipona.terminals.routes import TerminalService
from melipona.turns.agent_facts import Limits, Process
from melipona.turns.controls import Controls
from melipona.views.agents import LimitView

Json = dict[str, Any]


class Turns(Protocol):
    """The turn service, as far as people use it."""

    async def interrupt(self, by: Principal, name: AgentName) -> object:
        """Ask the agent's running turn to stop (a person's own, recorded act)."""
        ...

    async def log_grew(self, turn: int, within: float) -> bool:
        """Wait until a turn's log has grown; False when the time is up."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What states are derived from, besides rows."""

    cap: int
    """Slots of the hive."""
    limits: Callable[[], Limits]
    """Limits of money and turns that apply now."""
    process: Callable[[], Mapping[str, Process]]
    """What only the daemon's process knows, by agent id."""


def _no_gauges() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the routes call."""

    store: Store
    settings: Settings
    clock: Clock
    mail: Mail
    agents: Agents
    turns: Turns
    controls: Controls
    facts: Facts
    files: Files
    terminals: TerminalService
    data: Path
    version: str
    pid: int
    started_at: int
    """Microseconds."""
    port: int
    """Of the API on loopback."""
    why: Callable[[str], Awaitable[Json]]
    """Why an agent, message (`m12`) or turn (`t7`) does not move."""
    doctor: Callable[[], Awaitable[list[Json]]]
    """Checks: `{"name", "ok": "yes|no|warn", "detail", "remedy"}` each."""
    backup: Callable[[Path, bool], Awaitable[Json]]
    """Write a backup to a path on the daemon's host; the flag asks for engine sessions too (D-35)."""
    stop: Callable[[], None]
    """Begin the orderly end: turns, boxes, daemon (D-2). Returns at once."""
    check_playbook: Callable[[str], object] = parse_playbook
    """Raises Invalid for a text that is no playbook."""
    ready: Callable[[], str | None] = field(default=lambda: None)
    """None when all parts run, else what is still missing."""
    limits: Callable[[], list[LimitView]] = field(default=list)
    """Which limits of boxes bind here, and how."""
    work_folder: Callable[[AgentId], Path] = field(default=lambda agent: Path("homes") / agent / "ws")
    """The host's folder that is /ws in an agent's box."""
    provider: ProviderClient | None = None
    """Who logs people in besides the hive itself."""
    gauges: Callable[[], Mapping[str, float]] = field(default=_no_gauges)
    """More numbers for `/metrics`, by name without prefix, such as `store_queue`."""

    @property
    def url(self) -> str:
        """Where a browser finds the hive."""
        return self.settings.access.url or self.local_url

    @property
    def local_url(self) -> str:
        """The same for a browser on this machine."""
        return f"http://127.0.0.1:{self.port}"
