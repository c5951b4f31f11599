"""The life of agents in a whole hive: verbs, waiting, limits, failures (D-18, D-19, D-25, OP-1, OP-9, I-4, I-7)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from melipona.client import Problem
from melipona.testing.hive import QUICK, HiveProcess, running_hive

pytestmark = pytest.mark.boxes

HOLD = """
[[rule]]
body = "hold"
steps = [{ hold = "/ws/go", timeout = 100 }, { send = "went on" }]

[[rule]]
body = "receive"
steps = [{ receive = 100, into = "got" }, { send = "got {got}" }]

[[rule]]
body = "fail"
steps = [{ fail = "I cannot" }]

[[rule]]
from = "system"
steps = [{ say = "seen" }]

[[rule]]
steps = [{ send = "heard: {body}" }]
"""


def in_tool(hive: HiveProcess, name: str, *, turn: int = 1) -> int:
    """Wait until the agent's `turn`-th turn is inside a tool; its number."""
    number = int(hive.wait_for("turn.started", lambda e: e["agent"] == name, count=turn)["data"]["id"])
    for _name, _id, data in hive.client.stream(f"/turns/{number}/stream"):
        if data.get("event", {}).get("type") == "tool_call":
            return number
    raise AssertionError("the turn ended without a tool call")


def state(hive: HiveProcess, name: str) -> tuple[str, str | None]:
    shown = hive.client.get(f"/agents/{name}")
    return shown["state"], shown["reason"]


def ended(hive: HiveProcess, name: str, *, count: int = 1) -> str:
    return str(hive.wait_for("turn.ended", lambda e: e["agent"] == name, count=count)["data"]["result"])


def test_an_interrupt_ends_the_turn_and_holds_its_mail_until_the_operator_acts(hive: HiveProcess) -> None:
    """D-18: given back, no failure, wakes nobody; `why` says so; the operator's next word wakes it with all of it."""
    hive.agent("ana", playbook=HOLD)
    message = hive.send("ana", "hold")
    in_tool(hive, "ana")
    hive.client.post("/agents/ana/interrupt")
    assert ended(hive, "ana") == "interrupted"
    after = hive.message(message)
    assert (after["state"], after["attempts"]) == ("waiting", 1)
    assert state(hive, "ana") == ("paused", "interrupted")
    assert "interrupt" in hive.client.get("/why/ana")["text"]
    (hive.work("ana") / "go").touch()
    hive.client.post("/agents/ana/resume")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
    assert "went on" in hive.answers("ana")


def test_a_turn_that_waits_in_receive_gives_its_slot_back(tmp_path: Path) -> None:
    """D-19, BR-3: with one slot the peer runs meanwhile, and its mail ends the wait at once."""
    with running_hive(tmp_path, config=QUICK + "[turns]\ncap = 1\n") as hive:
        hive.agent("ana", playbook=HOLD)
        hive.agent("ben", playbook='[[rule]]\nfrom = "operator"\nsteps = [{ send = "from ben", to = "ana" }]\n')
        hive.send("ana", "receive")
        hive.wait_for("turn.waiting", lambda e: e["agent"] == "ana")
        assert state(hive, "ana") == ("waiting", "receive")
        hive.send("ben", "write to ana")
        assert ended(hive, "ben") == "ok"
        assert ended(hive, "ana") == "ok"
        assert any("from ben" in body for body in hive.answers("ana"))
        assert hive.count("turn.started", lambda e: e["agent"] == "ana") == 1


def test_a_parked_receive_survives_the_daemon(hive: HiveProcess) -> None:
    """D-16, D-19: boxd's relay asks the next daemon again; the wait goes on and takes the mail once."""
    hive.agent("ana", playbook=HOLD)
    first = hive.send("ana", "receive")
    hive.wait_for("turn.waiting")
    hive.kill()
    hive.start()
    hive.wait_for("turn.waiting", count=2)
    second = hive.send("ana", "news")
    assert ended(hive, "ana") == "ok"
    assert [hive.message(m)["state"] for m in (first, second)] == ["handled", "handled"]
    assert [hive.message(m)["attempts"] for m in (first, second)] == [1, 1]
    assert any("news" in body for body in hive.answers("ana"))


