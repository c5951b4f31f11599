"""What a turn is, what its engine's events add up to, and how it ends. Pure: values in, values out.

A turn is *good* only when the engine's own result says success (D-17); everything else gives its mail back. What counts
towards parking a message, what pauses the agent and for how long is decided here (D-18).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from melipona.engines.engine import (
    Compaction,
    ContextSize,
    EngineEvent,
    RateLimited,
    Result,
    SessionStarted,
    ToolCall,
    ToolResult,
    UsageClaim,
)
from melipona.ids import AgentId, AgentName, ProgramId, TurnId
from melipona.settings import TurnSettings

UPSTREAM_PAUSE = timedelta(seconds=30)
RATE_LIMIT_MOST = 7 * 86400.0
"""Seconds. An engine's word for how long a rate limit lasts is believed up to here."""
NAME_MOST = 200
"""Characters of a name that an engine tells: a tool, a model, a session."""
TOOLS_MOST, IN_FLIGHT_MOST = 200, 1000
OTHER_TOOLS = "(others)"
LOGIN_PAUSE = timedelta(minutes=10)


class TurnState(StrEnum):
    """Life of a turn."""

    RUNNING = "running"  # holds one of the hive's slots
    WAITING = "waiting"  # parked in `receive`: holds no slot (D-19)
    ENDED = "ended"  # final: `result` says how


LEGAL: Mapping[TurnState, frozenset[TurnState]] = {
    TurnState.RUNNING: frozenset({TurnState.WAITING, TurnState.ENDED}),
    TurnState.WAITING: frozenset({TurnState.RUNNING, TurnState.ENDED}),
    TurnState.ENDED: frozenset(),
}

TurnResult = Literal["ok", "failed", "too_long", "interrupted", "lost", "rate_limited"]


@dataclass(frozen=True, slots=True)
class Cause:
    """What woke a turn; every turn has one: mail, or a person who wants the conversation compacted (`by`)."""

    kind: Literal["mail", "kick", "broadcast", "compact"]
    messages: Sequence[int]
    senders: Sequence[str]
    by: str | None = None
    operation: str | None = None
    """The operation that ends with the turn."""

    def as_json(self) -> dict[str, Any]:
        asked = {} if self.by is None else {"by": self.by, "operation": self.operation}
        return {"kind": self.kind, "messages": list(self.messages), "from": list(self.senders)} | asked


COMPACT = "compact"
"""The cause of a turn that holds no mail and only compacts the conversation."""


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """An open turn as its runner needs it."""

    id: TurnId
    agent_id: AgentId
    agent: AgentName
    state: TurnState
    epoch: int
    generation: int
    program: ProgramId | None
    prompt_seq: int | None
    compacted: int
    interrupt_by: str | None
    started_at: int
    log_path: str | None
    box: str | None = None
    woken: str = "mail"
    """The kind of its cause."""

    @property
    def compacts(self) -> bool:
        """A person asked for it, to have the conversation compacted; it has no mail."""
        return self.woken == COMPACT


@dataclass(slots=True)
class Progress:
    """What the engine has said in this turn so far. Rebuilt from the turn's log when a turn is adopted."""

    results: list[Result] = field(default_factory=list[Result])
    tools: Counter[str] = field(default_factory=Counter[str])
    in_flight: dict[str, str] = field(default_factory=dict[str, str])
    session: str | None = None
    model: str | None = None
    context: ContextSize | None = None
    claim: UsageClaim | None = None
    rate_limit: RateLimited | None = None
    compactions: int = 0

    def take(self, event: EngineEvent) -> None:
        """Add one event."""
        match event:
            case SessionStarted(session=session, model=model):
                self.session, self.model = session, (model or "")[:NAME_MOST] or self.model
            case ToolCall(id=call, name=name):
                self._called(call[:NAME_MOST], name[:NAME_MOST])
            case ToolResult(id=call):
                self.in_flight.pop(call[:NAME_MOST], None)
            case ContextSize():
                self.context = event
            case UsageClaim():
                self.claim = event
            case RateLimited():
                self.rate_limit = event
            case Compaction():
                self.compactions += 1
            case Result():
                self.results.append(event)
                self.in_flight.clear()
                self.session = event.session or self.session
            case _:
                pass

    def _called(self, call: str, name: str) -> None:
        """Count a call. What is kept has a bound: an engine can name any number of tools (T7)."""
        known = name in self.tools or len(self.tools) < TOOLS_MOST
        self.tools[name if known else OTHER_TOOLS] += 1
        if len(self.in_flight) < IN_FLIGHT_MOST:
            self.in_flight[call] = name


