"""`mel demo` as a user runs it: the README's first command (story step 1, D-1)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.boxes

MEL = Path(sys.executable).parent / "mel"
WITHIN = 150


@dataclass(frozen=True)
class Played:
    """How a run of the demo ended, and the folder below which it could make its temporary one."""

    code: int
    out: str
    err: str
    tmp: Path


def begin(tmp: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    """Start the demo with a folder for temporary ones of its own, in a session of its own."""
    tmp.mkdir(exist_ok=True)
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", "TMPDIR": str(tmp)}
    return subprocess.Popen(
        [MEL, "demo", *words],
        env=environ | env,
        cwd=tmp,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], tmp: Path) -> Played:
    """Wait for the end of the demo."""
    try:
        out, err = process.communicate(timeout=WITHIN)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=WITHIN)
    return Played(process.returncode, out, err, tmp)


def processes(*words: str) -> list[str]:
    """Command lines of our programs that hold one of the words."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if ("melipona." in line or "boxd.py" in line) and any(word in line for word in words):
            found.append(line)
    return found


def store_id(data: Path) -> str:
    """What the command lines of a hive's boxes hold."""
    with sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True) as c:
        return str(c.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()[0])


def mel(data: str, *words: str) -> Any:
    """A command to a hive that was kept."""
    argv = [MEL, "--data", data, "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Played, Played]]:
    """The demo for a person, and beside it the demo for a program, kept."""
    folders = [tmp_path_factory.mktemp("demo") for _ in range(2)]
    begun = [begin(folders[0]), begin(folders[1], "--keep", "--json")]
    first, second = (ended(process, tmp) for process, tmp in zip(begun, folders, strict=True))
    try:
        yield first, second
    finally:
        for left in second.tmp.glob("melipona-demo-*"):
            if processes(str(left)):
                subprocess.run([MEL, "--data", left, "down"], timeout=WITHIN, check=False)


def test_the_demo_tells_its_story_and_leaves_nothing(plays: tuple[Played, Played]) -> None:
    """Story step 1: it ends with a summary and exit code 0; no process and no folder is left."""
    demo, _ = plays
    assert demo.code == 0, demo.err + demo.out
    assert demo.err == ""
    for told in (
        "ana → to ben, m2",
        "kill -9 of daemon",
        "turn t4 is adopted and goes on",
        "m4 was handled in 1 attempt, and its 10 checks ran once each",
        "34 attempts to get out, open: none",
        "Nothing is left of this hive",
    ):
        assert told in " ".join(demo.out.split())
    assert list(demo.tmp.iterdir()) == []
    assert processes(str(demo.tmp)) == []


def test_the_summary_says_what_the_store_says(plays: tuple[Played, Played]) -> None:
    """Invariants 1, 3 and 31: a killed daemon costs no turn, no message and no second attempt."""
    _, demo = plays
    assert demo.code == 0, demo.err + demo.out
    summary = json.loads(demo.out)
    data = Path(summary["data"])
    with sqlite3.connect(f"file:{data / 'mel.db'}?mode=ro", uri=True) as c:
        one = lambda sql: c.execute(sql).fetchone()[0]  # noqa: E731
        assert summary["turns"] == one("SELECT count(*) FROM turns") == 6
        assert summary["turns_ended_well"] == one("SELECT count(*) FROM turns WHERE result = 'ok'") == 6
        assert summary["messages"] == one("SELECT count(*) FROM messages") == 8
        assert summary["most_attempts"] == one("SELECT max(attempts) FROM messages") == 1
        assert summary["boxes_started"] == one("SELECT count(*) FROM boxes") == 2
        assert one("SELECT count(*) FROM events WHERE kind = 'turn.adopted'") == 1
        assert one("SELECT count(*) FROM events WHERE kind = 'message.handled'") == 6
    kill = summary["kill"]
    assert (kill["adopted"], kill["attempts"], kill["maybe_seen"]) == (True, 1, False)
    assert kill["daemon_before"] != kill["daemon_after"] == summary["daemon"]
    assert len(summary["unseen"]) == 8
    assert (summary["cost_usd"], summary["turns_without_cause"]) == (0, 0)


def test_a_kept_hive_goes_on(plays: tuple[Played, Played]) -> None:
    """`--keep` leaves a hive that takes mail and comes down like any other."""
    _, demo = plays
    summary = json.loads(demo.out)
    data = summary["data"]
    assert mel(data, "status")["daemon"]["pid"] == summary["daemon"]
    before = {message["id"] for message in mel(data, "inbox")["items"]}
    assert len(before) == 2
    mel(data, "inbox", "--read")
    mel(data, "send", "ana", "Please write another one.")
    asked = mel(data, "mail", "--agent", "ana")["items"]
    assert asked[0]["recipient"] in ("ana", "ben")
    mel(data, "down")
    assert processes(data, summary["store"]) == []


def test_ctrl_c_ends_the_demo_and_leaves_nothing(tmp_path: Path) -> None:
    """While a box runs: exit code 130, and neither a process nor a box nor the folder is left."""
    data = tmp_path / "hive"
    process = begin(tmp_path, "--data", str(data))
    assert process.stdout is not None
    try:
        while "turn t1" not in (line := process.stdout.readline()):
            assert line, "the demo ended early"
        store = store_id(data)
        process.send_signal(signal.SIGINT)
        demo = ended(process, tmp_path)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=WITHIN)
    assert demo.code == 130
    assert "nothing is left of the hive" in demo.err
    assert not data.exists()
    assert processes(str(data), store) == []


def test_a_machine_where_boxes_cannot_start_is_told_why(tmp_path: Path) -> None:
    """It is said precisely, by the doctor's findings; the logs are kept, and nothing runs without isolation."""
    broken = tmp_path / "bin"
    broken.mkdir()
    shutil.copy(shutil.which("false") or "/bin/false", broken / "bwrap")
    data = tmp_path / "hive"
    demo = ended(begin(tmp_path, "--data", str(data), PATH=f"{broken}:{os.environ['PATH']}"), tmp_path)
    assert demo.code == 1
    assert "mel doctor` finds" in demo.err
    assert "a real box: box 'doctor' did not start: bwrap ended" in demo.err
    assert f"the logs are kept in {data}" in demo.err
    assert "doctor` tries everything" in demo.err
    assert (data / "daemon.log").is_file()
    assert processes(str(data), store_id(data)) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    demo = ended(begin(tmp_path, "--data", str(tmp_path / "mine")), tmp_path)
    assert demo.code == 1
    assert "is not empty" in demo.err
    assert (tmp_path / "mine" / "file").read_text() == "mine"
