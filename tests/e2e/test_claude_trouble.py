"""What the model's service may do to a turn of the real engine, and what becomes of the agent and its mail.

HN-3, LE-2, LE-3, D-18, D-26, D-28..D-30, T12: decided by status and structure alone, never by free text.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from melipona.testing.claude_hive import ClaudeHive, running_claude_hive, script, send, shell
from melipona.testing.hive import Json

pytestmark = [pytest.mark.boxes, pytest.mark.claude]


def given_back(hive: ClaudeHive, message: int) -> Json:
    """The message waits, and what happened is no failure of it."""
    found = hive.message(message)
    assert (found["state"], found["attempts"], found["failures"]) == ("waiting", 1, 0)
    return found


def test_a_prompt_that_is_too_long_is_compacted_and_asked_again_once(tmp_path: Path) -> None:
    """HN-3, LE-3: the engine compacts by itself first; when that is not enough the turn does, and asks once more."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        hive.send("ana", script(shell("echo earlier"), {"text": "one"}))
        hive.ended(1)
        too_long = {
            "status": 400,
            "ever": True,
            "times": 2,
            "message": "prompt is too long: 209000 tokens > 200000 maximum",
        }
        message = hive.send("ana", script(too_long, send("fits now"), {"text": "two"}))
        turn = hive.ended(2)
        assert (turn["result"], turn["compacted"]) == ("ok", True), turn
        assert len(hive.log_of(2, "compaction")) == 1
        assert [result["outcome"] for result in hive.log_of(2, "result")] == ["too_long", "ok", "ok"]
        assert hive.answers("ana") == ["fits now"]
        assert hive.message(message)["attempts"] == 1


def test_a_prompt_that_stays_too_long_is_a_failure_of_its_mail(tmp_path: Path) -> None:
    """LE-3: one retry, not more; five failures park the message."""
    with running_claude_hive(tmp_path, config="[budgets]\nturns_per_hour = 1\n") as hive:
        hive.claude()
        too_long = {"status": 400, "message": "prompt is too long: 209000 tokens > 200000 maximum", "times": 9}
        message = hive.send("ana", script(too_long))
        turn = hive.ended()
        assert (turn["result"], turn["reason"]) == ("too_long", "prompt_too_long")
        found = hive.message(message)
        assert (found["attempts"], found["failures"]) == (1, 1)


def test_a_rate_limit_pauses_the_agent_and_costs_its_mail_nothing(tmp_path: Path) -> None:
    """D-18: waiting, rate_limited, with a time; afterwards it goes on by itself."""
    with running_claude_hive(tmp_path, rate_limit=1.5) as hive:
        hive.claude()
        message = hive.send(
            "ana", script({"status": 429, "final": True, "ever": True}, send("at last"), {"text": "bye"})
        )
        turn = hive.ended(1)
        assert turn["result"] == "rate_limited", turn
        given_back(hive, message)
        assert hive.state() == ("waiting", "rate_limited")
        why = hive.client.get("/why/ana")
        assert why["timer"] is not None
        assert why["next_actor"] == "time"
        assert hive.ended(2)["result"] == "ok"
        assert hive.answers("ana") == ["at last"]
        assert hive.state() == ("idle", None)
        found = hive.message(message)
        assert (found["attempts"], found["failures"]) == (2, 0)


def test_an_overloaded_service_is_asked_again_within_the_turn(tmp_path: Path) -> None:
    """529 and 500: the engine's own retries; the turn and its mail do not notice."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        failing = {"status": 529, "retry_after": 0.1}, {"status": 500, "retry_after": 0.1}
        message = hive.send("ana", script(*failing, send("after all"), {"text": "bye"}))
        turn = hive.ended()
        assert turn["result"] == "ok", turn
        assert [retry["status"] for retry in hive.log_of(1, "retry")] == [529, 500]
        assert hive.answers("ana") == ["after all"]
        assert hive.message(message)["attempts"] == 1
        assert turn["tokens"]["input"] == 2000, "only answers are paid for"


def test_a_service_that_fails_is_waited_for(tmp_path: Path) -> None:
    """D-18: upstream trouble is no failure of the mail."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude()
        message = hive.send("ana", script({"status": 503, "final": True}))
        turn = hive.ended()
        assert (turn["result"], turn["reason"]) == ("failed", "upstream")
        given_back(hive, message)
        assert hive.state() == ("waiting", "upstream")


