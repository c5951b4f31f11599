"""`mel.toml`: every mistake is told, with the key that was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from melipona.errors import Invalid
from melipona.settings import load_settings, parse_settings


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[mial]\n", "mial: unknown key; did you mean 'mail'?"),
        ("[mail]\natempts = 3\n", "mail.atempts: unknown key; did you mean 'attempts'?"),
        ("[models.antropic]\n", "models.antropic: unknown key; did you mean 'anthropic'?"),
        ("[models.anthropic]\nbase_ur = 'x'\n", "did you mean 'base_url'?"),
        ("[turns]\nzzz = 1\n", "known here: adopt,"),
        ("[mail]\nattempts = 0\n", "mail.attempts"),
        ("[mail]\nattempts = 'five'\n", "mail.attempts"),
        ("[hive\n", "not valid TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    """Issue: unknown keys are errors with a suggestion."""
    path = tmp_path / "mel.toml"
    path.write_text(text)
    with pytest.raises(Invalid) as found:
        load_settings(path)
    assert told in found.value.message
    assert str(path) in found.value.message
    assert found.value.remedy


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(Invalid) as found:
        parse_settings({"mial": {}, "hive": {"prot": 1}})
    assert "'mail'" in found.value.message
    assert "'port'" in found.value.message


def test_a_file_that_is_missing_is_an_error_and_none_is_all_defaults(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        load_settings(tmp_path / "no.toml")
    assert load_settings(None) == parse_settings({})


def test_the_defaults_are_the_decided_ones() -> None:
    """D-26, D-30, D-18, BR-3, PR-1: what mel.toml says when it says nothing."""
    s = parse_settings({})
    assert s.hive.pronouns == "they/them"
    assert (s.mail.body_bytes, s.mail.body_max_bytes, s.mail.receive_max) == (1024, 1 << 20, 180)
    assert (s.mail.attempts, s.mail.backoff, s.mail.broadcasts_per_minute) == (5, (5, 30, 120, 600), 2)
    assert (s.mail.thread_hops, s.mail.thread_per_minute, s.mail.sends_per_minute) == (32, 30, 60)
    t, b = s.turns, s.boxes
    assert (t.total, t.silence, t.interrupt_grace, t.adopt, t.engine_idle) == (7200, 1200, 30, 30, 300)
    assert (t.rate_limit, t.log_bytes, t.log_days) == (300, 50 << 20, 30)
    assert (b.idle, b.start, b.memory_bytes, b.processes, b.open_files) == (600, 30, 4 << 30, 512, 4096)
    assert (b.file_size_bytes, b.disk_bytes, b.inodes, b.disk_sweep) == (2 << 30, 10 << 30, 500_000, 30)
    assert (b.orphan_busy, b.orphan_idle, b.owner_uid) == (86_400, 900, 64_000)
    assert (s.budgets.hive_usd_per_day, s.budgets.agent_usd_per_day, s.budgets.turns_per_hour) == (20, 0, 120)
    assert s.watch.every == 10
