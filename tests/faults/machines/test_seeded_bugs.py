"""The mutation gate: a checker is believed because it finds what was broken on purpose (SECURITY.md section 6.4)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from melipona.mail import store as mail_rows

from .bugs import BUGS
from .gate import MACHINES, hunt
from .seeded import Bug, DoesNotApply, seeded


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_seeded_bug_is_found(bug: Bug) -> None:
    """With a fixed seed, within the reach of the profile `ci`."""
    assert hunt(bug).found, f"{bug.machine} does not find {bug.name!r}, which breaks {bug.breaks}"


def test_there_are_twenty_bugs_and_more_for_every_noun() -> None:
    """Section 7, line 28: at least 20; none twice."""
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 20
    for machine in MACHINES:
        assert sum(bug.machine == machine for bug in BUGS) >= 3, machine


def test_a_bug_whose_text_is_gone_fails_the_gate() -> None:
    """A patch that no longer applies says so, and a seeded one leaves nothing behind."""
    gone = Bug("gone", "MailMachine", "mail.store:lease", "no such text", "", "I-3")
    with pytest.raises(DoesNotApply, match="0 times"), seeded(gone):
        pass
    with pytest.raises(DoesNotApply, match="there is no"), seeded(Bug("gone", "", "mail.store:nowhere", "", "", "")):
        pass
    before = mail_rows.lease.__code__
    with seeded(Bug("flag", "MailMachine", "mail.store:lease", "message.attempts > 0", "False", "I-3")):
        assert mail_rows.lease.__code__ is not before
    assert mail_rows.lease.__code__ is before


def test_the_product_has_no_switch_for_bugs() -> None:
    """The bugs live in the tests: no module of the product knows of them."""
    code = "import sys, melipona.daemon; print([m for m in sys.modules if 'hypothesis' in m or 'machines' in m])"
    root = Path(__file__).parents[3]
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert told.stdout.strip() == "[]"
