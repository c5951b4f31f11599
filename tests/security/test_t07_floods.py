"""An engine that floods (T7, D-15): its turn ends, its neighbour and the daemon go on, and the daemon stays small.

The shell of a playbook writes straight into the engine's output, as a hostile engine would.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from melipona.testing.hive import QUICK, HiveProcess, running_hive

pytestmark = [pytest.mark.boxes, pytest.mark.threat("T7")]

GROWTH_MOST = 100 << 20
LOG_MOST = 60 << 20
"""Of one turn: `turns.log_bytes` and what ends it."""
OUT = "/proc/$PPID/fd/1"
FLOODS = {
    "a line of 2 GiB": f"head -c 2147483648 /dev/zero | tr '\\0' x > {OUT}",
    "1 GB of lines": f"yes {'y' * 8000} | head -c 1000000000 > {OUT}",
    "lines without text": f"yes '' | head -c 200000 > {OUT}",
    "lines that are nested deeply": f"for i in 1 2 3 4 5; do (printf '[%.0s' $(seq 100000); echo) > {OUT}; done",
    "bytes that are no text": f"head -c 30000000 /dev/urandom > {OUT}",
}


class Peak:
    """The most memory of a process, looked at again and again until the block ends."""

    def __init__(self, pid: int) -> None:
        self._pid, self._over = pid, threading.Event()
        self.before = self.most = self._now()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._now())

    def _now(self) -> int:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        return 0


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Generator[HiveProcess]:
    with running_hive(tmp_path_factory.mktemp("hive"), config=QUICK) as running:
        running.agent("ben")
        running.send("ben", "warm up")
        running.wait_for("turn.ended")
        yield running


@pytest.mark.parametrize("flood", FLOODS)
def test_t07_a_flood_ends_its_turn_at_most_and_the_daemon_stays_small(hive: HiveProcess, flood: str) -> None:
    """T7: less than 100 MiB more, the neighbour answers while it goes on, and the turn ends by itself."""
    name = f"ana{list(FLOODS).index(flood)}"
    command = FLOODS[flood].replace("\\", "\\\\").replace('"', '\\"')
    hive.agent(name, playbook=f'[[rule]]\nsteps = [{{ shell = "{command}", may_fail = true, timeout = 90 }}]\n')
    with Peak(hive.pid) as peak:
        hive.send(name, "flood")
        hive.wait_for("turn.started", lambda e: e["agent"] == name)
        neighbour = hive.send("ben", f"while {flood}")
        hive.wait_for("message.handled", lambda e: e["subject"] == f"m{neighbour}", within=30)
        ended = hive.wait_for("turn.ended", lambda e: e["agent"] == name, within=120)
    assert peak.most - peak.before < GROWTH_MOST
    if flood == "a line of 2 GiB":
        assert (ended["data"]["result"], ended["data"]["reason"]) == ("failed", "output_limit")
    logs = [path.stat().st_size for path in (hive.data / "turns").rglob("*") if path.is_file()]
    assert logs
    assert max(logs) < LOG_MOST
