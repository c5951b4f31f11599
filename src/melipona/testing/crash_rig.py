"""A hive whose daemon is forked off this process, so that one that was killed is there again within milliseconds.

The daemon is the real one, in a process of its own: only the interpreter's start and the imports are saved. The rig is
its operator and its supervisor in one: it makes requests, writes down what it was told (`promises`), starts the daemon
again when that has died, and looks the outcome up or repeats what is safe to repeat, as `mel` and people do.

Whoever makes rigs must have one thread only: it forks.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from melipona import clock, daemon, faults
from melipona.client import UNREACHABLE, Client, ClientError, Problem
from melipona.ids import new_id
from melipona.store.backup import unpack_backup, write_backup
from melipona.store.migrate import RESTORING
from melipona.testing.fault_plugin import CRASHED, FaultPlugin, Wish
from melipona.testing.forked_daemons import be_a_program, imported
from melipona.testing.invariants import Expect, Finding, Promise, check
from melipona.testing.leftovers import leftovers, processes
from melipona.testing.turn_logs import check_logs
from melipona.turns import model as turn_model

Json = dict[str, Any]
LOOK = 0.02
"""Seconds between two looks: each opens the store, and a daemon at work has other uses for the processor."""
imported()  # once here, not in each daemon that is forked
READY_SECONDS = 20.0
UPSTREAM_PAUSE = timedelta(seconds=0.2)
"""What an agent waits after a fault of ours in its turn, instead of half a minute."""
MAY_END = {"exception", "cancel", "enospc", "eio"}
"""Faults that a process may end of, with whatever code: it is started again."""
RECOVERY_SECONDS = 15.0
"""A cap for a busy machine. The 5 s of I-11 are measured by `bench.faults`, one hive at a time."""
HANG_SECONDS = 0.7
"""How long a daemon that hangs at a point is left alone before it is killed."""
DAY = 86_400_000_000
CONFIG = """
[mail]
backoff = [0.05]
attempts = 2
keep_days = 30

[turns]
cap = 4
interrupt_grace = 5

[boxes]
orphan_busy = 60
orphan_idle = 60
stop_grace = 1

