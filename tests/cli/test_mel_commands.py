"""The commands that scripts rely on (issue 3, D-36 to D-39) and what they say to people."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from melipona.testing.served import ServedHive

Mel = Any


def test_an_agent_is_made_listed_shown_changed_and_moved(hive: ServedHive, mel: Mel, tmp_path: Path) -> None:
    """LC-1 and D-37: names, states and reasons in --json."""
    playbook = tmp_path / "a.toml"
    playbook.write_text('[[rule]]\nsteps = [{ say = "hi" }]\n')
    made = mel(
        "agent", "new", "ben", "--engine", "playbook", "--playbook", str(playbook), "--role", "manager", "--json"
    )
    assert {
        "name": "ben",
        "engine": "playbook",
        "role": "manager",
        "state": "idle",
        "reason": None,
    }.items() <= made.json.items()
    assert [agent["name"] for agent in mel("agent", "list", "--json").json["items"]] == ["ana", "ben"]
    assert mel("agent", "show", "ben", "--json").json["since"].endswith("Z")
    changed = mel("agent", "set", "ben", "--budget", "2.5", "--allow", "ana", "--model", "claude-x", "--json").json
    assert (changed["budget_usd"], changed["send_allow"], changed["model"]) == (2.5, ["ana"], "claude-x")
    assert mel("agent", "set", "ben", "--allow", "*", "--model", "default", "--json").json["send_allow"] is None
    assert mel("agent", "pause", "ben", "--json").json["state"] == "paused"
    assert mel("agent", "resume", "ben", "--json").json["state"] == "idle"
    assert mel("agent", "stop", "ben", "--no-wait", "--json").json["state"] == "changing"
    assert "ben" in mel("agent", "show", "ben").out


def test_controls_of_a_conversation_are_asked_for_refused_and_taken_back(hive: ServedHive, mel: Mel) -> None:
    """HN-4: `compact`, `new-session`, `take-back`; what cannot be done says why and exits as refused."""
    refused = mel("agent", "compact", "ana")
    assert (refused.code, "no conversation yet" in refused.err) == (4, True)
    turn = hive.open_turn("ana")
    asked = mel("agent", "compact", "ana", "--no-wait", "--json").json
    assert asked["agent"]["pending"]["id"] == asked["operation"]
    assert mel("agent", "new-session", "ana", "--no-wait").code == 4, "one thing at a time"
    assert mel("agent", "take-back", "ana").out == "ana: taken back\n"
    assert mel("agent", "show", "ana", "--json").json["pending"] is None
    hive.end_turn(turn)


def test_a_message_is_sent_and_its_answer_read(hive: ServedHive, mel: Mel) -> None:
    """The story's middle: send, inbox --wait; --json reads without marking."""
    sent = mel("send", "ana", "please", "look", "--json").json
    assert mel("mail", "show", f"m{sent['id']}", "--json").json["body"] == "please look"
    hive.agent_says("ana", "looked")
    items: list[Any] = []
    for _ in range(2):
        items = mel("inbox", "--wait", "5", "--json").json["items"]
        assert [(item["sender"], item["body"], item["state"]) for item in items] == [("ana", "looked", "waiting")]
    assert "looked" in mel("inbox").out
    assert mel("inbox", "--read", f"m{items[0]['id']}").code == 0
    assert mel("inbox", "--wait", "0", "--json").json["items"] == []
    assert mel("inbox", "--json").json["items"][0]["state"] == "handled"


def test_waiting_ends_when_mail_comes_or_the_time_is_up(hive: ServedHive, mel: Mel) -> None:
    """D-39: an empty list and exit code 0 when nothing came."""
    said = mel("inbox", "--wait", "0.2", "--json")
    assert (said.code, said.json["items"]) == (0, [])
    timer = threading.Timer(0.3, lambda: hive.agent_says("ana", "late"))
    timer.start()
    assert mel("inbox", "--wait", "20", "--json").json["items"][0]["body"] == "late"
    timer.join()


