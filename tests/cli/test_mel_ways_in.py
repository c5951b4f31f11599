"""`mel people identity` and `mel people passkeys` against a real daemon, and what the shell completes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from melipona.access.answers import packed
from melipona.testing.authenticator import Authenticator
from melipona.testing.crash_access import Page
from melipona.testing.hive import HiveProcess, running_hive

CONFIG = """
[access.oidc]
issuer = "https://provider.invalid"
client_id = "melipona"
"""


@dataclass(frozen=True)
class Said:
    """What the program said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    with running_hive(tmp_path_factory.mktemp("ways"), config=CONFIG) as hive:
        yield hive


@pytest.fixture
def mel(hive: HiveProcess) -> Callable[..., Said]:
    """The real program, as a shell starts it."""

    def call(*args: str, **env: str) -> Said:
        surroundings = {**os.environ, "MEL_DATA": str(hive.data), **env}
        argv = [sys.executable, "-m", "melipona.cli.main", *args]
        done = subprocess.run(argv, capture_output=True, text=True, env=surroundings, timeout=60, check=False)
        return Said(done.returncode, done.stdout, done.stderr)

    return call


Mel = Callable[..., Said]


def completed(mel: Mel, line: str) -> list[str]:
    """What the shell offers for the last word of a line."""
    said = mel(_MEL_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(line.split(" ")) - 1))
    return [item.partition(",")[2] for item in said.out.splitlines() if item]


class _Alive:
    """What a page asks of a rig: that the daemon is there."""

    def ensure(self) -> None:
        """It is."""


def add_passkeys(hive: HiveProcess, *labels: str) -> list[str]:
    """Passkeys of the owner, added by a page; their ids."""
    url = str(hive.client.post("/login-links")["url"])
    rig: Any = _Alive()
    page = Page(rig, int(url.partition("://")[2].partition("/")[0].rpartition(":")[2]))
    page.ask("GET", "/login")
    assert page.ask("POST", "/api/v1/login", {"token": url.partition("#")[2]})[0] == 200
    known: Authenticator | None = None
    made: list[str] = []
    for label in labels:
        status, options = page.ask("POST", "/api/v1/passkeys/options")
        if status == 403:
            assert known is not None
            needed = options["step_up"]
            page.ask("POST", "/api/v1/step-up", {"id": needed["id"], "answer": known.get(needed["options"])})
            options = page.ask("POST", "/api/v1/passkeys/options", None, needed["id"])[1]
        key = Authenticator(page.origin)
        assert page.ask("POST", "/api/v1/passkeys", {"label": label, "answer": key.create(options)})[0] == 201
        known = known or key
        made.append(packed(key.credential_id))
    return made


def test_accounts_are_added_listed_and_removed(hive: HiveProcess, mel: Mel) -> None:
    """By an address or a subject; every mistake says what to do, and ends with the code of its kind."""
    mel("people", "add", "ana")
    assert mel("people", "identity", "list", "ana").out == "no accounts\n"
    added = mel("people", "identity", "add", "ana", "--email", "Ana@example.org")
    assert (added.code, added.out) == (0, "Ana@example.org logs ana in, by https://provider.invalid\n")
    made = mel("people", "identity", "add", "ana", "--subject", "1234", "--json").json
    assert (made["subject"], made["email"], made["seen_at"]) == ("1234", None, None)
    listed = mel("people", "identity", "list", "ana").out
    assert "ana@example.org" in listed
    assert "1234" in listed
    assert listed.count("never") == 2
    again = mel("people", "identity", "add", "ana", "--subject", "1234")
    assert again.code == 4
    assert "mel people identity list" in again.err
    for wrong in ((), ("--email", "x", "--subject", "y"), ("--email", "everybody")):
        said = mel("people", "identity", "add", "ana", *wrong)
        assert said.code == 2, said
        assert said.err
    assert mel("people", "identity", "add", "nobody", "--subject", "5").code == 3
    assert made["id"] in completed(mel, "mel people identity remove ana ")
    assert mel("people", "identity", "remove", "ana", made["id"]).out == "it logs ana in no more\n"
    gone = mel("people", "identity", "remove", "ana", made["id"])
    assert gone.code == 3
    assert "mel people identity list ana" in gone.err
    left = mel("people", "identity", "list", "ana", "--json").json["items"]
    assert [item["email"] for item in left] == ["ana@example.org"]
    removed = mel("people", "identity", "remove", "ana", left[0]["id"], "--json").json
    assert removed == {"id": left[0]["id"], "removed": True}


