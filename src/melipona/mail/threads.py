"""What a new message belongs to: its thread, its hop in a conversation of agents, and its origin (D-21, T30).

The context of an agent's message is the mail that its open turn holds, whether that woke it or was received in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from melipona.ids import OPERATOR, SYSTEM
from melipona.mail.model import Message

ORIGIN_MOST = 16
"""Names that an origin keeps: the first ones and the last."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message goes. `thread` None begins one; `parent` is the message it continues."""

    thread: int | None
    parent: int | None
    hop: int
    origin: tuple[str, ...]


def place(sender: str, to: str, held: Sequence[Message], reply: Message | None) -> Place:
    """The place of a message of the agent `sender` whose open turn holds `held`; `reply` is what it answers by name.

    Without `reply` it goes on with the newest deep mail of its recipient, else with that of any agent, unless the
    operator's mail is there too: that may have asked for something new. The hop is one more than the deepest mail that
    can have led to it, so answering an old message does not make a conversation young again.
    """
    of_agents = [message for message in held if _from_agent(message, sender)]
    operator_there = any(message.sender == OPERATOR for message in held)
    parent = reply or _deepest([message for message in of_agents if message.sender == to])
    if parent is None and not operator_there:
        parent = _deepest(of_agents)
    origin = _origin([*held, *([reply] if reply else [])], sender)
    if parent is None:
        return Place(None, None, 0, origin)
    related = [
        message
        for message in of_agents
        if not operator_there or message.thread == parent.thread or message.sender == to
    ]
    hop = 1 + max(message.hop for message in [parent, *related])
    return Place(parent.thread, parent.id, hop, origin)


def _from_agent(message: Message, me: str) -> bool:
    return message.sender not in (OPERATOR, SYSTEM, me)


def _deepest(messages: Sequence[Message]) -> Message | None:
    return max(messages, key=lambda message: (message.hop, message.id), default=None)


def _origin(led: Sequence[Message], sender: str) -> tuple[str, ...]:
    names = list(dict.fromkeys(name for message in led for name in message.origin))
    names = [name for name in names if name != sender]
    return (*names[: ORIGIN_MOST - 1], sender)
