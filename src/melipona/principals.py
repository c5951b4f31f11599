"""Who asks, and what they may. A principal is fixed by the way a request came in, never by anything in the request
(BR-16, T10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from melipona.ids import OPERATOR, SYSTEM, AgentId, AgentName


class Role(StrEnum):
    """What a person is in a hive."""

    VIEWER = "viewer"  # reads everything, changes nothing
    OPERATOR = "operator"  # acts: writes to agents, makes and moves them, has a shell in their boxes
    ADMIN = "admin"  # also decides who may come in, and stops or copies the hive as a whole


class Scope(StrEnum):
    """What a token may, at most what its person may."""

    READ = "read"
    ACT = "act"
    APPROVE = "approve"  # never stands for a passkey


class Authority(StrEnum):
    """The least that a request needs. Each route states one (`api/authority.py`)."""

    OPEN = "open"  # nobody needs to be known
    READ = "read"
    OWN = "own"  # a person's own login: sessions, tokens, keys. A token never changes those
    ACT = "act"
    APPROVE = "approve"
    ADMIN = "admin"


_ROLES: Mapping[Role, frozenset[Authority]] = {
    Role.VIEWER: frozenset({Authority.OPEN, Authority.READ, Authority.OWN}),
    Role.OPERATOR: frozenset({Authority.OPEN, Authority.READ, Authority.OWN, Authority.ACT, Authority.APPROVE}),
    Role.ADMIN: frozenset(Authority),
}
_SCOPES: Mapping[Scope, frozenset[Authority]] = {
    Scope.READ: frozenset({Authority.READ}),
    Scope.ACT: frozenset({Authority.READ, Authority.ACT}),
    Scope.APPROVE: frozenset({Authority.READ, Authority.APPROVE}),
}


@dataclass(frozen=True, slots=True)
class OperatorPrincipal:
    """A person. To agents every person is the `operator`; who it was stands in the events.

    `method` says how they came in, `login` names the session or token (its public id). The owner of the unix socket is
    the owner of the hive.
    """

    method: Literal["socket", "session", "token", "test"] = "socket"
    login: str | None = None
    person_id: str = ""
    person: str = "owner"
    role: Role = Role.ADMIN
    scopes: frozenset[Scope] | None = None
    """Of a token; None means whatever the role may."""
    verified_at: int | None = None
    """When they last proved themselves by a passkey, or once more at the provider, in microseconds; None = never."""
    outside: bool = False
    """They came from elsewhere than this machine."""

    @property
    def name(self) -> str:
        return OPERATOR

    @property
    def session(self) -> str | None:
        """The public id of the session, None for another way in."""
        return self.login if self.method == "session" else None

    @property
    def via(self) -> str:
        """How they came in, as events record it."""
        return self.method if self.login is None else f"{self.method} {self.login}"

    @property
    def authorities(self) -> frozenset[Authority]:
        """Everything they may: what the role gives, of which a token has what its scopes name."""
        given = _ROLES[self.role]
        if self.scopes is None:
            return given
        return given & (frozenset({Authority.OPEN}).union(*(_SCOPES[scope] for scope in self.scopes)))

    def may(self, needed: Authority) -> bool:
        """Whether that is enough for what needs `needed`."""
        return needed in self.authorities


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