def test_a_key_that_is_refused_stops_the_agent_and_a_daemon_with_a_good_one_goes_on(tmp_path: Path) -> None:
    """D-29, HN-3: login_expired; the key is read at a daemon's start, so a new daemon tries again at once."""
    with running_claude_hive(tmp_path, key="sk-ant-not-the-right-one") as hive:
        hive.claude()
        message = hive.send("ana", "hello")
        turn = hive.ended(1)
        assert (turn["result"], turn["reason"]) == ("failed", "login_expired"), turn
        given_back(hive, message)
        assert hive.state() == ("stuck", "login_expired")
        assert "key" in hive.client.get("/why/ana")["text"]
        hive.stop()
        hive.set_key(hive.stub.key)
        hive.start()
        assert hive.ended(2)["result"] == "ok"
        assert hive.answers("ana") == ["heard: hello"]


def test_a_session_that_is_gone_is_begun_anew_and_the_agent_is_told(tmp_path: Path) -> None:
    """D-26: a new session, a prompt that says so, an event, and no failure."""
    with running_claude_hive(tmp_path, engine_idle=0.5) as hive:
        hive.claude()
        hive.send("ana", script(shell("echo forgotten"), {"text": "one"}))
        hive.ended(1)
        hive.engines_end()
        shutil.rmtree(hive.work("ana").parent / "home" / ".claude" / "projects")
        message = hive.send("ana", script(send("new here"), {"text": "two"}))
        turn = hive.ended(2)
        assert turn["result"] == "ok", turn
        assert hive.answers("ana") == ["new here"]
        found = hive.message(message)
        assert (found["state"], found["attempts"], found["failures"]) == ("handled", 1, 0)
        assert hive.wait_for("agent.session_lost")["agent"] == "ana"
        first, second = (hive.log_of(number, "session_started")[0]["session"] for number in (1, 2))
        assert first != second
        assert "Your earlier session could not be found" in hive.asked[-1]["text"]
        assert hive.asked[-1]["results"] == [hive.results_of(2)[0]["text"]], "nothing of the first turn"


def test_a_model_that_is_not_on_the_table_is_never_asked(tmp_path: Path) -> None:
    """T12, D-28."""
    config = '[models.anthropic]\nallowed = ["claude-haiku-*"]\n'
    with running_claude_hive(tmp_path, config=config) as hive:
        hive.claude(model="claude-opus-4-5")
        message = hive.send("ana", "hello")
        turn = hive.ended(1)
        assert turn["result"] == "failed"
        given_back(hive, message)
        refused = hive.wait_for("model.field_refused")
        assert (refused["agent"], refused["data"]["field"]) == ("ana", "model claude-opus-4-5")
        assert hive.stub.requests == []
        assert turn["cost_usd"] in (None, 0)
        assert "claude-opus-4-5" in hive.client.get("/why/ana")["text"]
        assert hive.state()[:2] == ("stuck", "model_refused"), "it would be refused again"


def test_a_spent_budget_stops_the_agent_and_is_no_failure_of_its_mail(tmp_path: Path) -> None:
    """D-30, D-18: calls are refused before they are made, until the next day or another budget."""
    with running_claude_hive(tmp_path) as hive:
        hive.claude(model="claude-sonnet-4-5", budget_usd=0.01)
        message = hive.send("ana", script(shell("echo 1"), shell("echo 2"), shell("echo 3"), send("too dear")))
        turn = hive.ended(1)
        assert (turn["result"], turn["reason"]) == ("failed", "budget_spent"), turn
        given_back(hive, message)
        assert hive.state() == ("stuck", "budget_spent")
        assert "budget" in hive.client.get("/why/ana")["text"]
        assert hive.wait_for("budget.spent")["agent"] == "ana"
        assert turn["cost_usd"] == pytest.approx(3 * 0.00495)
        assert len(hive.asked) == 3
        assert hive.answers("ana") == []
        hive.client.patch("/agents/ana", {"budget_usd": 1})
        assert hive.ended(2)["result"] == "ok"
        assert hive.answers("ana") == ["too dear"]


def test_without_a_key_no_engine_is_started(tmp_path: Path) -> None:
    """D-29: stuck, no_key; the mail waits; a daemon with a key goes on."""
    with running_claude_hive(tmp_path, key="") as hive:
        hive.claude()
        message = hive.send("ana", "hello")
        hive.wait_for("agent.trouble")
        assert hive.state() == ("stuck", "no_key")
        found = hive.message(message)
        assert (found["state"], found["attempts"], found["failures"]) == ("waiting", 0, 0)
        assert hive.boxes() == []
        assert "no key for the model API" in hive.client.get("/why/ana")["text"]
        hive.stop()
        hive.set_key(hive.stub.key)
        hive.start()
        assert hive.ended()["result"] == "ok"
        assert hive.answers("ana") == ["heard: hello"]
