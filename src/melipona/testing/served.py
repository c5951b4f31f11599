"""The operator's API over a real store and real sockets, without boxes: for tests of the API and of `mel`.

It runs on an event loop of its own thread, as the daemon would in its own process. Only what needs boxes is a fake:
turns, doctor, backup. `with served(data) as hive:` gives it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
from sqlalchemy import Connection, insert, update

import melipona
from melipona.access.logins import provider_of
from melipona.agents.service import Agents
from melipona.api.listen import Listeners, listen
from melipona.api.server import serve
from melipona.api.services import Facts, Services
from melipona.boxes.folders import Folders, box_owner
from melipona.client import Client
from melipona.clock import Clock, Micros, SystemClock
from melipona.engines.playbook import PlaybookEngineDriver
from melipona.errors import BoxStartFailed, Conflict, NotFound
from melipona.files.references import Files
from melipona.ids import AgentId, AgentName, EpochId, ProgramId, TurnId
from melipona.mail.bodies import FileBodies
from melipona.mail.service import Mail
from melipona.operations.service import Operations
from melipona.principals import AgentPrincipal, Principal
from melipona.settings import Settings
from melipona.store import events
from melipona.store.engine import Store, now
from melipona.store.schema import epochs, turns
from melipona.terminals.service import Terminal
from melipona.turns.agent_facts import Limits
from melipona.turns.controls import Controls
from melipona.turns.log import log_path
from melipona.views.agents import agent_id

P = ParamSpec("P")
T = TypeVar("T")
DAY_MICROS = 86_400_000_000
READY_SECONDS = 30
DAY = "2026-11-21"


class FakeTurns:
    """Records who was interrupted. An agent called `idle` has no turn."""

    def __init__(self) -> None:
        self.interrupted: list[tuple[str, str]] = []
        self.growth = asyncio.Event()

    async def interrupt(self, by: Principal, name: AgentName) -> object:
        """As the turn service would."""
        if name == "idle":
            raise Conflict("idle has no running turn", remedy="look at `mel status`", code="no_turn")
        self.interrupted.append((by.name, name))
        return None

    async def log_grew(self, turn: int, within: float) -> bool:
        """True at the next `growth`."""
        self.growth = asyncio.Event()
        try:
            async with asyncio.timeout(within):
                await self.growth.wait()
            return True
        except TimeoutError:
            return False


class FakeTerminals:
    """One terminal `old`, which is over; no other can be opened."""

    async def open(self, by: Principal, name: str, rows: int, columns: int) -> Terminal:
        """There are no boxes here."""
        raise BoxStartFailed(f'box of "{name}": there are no boxes here')

    def get(self, identifier: str) -> Terminal:
        """As the terminal service would."""
        if identifier != "old":
            raise NotFound("that terminal is closed")
        station: Any = None
        return Terminal(ProgramId("old"), AgentName("ana"), "operator", station, 5, bytearray(b"$ ls\n"), 0, over=True)

    async def type(self, identifier: str, data: bytes) -> None:
        """Nothing listens."""
        self.get(identifier)

    async def resize(self, identifier: str, rows: int, columns: int) -> None:
        """Nothing is drawn."""
        self.get(identifier)

    def close(self, identifier: str) -> None:
        """It is over."""
        self.get(identifier)


@dataclass(slots=True)
class ServedHive:
    """A served hive and the thread's loop it lives on."""

    data: Path
    services: Services
    turns: FakeTurns
    loop: asyncio.AbstractEventLoop
    stopped: list[bool] = field(default_factory=list[bool])

    @property
    def client(self) -> Client:
        """A client over the unix socket."""
        return Client(self.data)

    @property
    def port(self) -> int:
        """Of the API on loopback."""
        return self.services.port

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the hive's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(READY_SECONDS)

    def write(self, op: Callable[Concatenate[Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        """Run an operation as one transaction."""
        return self.run(self.services.store.write(op, *args, **kw))

    def read(self, op: Callable[Concatenate[Connection, P], T], *args: P.args, **kw: P.kwargs) -> T:
        """Run a reading operation."""
        return self.run(self.services.store.read(op, *args, **kw))

    def agent_says(self, name: str, body: str, *, to: str = "operator") -> int:
        """Have an agent send a message; its id."""
        sender = AgentPrincipal(AgentId(self.read(agent_id, name)), AgentName(name))
        return self.run(self.services.mail.post(sender, to, body)).id

    def grow(self, turn: int, line: str) -> None:
        """Append a line to a turn's log, as the turn loop does."""
        path = log_path(self.data / "turns", TurnId(turn))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with path.open("a") as file:
            file.write(line)
        self.loop.call_soon_threadsafe(lambda: self.turns.growth.set())

    def end_turn(self, turn: int) -> None:
        """End a turn well."""
        self.write(_end_turn, turn)

    def open_turn(self, name: str) -> int:
        """Give an agent a running turn without an engine; its id."""
        return self.write(_open_turn, self.read(agent_id, name), name)


@contextmanager
def served(
    data: Path, *, settings: Settings | None = None, clock: Clock | None = None, stop: Callable[[], None] | None = None
) -> Generator[ServedHive]:
    """Serve a hive in `data` until the block ends."""
    started: list[ServedHive] = []
    failed: list[BaseException] = []
    ready, end = threading.Event(), threading.Event()

    async def main() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        hive, listeners, finish = await _make(data, settings or Settings(), clock or SystemClock(), loop, stop)
        async with anyio.create_task_group() as tasks:
            await tasks.start(serve, hive.services, listeners)
            started.append(hive)
            ready.set()
            waiter = asyncio.create_task(asyncio.to_thread(end.wait))
            waiter.add_done_callback(lambda _: over.set())
            await over.wait()
            tasks.cancel_scope.cancel()
        listeners.close()
        await finish()

    def thread() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    worker = threading.Thread(target=thread, name="served-hive")
    worker.start()
    try:
        assert ready.wait(READY_SECONDS), "the hive did not come up"
        if failed:
            raise failed[0]
        yield started[0]
    finally:
        end.set()
        worker.join(READY_SECONDS)
        if started and failed:
            raise failed[0]


async def _make(
    data: Path, settings: Settings, clock: Clock, loop: asyncio.AbstractEventLoop, stop: Callable[[], None] | None
) -> tuple[ServedHive, Listeners, Callable[[], Awaitable[None]]]:
    for name in ("", "run", "turns"):
        (data / name).mkdir(mode=0o700, exist_ok=True)
    store = await Store.open(data / "mel.db", clock)
    listeners = await listen(store, data / "run", port=settings.hive.port)
    epoch = EpochId(await store.write(_epoch))
    files = Files(Folders(data, box_owner()))
    mail = Mail(store, settings.mail, FileBodies(data), files)
    operations = Operations(store, epoch, "here")
    fake = FakeTurns()
    stopped: list[bool] = []

    async def why(subject: str) -> dict[str, Any]:
        return {"subject": subject, "state": "idle", "text": "nothing to do", "next": "mail"}

    async def doctor() -> list[dict[str, Any]]:
        return [{"name": "box", "ok": "yes", "detail": "a box starts", "remedy": ""}]

    async def backup(path: Path, homes: bool) -> dict[str, Any]:
        return {"path": str(path), "homes": homes}

    provider = provider_of(settings.access.oidc, {}, clock)
    services = Services(
        store=store,
        settings=settings,
        clock=clock,
        mail=mail,
        agents=Agents(store, mail, settings, operations=operations),
        turns=fake,
        controls=Controls(store, operations, lambda: {"playbook": PlaybookEngineDriver()}),
        facts=Facts(4, lambda: Limits(DAY, Micros(clock.now() + DAY_MICROS)), dict),
        files=files,
        terminals=FakeTerminals(),
        data=data,
        version=melipona.__version__,
        pid=os.getpid(),
        started_at=clock.now(),
        port=listeners.port,
        why=why,
        doctor=doctor,
        backup=backup,
        stop=stop or (lambda: stopped.append(True)),
        provider=provider,
    )

    async def finish() -> None:
        if provider is not None:
            await provider.aclose()
        await store.close()

    return ServedHive(data, services, fake, loop, stopped), listeners, finish


def _epoch(c: Connection) -> int:
    values = {"host": "here", "pid": os.getpid(), "started_at": now(c)}
    return int(c.execute(insert(epochs).values(**values).returning(epochs.c.id)).scalar_one())


def _open_turn(c: Connection, identifier: str, name: str) -> int:
    values = {"agent_id": identifier, "agent": name, "state": "running", "cause": '{"kind":"mail"}', "epoch": 1}
    times = {"host": "here", "wake_source": "mail", "started_at": now(c), "entered_at": now(c)}
    return int(c.execute(insert(turns).values(**values, **times).returning(turns.c.id)).scalar_one())


def _end_turn(c: Connection, turn: int) -> None:
    values = {"state": "ended", "result": "ok", "ended_at": now(c), "entered_at": now(c)}
    agent = c.execute(update(turns).where(turns.c.id == turn).values(**values).returning(turns.c.agent)).scalar_one()
    events.record(c, "turn.ended", agent=agent, subject=f"t{turn}", data={"id": turn, "result": "ok"})
