"""Storage: syncs and writes that fail, a full disk, a slow one, kills, and power losses by replay of what was synced.

A hive runs with its database under record (`power.c`) and on a disk that fails on command (`failing_disk.c`), while a
client sends mail without pause. A tenth of `size` are faults of the running hive, in turn with its recovery; the rest
are losses of power at random points of the record: of each the disk that it can leave is checked against what the
client had been told by then. Size is the number of faults.

Not here, because nothing is injected into a running hive: a log that is deleted while the hive is down and pages that
are torn on the disk (tests/store/test_store_faults.py), a disk that is really full or read-only
(tests/faults/test_storage_full.py), and crashes inside a migration (tests/store/test_store_schema.py).
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.faults.campaign import CampaignResult
from bench.faults.checker import STORE_ALONE, violations
from bench.faults.power import build, losses, recording, size_of
from melipona.client import UNKNOWN, Client, ClientError, Problem
from melipona.testing import hive as hives
from melipona.testing import invariants
from melipona.testing.hive import HiveProcess
from melipona.testing.invariants import Expect, Finding, Promise, Told

QUICK = 40
FULL = 500
FAILING = Path(__file__).parents[2] / "tests/store/failing_disk.c"
CONFIG = hives.QUICK + "[budgets]\nturns_per_hour = 0\n"
AGENTS = ("ana", "ben", "cleo", "dora")
"""Ana runs turns; the others are stopped, their mail waits."""
ORDERS = {
    "fsync fails": "fsync",
    "fsync of the database fails": "fsync mel.db",
    "write fails": "eio",
    "no space": "write",
    "slow disk": "slow * 150",
}
DIES = frozenset({"fsync fails", "fsync of the database fails", "write fails"})
KINDS = (*ORDERS, "kill -9")
PATIENCE = 60.0


@dataclass(slots=True)
class Sent:
    """One message that the client wants sent, with what it was told last and where the record stood then."""

    key: str
    to: str
    body: str
    outcome: Told = "unknown"
    id: int | None = None
    told: int = 0

    def promise(self, upto: int | None = None) -> Promise:
        """What was promised, or had been when the record was at `upto`."""
        known = upto is None or (self.outcome == "ok" and self.told <= upto)
        return Promise(self.outcome if known else "unknown", "send", self.key, self.id, self.to, self.body)


class Sender(threading.Thread):
    """Sends without pause; what is unknown or refused is sent again under its key until it is known."""

    def __init__(self, data: Path, record: Path, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._client, self._record, self._chance = Client(data), record, chance
        self.over = threading.Event()
        self.sent: list[Sent] = []
        self.acknowledged = self.refused = self.unknown = 0
        self._news = threading.Condition()

    def run(self) -> None:
        while not self.over.is_set():
            number = len(self.sent)
            to = self._chance.choice(AGENTS)
            body = f"message {number} " + "x" * self._chance.choice((10, 400, 900, 3000))
            each = Sent(f"key-{number}", to, body)
            self.sent.append(each)
            while each.outcome != "ok" and not self.over.is_set():
                self._try(each)

    def _try(self, each: Sent) -> None:
        try:
            answer = self._client.post_keyed("/messages", {"to": each.to, "body": each.body}, key=each.key)
            each.id, each.told, each.outcome = int(answer["id"]), size_of(self._record), "ok"
            self.acknowledged += 1
        except ClientError as error:
            unsure = error.exit_code == UNKNOWN or not isinstance(error, Problem)
            self.unknown += unsure
            self.refused += not unsure
            self.over.wait(0.02)
        with self._news:
            self._news.notify_all()

    def wait(self, what: str, more: int) -> None:
        """Until `what` (`acknowledged`, `refused`) has grown by `more`.

        Raises:
            TimeoutError: it does not.
        """
        wanted, end = getattr(self, what) + more, time.monotonic() + PATIENCE
        with self._news:
            while getattr(self, what) < wanted:
                if not self._news.wait(max(0.01, end - time.monotonic())) and time.monotonic() > end:
                    raise TimeoutError(f"not {more} more {what} within {PATIENCE:g} s")


@dataclass(slots=True)
class Run:
    """One run of the campaign."""

    seed: int
    folder: Path
    chance: random.Random
    faults: Counter[str] = field(default_factory=Counter[str])
    recovery: list[float] = field(default_factory=list[float])
    findings: list[Finding] = field(default_factory=list[Finding])
    lost_writes: int = 0

    def live(self, number: int) -> Sender:
        """Break the disk of a running hive `number` times, and bring it down."""
        record, control = self.folder / "record", self.folder / "fail"
        data = self.folder / "hive"
        env = recording(data, record, self.folder)
        env["LD_PRELOAD"] = f"{build(FAILING, self.folder)}:{env['LD_PRELOAD']}"
        hive = HiveProcess(data, config=CONFIG, env={**env, "FAILING_DISK": str(control)}, follow=False)
        hive.start()
        sender = Sender(data, record, random.Random(self.seed + 1))
        try:
            for name in AGENTS:
                hive.agent(name, playbook='[[rule]]\nsteps = [{ say = "seen" }]\n')
                if name != AGENTS[0]:
                    hive.client.post(f"/agents/{name}/stop")
            sender.start()
            sender.wait("acknowledged", 5)
            kinds = [KINDS[n % len(KINDS)] for n in range(number)]
            self.chance.shuffle(kinds)
            for kind in kinds:
                self._break(hive, sender, control, kind)
                sender.wait("acknowledged", 5)
        finally:
            control.unlink(missing_ok=True)
            sender.over.set()
            sender.join(PATIENCE)
            hive.close()
        return sender

    def _break(self, hive: HiveProcess, sender: Sender, control: Path, kind: str) -> None:
        self.faults[kind] += 1
        if kind == "kill -9":
            hive.kill()
        else:
            draft = control.with_suffix(".new")
            draft.write_text(ORDERS[kind])
            draft.replace(control)
            if kind in DIES:
                code = hive.died(PATIENCE)
                if code not in (74, 75):
                    self.findings.append(Finding("I-17", kind, f"the daemon ended with {code}"))
            else:
                sender.wait("refused" if kind == "no space" else "acknowledged", 3)
            control.unlink()
        begun = time.monotonic()
        if kind in DIES or kind == "kill -9":
            hive.start()
        sender.wait("acknowledged", 1)
        self.recovery.append(time.monotonic() - begun)

    def power(self, sender: Sender, cuts: int) -> None:
        """Check the disks that losses of power at random points leave."""
        first = min(each.told for each in sender.sent if each.outcome == "ok")
        for image, at, lost in losses(self.folder / "record", self.folder, self.chance, cuts, first=first):
            self.faults["power loss"] += 1
            self.lost_writes += lost
            begun = time.monotonic()
            try:
                with closing(sqlite3.connect(image / "mel.db")) as c:  # what the next start does first: recovery
                    c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self.recovery.append(time.monotonic() - begun)
                self.findings += invariants.check(image, [each.promise(at) for each in sender.sent])
            except sqlite3.DatabaseError as error:
                self.findings.append(Finding("I-17", f"cut at {at}", f"the database is not whole: {error}"))


def run(seed: int, size: int, folder: Path) -> CampaignResult:
    """Break things `size` times, as `seed` says, and check."""
    work = Run(seed, folder, random.Random(seed))
    live = max(len(KINDS), size // 10)
    sender = work.live(live)
    work.findings += invariants.check(
        folder / "hive", [each.promise() for each in sender.sent], expect=Expect(live=True)
    )
    work.power(sender, max(1, size - live))
    broken = violations(work.findings)
    return CampaignResult(
        campaign="storage",
        seed=seed,
        size=size,
        operations=len(sender.sent),
        faults=dict(work.faults),
        acknowledged=sum(each.outcome == "ok" for each in sender.sent),
        lost=sum("acknowledged and is not stored" in str(finding) for finding in work.findings),
        duplicated=len(broken.get("I-2", ())),
        unknown=sender.unknown,
        checked=STORE_ALONE,
        violations=broken,
        recovery=work.recovery,
        worst_seed=seed,
        notes=("Power loss is replayed: the disk holds what was synced and any of the writes that were not.",),
        numbers={"unsynced writes lost": work.lost_writes, "changes refused": sender.refused},
    )