def test_stop_ends_the_turn_and_start_wakes_it_once(hive: HiveProcess) -> None:
    """D-25, BR-7, BR-11, invariant 4: no kick after stop, one after start; mail waits in between."""
    hive.agent("ana", playbook=HOLD)
    message = hive.send("ana", "hold")
    in_tool(hive, "ana")
    hive.client.post("/agents/ana/stop")
    hive.wait_for("operation.ended", lambda e: e["data"]["kind"] == "stopping")
    assert hive.boxes() == []
    assert state(hive, "ana") == ("off", "stopped")
    assert hive.message(message)["state"] == "waiting"
    late = hive.send("ana", "while stopped")
    (hive.work("ana") / "go").touch()
    hive.client.post("/agents/ana/start")
    for identifier in (message, late):
        hive.wait_for("message.handled", lambda e, m=identifier: e["subject"] == f"m{m}")
    kicks = [m for m in hive.client.get("/messages", limit=50)["items"] if m["kind"] == "kick"]
    assert len(kicks) == 1
    assert "/agents/ana/state" in kicks[0]["body"]


def test_pause_lets_the_turn_finish_and_queues_what_comes(hive: HiveProcess) -> None:
    """OP-9: delivered in order on resume."""
    hive.agent("ana", playbook=HOLD)
    hive.send("ana", "hold")
    in_tool(hive, "ana")
    hive.client.post("/agents/ana/pause")
    (hive.work("ana") / "go").touch()
    assert ended(hive, "ana") == "ok"
    waiting = [hive.send("ana", f"number {n}") for n in range(3)]
    assert state(hive, "ana")[0] == "paused"
    assert [hive.message(m)["state"] for m in waiting] == ["waiting"] * 3
    hive.client.post("/agents/ana/resume")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{waiting[-1]}")
    heard = [body for body in hive.answers("ana") if body.startswith("heard: number")]
    assert heard == [f"heard: number {n}" for n in range(3)]


def test_mail_that_fails_too_often_is_parked_and_can_be_retried(tmp_path: Path) -> None:
    """D-18, I-4: visible, told once, and only a person brings it back."""
    with running_hive(tmp_path, config=QUICK + "[mail]\nattempts = 2\nbackoff = [0.05]\n") as hive:
        hive.agent("ana", playbook=HOLD)
        message = hive.send("ana", "fail please")
        hive.wait_for("message.parked")
        assert hive.message(message)["state"] == "parked"
        assert state(hive, "ana") == ("stuck", "parked_mail")
        notices = [m for m in hive.client.get("/messages", limit=50)["items"] if m["sender"] == "system"]
        assert len(notices) == 1
        assert f"m{message}" in notices[0]["body"]
        hive.client.patch("/agents/ana", {"playbook": None})
        hive.client.post(f"/messages/{message}/retry")
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{message}")
        assert hive.answers("ana") == ["heard: fail please"]


def test_idle_engines_and_boxes_stop_and_the_next_message_resumes_the_session(tmp_path: Path) -> None:
    """D-25: an idle stop changes no wish and kicks nobody."""
    config = QUICK + "idle = 0.3\n[turns]\nengine_idle = 0.1\n"
    with running_hive(tmp_path, config=config) as hive:
        hive.agent("ana", playbook='[[rule]]\nsteps = [{ send = "turn {turn} of {session}" }]\n')
        hive.send("ana", "one")
        gone = hive.wait_for("box.gone")
        assert gone["data"]["why"] == "idle"
        assert state(hive, "ana") == ("idle", None)
        hive.send("ana", "two")
        hive.wait_for("message.handled", count=2)
        first, second = hive.answers("ana")
        assert first.startswith("turn 1 of ")
        assert second == first.replace("turn 1", "turn 2")
        assert hive.count("agent.crashed") == 0


def test_destroy_keeps_notes_and_purge_keeps_nothing(hive: HiveProcess) -> None:
    """LC-7, LC-8, TB-1..TB-3, invariants 35 and 36."""
    note = """
[[rule]]
body = "note"
steps = [
  { shell = "echo mine >> /agents/ana/state/n; cat /agents/ana/state/n", into = "n" },
  { send = "{n}" },
]
"""
    hive.agent("ana", playbook=note)
    hive.send("ana", "note")
    hive.wait_for("turn.ended")
    hive.client.post("/agents/ana/destroy")
    hive.wait_for("operation.ended", lambda e: e["data"]["kind"] == "destroying")
    assert hive.boxes() == []
    with pytest.raises(Problem, match="destroyed"):
        hive.send("ana", "anyone?")
    hive.agent("ana", playbook=note)
    hive.send("ana", "note")
    hive.wait_for("turn.ended", count=2)
    hive.client.post("/agents/ana/purge")
    hive.wait_for("operation.ended", lambda e: e["data"]["kind"] == "purging")
    assert not (hive.data / "agents" / "ana").exists()
    assert not (hive.data / "homes" / hive.ids["ana"]).exists()
    hive.agent("ana", playbook=note)
    hive.send("ana", "note")
    hive.wait_for("turn.ended", count=3)
    assert [body.split() for body in hive.answers("ana")] == [["mine"], ["mine", "mine"], ["mine"]]