[watch]
backoff = [0.05]
every = 0.2
"""


class StoryFailed(AssertionError):
    """What a story waited for did not come."""


@dataclass(slots=True)
class Rig:
    """One hive below `folder`. `template` is a data folder to begin with, `wishes` go to the first daemon."""

    folder: Path
    template: Path | None = None
    config: str = CONFIG
    env: dict[str, str] = field(default_factory=dict[str, str])
    record: bool = False
    promises: list[Promise] = field(default_factory=list[Promise])
    findings: list[Finding] = field(default_factory=list[Finding])
    shift: int = 0
    """Microseconds that the next daemons' clock is ahead."""
    wishes: Sequence[Wish] = ()
    """For each process that is started while it is `armed`, until one has died of them."""
    armed: bool = True
    """Whether faults happen and points are recorded: not in what a story only needs to begin with."""
    patch: Callable[[], None] | None = None
    """Called in each process before it begins its work."""
    deaths: int = 0
    data: Path = field(init=False)
    client: Client = field(init=False)
    _pid: int | None = None
    _keys: int = 0
    _forks: int = 0
    _spent: bool = False
    """A process has ended of a fault that is no crash: the next one has none."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "hive"
        self.client = Client(self.data, timeout=20)
        (self.folder / "mel.toml").write_text(self.config)
        if self.template is not None:
            shutil.copytree(self.template, self.data, symlinks=True)

    def renew(self) -> None:
        """Make the copy of the template a hive of its own: a new id, by which its boxes are known."""
        with closing(sqlite3.connect(self.data / "mel.db")) as c:
            c.execute("UPDATE meta SET value = ? WHERE key = 'store_id'", (new_id(),))
            c.execute("DELETE FROM meta WHERE key = 'api_port'")
            c.commit()

    def end_boxes(self) -> None:
        """Kill what is left of its boxes: a pair that failed must not disturb the next."""
        for (store,) in self.rows("SELECT value FROM meta WHERE key = 'store_id'"):
            for process in processes():
                if store in process.line:
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)

    # ---- processes -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a daemon and wait until it is ready, starting it again when it dies of a wish."""
        began = time.monotonic()
        self._fork_daemon()
        while not self._ready():
            if self._ended() is not None:
                began = time.monotonic()
                self._fork_daemon()
            if time.monotonic() - began > READY_SECONDS:
                raise StoryFailed(f"the daemon was not ready within {READY_SECONDS:g} s")
            time.sleep(LOOK)
        if time.monotonic() - began > RECOVERY_SECONDS:
            took = f"ready after {time.monotonic() - began:.1f} s"
            self.findings.append(Finding("I-11", "daemon", took))

    def ensure(self) -> None:
        """Start the daemon again if it has died."""
        if self._pid is None or self._ended() is not None:
            self.begin()

    def kill(self) -> None:
        """`kill -9` of the daemon, by the story itself."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None

    def stop(self) -> None:
        """SIGTERM: the daemon ends in order and leaves boxes running."""
        self.ensure()
        assert self._pid is not None
        os.kill(self._pid, signal.SIGTERM)
        self._await_end()

    def down(self) -> None:
        """End turns, boxes and daemon."""
        while True:
            self.ensure()
            try:
                self.client.post("/stop")
            except ClientError:
                pass
            if self._await_end() == 0:
                return

    def run(self, work: Callable[[], object]) -> bool:
        """Run `work` in a process of its own (a command without a daemon); whether it came to its end."""
        pid = self._fork(lambda: (work(), 0)[1])
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._judge(code)
        return code == 0

    def close(self) -> None:
        """End what still runs of it, by force."""
        if self._pid is not None and self._ended() is None:
            self.kill()

    def _fork_daemon(self) -> None:
        self._pid = self._fork(lambda: daemon.main(["--data", str(self.data), "--config", str(self.config_file)]))

    @property
    def config_file(self) -> Path:
        return self.folder / "mel.toml"

    def _fork(self, work: Callable[[], int]) -> int:
        wishes: Sequence[Wish] = ()
        if self.armed and not self.deaths and not self._spent:
            wishes = self.wishes
        record = self.folder / f"passed-{self._forks}" if self.record and self.armed else None
        self._forks += 1
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            self._apart()
            if wishes or record is not None:
                faults.install(FaultPlugin(wishes, record, HANG_SECONDS))
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _apart(self) -> None:
        """Make the child look like a program that was just started."""
        be_a_program(self.folder / "log")
        os.environ.update(self.env)
        turn_model.UPSTREAM_PAUSE = UPSTREAM_PAUSE
        if self.shift:
            real, shift = clock.SystemClock.now, self.shift
            clock.SystemClock.now = lambda self: clock.Micros(real(self) + shift)
        if self.patch is not None:
            self.patch()

    def _ended(self) -> int | None:
        """The exit code of the daemon that was running, once it has ended."""
        if self._pid is None:
            return 0
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return None
        self._pid = None
        code = os.waitstatus_to_exitcode(status)
        self._judge(code)
        return code

    def _judge(self, code: int) -> None:
        kinds = {wish.kind for wish in self.wishes}
        self._spent = self._spent or bool(kinds & MAY_END and code != 0)
        if code == CRASHED or (code == -signal.SIGKILL and "hang" in kinds):
            self.deaths += 1
        elif code not in (0, 75) and (code < 0 or not kinds & MAY_END):
            self.findings.append(Finding("daemon", "exit", f"a process ended with {code}: {self.log[-1500:]}"))

    def _await_end(self) -> int:
        end = time.monotonic() + READY_SECONDS
        while (code := self._ended()) is None:
            if time.monotonic() > end:
                raise StoryFailed("the daemon did not end")
            time.sleep(LOOK)
        return code

    def _ready(self) -> bool:
        try:
            return self.client.ready()
        except ClientError:
            return False

    @property
    def log(self) -> str:
        """What its processes wrote to stderr."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    # ---- the operator ----------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Json | None = None, *, key: str | None = None) -> Json:
        """One request, made again until it is answered. A refusal is an answer (`Problem`)."""
        return self._ask(lambda: self._once(method, path, body, key), lambda outcome, answer: None)

    def _once(self, method: str, path: str, body: Json | None, key: str | None) -> Json:
        if method == "GET":
            return self.client.get(path, **(body or {}))
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.client._call(method, f"/api/v1{path}", body or {}, headers, None)  # pyright: ignore[reportPrivateUsage]

    def _ask(self, call: Callable[[], Json], told: Callable[[str, Json], None]) -> Json:
        end = time.monotonic() + READY_SECONDS
        while True:
            self.ensure()
            try:
                answer = call()
            except Problem as problem:
                if problem.status < 500:
                    told("failed", {})
                    raise
                told("unknown", {})  # it is repeated: what it comes to is told by the next answer
            except ClientError as error:
                if error.exit_code != UNREACHABLE:
                    told("unknown", {})
            else:
                told("ok", answer)
                return answer
            if time.monotonic() > end:
                raise StoryFailed("a request was not answered")
            time.sleep(LOOK)

    def send(self, to: str, body: str) -> int:
        """Send as the operator, with one key however often; the message's id."""
        self._keys += 1
        key = f"k{self._keys}"

        def told(outcome: str, answer: Json) -> None:
            self.promises.append(_send(outcome, key, to, body, answer))

        return int(self._ask(lambda: self._once("POST", "/messages", {"to": to, "body": body}, key), told)["id"])

    def create(self, name: str, **options: Any) -> Json:
        """Make an agent; one that is there already was made by a request whose answer was lost."""
        body = {"name": name, "engine": "playbook", **options}
        try:
            return self._verb("create", name, lambda: self._once("POST", "/agents", body, None))
        except Problem as problem:
            if problem.code != "exists":
                raise
            return self.ask("GET", f"/agents/{name}")

    def verb(self, verb: str, name: str) -> None:
        """A verb, repeated until it is answered: each may be."""
        try:
            self._verb(verb, name, lambda: self._once("POST", f"/agents/{name}/{verb}", None, None))
        except Problem as problem:
            if problem.status not in (404, 409):
                raise

    def _verb(self, verb: str, name: str, call: Callable[[], Json]) -> Json:
        def told(outcome: str, answer: Json) -> None:
            if outcome == "ok":
                self.promises.append(Promise("ok", verb, agent=name))

        return self._ask(call, told)

    def verb_message(self, verb: str, message: int) -> None:
        """A verb of a message, repeated until it is answered."""
        try:
            self.ask("POST", f"/messages/{message}/{verb}")
        except Problem as problem:
            if problem.status != 409:  # an attempt whose answer was lost did it
                raise

    def end_session(self, identifier: str) -> None:
        """Revoke a session, repeated until it is answered."""
        try:
            self.ask("DELETE", f"/sessions/{identifier}")
        except Problem as problem:
            if problem.status != 404:  # an attempt whose answer was lost did it
                raise

    def repeated(self, method: str, path: str, body: Json | None = None) -> Json:
        """A request whose repetition may find that an attempt did it whose answer was lost."""
        try:
            return self.ask(method, path, body)
        except Problem as problem:
            if problem.status not in (404, 409):
                raise
            return {}

    def use_token(self, token: str) -> None:
        """Look at the hive over loopback as a program with that token does."""
        url = str(self.ask("POST", "/login-links")["url"])
        self._page(url, "GET", "/api/v1/state", "", token=token)

    def log_in(self, url: str) -> str:
        """Use a login link as a page does, over loopback; the session's cookie, empty when no answer came."""
        token = url.partition("/login#")[2]
        first = self._page(url, "GET", "/login", "")
        return self._page(url, "POST", "/api/v1/login", first, json.dumps({"token": token}))

    def visit(self, url: str, cookie: str) -> None:
        """Look at the hive as a page with that session does."""
        self.ensure()
        self._page(url, "GET", "/api/v1/state", cookie)

    def _page(self, url: str, method: str, path: str, cookie: str, body: str | None = None, *, token: str = "") -> str:
        """One request of a page; the cookie that the answer sets. A daemon that dies over it is started again."""
        place = url.partition("/login#")[0]
        headers = {"Origin": place, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
        if path == "/login":
            headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
        if token:
            headers = {"Authorization": f"Bearer {token}"}
        connection = http.client.HTTPConnection(place.partition("//")[2], timeout=10)
        try:
            connection.request(method, path, body, headers | ({"Cookie": cookie} if cookie else {}))
            answer = connection.getresponse()
            answer.read()
            return str(answer.headers.get("Set-Cookie", "")).partition(";")[0]
        except (OSError, http.client.HTTPException):
            self.ensure()
            return ""
        finally:
            connection.close()

    # ---- looking ---------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the store holds, read beside the daemon."""
        try:
            with closing(sqlite3.connect(f"file:{self.data / 'mel.db'}?mode=ro", uri=True)) as c:
                return c.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []

    def until(self, query: str, *values: object, within: float = READY_SECONDS) -> tuple[Any, ...]:
        """Wait until the query has a row; the daemon is started again when it dies meanwhile."""
        end = time.monotonic() + within
        while not (found := self.rows(query, *values)):
            self.ensure()
            if time.monotonic() > end:
                raise StoryFailed(f"nothing came of: {query} {values}")
            time.sleep(LOOK)
        return found[0]

    def handled(self, message: int) -> None:
        """Wait until a message is handled."""
        self.until("SELECT 1 FROM messages WHERE id = ? AND state = 2", message)

    def until_begun(self, turn: int) -> None:
        """Wait until the turn's engine has called its first tool."""
        [(path,)] = self.rows("SELECT log_path FROM turns WHERE id = ?", turn)
        end = time.monotonic() + READY_SECONDS
        while b"tool_call" not in ((self.data / path).read_bytes() if (self.data / path).exists() else b""):
            self.ensure()
            if time.monotonic() > end or self.rows("SELECT 1 FROM turns WHERE id = ? AND state = 'ended'", turn):
                raise StoryFailed(f"turn t{turn} called no tool")
            time.sleep(LOOK)

    def gone(self, path: Path) -> bool:
        """Wait until a file is gone."""
        end = time.monotonic() + READY_SECONDS
        while path.exists() and time.monotonic() < end:
            self.ensure()
            time.sleep(LOOK)
        return not path.exists()

    def quiet(self) -> None:
        """Wait until no mail that wakes is due, no turn open and no operation running."""
        self.until(
            "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM messages m JOIN agents a ON a.id = m.agent_id WHERE m.state < 2"
            " AND m.wake = 1 AND a.wish = 'running' AND a.paused_at IS NULL AND a.held_at IS NULL"
            " AND a.trouble IS NULL) AND NOT EXISTS (SELECT 1 FROM turns WHERE state <> 'ended')"
            " AND NOT EXISTS (SELECT 1 FROM operations WHERE state = 'running')"
        )

    def answers(self) -> list[str]:
        """Bodies of the operator's mail from agents, oldest first."""
        found = self.rows("SELECT body FROM messages WHERE recipient = 'operator' AND sender <> 'system' ORDER BY id")
        return [body for (body,) in found]

    def expect_answers(self, wanted: list[str], *, failures: int = 0, found: list[str] | None = None) -> None:
        """Agents told the operator this, in this order, once. What a turn said that did not end well may come again:
        its mail did. `failures` such turns are the story's own."""
        found = self.answers() if found is None else found
        again = max(0, self.failed_turns() - failures) if self.may_fail_turns else 0
        if list(dict.fromkeys(found)) != list(dict.fromkeys(wanted)) or not 0 <= len(found) - len(wanted) <= again:
            self.findings.append(
                Finding("story", "answers", f"{found!r} instead of {wanted!r}, {again} to be repeated")
            )

    def failed_turns(self) -> int:
        """Turns that were begun and did not end well: their mail was given back."""
        return int(self.rows("SELECT count(*) FROM turns WHERE result <> 'ok'")[0][0])

    @property
    def may_fail_turns(self) -> bool:
        """The fault can cost an engine the answer to a call, and so its turn. One that dies or is slow costs none."""
        return any(wish.kind not in ("crash", "delay", "duplicate") for wish in self.wishes)

    def expect(self, what: str, found: object, wanted: object) -> None:
        """Note a story's own wish that did not come true."""
        if found != wanted:
            self.findings.append(Finding("story", what, f"{found!r} instead of {wanted!r}"))

    def work(self, name: str) -> Path:
        """The host folder that is /ws in the agent's box."""
        [(identifier,)] = self.rows("SELECT id FROM agents WHERE name = ? AND wish <> 'purged'", name)
        return self.data / "homes" / identifier / "ws"

    def verdict(self, *, down: bool = True) -> list[Finding]:
        """Bring the hive down and tell everything that is wrong with what is left."""
        if down:
            self.down()
        wanted = Expect(settled=True, live=True, cap=4, now=time.time_ns() // 1000 + self.shift)
        found = [*self.findings, *check(self.data, self.promises, expect=wanted)]
        found += [*check_logs(self.data), *self._left(), *self._drafts()]
        return found

    def _left(self) -> list[Finding]:
        """What is left on the machine. A control group that the kernel would not let go yet goes at the next start."""
        found = self._mine()
        if any(finding.invariant == "orphan cgroup" for finding in found):
            self.down()
            found = self._mine()
        return found

    def _mine(self) -> list[Finding]:
        """Leftovers of this hive: control groups are named by the begin of its id, which a hive made in the same
        moment shares, and by the box."""
        boxes = tuple(box for (box,) in self.rows("SELECT id FROM boxes"))
        return [f for f in leftovers(self.data) if f.invariant != "orphan cgroup" or f.subject.endswith(boxes)]

    def _drafts(self) -> list[Finding]:
        """Files that were on their way to a name: nobody needs one once the hive is down."""
        found = [Path(root, name) for root, inner, names in os.walk(self.folder) for name in (*inner, *names)]
        odd = [path for path in found if path.name.endswith((".new", ".partial", ".restoring"))]
        return [Finding("orphan file", str(path.relative_to(self.folder)), "it never got its name") for path in odd]

    # ---- without a daemon ------------------------------------------------------------------------------------------

    def passed(self) -> dict[str, int]:
        """How often each point was passed, in the process that passed it most."""
        most = Counter[str]()
        for path in self.folder.glob("passed-*"):
            most |= Counter(path.read_text().split())
        return dict(most)

    def back_up(self, target: Path) -> bool:
        """`mel backup` beside a hive that does not run; whether it came to its end."""
        return self.run(lambda: write_backup(self.data, target))

    def restore(self, archive: Path, data: Path) -> bool:
        """`mel restore`; whether it came to its end, which a cut-off one shows by leaving its mark."""
        if (data / "mel.db").exists() and not (data / RESTORING).exists():
            return True
        return self.run(lambda: unpack_backup(archive, data, box_owner=_owner()))


def _owner() -> tuple[int, int]:
    from melipona.boxes.folders import box_owner

    owner = box_owner()
    return owner.uid, owner.gid


def _send(outcome: str, key: str, to: str, body: str, answer: Json) -> Promise:
    if outcome == "ok":
        return Promise("ok", "send", key=key, id=int(answer["id"]), to=to, body=body)
    return Promise("failed" if outcome == "failed" else "unknown", "send", key=key, to=to, body=body)
