"""A backup taken under load restores to an equal hive, counted row by row (I-18, D-35, D-33)."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from melipona.client import Client
from melipona.testing import invariants
from melipona.testing.hive import QUICK, HiveProcess, running_hive
from melipona.testing.invariants import Promise

pytestmark = pytest.mark.boxes

CONFIG = QUICK + "[budgets]\nturns_per_hour = 0\n"
RELAY = """
[[rule]]
from = "operator"
steps = [{ tool = "send", with = { to = "ben", body = "for {body}" } }, { say = "done" }]

[[rule]]
steps = [{ say = "seen" }]
"""
FORGOTTEN = frozenset({"sessions", "login_links", "login_challenges", "api_tokens"})
"""Tables whose rows are no part of a backup: keys and logins."""
NEW = {"meta": ("key", {"store_id"})}
"""Rows that a restore makes anew (D-33)."""


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, sorted."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as c:
        names = [name for (name,) in c.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(c.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}


class Load(threading.Thread):
    """Sends mail that makes turns and more mail, until it is stopped; keeps what it was promised."""

    def __init__(self, hive: HiveProcess, to: str) -> None:
        super().__init__(daemon=True)
        self._client, self._to = Client(hive.data), to
        self.over = threading.Event()
        self.promises: list[Promise] = []

    def run(self) -> None:
        number = 0
        while not self.over.wait(0.1) and number < 300:  # paced: what is sent is handled twice, before and after
            number += 1
            body = f"{self._to}-{number}" + "." * (2000 if number % 10 == 0 else 0)  # some are long: files
            sent = self._client.post_keyed("/messages", {"to": self._to, "body": body})
            self.promises.append(Promise("ok", "send", id=int(sent["id"]), to=self._to, body=body))


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[HiveProcess, list[Load]]]:
    with running_hive(tmp_path, config=CONFIG) as hive:
        hive.agent("ana", playbook=RELAY)
        hive.agent("ben", playbook='[[rule]]\nsteps = [{ say = "seen" }]\n')
        hive.client.post("/login-links")
        loads = [Load(hive, name) for name in ("ana", "ben")]
        for load in loads:
            load.start()
        hive.wait_for("turn.ended", count=3)
        try:
            yield hive, loads
        finally:
            for load in loads:
                load.over.set()
            for load in loads:
                load.join(30)


def mel(*argv: str) -> str:
    code = "from melipona.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_backup_under_load_restores_to_an_equal_hive(busy: tuple[HiveProcess, list[Load]], tmp_path: Path) -> None:
    hive, loads = busy
    promised = [promise for load in loads for promise in load.promises]
    archive, new = tmp_path / "hive.tar.gz", tmp_path / "new"
    told = mel("--data", str(hive.data), "backup", str(archive))
    during = sum(len(load.promises) for load in loads)
    assert during > len(promised) > 0, "there was load"
    for load in loads:
        load.over.set()
    for load in loads:
        load.join(30)
    said = mel("restore", str(archive), "--data", str(new))
    assert told.splitlines()[-1] == said.splitlines()[-1], "both tell the seal head"

    with tarfile.open(archive) as tar:
        member = tar.extractfile("mel.db")
        assert member is not None
        (tmp_path / "packed.db").write_bytes(member.read())
    packed, restored, live = rows(tmp_path / "packed.db"), rows(new / "mel.db"), rows(hive.data / "mel.db")
    assert set(restored) == set(packed) == set(live)
    for table, found in restored.items():
        if table in FORGOTTEN:
            assert found == packed[table] == []
        elif table in NEW:
            fresh = NEW[table][1]
            assert [row for row in found if row[0] not in fresh] == [r for r in packed[table] if r[0] not in fresh]
            assert {row for row in found if row[0] in fresh} != {row for row in packed[table] if row[0] in fresh}
        else:
            assert found == packed[table], table
    # What is never changed once it is there is in the running hive too, row for row, up to the backup's moment.
    last = max(row[0] for row in restored["events"])
    assert restored["events"] == [row for row in live["events"] if row[0] <= last]
    assert set(restored["event_seals"]) <= set(live["event_seals"])
    sealed = restored["event_seals"]
    assert sealed
    assert live["login_links"], "there was something to forget"

    # What was promised before the backup began is in it, and the whole satisfies I-1 to I-9.
    assert invariants.check(new, promised) == []
    assert _files(new) >= {path for path in _files(hive.data) if _old(path, restored)}

    hive.stop()  # both have the same port
    again = HiveProcess(new, config=CONFIG)
    again.start()
    try:
        waiting = [promise for promise in promised if again.message(promise.id or 0)["state"] != "handled"]
        for promise in waiting:
            again.wait_for("message.handled", lambda e, m=promise.id: e["subject"] == f"m{m}")
        assert again.message(again.send("ana", "news"))["state"] in ("waiting", "leased", "handled")
        assert json.loads(mel("--data", str(new), "events", "--verify", "--json"))["ok"] is True
    finally:
        again.close()
    assert invariants.check(new, promised) == []


def _files(data: Path) -> set[str]:
    """Long bodies and logs of turns, below a data folder."""
    return {
        str(path.relative_to(data))
        for top in ("turns", "agents")
        for path in (data / top).rglob("*")
        if path.is_file() and path.suffix in (".md", ".jsonl")
    }


def _old(path: str, restored: dict[str, list[tuple[Any, ...]]]) -> bool:
    """Whether a file belongs to something that was stored when the backup was made, and had ended."""
    number = int(Path(path).stem)
    table = "turns" if path.startswith("turns") else "messages"
    return any(row[0] == number and (table == "messages" or row[3] == "ended") for row in restored[table])