def test_the_cap_holds_and_turns_are_admitted_first_come_first_served(tmp_path: Path) -> None:
    """I-7: at most cap running; FIFO among the waiting."""
    with running_hive(tmp_path, config=QUICK + "[turns]\ncap = 1\n") as hive:
        names = ["ana", "ben", "cleo", "dora"]
        for name in names:
            hive.agent(name, playbook=HOLD)
        hive.send("ana", "hold")
        in_tool(hive, "ana")
        for name in names[1:]:
            hive.send(name, "hello")
        assert state(hive, "dora") == ("queued", "behind_cap")
        (hive.work("ana") / "go").touch()
        assert ended(hive, "dora") == "ok"
        started = [e["agent"] for e in hive.seen if e["kind"] == "turn.started"]
        assert started == names


def test_a_long_body_is_a_file_that_its_recipient_can_read(hive: HiveProcess) -> None:
    """OP-1, BR-2, invariants 5 and 7."""
    read = '[[rule]]\nsteps = [{ shell = "wc -c < /agents/ana/inbox/1.md", into = "n" }, { send = "{n}" }]\n'
    hive.agent("ana", playbook=read)
    body = "line of text\n" * 2000
    message = hive.send("ana", body)
    hive.wait_for("turn.ended")
    assert hive.answers("ana")[0].strip() == str(len(body))
    shown = hive.client.get(f"/messages/{message}")
    assert shown["body_path"] == "/agents/ana/inbox/1.md"
    with pytest.raises(Problem, match=r"1048576|1 MiB"):
        hive.send("ana", "x" * (1 << 20) + "x")


def test_a_broadcast_reaches_every_agent_but_its_sender(hive: HiveProcess) -> None:
    """D-20, TD-4."""
    hive.agent("ana", playbook='[[rule]]\nfrom = "operator"\nsteps = [{ send = "all hands", to = "*" }]\n')
    for name in ("ben", "cleo"):
        hive.agent(
            name, playbook='[[rule]]\nkind = "broadcast"\nsteps = [{ send = "{agent} got {body}", to = "operator" }]\n'
        )
    hive.send("ana", "tell them")
    for name in ("ben", "cleo"):
        assert ended(hive, name) == "ok"
    assert sorted(hive.answers("ben", "cleo")) == ["ben got all hands", "cleo got all hands"]
    assert hive.count("message.sent", lambda e: e["data"]["kind"] == "broadcast") == 2


def test_an_engine_that_floods_one_line_ends_its_turn_and_nothing_else(hive: HiveProcess) -> None:
    """D-15, T7: `output limit`."""
    line = "x" * 80
    hive.agent("ana", playbook=f'[[rule]]\nsteps = [{{ raw = "{line}", times = 1000000 }}]\n')
    hive.agent("ben")
    hive.send("ana", "flood")
    hive.send("ben", "hello")
    assert ended(hive, "ben") == "ok"
    lost = hive.wait_for("turn.ended", lambda e: e["agent"] == "ana")
    assert (lost["data"]["result"], lost["data"]["reason"]) == ("failed", "output_limit")


def test_a_turn_that_takes_too_long_is_interrupted_and_its_mail_given_back(tmp_path: Path) -> None:
    config = QUICK + "[turns]\ntotal = 1.5\ninterrupt_grace = 5\n"
    with running_hive(tmp_path, config=config) as hive:
        hive.agent("ana", playbook=HOLD)
        message = hive.send("ana", "hold")
        over = hive.wait_for("turn.ended")
        assert (over["data"]["result"], over["data"]["reason"]) == ("failed", "time_total")
        back = hive.wait_for("message.given_back")
        assert back["subject"] == f"m{message}"
        assert back["data"]["failures"] == 1


def test_coming_down_while_a_box_starts_ends_its_turn_and_leaves_no_box(tmp_path: Path) -> None:
    """D-2: `mel down` ends every turn, also one whose box is on its way, and no start of a box outlives it."""
    hive = HiveProcess(tmp_path / "hive")
    hive.start()
    try:
        for attempt in range(1, 5):
            hive.agent(f"ana-{attempt}")
            hive.send(f"ana-{attempt}", "hello")
            hive.wait_for("box.starting", count=attempt)
            assert hive.down() == 0
            assert hive.boxes() == []
            with closing(sqlite3.connect(f"file:{hive.data / 'mel.db'}?mode=ro", uri=True)) as c:
                assert c.execute("SELECT count(*) FROM turns WHERE result IS NULL").fetchall() == [(0,)]
                assert c.execute("SELECT count(*) FROM boxes WHERE state != 'gone'").fetchall() == [(0,)]
            hive.start()
            hive.wait_for("turn.ended", lambda e: e["data"]["result"] == "ok", count=attempt)
    finally:
        hive.close()
