"""What all machines share: a bench, crashes, the daemon's next life, and time.

A machine's model is what each caller was told: `ok`, refused, or unknown (a crash). It never looks into the store to
know what should be there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sqlalchemy import Connection

from melipona.agents.service import Agents
from melipona.boxes.folders import Folders, box_owner
from melipona.files.references import Files
from melipona.ids import AgentId
from melipona.mail.bodies import FileBodies
from melipona.mail.service import Mail
from melipona.operations.service import Operations
from melipona.principals import OperatorPrincipal
from melipona.settings import MailSettings, Settings, WatchSettings
from melipona.store import events
from melipona.store.engine import Event
from melipona.store.epochs import begin_epoch

from .bench import BENCHES, CrashError, MemoryBench, prepared, scratch

OPERATOR = OperatorPrincipal(method="test")
HOST = "testhost"
LIMIT = 3
SETTINGS = Settings(
    mail=MailSettings(
        attempts=LIMIT, backoff=(5, 30), thread_hops=0, thread_per_minute=0, sends_per_minute=0, broadcasts_per_minute=0
    ),
    watch=WatchSettings(restarts=3, backoff=(1, 5)),
)
NAMES = ("ana", "ben")


def begin_life(c: Connection) -> Any:
    """A daemon's epoch."""
    return begin_epoch(c, host=HOST, pid=1, version="test")


class StoreMachine(RuleBasedStateMachine):
    """A machine over a bench. `lives` counts the daemons; `recover` is what a starting one does."""

    kind: ClassVar[str] = "memory"
    agents_of: ClassVar[tuple[str, ...]] = NAMES

    def __init__(self) -> None:
        super().__init__()
        image = prepared((StoreMachine, self.agents_of), self._prepare)
        self.bench: MemoryBench = BENCHES[self.kind](image)
        self.clock = self.bench.clock
        self.ids: dict[str, AgentId] = {name: AgentId(id_) for name, id_ in self.rows("SELECT name, id FROM agents")}
        self.crashes = 0
        self.begin()

    @classmethod
    def _prepare(cls, bench: MemoryBench) -> None:
        bench.do(begin_life)
        _, agents, _ = services(bench, 1)
        for name in cls.agents_of:
            bench.do(agents.create_in, OPERATOR, name, "playbook", {})

    def begin(self) -> None:
        """Set the model up."""

    def teardown(self) -> None:
        self.bench.close()

    # ---- words ------------------------------------------------------------------------------------------------------

    def write(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """One transaction; a crash is followed by the next daemon's start.

        Raises:
            CrashError: what was asked for may have happened.
        """
        try:
            return self.bench.do(op, *args, **kw)
        except CrashError:
            self.restart()
            raise

    def read(self, op: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        return self.bench.look(op, *args, **kw)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query, past the product."""
        return self.bench.look(lambda c: c.connection.driver_connection.execute(query).fetchall())

    def told(self, kind: str | None = None) -> list[Event]:
        """All events, or those of a kind or noun."""
        return self.read(events.after, 0, kind=kind, limit=100_000)

    def restart(self) -> None:
        """The daemon is gone; the next one starts."""
        self.bench.fault = None
        self.crashes += 1
        self.recover()

    def recover(self) -> None:
        """What a starting daemon does."""

    # ---- rules of all -----------------------------------------------------------------------------------------------

    @initialize()
    def begins(self) -> None:
        """Nothing yet."""

    @rule(where=st.sampled_from(["before", "after"]))
    def arm(self, where: str) -> None:
        """The next transaction crashes."""
        self.bench.fault = where

    @rule(seconds=st.sampled_from([1, 20, 60]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))


def services(bench: MemoryBench, epoch: int) -> tuple[Mail, Agents, Operations]:
    """The rooms of one life of a daemon over a bench."""
    store: Any = bench
    data = scratch()
    mail = Mail(store, SETTINGS.mail, FileBodies(data), Files(Folders(data, box_owner())))
    operations = Operations(store, epoch, HOST)  # type: ignore[arg-type]
    return mail, Agents(store, mail, SETTINGS, operations=operations), operations
