"""What an agent is: its row, its wish, its role, and the rules about names that the registry adds to `ids`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from melipona.clock import Micros
from melipona.errors import Invalid
from melipona.ids import EVERYBODY, OPERATOR, AgentId, AgentName, agent_name

STATUS_MOST = 200
"""Characters of a status text (ASK-2)."""

SHARED_FOLDERS = frozenset({"mail"})
"""Names of the daemon's own folders below `/shared`: an agent of that name could forge what lies there."""

OWN_DEFAULT = -1
"""In `turns_per_hour`: the hive's default."""


class Wish(StrEnum):
    """What the operator wants of an agent. Loops make it so (D-25)."""

    RUNNING = "running"
    STOPPED = "stopped"
    DESTROYED = "destroyed"
    PURGED = "purged"


LIVE = (Wish.RUNNING.value, Wish.STOPPED.value)
"""Wishes of agents that are neither tombstones nor gone."""


class Role(StrEnum):
    """At most one agent is the manager (D-36)."""

    WORKER = "worker"
    MANAGER = "manager"


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent of the registry.

    `send_allow` None: it may write to everybody. `budget_micro_usd` 0: none of its own. `turns_per_hour` -1: the hive's
    default, 0: no limit. `trouble` is a reason code of D-37 that stands until `wake_at`, or, without one, until a
    person acts. `held_at`: since an interrupt its given-back mail wakes it no more (D-18).
    """

    id: AgentId
    name: AgentName
    role: Role
    engine: str
    model: str | None
    playbook: str | None
    wish: Wish
    paused_at: Micros | None
    paused_by: str | None
    held_at: Micros | None
    status_text: str | None
    status_at: Micros | None
    session: str | None
    send_allow: tuple[str, ...] | None
    budget_micro_usd: int
    turns_per_hour: int
    trouble: str | None
    trouble_detail: str | None
    crashes: int
    host: str | None
    generation: int
    has_run: bool
    created_at: Micros
    entered_at: Micros
    wake_at: Micros | None

    @property
    def is_manager(self) -> bool:
        """Whether it tends the others."""
        return self.role is Role.MANAGER

    @property
    def alive(self) -> bool:
        """Neither a tombstone nor purged."""
        return self.wish.value in LIVE


def new_name(text: str) -> AgentName:
    """`text` as the name of a new agent.

    Raises:
        Invalid: it is no name (D-36), or a folder of the daemon below `/shared` has it.
    """
    name = agent_name(text)
    if name in SHARED_FOLDERS:
        raise Invalid(f"the name {text!r} is reserved", remedy="choose another name", code="bad_name")
    return name


def checked_allow(names: object) -> tuple[str, ...] | None:
    """`names` as a send allow-list; None means everybody, `*` on it allows broadcasts.

    Raises:
        Invalid: an entry is neither a name nor `*`.
    """
    if names is None:
        return None
    if not isinstance(names, list | tuple):
        raise Invalid("send_allow is a list of names, or null for everybody", remedy="name agents, or *")
    entries: list[object] = [*names]
    return tuple(dict.fromkeys(_allow_entry(entry) for entry in entries))


def _allow_entry(entry: object) -> str:
    if not isinstance(entry, str):
        raise Invalid(f"{entry!r} is not a name", remedy="name agents, or *")
    return entry if entry in (EVERYBODY, OPERATOR) else agent_name(entry)


def status_text(text: str) -> str | None:
    """`text` as a status: one line; None when it says nothing.

    Raises:
        Invalid: it is longer than `STATUS_MOST` characters.
    """
    line = " ".join(text.split())
    if len(line) > STATUS_MOST:
        raise Invalid(f"a status has at most {STATUS_MOST} characters, this has {len(line)}", remedy="say it shorter")
    return line or None
