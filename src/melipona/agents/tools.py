"""What an agent may learn and say about itself and the others: whoami, list_agents, set_status, publish."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from sqlalchemy import Connection, select, text

from melipona.agents import store as rows
from melipona.agents.model import OWN_DEFAULT, STATUS_MOST, Agent, Wish, status_text
from melipona.agents.publish import AgentFolders, copy, put
from melipona.agents.service import Agents
from melipona.errors import NotFound
from melipona.ids import AgentId
from melipona.mail.model import LEASE_MOST
from melipona.principals import AgentPrincipal
from melipona.settings import Settings
from melipona.store.engine import now
from melipona.store.schema import boxes, turns
from melipona.tool import Call, Json, Tool

WHOAMI = """See who you are: your name, role and engine, your folders, your limits, and what is left of your budget.

Nothing of it changes within a turn, but for the budget."""

LIST_AGENTS = """See the agents of this hive: name, role, state, and what each says it is doing, with the age of that.

Use it to find out to whom to write. A state of `off` or `paused` means that mail to it waits."""

SET_STATUS = """Say in a few words what you are doing, for the operator and the other agents (at most 200 characters).

Set it when you begin something that takes a while; it replaces the last one. An empty text clears it."""

PUBLISH = """Copy one of your files (up to 1 MiB) to /shared/YOUR-NAME/, where every agent can read it.

`path` is a plain file below /ws, /home/agent or your state folder, absolute or relative to /ws. The answer has the path
to send to others. Publishing a file of the same name again replaces it. It cannot be taken back: publish no secrets."""


A_MINUTE = 60
"""Calls of `set_status`, and of `publish`, of one agent within a minute: each is an event, which stays (T35)."""

States = Callable[[], Awaitable[Mapping[str, str]]]
"""Each agent's state word (D-37) by name."""
BudgetLeft = Callable[[Connection, AgentId], int | None]
"""What is left of an agent's day in micro-USD; None without a limit."""


def agent_tools(
    agents: Agents, folders: AgentFolders, *, states: States | None = None, budget_left: BudgetLeft | None = None
) -> list[Tool]:
    """The tools of this room. Without `states` a state word is taken from the rows alone."""

    async def whoami(call: Call) -> Json:
        return await call.read(_whoami, call.caller, agents.settings, budget_left)

    async def list_agents(call: Call) -> Json:
        words: Mapping[str, str] = {} if states is None else await states()
        return await call.read(_roster, call.caller, words)

    async def set_status(call: Call) -> Json:
        return await call.once(_set_status, call.caller, status_text(call.arguments["text"])) or {}

    async def publish(call: Call) -> Json:
        draft = await asyncio.to_thread(copy, folders, call.caller, call.arguments["path"])
        try:
            return await call.once(put, call.caller, draft) or {}
        finally:
            await asyncio.to_thread(draft.discard)

    return [
        Tool("whoami", WHOAMI, _NOTHING, whoami, read_only=True),
        Tool("list_agents", LIST_AGENTS, _NOTHING, list_agents, read_only=True),
        Tool("set_status", SET_STATUS, _text_argument("text", _SHORT), set_status, per_minute=A_MINUTE),
        Tool("publish", PUBLISH, _text_argument("path", _FILE), publish, per_minute=A_MINUTE),
    ]


_SHORT = f"At most {STATUS_MOST} characters."
_FILE = "The file, such as /ws/report.md."
_NOTHING: Json = {"type": "object", "properties": {}, "additionalProperties": False}


def _text_argument(name: str, description: str) -> Json:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": description}},
        "required": [name],
        "additionalProperties": False,
    }


def _whoami(c: Connection, caller: AgentPrincipal, settings: Settings, budget_left: BudgetLeft | None) -> Json:
    agent = rows.by_id(c, caller.id)
    if agent is None:
        raise NotFound("this agent is gone", code="no_agent")
    mail, hourly = settings.mail, agent.turns_per_hour
    left = None if budget_left is None else budget_left(c, agent.id)
    return {
        "name": agent.name,
        "role": agent.role.value,
        "engine": agent.engine,
        "model": agent.model,
        "folders": {
            "work": "/ws",
            "home": "/home/agent",
            "notes": f"/agents/{agent.name}/state",
            "inbox": f"/agents/{agent.name}/inbox",
            "shared": "/shared",
        },
        "limits": {
            "message_bytes": mail.body_max_bytes,
            "message_bytes_before_it_becomes_a_file": mail.body_bytes,
            "receive_seconds": mail.receive_max,
            "receive_messages": LEASE_MOST,
            "sends_per_minute": mail.sends_per_minute or None,
            "turns_per_hour": (settings.budgets.turns_per_hour if hourly == OWN_DEFAULT else hourly) or None,
            "may_write_to": "everybody" if agent.send_allow is None else [*agent.send_allow, "operator"],
        },
        "budget_left_usd": None if left is None else left / 1_000_000,
    }


def _roster(c: Connection, caller: AgentPrincipal, words: Mapping[str, str]) -> Json:
    live = set(c.execute(select(boxes.c.agent_id).where(text("boxes.state <> 'gone'"))).scalars())
    listed = [_shown(c, agent, words, agent.id in live) for agent in rows.listing(c)]
    for entry in listed:
        if entry["name"] == caller.agent:
            entry["you"] = True
    return {"agents": listed}


def _shown(c: Connection, agent: Agent, words: Mapping[str, str], box: bool) -> Json:
    """One line of the roster. A status is shown only while there is a box: without one it is stale (ASK-2)."""
    entry: Json = {
        "name": agent.name,
        "role": agent.role.value,
        "state": words.get(agent.name) or _plain_state(c, agent),
    }
    if box and agent.status_text is not None and agent.status_at is not None:
        entry["status"] = agent.status_text
        entry["status_age_seconds"] = max(0, (now(c) - agent.status_at) // 1_000_000)
    return entry


def _plain_state(c: Connection, agent: Agent) -> str:
    """The state word by the rows alone, when nobody derives a better one."""
    if agent.wish is not Wish.RUNNING:
        return "off"
    if agent.paused_at is not None:
        return "paused"
    if agent.trouble is not None:
        return "failed" if agent.trouble == "gave_up" else "stuck"
    query = select(turns.c.state).where(turns.c.agent_id == agent.id, text("turns.state <> 'ended'"))
    turn = c.execute(query).scalar_one_or_none()
    return {"running": "working", "waiting": "waiting"}.get(turn or "", "idle")


def _set_status(c: Connection, caller: AgentPrincipal, status: str | None) -> Json:
    rows.set_status(c, caller.id, status)
    return {"status": status}
