"""How often the disk is waited for: calls of `fdatasync` and `fsync` by the daemon for each step, counted by strace.

On a plain SSD each is 0.5 to 2 ms, so their number decides there and not what Python costs.
"""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from bench.figures import OURS, Figure, Values, percentile
from bench.hive import running
from bench.hop import CONFIG, Hops
from bench.rounds import Contender, Run, Unable
from bench.scale import Connection

QUICK_ROUNDS = 1
FIGURES = (
    Figure("send", "syncs"),
    Figure("send_to_idle_agent_and_turn_start", "syncs"),
    Figure("turn_end", "syncs"),
)
CALL = re.compile(rb"f(?:data)?sync\(")
SETTLED = 0.03


class Counter:
    """Counts the calls of one process while the context lasts.

    Raises:
        Unable: there is no strace, or it may not trace.
    """

    def __init__(self, pid: int, log: Path, stack: ExitStack) -> None:
        strace = shutil.which("strace")
        if strace is None:
            raise Unable("strace is not installed")
        self._log = log
        argv = [strace, "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", str(log), "-p", str(pid)]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE)
        stack.callback(self._end, process)
        status = Path(f"/proc/{pid}/status")
        while "TracerPid:\t0" in status.read_text():
            if process.poll() is not None:
                assert process.stderr is not None
                raise Unable(f"strace cannot trace: {process.stderr.read().decode().strip()}")
            time.sleep(0.01)
        time.sleep(0.2)  # it attaches to one thread after the other, and says nothing when it has them all

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        if process.stderr is not None:
            process.stderr.close()

    def during(self, work: Callable[[], object]) -> int:
        """Calls while `work` runs, and until nothing more comes."""
        before = self._count()
        work()
        seen = -1
        while (now := self._count()) != seen:
            seen = now
            time.sleep(SETTLED)
        return seen - before

    def _count(self) -> int:
        return len(CALL.findall(self._log.read_bytes())) if self._log.exists() else 0


@contextmanager
def contenders(run: Run) -> Generator[Mapping[str, Contender]]:
    """A hive whose boxes are sockets (`socket_box`), traced."""
    count = run.size(7, 5, 3)
    with ExitStack() as stack:
        hive = stack.enter_context(running(run.folder / "hive", config=CONFIG, program=("-m", "bench.socket_box")))
        hops = Hops(hive)
        stack.callback(hops.close)
        hive.agent("carl")
        hive.client.post("/agents/carl/stop")
        hive.wait(lambda: not hive.rows("SELECT 1 FROM operations WHERE state = 'running'"), "the end of carl's stop")
        connection = stack.enter_context(closing(Connection(hive.data)))
        for _ in range(5):
            hops.once()
        counter = Counter(hive.pid, run.folder / "strace.log", stack)

        def send(to: str) -> None:
            key = {"idempotency-key": secrets.token_hex(8)}
            connection.ask("POST", "/messages", {"to": to, "body": "x" * 200}, key)

        def measure() -> Values:
            sends, starts, ends = list[int](), list[int](), list[int]()
            for _ in range(count):
                sends.append(counter.during(lambda: send("carl")))
                starts.append(counter.during(lambda: _prompted(hops, send)))
                ends.append(counter.during(hops.end_turn))
            return {
                "send": percentile(sends, 50),
                "send_to_idle_agent_and_turn_start": percentile(starts, 50),
                "turn_end": percentile(ends, 50),
            }

        yield {OURS: measure}


def _prompted(hops: Hops, send: Callable[[str], None]) -> None:
    want = hops.ben.prompts + 1
    send("ben")
    hops.ben.until_prompt(want)
