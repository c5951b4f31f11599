"""Statements about engine programs in boxes, and the outbox of lines that go to them (D-44)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, literal_column, select, update

from melipona.clock import Micros
from melipona.ids import AgentId, BoxId, ProgramId
from melipona.store.engine import now
from melipona.store.hot import Hot
from melipona.store.schema import boxes, outbox, programs, turns

_of_id = programs.c.id == bindparam("p_id")
_number = Hot(update(programs).where(_of_id).values(next_seq=programs.c.next_seq + 1).returning(programs.c.next_seq))
_number_of_prompt = Hot(
    update(programs)
    .where(_of_id)
    .values(next_seq=programs.c.next_seq + 1, wake_at=literal_column("NULL"))
    .returning(programs.c.next_seq)
)
_line = Hot(
    insert(outbox).values(
        program_id=bindparam("p_id"), seq=bindparam("p_seq"), line=bindparam("p_line"), at=bindparam("p_now")
    )
)
_lines_of = outbox.c.program_id == bindparam("p_id")
LINES_FROM = Hot(
    select(outbox.c.seq, outbox.c.line).where(_lines_of, outbox.c.seq >= bindparam("p_seq")).order_by(outbox.c.seq)
)
_forget = Hot(delete(outbox).where(_lines_of, outbox.c.seq < bindparam("p_seq")))
_end_idle = Hot(
    update(programs).where(_of_id, programs.c.wake_at > bindparam("p_at")).values(wake_at=bindparam("p_at"))
)
_wake = Hot(update(programs).where(_of_id).values(wake_at=bindparam("p_at")))
LIVE = Hot(
    select(programs.c.id, programs.c.box_id, programs.c.agent_id, programs.c.detail, programs.c.wake_at).where(
        programs.c.box_id == bindparam("p_box"), programs.c.state != literal_column("'ended'")
    )
)


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


def add_program(c: Connection, program: Program, first_lines: Sequence[str]) -> bool:
    """Record the intent to start an engine program, with its first lines; False when its box is gone."""
    if c.execute(select(boxes.c.state).where(boxes.c.id == program.box)).scalar_one() == "gone":
        return False
    at = now(c)
    detail = _detail(program, program.model)
    values = {"id": program.id, "box_id": program.box, "agent_id": program.agent_id, "kind": "engine", "detail": detail}
    times = {"started_at": at, "entered_at": at}
    c.execute(insert(programs).values(**values, **times, state="running", next_seq=1))
    for line in first_lines:
        put_line(c, program.id, line)
    return True


def live_program(c: Connection, box: BoxId) -> Program | None:
    """The engine program of a box that has not been seen to end."""
    row = LIVE.one(c, p_box=box)
    return None if row is None else _program(*row)


def program_of(row: RowMapping) -> Program:
    """A row of `programs`."""
    return _program(row["id"], row["box_id"], row["agent_id"], row["detail"], row["wake_at"])


def _program(number: str, box: str, agent: str, detail: str | None, wake_at: int | None) -> Program:
    known = json.loads(detail or "{}")
    return Program(
        ProgramId(number),
        BoxId(box),
        AgentId(agent),
        known.get("model"),
        known.get("session"),
        None if wake_at is None else Micros(wake_at),
        known.get("made_of", ""),
    )


def change_program_model(c: Connection, program: Program, model: str) -> None:
    """The program was told to use another model."""
    detail = _detail(program, model)
    c.execute(update(programs).where(programs.c.id == program.id).values(detail=detail))


def end_program(c: Connection, program: ProgramId) -> None:
    """The program is gone; what was still to be written to it goes with it."""
    c.execute(update(programs).where(programs.c.id == program).values(state="ended", entered_at=now(c), wake_at=None))
    c.execute(delete(outbox).where(outbox.c.program_id == program))


def end_idle(c: Connection, program: ProgramId) -> bool:
    """End a program whose idle time is over; False when it has been given a turn since somebody looked."""
    idle = (programs.c.id == program, programs.c.state != literal_column("'ended'"), programs.c.wake_at <= now(c))
    busy = select(turns.c.agent_id).where(turns.c.state != literal_column("'ended'"))
    if c.execute(select(programs.c.id).where(*idle, programs.c.agent_id.not_in(busy))).first() is None:
        return False
    end_program(c, program)
    return True


def put_line(c: Connection, program: ProgramId, line: str, *, prompts: bool = False) -> int:
    """Queue a line for the engine in this transaction (D-44); its sequence number. An engine that it `prompts` idles no
    more."""
    row = (_number_of_prompt if prompts else _number).one(c, p_id=program)
    assert row is not None
    seq = int(row[0]) - 1
    _line.run(c, p_id=program, p_seq=seq, p_line=line, p_now=now(c))
    return seq


def lines_from(c: Connection, program: ProgramId, seq: int) -> list[tuple[int, str]]:
    """Lines with numbers from `seq` on, in order."""
    return [(number, line) for number, line in LINES_FROM.all(c, p_id=program, p_seq=seq)]


def forget_lines(c: Connection, program: ProgramId, below: int) -> None:
    """Lines that boxd has taken need not be kept."""
    _forget.run(c, p_id=program, p_seq=below)


def set_program_wake(c: Connection, program: ProgramId, at: Micros | None) -> None:
    """When an idle engine is to be stopped."""
    _wake.run(c, p_id=program, p_at=at)


def end_idle_time(c: Connection, program: ProgramId, at: Micros) -> None:
    """An engine that idles is to be stopped now; one that does not idle is left as it is."""
    _end_idle.run(c, p_id=program, p_at=at)