def test_standard_input_is_a_body(hive: ServedHive, mel: Mel, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mel send ana -`."""
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
    sent = mel("send", "ana", "-", "--json").json
    assert mel("mail", "show", str(sent["id"]), "--json").json["body"] == "from a pipe\n"


def test_the_status_has_the_promised_names(hive: ServedHive, mel: Mel) -> None:
    """Issue 3: daemon.pid, daemon.version, api; for people, what needs them comes first."""
    state = mel("status", "--json").json
    assert state["daemon"]["pid"]
    assert state["daemon"]["version"]
    assert state["api"] == f"http://127.0.0.1:{hive.port}"
    hive.agent_says("ana", "look at me")
    lines = mel("status").out.splitlines()
    assert "unread" in lines[0]
    assert any(line.startswith("ana") for line in lines)


def test_turns_log_and_interrupt(hive: ServedHive, mel: Mel) -> None:
    """D-38: both forms of an id; `mel log` of an agent and of a turn."""
    turn = hive.open_turn("ana")
    events = [
        {"type": "text", "text": "thinking about it"},
        {"type": "tool_call", "id": "1", "name": "Bash", "input": {"command": "pytest -q"}},
        {"type": "tool_result", "id": "1", "ok": True, "text": "5 passed"},
    ]
    hive.grow(turn, "".join(json.dumps({"offset": 1, "at": 2, "event": event}) + "\n" for event in events))
    assert mel("interrupt", "ana").code == 0
    assert hive.turns.interrupted == [("operator", "ana")]
    hive.end_turn(turn)
    item = mel("turns", "ana", "--json").json["items"][0]
    assert (item["id"], item["agent"], item["result"]) == (turn, "ana", "ok")
    for name in ("ana", "t1", "1"):
        said = mel("log", name).out
        assert "thinking about it" in said
        assert "Bash" in said
        assert "pytest -q" in said
        assert "5 passed" in said
    lines = mel("log", "ana", "--json").out.splitlines()
    assert [json.loads(line)["event"]["type"] for line in lines] == ["text", "tool_call", "tool_result"]


def test_events_are_listed_from_both_ends(hive: ServedHive, mel: Mel) -> None:
    """Issue 3: `mel events [--after N]`; an event has id, kind, at."""
    mel("send", "ana", "x")
    items = mel("events", "--json").json["items"]
    assert [item["id"] for item in items] == [2, 1]
    assert [item["id"] for item in mel("events", "--after", "1", "--json").json["items"]] == [2]
    assert {"id", "kind", "at"} <= items[0].keys()
    assert "message.sent" in mel("events").out
    assert mel("events", "--verify").code == 0


def test_lists_come_in_pages(hive: ServedHive, mel: Mel) -> None:
    """D-38: --limit and --next."""
    for number in range(5):
        mel("send", "ana", str(number))
    first = mel("mail", "--limit", "3", "--json").json
    assert [item["body"] for item in first["items"]] == ["4", "3", "2"]
    rest = mel("mail", "--limit", "3", "--next", str(first["next"]), "--json").json
    assert ([item["body"] for item in rest["items"]], rest["next"]) == (["1", "0"], None)


@pytest.mark.parametrize("where", ["before", "after", "between"])
def test_common_options_stand_anywhere(hive: ServedHive, mel: Mel, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """D-38: --json, --data and --config before or after the subcommand."""
    monkeypatch.setenv("MEL_DATA", "/nonexistent")
    options = ["--json", "--data", str(hive.data), "--config", "/nonexistent.toml"]
    args = {
        "before": [*options, "agent", "list"],
        "after": ["agent", "list", *options],
        "between": ["agent", *options, "list"],
    }[where]
    assert mel(*args).json["items"][0]["name"] == "ana"


def test_a_purge_is_confirmed(hive: ServedHive, mel: Mel) -> None:
    """What cannot be taken back is asked for, or said with --yes."""
    said = mel("agent", "destroy", "ana", "--purge")
    assert said.code == 2
    assert "--yes" in said.err
    assert mel("agent", "show", "ana").code == 0


def test_login_links_and_sessions(hive: ServedHive, mel: Mel) -> None:
    """One line that is a link; sessions can be listed."""
    said = mel("login")
    assert said.out.strip().startswith(f"http://127.0.0.1:{hive.port}/login#")
    assert len(said.out.splitlines()) == 1
    assert mel("login", "--list", "--json").json["items"] == []
    assert mel("login", "--revoke", "0123456789abcdef").code == 3


def test_up_on_a_running_hive_prints_a_link_and_down_asks_it_to_end(hive: ServedHive, mel: Mel) -> None:
    """D-2."""
    said = mel("up", "--detach")
    assert said.code == 0
    assert said.out.strip().startswith("http://127.0.0.1:")
    assert json.loads(mel("up", "--detach", "--json").out)["api"] == f"http://127.0.0.1:{hive.port}"


def test_doctor_fails_when_a_check_does(hive: ServedHive, mel: Mel) -> None:
    """The exit code says whether a hive can run."""
    assert mel("doctor", "--json").json["items"][0]["ok"] == "yes"
    assert mel("doctor").code == 0


def test_why_says_what_the_daemon_says(hive: ServedHive, mel: Mel) -> None:
    """`mel why NAME`."""
    assert mel("why", "ana").out == "nothing to do\n"
    assert mel("why", "ana", "--json").json["next"] == "mail"
