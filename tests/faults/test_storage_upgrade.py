"""A daemon of an older schema is replaced while its boxes live and a turn goes on (campaign I, I-12, D-14)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from melipona.store.migrate import HEAD
from melipona.testing import invariants
from melipona.testing.hive import HiveProcess
from melipona.testing.invariants import Expect, Promise
from melipona.testing.older_daemon import REVISION

pytestmark = pytest.mark.boxes

ROOT = Path(__file__).parents[2]
RELEASED = "4162fdb824c58dd7e04a8e11a79443d9ded1043b"
"""The commit of the program before schema 0003."""
SLOW = """
[[rule]]
from = "operator"
steps = [
  { say = "working" },
  { shell = '''
    echo begun
    while [ ! -e /ws/go ]; do sleep 0.05; done
    echo once >> /ws/runs
    wc -l < /ws/runs''', into = "runs" },
  { send = "{body}: ran {runs}" },
]
"""
QUICK = "[boxes]\norphan_busy = 60\norphan_idle = 60\n"


def released(folder: Path) -> Path:
    """The program as it was, from this clone's history."""
    found = subprocess.run(
        ["git", "-C", str(ROOT), "archive", RELEASED, "src"], capture_output=True, check=False, timeout=60
    )
    if found.returncode != 0:
        pytest.skip(f"commit {RELEASED[:7]} is not in this clone's history: the pinned program is tried instead")
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=found.stdout, check=True, timeout=60)
    return folder / "src"


@pytest.fixture(params=["pinned", "released"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[HiveProcess]:
    """A hive that runs under the previous program; `succeed` replaces it by ours."""
    program, env = ("-m", "melipona.testing.older_daemon"), dict[str, str]()
    if request.param == "released":
        program, env = ("-m", "melipona.daemon"), {"PYTHONPATH": str(released(tmp_path / "released"))}
    hive = HiveProcess(tmp_path / "hive", config=QUICK, env=env, program=program)
    hive.start()
    try:
        yield hive
    finally:
        succeed(hive)
        hive.close()


def succeed(hive: HiveProcess) -> None:
    """The next start is of our program."""
    hive._program, hive._env = ("-m", "melipona.daemon"), {k: v for k, v in hive._env.items() if k != "PYTHONPATH"}


def revision(path: Path) -> str:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as c:
        return str(c.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_turns_go_on_over_an_upgrade_of_the_schema(older: HiveProcess) -> None:
    """The old daemon ends by SIGTERM, its box lives on with its old boxd; the new one migrates, adopts, ends the turn
    well. A copy of the database from before stands beside it."""
    hive = older
    hive.agent("ana", playbook=SLOW)
    hive.agent("ben")
    kept = hive.send("ben", "before")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{kept}")
    message = hive.send("ana", "build")
    turn = int(hive.wait_for("turn.started", lambda e: e["agent"] == "ana")["data"]["id"])
    for _name, _id, data in hive.client.stream(f"/turns/{turn}/stream"):
        if data.get("event", {}).get("type") == "tool_call":
            break
    assert revision(hive.data / "mel.db") == REVISION
    boxes = hive.boxes()
    assert hive.stop() == 0, hive.log
    assert hive.boxes() == boxes, "SIGTERM leaves boxes running"

    succeed(hive)
    hive.start()
    assert revision(hive.data / "mel.db") == HEAD
    hive.wait_for("turn.adopted", lambda e: e["agent"] == "ana")
    (hive.work("ana") / "go").touch()
    hive.wait_for("turn.ended", lambda e: e["agent"] == "ana")
    assert hive.answers("ana") == ["build: ran begun\n1"]
    assert hive.message(message)["attempts"] == 1
    assert hive.count("message.handled", lambda e: e["subject"] == f"m{message}") == 1
    after = hive.send("ben", "after")
    hive.wait_for("message.handled", lambda e: e["subject"] == f"m{after}")

    (copy,) = hive.data.glob(f"mel.before-{HEAD}-from-{REVISION}.db")
    assert revision(copy) == REVISION
    with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as c:
        assert c.execute("SELECT count(*) FROM messages WHERE id = ?", (message,)).fetchone() == (1,)
    promises = [
        Promise("ok", "send", id=number, to=to, body=body)
        for number, to, body in ((kept, "ben", "before"), (message, "ana", "build"), (after, "ben", "after"))
    ]
    assert invariants.check(hive.data, promises, expect=Expect(live=True)) == []


def test_the_older_program_refuses_a_newer_database(tmp_path: Path) -> None:
    """Going back: the old daemon says what to do and changes nothing; the copy from before the migration is its own."""
    from melipona.clock import SystemClock
    from melipona.store.migrate import ensure_schema

    data = tmp_path / "hive"
    data.mkdir(mode=0o700)
    ensure_schema(data / "mel.db", SystemClock())
    before = (data / "mel.db").read_bytes()
    ended = subprocess.run(
        [sys.executable, "-m", "melipona.testing.older_daemon", "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert ended.returncode == 1
    assert "newer than this Melipona knows" in ended.stderr
    assert "restore an older backup" in ended.stderr
    assert (data / "mel.db").read_bytes() == before
