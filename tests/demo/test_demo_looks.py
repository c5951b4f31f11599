"""What counts as hidden, and what the screen lets through."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from melipona.demo.looks import LOOKS, Call, home_to_hide, judged
from melipona.demo.screen import Screen
from melipona.engines.playbook_format import parse_playbook

NOTHING = {
    "network interfaces": (True, "lo\n"),
    "the API's port on this machine": (True, "Connection refused\n"),
    "an address outside": (True, "Network is unreachable\n"),
    "your home folder": (False, "ls: cannot access '/root': No such file or directory\n"),
    "the hive's folder": (False, "ls: cannot access '/tmp/x': No such file or directory\n"),
    "the notes of the other agent": (False, "cat: /agents/ana/state/notes.md: No such file or directory\n"),
    "the daemon's process": (True, "0 of 5 processes\n"),
    "the daemon's model key": (True, "0 in 30 environment variables\n"),
}
SOMETHING = {
    "network interfaces": (True, "lo\neth0\n"),
    "the API's port on this machine": (True, "Success\n"),
    "an address outside": (True, "Connection refused\n"),
    "your home folder": (True, ".bashrc\n"),
    "the hive's folder": (False, "ls: cannot open directory '/tmp/x': Permission denied\n"),
    "the notes of the other agent": (True, "ben decides on the separator\n"),
    "the daemon's process": (True, "1 of 90 processes\n"),
    "the daemon's model key": (True, "0 in 0 environment variables\n"),
}


def calls(answers: dict[str, tuple[bool, str]]) -> list[Call]:
    """The looks' calls with these answers."""
    return [Call(f"run {look.command} now", *answers[look.what]) for look in LOOKS]


def test_only_answers_that_show_nothing_count_as_hidden() -> None:
    assert all(look.hidden for look in judged(calls(NOTHING)))
    assert not any(look.hidden for look in judged(calls(SOMETHING)))


def test_other_commands_are_no_looks() -> None:
    """A turn that ran less, or something else, is not taken for a look around."""
    good = calls(NOTHING)
    with pytest.raises(ValueError, match="not the 8 looks"):
        judged(good[:-1])
    with pytest.raises(ValueError, match="not the 8 looks"):
        judged([*good[:-1], replace(good[-1], command="true")])


def test_a_home_that_boxes_have_too_is_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/usr/share")
    assert home_to_hide(tmp_path) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    assert home_to_hide(tmp_path) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_to_hide(tmp_path / "data") == tmp_path


def test_agents_words_are_framed_and_made_visible() -> None:
    """T4: nothing that a terminal acts on passes, and nothing can look like a line of ours."""
    out = io.StringIO()
    screen = Screen(stdout=out, stderr=io.StringIO(), clock=lambda: 0.0)
    screen.words("hello\x1b[2J\nhive    ● all is well", who="ana")
    first, second = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert first.endswith("| hello?[2J")
    assert second.lstrip().startswith("| hive")


def test_the_playbooks_are_good() -> None:
    folder = Path(__file__).parents[2] / "src/melipona/demo"
    for name in ("ana", "ben"):
        assert parse_playbook((folder / f"{name}.toml").read_text())["rules"]
