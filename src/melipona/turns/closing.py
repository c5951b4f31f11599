"""The end of a turn: its row and statistics, its mail, its agent and the idle timers, in one transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from melipona.agents import store as agent_rows
from melipona.agents.model import Agent
from melipona.clock import Micros, later
from melipona.ids import BoxId, ProgramId
from melipona.store.engine import now
from melipona.turns import box_rows, program_rows
from melipona.turns import store as rows
from melipona.turns.model import Ending, OpenTurn, Progress
from melipona.turns.parts import RunnerParts

BOX_FAILED = "box_failed"
"""Reason of a turn whose box did not start: it counts as a crash of the agent, not as a failure of its mail."""

NOTE_MOST = 2000
OF_THE_GATE = frozenset({"no_key", "login_expired"})
MODEL_REFUSED = "model_refused"
"""Trouble of an agent whose model calls are not on the gate's table: it would be refused again."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What is known at the end of a turn. `sent` is the last line that the engine's program has taken."""

    p: RunnerParts
    turn: OpenTurn
    agent: Agent
    progress: Progress
    duration_seconds: float
    model: str | None
    program: ProgramId | None
    sent: int
    box: BoxId | None

    def store_when_settled(self, c: Connection, ending: Ending) -> bool | None:
        """`store`, unless the cost of a model call of the turn is not known yet: None, and nothing is written."""
        return None if rows.unsettled(c, self.turn.id) else self.store(c, ending)

    def store(self, c: Connection, ending: Ending) -> bool:
        """Write the end; False when another daemon holds the turn or it has ended already."""
        ending = self._blamed_on_budget(c, ending)
        if not rows.end_turn(c, self.turn.id, self.p.epoch, self._statistics(ending)):
            return False
        if ending.good:
            self.p.mail.acknowledge(c, self.turn.id, self.turn.generation)
            agent_rows.ended_well(c, self.agent.id, self.agent.name)
        else:
            reason = ending.note or ending.reason or ending.result
            self.p.mail.give_back(c, self.turn.id, self.turn.generation, failed=ending.failed, reason=reason)
            self._trouble(c, ending)
        rows.count_open_threads(c, self.turn.id, self.agent.id)
        self._idle(c)
        return True

    def _blamed_on_budget(self, c: Connection, ending: Ending) -> Ending:
        """A turn that failed because its budget was spent is no failure of its mail (D-18).

        The engine is told so by the gate in the upstream's name, so it blames the upstream.
        """
        blamed = ending.failed or ending.trouble == "upstream"
        blocked = self.p.budgets.may_run(c, self.agent.id) if blamed else None
        if blocked is None or blocked.reason != "budget_spent":
            return ending
        pause = timedelta(microseconds=max(0, blocked.until - now(c)))
        return Ending("failed", "budget_spent", blocked.detail, trouble="budget_spent", pause=pause)

    def _trouble(self, c: Connection, ending: Ending) -> None:
        if ending.hold and not self.turn.compacts:  # it had no mail that could wait for the operator
            agent_rows.hold(c, self.agent.id)
        if ending.trouble is None:
            return
        if ending.trouble == BOX_FAILED:
            self.p.agents.box_crashed(c, self.agent.id, ending.note)
            return
        if ending.trouble == "upstream" and self._known_better(c):
            return
        until = None if ending.pause is None else later(now(c), ending.pause)
        agent_rows.set_trouble(c, self.agent.id, ending.trouble, ending.note, until=until)

    def _known_better(self, c: Connection) -> bool:
        """Whether the gate knows why model calls failed: something that only a person can change."""
        agent = agent_rows.by_id(c, self.agent.id)
        if agent is not None and agent.trouble in OF_THE_GATE:
            return True
        refused = rows.refused_field(c, self.agent.name, self.turn.started_at)
        if refused is None:
            return False
        field, setting = refused
        detail = f"the gate refuses {field} in model calls; {setting} in mel.toml would allow it"
        agent_rows.set_trouble(c, self.agent.id, MODEL_REFUSED, detail)
        return True

    def _idle(self, c: Connection) -> None:
        at, turns, boxes = now(c), self.p.settings.turns, self.p.settings.boxes
        if self.program is not None:
            program_rows.forget_lines(c, self.program, self.sent + 1)
            program_rows.set_program_wake(c, self.program, _after(at, turns.engine_idle))
        if self.box is not None:
            box_rows.set_box_wake(c, self.box, _after(at, boxes.idle))

    def _statistics(self, ending: Ending) -> dict[str, object]:
        context = self.progress.context
        return {
            "result": ending.result,
            "reason": ending.reason,
            "note": ending.note[:NOTE_MOST] or None,
            "model": self.progress.model or self.model,
            "duration_ms": int(self.duration_seconds * 1000),
            "tool_calls": self.progress.tools.total(),
            "tools": json.dumps(dict(self.progress.tools)),
            "context_tokens": context.tokens if context else None,
            "context_window": context.window if context else None,
        }


def _after(at: Micros, seconds: float) -> Micros:
    return later(at, timedelta(seconds=seconds))
