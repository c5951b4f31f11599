"""The contract of an engine driver: what makes a coding engine run turns.

A driver is a *codec with an argv*: it says which program to start in the box, turns intentions into lines for the
program's input, and its lines of output into events. It opens nothing, waits for nothing and keeps no state that a
restart would need: the turn loop (`turns/`) stores every line in the outbox in the transaction that decided it (D-44),
sends it, reads the output by offset, and adopts a running engine after a daemon restart with a fresh decoder.

Whatever an engine says may be forged by the agent (same uid): its usage and cost are shown as claims and never charged,
its result only affects its own agent's mail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from melipona.boxes.driver import Mount
from melipona.ids import AgentName, MessageId


@dataclass(frozen=True, slots=True)
class EngineLaunch:
    """What an engine program is started with."""

    agent: AgentName
    role: Literal["worker", "manager"]
    model: str | None
    session: str | None
    """Engine session to resume, None for a new one."""
    system_prompt: str
    playbook: Mapping[str, Any] | None = None
    """Validated playbook, for the engine of that name."""


@dataclass(frozen=True, slots=True)
class EngineProgram:
    """The program to start in the box: absolute argv inside the box, environment, first lines of input."""

    argv: Sequence[str]
    env: Mapping[str, str]
    first_lines: Sequence[str] = ()
    """Written to its input before any prompt (an `initialize` request, say). Without newline."""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """A message as the engine may use it in structured form."""

    id: MessageId
    sender: str
    body: str
    kind: str
    maybe_seen: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """One turn's prompt: `text` is complete by itself; `messages` is the same mail in structured form."""

    text: str
    messages: Sequence[PromptMessage] = ()


# ---- events: what an engine's output means --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """The engine reports its session (for claude once a turn)."""

    session: str
    model: str | None = None
    version: str | None = None
    tools: Sequence[str] = ()
    servers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of text being written; the complete `Text` follows."""

    text: str
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class DropPartial:
    """The partial text since the last complete block was abandoned (the request is tried again)."""


@dataclass(frozen=True, slots=True)
class Text:
    """A complete block of text, or of thinking."""

    text: str
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    id: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class UsageClaim:
    """Tokens (of this turn) and cost (cumulative of the session) as the engine tells them; never charged."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    session_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class ContextSize:
    """How full the model's context is: tokens of the last inference's prompt, and the window if known (LE-4)."""

    tokens: int
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The engine tries a model request again."""

    attempt: int
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RateLimited:
    """A structured rate-limit event (never from free text, LE-2). `retry_after` in seconds, if it was told."""

    retry_after: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Compaction:
    before_tokens: int | None
    after_tokens: int | None


@dataclass(frozen=True, slots=True)
class PermissionRequest:
    """The engine asks whether a tool may run; it waits for `EngineDriver.permission_line`."""

    request: str
    tool: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Demand:
    """The engine needs this line now (a hook's answer, an unsupported control request refused)."""

    line: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A control request of ours (interrupt, set model, context) was answered."""

    request: str
    ok: bool
    data: Mapping[str, Any]


Outcome = Literal["ok", "failed", "too_long", "interrupted", "rate_limited", "login_expired", "upstream", "no_session"]
"""How a turn ended. `no_session`: the session to resume does not exist; the program ends, and one started with
`session=None` takes the same prompt (D-26: no failure)."""


@dataclass(frozen=True, slots=True)
class Result:
    """The engine's own word that the turn is over. Only `ok` acknowledges mail (D-17)."""

    outcome: Outcome
    text: str = ""
    detail: str = ""
    session: str | None = None
    usage: UsageClaim = UsageClaim()


@dataclass(frozen=True, slots=True)
class Unknown:
    """A line that this version does not know: kept, up to `UNKNOWN_MOST` bytes of it, and passed on (LE-15)."""

    raw: str

    @staticmethod
    def of(line: bytes) -> Unknown:
        """Of a line as it came, whatever it holds (T7)."""
        return Unknown(line[:UNKNOWN_MOST].decode(errors="replace"))


UNKNOWN_MOST = 64 << 10


EngineEvent = (
    SessionStarted
    | TextDelta
    | DropPartial
    | Text
    | ToolCall
    | ToolResult
    | UsageClaim
    | ContextSize
    | Retry
    | RateLimited
    | Compaction
    | PermissionRequest
    | Demand
    | Answered
    | Result
    | Unknown
)


class Decoder(Protocol):
    """Turns lines of one engine program's output into events. A fresh one may begin in the middle (adoption)."""

    def feed(self, line: bytes) -> Sequence[EngineEvent]:
        """Events of one line (without its newline). Never raises: what it cannot read is `Unknown`."""
        ...


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """Whether the engine can be used here: version and place, or what is missing and what to install."""

    ok: bool
    detail: str
    remedy: str = ""
    version: str | None = None


class EngineDriver(Protocol):
    """One kind of engine. All methods are quick and pure, but for `health` which may run the program once."""

    @property
    def name(self) -> str: ...

    @property
    def needs_model_key(self) -> bool:
        """Whether a turn is pointless without a key of the model API at the gate (D-29)."""
        ...

    async def health(self) -> EngineHealth: ...

    def mounts(self) -> Sequence[Mount]:
        """What a box needs to have mounted to run the engine.

        Raises:
            EngineMissing: it is not installed; the remedy says what to install.
        """
        ...

    def program(self, launch: EngineLaunch) -> EngineProgram: ...

    def decoder(self) -> Decoder: ...

    def prompt_line(self, prompt: Prompt) -> str: ...

    def interrupt_line(self, request: str) -> str | None:
        """None: this engine is interrupted by SIGINT to its group."""
        ...

    def set_model_line(self, request: str, model: str) -> str | None:
        """None: a new program must be started for another model."""
        ...

    def compact_line(self) -> str | None:
        """A line that makes the engine compact its context, answered by `Compaction` and `Result`. None: it cannot."""
        ...

    def context_line(self, request: str) -> str | None:
        """A request for the context's size, answered by `ContextSize`. None: it cannot."""
        ...

    def permission_line(self, request: str, *, allow: bool, message: str) -> str | None: ...
