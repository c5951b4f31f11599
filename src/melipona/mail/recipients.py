"""Who a name is, and who may write to whom. The verbs that change agents are the agents room's."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, text

from melipona.errors import NotFound, Refused
from melipona.ids import EVERYBODY, OPERATOR, SYSTEM, AgentId
from melipona.store.hot import Hot
from melipona.store.schema import agents

_COLUMNS = (
    agents.c.id,
    agents.c.name,
    agents.c.role,
    agents.c.wish,
    agents.c.paused_at,
    agents.c.held_at,
    agents.c.send_allow,
)
BY_NAME = Hot(select(*_COLUMNS).where(agents.c.name == bindparam("p_name"), text("agents.wish <> 'purged'")))
BY_ID = Hot(select(*_COLUMNS).where(agents.c.id == bindparam("p_id")))


@dataclass(frozen=True, slots=True)
class Party:
    """An agent as mail sees it. `allow` None: it may write to everybody."""

    id: AgentId
    name: str
    manager: bool
    wish: str
    paused: bool
    held: bool
    allow: frozenset[str] | None

    @classmethod
    def of(cls, row: tuple[object, ...]) -> Party:
        identifier, name, role, wish, paused_at, held_at, allow = row
        names = None if allow is None else frozenset(str(entry) for entry in json.loads(str(allow)))
        return cls(
            AgentId(str(identifier)),
            str(name),
            role == "manager",
            str(wish),
            paused_at is not None,
            held_at is not None,
            names,
        )

    @property
    def note(self) -> str:
        """Why mail to it does not move at once; empty when it does (D-22)."""
        if self.wish == "stopped":
            return f"{self.name} is stopped: it waits until {self.name} is started"
        if self.paused:
            return f"{self.name} is paused: it waits until {self.name} is resumed"
        return ""


def party(c: Connection, identifier: AgentId) -> Party:
    """The agent of an id.

    Raises:
        NotFound: it was purged, or never was.
    """
    row = BY_ID.one(c, p_id=identifier)
    if row is None or row[3] == "purged":
        raise NotFound("this agent is gone", remedy="", code="no_agent")
    return Party.of(row)


def recipient(c: Connection, name: str) -> Party:
    """The agent that takes mail under `name` (D-22).

    Raises:
        NotFound: no agent has that name.
        Refused: it is a tombstone, or the name of the daemon itself.
    """
    if name == SYSTEM:
        raise Refused("system takes no mail", remedy="write to an agent or to operator", code="no_mailbox")
    row = BY_NAME.one(c, p_name=name)
    if row is None:
        raise no_agent(c, name)
    found = Party.of(row)
    if found.wish == "destroyed":
        raise Refused(f'agent "{name}" was destroyed', remedy="write to another agent", code="tombstone")
    return found


def everybody_but(c: Connection, sender: str) -> list[Party]:
    """All agents that a broadcast of `sender` reaches (D-20)."""
    query = select(*_COLUMNS).where(agents.c.wish.in_(("running", "stopped")), agents.c.name != sender)
    return [Party.of(tuple(row)) for row in c.execute(query.order_by(agents.c.name))]


def check_allowed(sender: Party, to: str, *, to_manager: bool = False) -> None:
    """Whether `sender` may write to `to` (T30): the operator and the manager can always be reached.

    Raises:
        Refused: its list does not name the recipient; `*` on the list allows broadcasts.
    """
    if sender.allow is None or to == OPERATOR or to_manager or to in sender.allow:
        return
    what = "broadcast" if to == EVERYBODY else f"write to {to}"
    raise Refused(
        f"{sender.name} may not {what}",
        remedy="write to the operator, who can change the list",
        code="send_not_allowed",
    )


def no_agent(c: Connection, name: str) -> NotFound:
    """The error for a name that nobody has, with the name that was probably meant."""
    query = select(agents.c.name).where(agents.c.wish != "purged")
    close = difflib.get_close_matches(name, [row[0] for row in c.execute(query)], n=1, cutoff=0.5)
    remedy = f'did you mean "{close[0]}"?' if close else "`mel agent list` shows the names"
    return NotFound(f'no agent "{name}"', remedy=remedy, code="no_agent")
