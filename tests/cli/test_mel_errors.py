"""Exit codes (D-5), errors in three parts, and what works without a daemon (D-4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from melipona.testing.served import ServedHive, served

Mel = Any


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["agent", "show", "zed"], 3),
        (["send", "zed", "x"], 3),
        (["mail", "show", "m99"], 3),
        (["agent", "new", "ana", "--engine", "playbook"], 4),
        (["interrupt", "idle"], 4),
        (["agent", "new", "Bad Name", "--engine", "playbook"], 2),
        (["agent", "new", "ben", "--engine", "gpt"], 2),
        (["agent", "new", "operator", "--engine", "playbook"], 2),
        (["statsu"], 2),
        (["send"], 2),
        (["mail", "show", "x"], 2),
        (["log", "ana"], 3),
        (["inbox", "m1"], 2),
    ],
)
def test_exit_codes_tell_the_kind(hive: ServedHive, mel: Mel, args: list[str], code: int) -> None:
    """D-5; and each error says three things on stderr, none on stdout."""
    hive.client.post("/agents", {"name": "idle", "engine": "playbook"})
    said = mel(*args)
    assert said.code == code
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0].startswith("mel: ")
    assert any("nothing was changed" in line for line in lines)
    assert len(lines) == 3


def test_an_error_with_json_is_json(hive: ServedHive, mel: Mel) -> None:
    """Programs read the code, the remedy and the exit code."""
    error = json.loads(mel("agent", "show", "zed", "--json").err)["error"]
    assert (error["code"], error["exit"]) == ("no_such_agent", 3)
    assert error["remedy"]


def test_a_misspelt_command_suggests_the_right_one(mel: Mel) -> None:
    """Errors say what to do."""
    assert "mel status" in mel("statsu").err


@pytest.mark.parametrize(
    "args",
    [
        ["send", "ana", "x"],
        ["inbox"],
        ["agent", "list"],
        ["agent", "new", "ana", "--engine", "playbook"],
        ["turns"],
        ["log", "ana"],
        ["interrupt", "ana"],
        ["login"],
        ["down"],
        ["mail", "retry", "m1"],
    ],
)
def test_without_a_daemon_acting_commands_exit_5_with_the_command_to_type(mel: Mel, args: list[str]) -> None:
    """D-4."""
    said = mel(*args)
    assert said.code == 5
    assert "mel up" in said.err


def test_without_a_daemon_looking_commands_read_the_store_and_say_so(data: Path, mel: Mel) -> None:
    """D-4: status, events, mail, why; the same shapes as from the daemon, and nothing is changed."""
    with served(data) as hive:
        hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
        hive.client.post_keyed("/messages", {"to": "ana", "body": "waits for you"})
        live = {path: mel(*path.split(), "--json").json for path in ("status", "mail", "events", "mail show m1")}
    before = (data / "mel.db").read_bytes()
    for path, answer in live.items():
        said = mel(*path.split(), "--json")
        assert said.code == 0, said.err
        assert "no daemon runs" in said.err
        if path == "status":
            assert said.json["daemon"] is None
            assert said.json["api"] is None
            assert said.json["agents"][0].keys() == answer["agents"][0].keys()
            assert said.json.keys() == answer.keys()
        else:
            assert said.json == answer
    assert "waits" in mel("status").out or "queued" in mel("status").out
    assert mel("why", "ana").code == 0
    assert mel("why", "m1", "--json").json["subject"] == "m1"
    assert mel("why", "zed").code == 3
    assert mel("events", "--verify").code == 0
    assert (data / "mel.db").read_bytes() == before


def test_a_backup_needs_no_daemon_and_goes_into_an_empty_folder(data: Path, mel: Mel, tmp_path: Path) -> None:
    """D-4, D-35: what was written comes back; a running or used folder is refused."""
    archive, other = tmp_path / "hive.tar.gz", tmp_path / "other"
    with served(data) as hive:
        hive.client.post("/agents", {"name": "ana", "engine": "playbook"})
        assert mel("restore", str(__file__)).code == 4
    said = mel("backup", str(archive), "--json")
    assert (said.code, said.json["events"]) == (0, 1)
    assert mel("backup", str(archive)).code == 4
    assert mel("restore", str(archive)).code == 4
    assert mel("restore", str(archive), "--data", str(other)).code == 0
    assert mel("status", "--json", "--data", str(other)).json["agents"][0]["name"] == "ana"
    before, after = (mel("status", "--json", "--data", str(folder)).json["store"] for folder in (data, other))
    assert before != after


def test_a_folder_without_a_hive_is_told(mel: Mel) -> None:
    """D-4: nothing to read is exit code 5 as well."""
    for command in ("status", "mail", "events"):
        said = mel(command)
        assert said.code == 5
        assert "there is no hive" in said.err
