"""The words an agent is woken with, and the standing advice of its system prompt.

The mail stands last (D-24). Each message lies in a fence whose name is random for the turn, under a header made by us,
and a line of a body that has the fence in it is quoted, whatever character ends lines: nothing in a body can pretend to
be another message, and every body can be had back exactly (T29).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from string import Template

from melipona.engines.engine import Prompt, PromptMessage
from melipona.ids import OPERATOR, SYSTEM, MessageId

_LINE_ENDS = re.compile("(\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])")
"""All that any reader may take for the end of a line (as `str.splitlines`)."""


@dataclass(frozen=True, slots=True)
class WokenBy:
    """A message as the prompt shows it."""

    id: MessageId
    sender: str
    body: str
    kind: str
    sent_at: int
    maybe_seen: bool
    attempts: int
    thread: int | None
    reply_to: int | None
    body_path: str | None


def wake_prompt(
    agent: str,
    mail: Sequence[WokenBy],
    *,
    still_waiting: int,
    session_lost: bool = False,
    nonce: str | None = None,
) -> Prompt:
    """The prompt of a turn that `mail` woke."""
    nonce = nonce or secrets.token_hex(4)
    parts = [_opening(mail)]
    if session_lost:
        parts.append(
            "Your earlier session could not be found, so this is a new one and you remember nothing of it. "
            f"Your notes in /agents/{agent}/state are still there: read them first."
        )
    if any(message.maybe_seen for message in mail):
        parts.append(
            "A message marked 'maybe seen before' was given to a turn of yours that did not end well. "
            "Check what is done already before you repeat anything."
        )
    if still_waiting:
        parts.append(f"{still_waiting} more {_messages(still_waiting)} wait; `receive` gives them to you in this turn.")
    parts += [_fenced(message, nonce) for message in mail]
    messages = [PromptMessage(m.id, m.sender, m.body, m.kind, m.maybe_seen) for m in mail]
    return Prompt("\n\n".join(parts), messages)


def _opening(mail: Sequence[WokenBy]) -> str:
    if len(mail) == 1:
        return f"You have a message from {_who(mail[0].sender)}."
    senders = list(dict.fromkeys(_who(message.sender) for message in mail))
    return f"You have {len(mail)} messages, from {', '.join(senders)}."


def _who(sender: str) -> str:
    return {OPERATOR: "the operator", SYSTEM: "the system"}.get(sender, sender)


def _messages(count: int) -> str:
    return "message" if count == 1 else "messages"


def _fenced(message: WokenBy, nonce: str) -> str:
    fence = f"mail-{nonce}"
    sent = datetime.fromtimestamp(message.sent_at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    header = [f"m{message.id} from {_who(message.sender)}", sent]
    if message.reply_to is not None:
        header.append(f"answers m{message.reply_to}")
    if message.kind == "broadcast":
        header.append("a broadcast to everybody: it may need nothing from you")
    if message.maybe_seen:
        header.append(f"maybe seen before (attempt {message.attempts})")
    if message.body_path:
        header.append(f"the whole text is in {message.body_path}")
    body = "".join(f"> {line}" if fence in line else line for line in _LINE_ENDS.split(message.body))
    return f"<{fence}> {' | '.join(header)}\n{body}\n</{fence}>"


def system_prompt(agent: str, role: str, pronouns: str) -> str:
    """The standing advice: who the agent is, how mail and waiting work, where notes are (PR-1..PR-5, BR-5, BR-12)."""
    return _advice_to(role).substitute(agent=agent, pronouns=pronouns)


@cache
def _advice_to(role: str) -> Template:
    here = resources.files("melipona.turns")
    text = (here / "system_prompt.md").read_text(encoding="utf-8")
    if role == "manager":
        text += (here / "manager_prompt.md").read_text(encoding="utf-8")
    return Template(text)
