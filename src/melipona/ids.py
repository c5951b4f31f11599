"""Id types, and how public and human ids are made and read.

Public ids are UUIDv7 text (sortable by time); ids that people type are integers, shown as `m12` or `t7` (D-38).
"""

from __future__ import annotations

import os
import re
import time
from typing import NewType

from melipona.errors import Invalid

AgentId = NewType("AgentId", str)
AgentName = NewType("AgentName", str)
BoxId = NewType("BoxId", str)
ProgramId = NewType("ProgramId", str)
OperationId = NewType("OperationId", str)
MessageId = NewType("MessageId", int)
TurnId = NewType("TurnId", int)
EventNumber = NewType("EventNumber", int)
EpochId = NewType("EpochId", int)

OPERATOR = "operator"
SYSTEM = "system"
EVERYBODY = "*"
RESERVED = frozenset({"operator", "system", "mel", "all", "self", "shared"})

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


def new_id() -> str:
    """A fresh UUIDv7 in its usual text form (RFC 9562 section 5.7)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def agent_name(text: str) -> AgentName:
    """`text` as an agent's name (D-36).

    Raises:
        Invalid: it is not 1 to 32 characters of a-z, 0-9 and dash, beginning with a letter, or it is reserved.
    """
    if not _NAME.fullmatch(text):
        raise Invalid(
            f"{text!r} cannot be an agent's name",
            remedy="use 1 to 32 of a-z, 0-9 and '-', beginning with a letter and not ending with '-'",
            code="bad_name",
        )
    if text in RESERVED:
        raise Invalid(f"the name {text!r} is reserved", remedy="choose another name", code="bad_name")
    return AgentName(text)


def numbered(text: str | int, prefix: str) -> int:
    """The integer of a human id in either form: `12` or `m12` (D-38).

    Raises:
        Invalid: it is neither.
    """
    raw = str(text)
    digits = raw.removeprefix(prefix)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise Invalid(f"{raw!r} is not an id", remedy=f"ids look like {prefix}12 or 12", code="bad_id")
    return int(digits)
