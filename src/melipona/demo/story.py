"""The story: four acts, each step awaited under a deadline.

Two agents write, check and hand over a small program; the daemon dies in the middle of the check; one of them looks
around in its box. What is told is what the hive's own events, logs and rows say.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from melipona.client import ClientError
from melipona.demo.follow import Follower, Item
from melipona.demo.hive import DemoHive, HiveFailed, asked
from melipona.demo.looks import Seen, home_to_hide, judged
from melipona.demo.record import Broken, Record, Turn
from melipona.demo.screen import Screen

Json = dict[str, Any]
T = TypeVar("T")
AGENTS = ("ana", "ben")
CHECKS = 10
"""Lines of check.log in the end."""
KILL_AFTER = 3
"""Lines of check.log after which the daemon is killed."""
STEP_SECONDS = 40.0
"""A step that takes longer has gone wrong; the longest that goes well takes ten."""
CHECK_LOG = "names/check.log"
TASK = (
    "Please write a script that turns titles into file names, and let ben check it before you tell me that it is done."
)


@dataclass(slots=True)
class Killed:
    """The death of the daemon and what came of it."""

    turn: int
    agent: str
    message: int
    pid: int
    pid_after: int
    away_seconds: float
    checks_before: int
    checks_after: int


class Story:
    """Plays in one hive."""

    def __init__(self, hive: DemoHive, screen: Screen) -> None:
        self.hive, self.screen = hive, screen
        queue: SimpleQueue[Item] = SimpleQueue()
        self.follower = Follower(hive.client, queue)
        self.record = Record(screen, self.follower, queue)
        self.ids: dict[str, str] = {}
        self.state: Json = {}
        self.probe = ""
        self.killed: Killed | None = None
        self.seen: list[Seen] = []

    def play(self) -> None:
        """All of it.

        Raises:
            Broken: something did not happen as it should.
            HiveFailed: a command or the daemon failed.
        """
        self._hive()
        self._work()
        self._kill()
        self._look()

    # ---- acts -----------------------------------------------------------------------------------------------------

    def _hive(self) -> None:
        self._act("A hive", "A daemon in a temporary folder, and two agents that follow a script instead of a model.")
        self.screen.line("hive", f"starts in {self.hive.data}", shape="changing")
        self.state = self.hive.up(lambda waited: self.screen.busy("waiting for the daemon", waited))
        daemon = self.state["daemon"]
        self.screen.line("hive", f"runs: daemon {daemon['pid']}, API on {self.state['api']}", shape="working")
        self._examine()
        for name in AGENTS:
            playbook = (files("melipona.demo") / f"{name}.toml").read_text(encoding="utf-8")
            made = asked(lambda: self._new(name, playbook))  # noqa: B023
            self.ids[name] = str(made["id"])
            self.screen.line(name, "is there, and has no process before there is mail", shape="idle")
        self.follower.events()
        self.screen.pause(2)

    def _work(self) -> None:
        self._act("Mail, git and a shell", "Mail wakes an agent. Its box starts, it works, and it goes idle again.")
        self._send("ana", TASK)
        self._turn_over("ana", 1, "ana's first turn")
        self._turn_over("ben", 1, "ben's answer")
        self._turn_over("ana", 2, "ana's work")

    def _kill(self) -> None:
        turn = self._until("ben's turn", lambda: self.record.turn_of("ben", 2))
        self._until("the first check", lambda: self._checks() > 0 or None)
        self._act("The daemon is killed", "ben's checks run in his box. Now the daemon dies in the middle of his turn.")
        self._until("a few checks", lambda: self._checks() >= KILL_AFTER or None)
        pid, before, began = int(self.state["daemon"]["pid"]), self._checks(), time.monotonic()
        self.hive.kill(pid)
        self.screen.line("hive", f"kill -9 of daemon {pid} during turn t{turn.number}", shape="failed", style="bold")
        self._until("a new daemon", lambda: self.hive.client.ready() or None)
        away, after = time.monotonic() - began, self._checks()
        self.state = self.hive.state()
        new = int(self.state["daemon"]["pid"])
        self.screen.line(
            "hive", f"daemon {new}, started by `mel up`'s parent, is ready after {away:.1f} s", shape="working"
        )
        self._until("the adoption of the turn", lambda: turn.adopted or None)
        self.screen.line("hive", f"turn t{turn.number} is adopted and goes on", shape="working")
        self.screen.line("hive", f"ben's checks ran on without a daemon: {before} were done, now {after} of {CHECKS}")
        self.killed = Killed(turn.number, "ben", turn.woken_by[0], pid, new, away, before, after)
        self._until("the end of ben's turn", lambda: self._over(turn))
        self._check_work(turn, self._turn_over("ana", 3, "ana's report"))

    def _look(self) -> None:
        self._act(
            "What a box cannot see", "ben searches for what must not be in his box. The answers are the commands' own."
        )
        port = int(str(self.state["api"]).rpartition(":")[2])
        self._check_there(port)
        home = home_to_hide(self.hive.data)
        self._send("ben", f"Please look around in your box.\nAPI port {port}\nhive {self.hive.data}\nhome {home}")
        turn = self._turn_over("ben", 3, "ben's look around")
        try:
            self.seen = judged(turn.calls)
        except ValueError as error:
            raise Broken(f"ben did not look around: {error}") from error
        found = [look for look in self.seen if not look.hidden]
        if found:
            raise Broken("a box sees what it must not: " + "; ".join(f"{look.what}: {look.answer}" for look in found))

    # ---- steps ----------------------------------------------------------------------------------------------------

    def _act(self, title: str, what: str) -> None:
        self.screen.plain()
        self.screen.plain(title, "bold")
        self.screen.plain(what, "dim")
        self.screen.pause(1.5)

    def _examine(self) -> None:
        """A real box is started and its probe run before the story begins."""
        checks = self.hive.doctor(lambda waited: self.screen.busy("waiting for `mel doctor`", waited))
        wrong = [check for check in checks if check["ok"] == "no"]
        if wrong:
            lines = [
                f"{check['name']}: {str(check['detail']).rstrip(' .')}; {check['remedy']}".rstrip("; ")
                for check in wrong
            ]
            raise Broken("a hive cannot work here, `mel doctor` finds", *lines)
        self.probe = next((str(check["detail"]) for check in checks if check["name"] == "probe"), "")
        self.screen.line("hive", f"`mel doctor` started a box: {self.probe}", shape="working")

    def _new(self, name: str, playbook: str) -> Json:
        return self.hive.client.post("/agents", {"name": name, "engine": "playbook", "playbook": playbook})

    def _send(self, name: str, body: str) -> None:
        sent = asked(lambda: self.hive.client.post_keyed("/messages", {"to": name, "body": body}))
        self.record.sent(int(sent["id"]), name, body)

    def _turn_over(self, agent: str, nth: int, what: str) -> Turn:
        """Wait until the agent's nth turn has begun and ended."""
        turn = self._until(what, lambda: self.record.turn_of(agent, nth))
        self._until(what, lambda: self._over(turn))
        return turn

    @staticmethod
    def _over(turn: Turn) -> bool | None:
        return (turn.ended and turn.over) or None

    def _until(self, what: str, found: Callable[[], T | None]) -> T:
        """Take what happens until `found` answers.

        Raises:
            Broken: it does not within the time of a step.
        """
        began = time.monotonic()
        while (answer := found()) is None:
            waited = time.monotonic() - began
            if waited > STEP_SECONDS:
                raise Broken(f"{what} did not come within {STEP_SECONDS:.0f} s", *self._states())
            self.screen.busy(f"waiting for {what}", waited)
            try:
                self.record.take(0.05)
            except Empty:
                continue
        return answer

    def _states(self) -> list[str]:
        """What the hive says of its agents, for a story that does not go on."""
        try:
            agents = self.hive.client.get("/state")["agents"]
        except ClientError as error:
            return [f"the daemon does not answer: {error.what}"]
        return [
            f"{agent['name']} is {agent['state']} ({agent['reason'] or 'no reason'}) since {agent['since']}"
            for agent in agents
        ]

    def _checks(self) -> int:
        return self.hive.lines(self.ids["ben"], CHECK_LOG)

    def _check_work(self, ben: Turn, ana: Turn) -> None:
        """The checks ran once each and passed, what ben checked is what ana made, and she has told the operator."""
        ran = self.record.calls_with(ben, "sh check.sh")
        verdicts = [line.split()[0] for line in ran[0].text.splitlines()] if len(ran) == 1 else []
        if verdicts != ["ok"] * CHECKS or self._checks() != CHECKS:
            raise Broken(f"the checks did not run once each and pass: {verdicts}")
        tags = self.record.calls_with(ana, "git -C names log")
        told = [m["body"] for m in asked(lambda: self.hive.client.get("/inbox"))["items"] if m["sender"] == "ana"]
        if len(told) != 1 or f"{CHECKS} checks" not in told[0] or not tags or tags[0].text.strip() not in told[0]:
            raise Broken(f"ana told something else: {told}")

    def _check_there(self, port: int) -> None:
        """What ben will look for is there to be found outside his box."""
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
        if not (self.hive.data / "agents" / "ana" / "state" / "notes.md").is_file():
            raise Broken("ana has written no notes")


__all__ = ["Broken", "HiveFailed", "Killed", "Story"]