@dataclass(frozen=True, slots=True)
class Ending:
    """How a turn ends and what follows for its mail and its agent."""

    result: TurnResult
    reason: str | None = None
    note: str = ""
    failed: bool = False
    """Counts towards parking the turn's messages."""
    hold: bool = False
    """Its mail wakes nobody until the operator acts (D-18)."""
    trouble: str | None = None
    """Reason code the agent is stuck with, None clears it on a good turn."""
    pause: timedelta | None = None
    """When to try again; None with a trouble means: not before a person acts."""

    @property
    def good(self) -> bool:
        return self.result == "ok"


class NextStep(StrEnum):
    """What a runner does after one result of the engine."""

    END = "end"
    COMPACT = "compact"
    ASK_AGAIN = "ask_again"
    NEW_SESSION = "new_session"  # the session to resume does not exist: a new program takes the same prompt (D-26)


def next_step(result: Result, compacted: int, *, can_compact: bool) -> NextStep:
    """A prompt that was too long leads to one compaction and one retry (HN-3, LE-3).

    `compacted` is 0 before, 1 while the compaction runs, 2 after the prompt was sent again.
    """
    if result.outcome == "no_session":
        return NextStep.NEW_SESSION
    if compacted == 1:
        return NextStep.ASK_AGAIN  # a failed compaction never fails the turn: the retry tells
    if result.outcome == "too_long" and compacted == 0 and can_compact:
        return NextStep.COMPACT
    return NextStep.END


def ending_of(result: Result, progress: Progress, settings: TurnSettings) -> Ending:
    """How a turn ends whose engine gave this result."""
    note = result.detail or ("" if result.outcome == "ok" else result.text)
    match result.outcome:
        case "ok":
            return Ending("ok")
        case "interrupted":
            return Ending("interrupted", note=note, hold=True)
        case "too_long":
            return Ending("too_long", "prompt_too_long", note, failed=True)
        case "rate_limited":
            told = progress.rate_limit.retry_after if progress.rate_limit else None
            pause = timedelta(seconds=settings.rate_limit if told is None else min(max(told, 0.0), RATE_LIMIT_MOST))
            return Ending("rate_limited", "rate_limited", note, trouble="rate_limited", pause=pause)
        case "login_expired":
            return Ending("failed", "login_expired", note, trouble="login_expired", pause=LOGIN_PAUSE)
        case "upstream":
            return Ending("failed", "upstream", note, trouble="upstream", pause=UPSTREAM_PAUSE)
        case "failed" | "no_session":
            return Ending("failed", "engine_failed", note, failed=True)


def ending_of_exit(code: int, stderr: str) -> Ending:
    """The engine ended without a result."""
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    last = stderr.strip().splitlines()[-1:] or [""]
    return Ending("failed", "engine_ended", f"the engine ended with {how} {last[0]}".strip(), failed=True)


def ending_of_compaction(result: Result, progress: Progress, settings: TurnSettings) -> Ending:
    """How a turn ends that a person wanted for compacting: well only when something was compacted."""
    if result.outcome == "ok" and not progress.compactions:
        return Ending("failed", "not_compacted", result.text or "the engine compacted nothing")
    return replace(ending_of(result, progress, settings), hold=False, failed=False)


BOX_FROZEN = Ending("lost", "box_frozen", "the box did not answer", failed=True, trouble="box_failed")
BOX_LOST = Ending("lost", "box_gone", "the box is gone", failed=True)
DAEMON_GONE = Ending("lost", "daemon_gone", "the daemon stopped and the box did not survive")
STOPPED = Ending("lost", "stopped", "the agent was stopped")
ENGINE_GONE = Ending("failed", "engine_ended", "the engine ended, and so did the daemon that saw how", failed=True)
OUTPUT_LIMIT = Ending("failed", "output_limit", "the engine wrote a line of more than 64 MiB", failed=True)


def unforeseen(error: Exception) -> Ending:
    """A bug of ours met in this turn: told as one, counted like any failure, so that its mail is parked in the end."""
    return Ending("failed", "bug", f"Melipona failed: {type(error).__name__}: {error}"[:NAME_MOST], failed=True)


def timed_out(what: Literal["total", "silence"], limit: float) -> Ending:
    """A limit of time was passed."""
    text = {"total": f"the turn took more than {limit:g} s", "silence": f"no sign of the engine for {limit:g} s"}[what]
    return Ending("failed", f"time_{what}", text, failed=True)
