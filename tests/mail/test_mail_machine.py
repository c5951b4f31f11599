"""Random histories of mail hold the invariants, and the machine that says so finds the bugs it is there for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Connection, update

from melipona.ids import AgentId, TurnId
from melipona.mail import looks
from melipona.mail.model import Message
from melipona.store.schema import messages

from .machine import MailMachine

QUICK = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
HUNT = settings(QUICK, max_examples=1000, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)


def test_no_history_of_mail_breaks_an_invariant() -> None:
    """I-1 to I-6, invariant 3: sends, turns, receives, retries, crashes before and after commits, late results."""
    run_state_machine_as_test(MailMachine, settings=QUICK)


class NoFlag(MailMachine):
    """Forgets the maybe-seen flag."""

    def lease_op(self, c: Connection, agent: AgentId, turn: TurnId, limit: int) -> list[Message]:
        got = super().lease_op(c, agent, turn, limit)
        c.execute(update(messages).values(maybe_seen=0))
        return [looks.get(c, message.id) for message in got]


class NoFence(MailMachine):
    """A result settles whatever its agent holds, whichever turn holds it."""

    def settle_op(self, c: Connection, turn: TurnId, generation: int, how: str, failed: bool) -> None:
        if how == "ok":
            c.execute(update(messages).where(messages.c.state == 1).values(state=2))
        else:
            super().settle_op(c, turn, generation, how, failed)


class NoLimit(MailMachine):
    """Never parks."""

    def settle_op(self, c: Connection, turn: TurnId, generation: int, how: str, failed: bool) -> None:
        super().settle_op(c, turn, generation, how, failed)
        c.execute(update(messages).where(messages.c.state == 3).values(state=0))


class AcknowledgesAll(MailMachine):
    """A good turn handles what waits, too."""

    def settle_op(self, c: Connection, turn: TurnId, generation: int, how: str, failed: bool) -> None:
        super().settle_op(c, turn, generation, how, failed)
        if how == "ok":
            c.execute(update(messages).where(messages.c.state == 0, messages.c.agent_id.is_not(None)).values(state=2))


@pytest.mark.parametrize("broken", [NoFlag, NoFence, NoLimit, AcknowledgesAll])
def test_the_machine_finds_a_seeded_bug(broken: type[MailMachine]) -> None:
    """SECURITY.md section 6.4: a checker is believed because it finds what was broken on purpose."""
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(broken, settings=HUNT)
