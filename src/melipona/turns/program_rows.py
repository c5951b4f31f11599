"""Statements about engine programs in boxes, and the outbox of lines that go to them (D-44)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, delete, insert, literal_column, select, update

from melipona.clock import Micros
from melipona.ids import AgentId, BoxId, ProgramId
from melipona.store.engine import now
from melipona.store.schema import outbox, programs


@dataclass(frozen=True, slots=True)
class Program:
    """An engine program in a box. `made_of` marks what else it was started with."""

    id: ProgramId
    box: BoxId
    agent_id: AgentId
    model: str | None
    session: str | None
    wake_at: Micros | None
    made_of: str = ""


def _detail(program: Program, model: str | None) -> str:
    return json.dumps({"model": model, "session": program.session, "made_of": program.made_of})


def add_program(c: Connection, program: Program, first_lines: Sequence[str]) -> None:
    """Record the intent to start an engine program, with its first lines."""
    at = now(c)
    detail = _detail(program, program.model)
    values = {"id": program.id, "box_id": program.box, "agent_id": program.agent_id, "kind": "engine", "detail": detail}
    times = {"started_at": at, "entered_at": at}
    c.execute(insert(programs).values(**values, **times, state="running", next_seq=1))
    for line in first_lines:
        put_line(c, program.id, line)


def live_program(c: Connection, box: BoxId) -> Program | None:
    """The engine program of a box that has not been seen to end."""
    query = select(programs).where(programs.c.box_id == box, programs.c.state != literal_column("'ended'"))
    row = c.execute(query).mappings().first()
    return None if row is None else program_of(row)


def program_of(row: RowMapping) -> Program:
    """A row of `programs`."""
    detail = json.loads(row["detail"] or "{}")
    return Program(
        ProgramId(row["id"]),
        BoxId(row["box_id"]),
        AgentId(row["agent_id"]),
        detail.get("model"),
        detail.get("session"),
        row["wake_at"],
        detail.get("made_of", ""),
    )


def change_program_model(c: Connection, program: Program, model: str) -> None:
    """The program was told to use another model."""
    detail = _detail(program, model)
    c.execute(update(programs).where(programs.c.id == program.id).values(detail=detail))


def end_program(c: Connection, program: ProgramId) -> None:
    """The program is gone; what was still to be written to it goes with it."""
    c.execute(update(programs).where(programs.c.id == program).values(state="ended", entered_at=now(c), wake_at=None))
    c.execute(delete(outbox).where(outbox.c.program_id == program))


def put_line(c: Connection, program: ProgramId, line: str) -> int:
    """Queue a line for the engine in this transaction (D-44); its sequence number."""
    following = update(programs).where(programs.c.id == program).values(next_seq=programs.c.next_seq + 1)
    seq = c.execute(following.returning(programs.c.next_seq)).scalar_one() - 1
    c.execute(insert(outbox).values(program_id=program, seq=seq, line=line, at=now(c)))
    return int(seq)


def lines_from(c: Connection, program: ProgramId, seq: int) -> list[tuple[int, str]]:
    """Lines with numbers from `seq` on, in order."""
    query = select(outbox.c.seq, outbox.c.line).where(outbox.c.program_id == program, outbox.c.seq >= seq)
    return [(row.seq, row.line) for row in c.execute(query.order_by(outbox.c.seq))]


def forget_lines(c: Connection, program: ProgramId, below: int) -> None:
    """Lines that boxd has taken need not be kept."""
    c.execute(delete(outbox).where(outbox.c.program_id == program, outbox.c.seq < below))


def set_program_wake(c: Connection, program: ProgramId, at: Micros | None) -> None:
    """When an idle engine is to be stopped."""
    c.execute(update(programs).where(programs.c.id == program).values(wake_at=at))
