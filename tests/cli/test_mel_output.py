"""What reaches a terminal: no control characters of agents (T4), tables that fit, glyphs or letters, JSON as JSON."""

from __future__ import annotations

import io
import json
import unicodedata
from typing import Any

import pytest

from melipona.cli.out import GLYPHS, NEED, Cell, Column, Out, json_text, width
from melipona.cli.status import agent_table, sentence
from melipona.client import Json
from melipona.testing.served import ServedHive

Mel = Any
HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b[31mred\x9b2K\u202egnp\u200b\u2028\x00end\r\b"
ARGS = [
    ["status"],
    ["inbox"],
    ["inbox", "--wait", "1"],
    ["mail"],
    ["mail", "parked"],
    ["mail", "show", "m1"],
    ["turns"],
    ["turns", "ana"],
    ["log", "ana"],
    ["events"],
    ["agent", "list"],
    ["agent", "show", "ana"],
    ["why", "ana"],
    ["doctor"],
]


class Terminal(io.StringIO):
    """Says that it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def _hostile(hive: ServedHive) -> None:
    """Hostile words in every place that an agent, or a turn, writes to."""
    from sqlalchemy import update

    from melipona.store.schema import agents, messages, turns

    hive.agent_says("ana", HOSTILE)
    turn = hive.open_turn("ana")
    kinds = [
        {"type": "text", "text": HOSTILE},
        {"type": "tool_call", "id": "1", "name": HOSTILE, "input": {HOSTILE: HOSTILE}},
        {"type": "tool_result", "id": "1", "ok": False, "text": HOSTILE},
        {"type": HOSTILE, "what": [HOSTILE]},
    ]
    hive.grow(turn, "".join(json.dumps({"offset": 1, "at": 2, "event": kind}) + "\n" for kind in kinds))
    hive.end_turn(turn)
    trouble = {"status_text": HOSTILE, "status_at": 1, "model": HOSTILE, "trouble": "x", "trouble_detail": HOSTILE}
    cause = json.dumps({"kind": HOSTILE, "from": [HOSTILE]})
    hive.write(lambda c: c.execute(update(agents).values(**trouble)) and None)
    hive.write(lambda c: c.execute(update(turns).values(reason=HOSTILE, cause=cause)) and None)
    hive.write(lambda c: c.execute(update(messages).values(last_error=HOSTILE)) and None)


@pytest.mark.parametrize("args", ARGS, ids=" ".join)
@pytest.mark.parametrize("json_option", [False, True], ids=["people", "json"])
@pytest.mark.threat("T4")
def test_no_control_character_of_an_agent_reaches_the_terminal(
    hive: ServedHive, mel: Mel, args: list[str], json_option: bool
) -> None:
    """T4, T26, T36: through every printer, --json included."""
    _hostile(hive)
    said = mel(*args, *(["--json"] if json_option else []))
    assert said.code in (0, 1), said.err
    for text in (said.out, said.err):
        bad = {ch for ch in text if unicodedata.category(ch) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")} - {"\n"}
        assert not bad, (args, bad)


def test_json_still_says_exactly_what_was_written(hive: ServedHive, mel: Mel) -> None:
    """Escaped, not changed."""
    hive.agent_says("ana", HOSTILE + "äöü日本")
    assert mel("inbox", "--json").json["items"][0]["body"] == HOSTILE + "äöü日本"
    assert "äöü日本" in mel("inbox", "--json").out


@pytest.mark.parametrize("text", ["\x7f", "\u009b", "\ud800", "\U000e0001", "é", "\u2066"])
def test_json_text_escapes_what_terminals_act_on(text: str) -> None:
    """Also outside the basic plane, and lone surrogates."""
    shown = json_text({"a": text})
    assert json.loads(shown) == {"a": text}
    assert shown.isprintable()


def test_colours_only_on_a_terminal_and_not_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR; and what is coloured has passed `visible` before."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    Out(stdout=terminal).line(Cell("a\x1b[2J", "red"))
    assert terminal.getvalue() == "\x1b[31ma␛[2J\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Out(stdout=plain).line(Cell("a", "red"))
    assert plain.getvalue() == "a\n"
    piped = io.StringIO()
    Out(stdout=piped).line(Cell("a", "red"))
    assert piped.getvalue() == "a\n"


def test_states_have_letters_where_glyphs_cannot_be_shown() -> None:
    """DESIGN.md: NO_COLOR and terminals without Unicode; an unknown state is shown as it is (LE-15)."""

    class Ascii(io.StringIO):
        encoding = "ascii"

    plain = Ascii()
    out = Out(stdout=plain)
    for state in [*GLYPHS, "dreaming"]:
        out.line(out.state(state))
    out.words("ä")
    assert plain.getvalue().isascii()
    assert [line[0] for line in plain.getvalue().splitlines()[:11]] == [*"NWqw-P!X~.?"]


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_tables_never_wrap(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Cut to the terminal's width, aligned, wide characters counted as two."""
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [["ana", "日本語" * 20, "12"], ["a-very-long-name-of-an-agent", "words " * 40, "1234567"]]
    Out(stdout=terminal).table([Column("agent"), Column("what", wide=True), Column("n", right=True)], rows)
    lines = terminal.getvalue().splitlines()
    assert all(width(line) <= columns for line in lines)
    assert len({width(line) for line in lines}) == 1
    assert len(lines) == 3


def test_showing_mail_on_a_terminal_marks_it_as_read(
    hive: ServedHive, mel: Mel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-39: `mel inbox` on a terminal, and only there."""
    hive.agent_says("ana", "read me")
    mel("inbox")
    assert mel("inbox", "--json").json["items"][0]["state"] == "waiting"
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", terminal)
        mel("inbox")
    assert "read me" in terminal.getvalue()
    assert mel("inbox", "--json").json["items"][0]["state"] == "handled"


def test_the_status_fits_one_screen_with_those_in_need_on_top(
    hive: ServedHive, mel: Mel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN.md: also with many agents."""
    for number in range(40):
        hive.client.post("/agents", {"name": f"worker-{number}", "engine": "playbook"})
    hive.client.post("/agents/worker-33/pause")
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", terminal)
        patch.setenv("LINES", "24")
        patch.setenv("NO_COLOR", "1")
        patch.setenv("COLUMNS", "100")
        mel("status")
    lines = terminal.getvalue().splitlines()
    assert len(lines) < 24
    assert "more: mel agent list" in lines[-1]
    assert mel("status").out.count("worker-") == 40


def test_the_status_shows_what_is_wrong_above_what_runs_and_says_how_many_need_you() -> None:
    """DESIGN.md: sorted by need, then by change, as on the page; a state from a newer hive is not hidden (LE-15)."""
    order = ["needs_you", "newer", *NEED[1:]]
    agents = [_row(f"a-{state}".replace("_", "-"), state) for state in reversed(order)]
    agents += [_row("b-stuck", "stuck", since="2026-11-30T12:00:01Z"), _row("b-needs", "needs_you")]
    out = io.StringIO()
    agent_table(Out(stdout=out), agents)
    assert set(NEED) == set(GLYPHS)
    names = [line.split()[0] for line in out.getvalue().splitlines()[1:]]
    assert names[:2] == ["a-needs-you", "b-needs"]
    assert set(names[2:4]) == {"a-newer", "a-failed"}
    assert names[4:] == ["b-stuck", "a-stuck", *(f"a-{state}" for state in NEED[3:])]
    assert sentence(agents).startswith("13 agents, 2 need you, 1 failed, 2 stuck, 1 working")
    assert sentence(agents[-1:]) == "1 agent, 1 needs you"


def _row(name: str, state: str, since: str = "2026-11-30T12:00:00Z") -> Json:
    nothing = dict.fromkeys(("model", "detail", "status", "status_at", "until"))
    context = {"tokens": None, "window": None}
    counts = {"context": context, "waiting": 0, "spent_usd": 0}
    return {"name": name, "state": state, "since": since, "engine": "playbook", **nothing, **counts}