def test_passkeys_are_listed_and_revoked_by_label_or_id(hive: HiveProcess, mel: Mel) -> None:
    assert mel("people", "passkeys", "owner").out.startswith("no passkeys\n")
    first, second, third = add_passkeys(hive, "my laptop", "blue key", "blue key")
    shown = mel("people", "passkeys", "owner").out
    assert "my laptop" in shown
    assert "localhost" in shown
    assert "0 recovery codes; login links are on" in shown
    listed = mel("people", "passkeys", "owner", "--json").json
    assert {item["id"] for item in listed["items"]} == {first, second, third}
    assert (listed["codes"], listed["links"]) == (0, True)
    assert "my laptop" in completed(mel, "mel people passkeys owner --revoke ")
    twice = mel("people", "passkeys", "owner", "--revoke", "blue key")
    assert twice.code == 2
    assert "more than one passkey" in twice.err
    assert "--json shows their ids" in twice.err
    assert mel("people", "passkeys", "owner", "--revoke", second).code == 0
    assert mel("people", "passkeys", "owner", "--revoke", "blue key", "--json").json == {"id": third, "revoked": True}
    assert mel("people", "passkeys", "owner", "--revoke", "my laptop").out == "my laptop logs nobody in\n"
    none = mel("people", "passkeys", "owner", "--revoke", "my laptop")
    assert none.code == 2
    assert "no passkey" in none.err
    assert mel("people", "passkeys", "nobody").code == 3


def test_links_are_switched_on_the_machine_and_say_what_is_missing(hive: HiveProcess, mel: Mel) -> None:
    for item in hive.client.get("/people/owner/passkeys")["items"]:
        hive.client.delete(f"/people/owner/passkeys/{item['id']}")
    refused = mel("login", "--links", "off")
    assert refused.code == 4
    assert "Settings" in refused.err
    assert mel("login", "--links", "on", "--json").json == {"links": "on"}


def test_the_shell_completes_people_tokens_and_sessions(hive: HiveProcess, mel: Mel) -> None:
    """Names where a person is meant, ids where something is ended; nothing for a name that is made up anew."""
    mel("people", "add", "mara")
    token = mel("token", "new", "deploy", "--json").json["made"]["id"]
    for line in (
        "mel people role ma",
        "mel people disable ma",
        "mel people enable ma",
        "mel people passkeys ma",
        "mel people identity add ma",
        "mel people identity list ma",
        "mel login --for ma",
    ):
        assert completed(mel, line) == ["mara"], line
    assert completed(mel, "mel people add ma") == []
    assert completed(mel, f"mel token revoke {token[:4]}") == [token]
    assert completed(mel, "mel people role mara op") == ["operator"]
    session = mel("login", "--list", "--json").json["items"][0]["id"]
    assert session in completed(mel, "mel login --revoke ")
    assert mel("login", "--revoke", session).out == f"session {session} is ended\n"
    assert mel("login", "--revoke", session).code == 3


def test_what_was_done_at_the_terminal_is_its_owners(hive: HiveProcess, mel: Mel) -> None:
    """Every event says who, and that it was by the socket."""
    mel("people", "add", "ben")
    mel("people", "role", "ben", "admin")
    mel("people", "disable", "ben", "--json")
    kinds = ("person.added", "person.role_changed", "person.disabled")
    told = [hive.client.get(f"/events/page?kind={kind}")["items"][0] for kind in kinds]
    assert [(event["subject"], event["person"], event["via"]) for event in told] == [("ben", "owner", "socket")] * 3


def test_without_a_daemon_nothing_is_completed(mel: Mel, tmp_path: Path) -> None:
    said = mel(
        _MEL_COMPLETE="bash_complete", COMP_WORDS="mel people role m", COMP_CWORD="3", MEL_DATA=str(tmp_path / "none")
    )
    assert (said.code, said.out.strip(), said.err) == (0, "", "")
