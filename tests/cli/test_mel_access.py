"""`mel token`, `mel people`, `mel login --for`: who may come in, from the command line."""

from __future__ import annotations

from typing import Any

from melipona.testing.served import ServedHive

Mel = Any


def test_a_token_is_printed_once_listed_and_revoked(hive: ServedHive, mel: Mel) -> None:
    """The token alone on stdout, so that a script can take it; approve only where it is asked for."""
    made = mel("token", "new", "deploy", "--days", "7")
    assert made.out.startswith("mel_")
    assert made.out.count("\n") == 1
    assert "shown this once" in made.err
    (listed,) = mel("token", "list", "--json").json["items"]
    assert (listed["name"], listed["person"], listed["scopes"]) == ("deploy", "owner", ["act", "read"])
    secret = made.out.strip().split("_", 2)[2]
    shown = mel("token", "list").out
    assert "deploy" in shown
    assert "never" in shown
    assert secret not in shown
    assert mel("token", "revoke", "deploy").code == 0
    assert mel("token", "list").out == "no tokens\n"
    assert mel("token", "revoke", "deploy").code == 3
    assert mel("token", "new", "x", "--scope", "read,everything").code == 2
    assert mel("token", "new", "x", "--days", "91").code == 2


def test_people_are_added_moved_and_shut_out(hive: ServedHive, mel: Mel) -> None:
    assert mel("people", "add", "mara").out == "mara is viewer\n"
    assert mel("people", "add", "mara").code == 4
    assert mel("people", "add", "operator").code == 2
    assert mel("people", "role", "mara", "operator", "--json").json["role"] == "operator"
    assert mel("login", "--for", "mara").out.startswith(f"http://127.0.0.1:{hive.port}/login#")
    assert mel("people", "disable", "mara").out == "mara may not come in any more\n"
    refused = mel("login", "--for", "mara")
    assert refused.code == 4
    assert "mel people enable mara" in refused.err
    assert mel("people", "enable", "mara").code == 0
    assert mel("people", "disable", "owner").code == 4
    assert mel("people", "role", "nobody", "admin").code == 3
    listed = mel("people", "list").out
    assert "owner" in listed
    assert "mara" in listed
