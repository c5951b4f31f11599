"""How a turn ends: what counts as a failure, what pauses the agent (D-17, D-18, HN-3)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from melipona.engines.engine import Outcome, RateLimited, Result, SessionStarted, ToolCall, ToolResult
from melipona.settings import TurnSettings
from melipona.turns.model import NextStep, Progress, ending_of, ending_of_exit, next_step, unforeseen

SETTINGS = TurnSettings()


@pytest.mark.parametrize(
    ("outcome", "result", "failed", "trouble"),
    [
        ("ok", "ok", False, None),
        ("failed", "failed", True, None),
        ("too_long", "too_long", True, None),
        ("interrupted", "interrupted", False, None),
        ("rate_limited", "rate_limited", False, "rate_limited"),
        ("login_expired", "failed", False, "login_expired"),
        ("upstream", "failed", False, "upstream"),
    ],
)
def test_only_failures_of_the_work_itself_count_towards_parking(
    outcome: Outcome, result: str, failed: bool, trouble: str | None
) -> None:
    """D-18: not rate limits, login, budget, upstream, or the operator's interrupt."""
    ending = ending_of(Result(outcome), Progress(), SETTINGS)
    assert (ending.result, ending.failed, ending.trouble) == (result, failed, trouble)
    assert ending.good is (outcome == "ok")


def test_an_interrupted_turn_holds_its_mail_until_the_operator_acts() -> None:
    assert ending_of(Result("interrupted"), Progress(), SETTINGS).hold


def test_a_rate_limit_waits_as_long_as_it_was_told_else_the_default() -> None:
    """LE-2: only structured events count."""
    told = Progress()
    told.take(RateLimited(retry_after=7))
    assert ending_of(Result("rate_limited"), told, SETTINGS).pause == timedelta(seconds=7)
    assert ending_of(Result("rate_limited"), Progress(), SETTINGS).pause == timedelta(seconds=300)


def test_a_prompt_too_long_leads_to_one_compaction_and_one_retry() -> None:
    """HN-3, LE-3: and a failed compaction does not fail the turn, the retry tells."""
    too_long = Result("too_long")
    assert next_step(too_long, 0, can_compact=True) is NextStep.COMPACT
    assert next_step(Result("failed"), 1, can_compact=True) is NextStep.ASK_AGAIN
    assert next_step(too_long, 2, can_compact=True) is NextStep.END
    assert next_step(too_long, 0, can_compact=False) is NextStep.END


def test_a_session_that_is_gone_leads_to_a_new_one() -> None:
    """D-26."""
    assert next_step(Result("no_session"), 0, can_compact=True) is NextStep.NEW_SESSION


def test_an_engine_that_ends_without_a_result_has_failed() -> None:
    ending = ending_of_exit(-9, "bad\nOut of memory\n")
    assert (ending.result, ending.reason, ending.failed) == ("failed", "engine_ended", True)
    assert "signal 9 Out of memory" in ending.note


def test_progress_counts_tools_and_knows_which_are_in_flight() -> None:
    """HN-2."""
    progress = Progress()
    for event in (ToolCall("a", "Bash", {}), ToolCall("b", "Bash", {}), ToolResult("a", True, "")):
        progress.take(event)
    assert progress.tools == {"Bash": 2}
    assert progress.in_flight == {"b": "Bash"}
    progress.take(Result("ok"))
    assert progress.in_flight == {}


def test_what_an_engine_says_of_itself_has_bounds() -> None:
    """T7: names without end, times without end: neither memory nor a row nor a timer takes them."""
    progress = Progress()
    for number in range(5000):
        progress.take(ToolCall(f"c{number}", f"tool {number} " + "x" * 10_000, {}))
    progress.take(SessionStarted("s", model="m" * 10_000))
    assert progress.tools.total() == 5000
    assert sum(len(name) for name in progress.tools) < 100_000
    assert len(progress.in_flight) <= 1000
    assert len(progress.model or "") <= 200
    for told in (1e14, -5.0):
        progress.take(RateLimited(retry_after=told))
        pause = ending_of(Result("rate_limited"), progress, SETTINGS).pause
        assert pause is not None
        assert timedelta(0) <= pause <= timedelta(days=7)


def test_a_bug_fails_the_turn_like_any_other_failure() -> None:
    """It counts, so that mail which meets it again and again is parked (D-18)."""
    ending = unforeseen(KeyError("x" * 5000))
    assert (ending.result, ending.reason, ending.failed, ending.trouble) == ("failed", "bug", True, None)
    assert len(ending.note) <= 200
