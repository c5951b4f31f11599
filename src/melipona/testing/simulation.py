"""Whole hives in one thread, by a seed: the daemon's own rooms and loops over boxes that are only thought of.

    python -m melipona.testing.simulation --seed 7            # one history, as a failure prints it
    python -m melipona.testing.simulation --first 1 --seconds 20

Store, mail, agents, operations, turns, stations, keeper and adoption are the product's; the store is SQLite on a file,
whose writer is a step of the loop instead of a thread. Boxes, engines and time are not real (`fake_boxes`), and of what
is ready the seed picks what happens next (`seeded_loop`). The daemon dies at random steps and the next one goes on;
boxes and engines die; an operator sends, pauses, stops, restarts and interrupts. In the end all goes quiet, and the
checker (`invariants`) reads the store and what senders were promised.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import anyio
import structlog

from melipona import ids
from melipona.agents.service import Agents
from melipona.boxes.folders import Folders, box_owner
from melipona.budgets.service import Budgets
from melipona.clock import Micros, SystemClock
from melipona.engines.playbook import PlaybookEngineDriver, parse_playbook
from melipona.errors import MeliponaError
from melipona.files.references import Files
from melipona.ids import AgentId, AgentName, EpochId
from melipona.mail.bodies import FileBodies
from melipona.mail.service import Mail
from melipona.operations.service import Operations
from melipona.principals import AgentPrincipal
from melipona.settings import Settings
from melipona.store import engine as store_engine
from melipona.store import writer as store_writer
from melipona.store.engine import Store
from melipona.store.epochs import begin_epoch
from melipona.store.migrate import ensure_schema
from melipona.testing.fake_boxes import FakeDriver, FakeLink, World
from melipona.testing.invariants import Expect, Finding, Promise, check
from melipona.testing.rooms import OPERATOR
from melipona.testing.seeded_loop import Crashed, NothingLeft, SeededLoop
from melipona.turns import station as stations_module
from melipona.turns.adopt import Adoption
from melipona.turns.keeper import Keeper
from melipona.turns.loop import Turns
from melipona.turns.parts import RunnerParts
from melipona.turns.slots import Slots
from melipona.turns.station import StationParts, Stations

AGENTS = ("ana", "ben", "cleo")
CAP, ATTEMPTS = 2, 4
LIVES = 4
STEPS = (200, 2500)
"""Steps of the loop after which a daemon dies, at least and at most; the last one lives on."""
QUIET_SECONDS = 3600.0
EPOCH = 1_767_225_600_000_000
HOST = "simulated"
VERBS = ("pause", "resume", "stop", "start", "restart")


def settings() -> Settings:
    """Quick, so that much happens in an hour that is not real."""
    return Settings.model_validate(
        {
            "mail": {"attempts": ATTEMPTS, "backoff": [1, 5], "thread_hops": 0, "thread_per_minute": 0},
            "turns": {"cap": CAP, "total": 60, "silence": 30, "interrupt_grace": 2, "engine_idle": 5, "adopt": 5},
            "boxes": {"idle": 20, "stop_grace": 1, "start": 10, "disk_bytes": 0, "inodes": 0},
            "watch": {"restarts": 1000, "backoff": [0.5], "every": 3},
            "budgets": {"turns_per_hour": 0, "hive_usd_per_day": 0},
        }
    )


class LoopClock:
    """Time as the running loop has it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> Micros:
        return Micros(EPOCH + round(self._loop.time() * 1_000_000))

    def monotonic(self) -> float:
        return self._loop.time()


class _NoThread:
    """Stands where the writer's thread is made."""

    def __init__(self, **_: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def join(self) -> None:
        pass


class StepWriter(store_writer.Writer):
    """A writer whose batch is one step of the loop: the seed says when, and with what is queued by then."""

    def put(self, job: store_writer.Job) -> None:
        super().put(job)
        asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        jobs: list[store_writer.Job] = []
        while self._queue.qsize() and len(jobs) < store_writer.BATCH:
            job = self._queue.get_nowait()
            if job is not None:
                jobs.append(job)
        if jobs:
            self._settled(self._safely(jobs))


@contextmanager
def simulated(chance: random.Random, world: World) -> Generator[None]:
    """The product without threads, sockets and real chance, for as long as the block lasts."""

    class Link(FakeLink):
        pass

    Link.world = world
    made = SimpleNamespace(Thread=_NoThread)
    nanoseconds = iter(range(1, 1 << 60))
    at = SimpleNamespace(time_ns=lambda: 1_000_000 * next(nanoseconds))
    with (
        mock.patch.object(store_writer, "threading", made),
        mock.patch.object(store_engine, "Writer", StepWriter),
        mock.patch.object(stations_module, "BoxLink", Link),
        mock.patch.object(stations_module, "listen_unix", return_value=None),
        mock.patch.object(ids, "time", at),
        mock.patch.object(ids, "os", SimpleNamespace(urandom=chance.randbytes)),
    ):
        yield


class NoGate:
    """A box's gate: its engine is not real, and asks nothing."""

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class Life:
    """One life of the daemon: its rooms and loops, wired as `daemon.py` wires them."""

    data: Path
    store: Store
    world: World
    epoch: EpochId
    tasks: anyio.abc.TaskGroup
    mail: Mail = field(init=False)
    agents: Agents = field(init=False)
    turns: Turns = field(init=False)
    stations: Stations = field(init=False)

    async def begin(self) -> None:
        """Take over what is there, and start the loops."""
        config, store, clock = settings(), self.store, self.store.clock
        folders = Folders(self.data, box_owner())
        folders.make_data()
        self.mail = Mail(store, config.mail, FileBodies(self.data), Files(folders))
        operations = Operations(store, self.epoch, HOST)
        self.agents = Agents(store, self.mail, config, operations=operations)
        budgets, slots = Budgets(config.budgets, timezone="UTC"), Slots(store, CAP, self.epoch)
        driver: Any = FakeDriver(self.world)

        async def gate(*_: object) -> NoGate:
            return NoGate()

        self.stations = Stations(
            StationParts(
                store, driver, folders, config.boxes, clock, HOST, gate, lambda _: (), lambda a, w: keeper.crashed(a, w)
            ),
            self.tasks,
        )
        parts = RunnerParts(
            store=store,
            stations=self.stations,
            engines={"playbook": PlaybookEngineDriver()},
            settings=config,
            clock=clock,
            epoch=self.epoch,
            turns_folder=self.data / "turns",
            grew=lambda turn: self.turns.grew(turn),
            playbook=parse_playbook,
            agents=self.agents,
            mail=self.mail,
            budgets=budgets,
            has_key=False,
        )
        self.turns = Turns(parts, slots, budgets, host=HOST)
        keeper = Keeper(store, self.agents, self.stations, self.turns, folders, config, clock)
        await self.mail.begin()
        await store.reserved.write(operations.takeover)
        await Adoption(store, driver, folders, self.stations, self.turns, parts, HOST).run(self.tasks)
        self.tasks.start_soon(self.turns.run, self.tasks)
        self.tasks.start_soon(keeper.run, self.tasks)


class Simulation:
    """One history below `folder`. `promises` is what senders were told."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.data = seed, folder / "hive"
        self.chance = random.Random(seed)
        self.world = World(self.chance, AGENTS)
        self.promises: dict[str, Promise] = {}
        self.at = 0.0
        self.steps = 0
        self.stuck: list[Finding] = []
        self.agent_ids: dict[str, str] = {}
        self.played = ""
        """The digest, when it is over."""
        self._life: Life | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def run(self) -> list[Finding]:
        """Play it; everything that is wrong with what is left."""
        self.data.mkdir(mode=0o700)
        (self.data / "mel.db").write_bytes(_empty_store())
        with simulated(self.chance, self.world):
            for life in range(LIVES):
                last = life == LIVES - 1
                self._live(None if last else self.chance.randint(*STEPS))
        now = EPOCH + round(self.at * 1_000_000)
        expect = Expect(settled=not self.stuck, live=not self.stuck, cap=CAP, attempts=ATTEMPTS, now=now)
        return [*self.stuck, *check(self.data, self.promises.values(), expect=expect)]

    @property
    def digest(self) -> str:
        """What happened, in short: the same for the same seed."""
        with closing(sqlite3.connect(self.data / "mel.db")) as c:
            rows = c.execute("SELECT at, kind, agent, data FROM events ORDER BY id").fetchall()
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]

    def _live(self, steps: int | None) -> None:
        """One life of the daemon, which dies after so many steps, or ends when all is quiet."""
        loop = SeededLoop(self.chance, self.at, steps)
        loop.set_exception_handler(self._unseen)
        asyncio.set_event_loop(loop)
        opened: list[Store] = []
        try:
            loop.run_until_complete(self._daemon(opened, last=steps is None))
        except Crashed:
            pass
        except NothingLeft:
            self.stuck.append(Finding("I-9", "hive", "nothing can happen any more, and it is not quiet"))
        finally:
            self.at, self.steps = loop.time() + 1, self.steps + loop.steps
            _drop(loop)
            for store in opened:
                _let_go(store)

    def _unseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something went wrong that nobody waits for."""
        self.stuck.append(Finding("daemon", "loop", f"{context.get('message')}: {context.get('exception')!r}"))

    async def _daemon(self, opened: list[Store], *, last: bool) -> None:
        clock = LoopClock(asyncio.get_running_loop())
        store = await Store.open(self.data / "mel.db", clock, force_place=True)
        opened.append(store)
        epoch = await store.write(begin_epoch, host=HOST, pid=1, version="0")
        self.world.calm = False
        self.world.begin()
        async with anyio.create_task_group() as tasks:
            self._life = life = Life(self.data, store, self.world, epoch, tasks)
            self.world.send = self._of_engine
            await life.begin()
            await self._people(life, tasks, last=last)
            tasks.cancel_scope.cancel()

    async def _people(self, life: Life, tasks: anyio.abc.TaskGroup, *, last: bool) -> None:
        for name in AGENTS:
            if name not in self.agent_ids:
                try:
                    made = await life.agents.create(OPERATOR, name, "playbook")
                    self.agent_ids[name] = made.id
                except MeliponaError:  # a life whose end came before its answer made it
                    self.agent_ids[name] = await life.store.read(_id_of, name)
        for number in range(self.chance.randint(5, 15)):
            tasks.start_soon(self._send, life, f"o{self.steps}-{life.epoch}-{number}")
        for _ in range(self.chance.randint(3, 8)):
            tasks.start_soon(self._meddle, life)
        if not last:
            await asyncio.sleep(10**6)
        await asyncio.sleep(60)
        self.world.calm = True
        await self._quiet(life)

    async def _send(self, life: Life, key: str) -> None:
        await asyncio.sleep(self.chance.random() * 20)
        to, body = self.chance.choice(AGENTS), f"do {key}"
        common: dict[str, Any] = {"key": key, "to": to, "body": body}
        self.promises[key] = Promise("unknown", "send", **common)
        try:
            sent = await life.mail.post(OPERATOR, to, body, key=key)
        except MeliponaError:
            self.promises[key] = Promise("failed", "send", **common)
        else:
            self.promises[key] = Promise("ok", "send", id=sent.ids[0], **common)

    def _of_engine(self, agent: str, key: str, to: str, body: str) -> None:
        """An engine sends by the gate of the daemon that lives now."""
        if self._life is not None:
            task = asyncio.get_running_loop().create_task(self._sent_by(self._life, agent, key, to, body))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _sent_by(self, life: Life, agent: str, key: str, to: str, body: str) -> None:
        by = AgentPrincipal(AgentId(self.agent_ids[agent]), AgentName(agent))
        common: dict[str, Any] = {"key": key, "to": to, "body": body, "sender": agent}
        self.promises[key] = Promise("unknown", "send", **common)
        try:
            sent = await life.mail.post(by, to, body, key=key)
        except MeliponaError:
            self.promises[key] = Promise("failed", "send", **common)
        else:
            self.promises[key] = Promise("ok", "send", id=sent.ids[0], **common)

    async def _meddle(self, life: Life) -> None:
        """Something that people, or bad luck, do to a hive."""
        await asyncio.sleep(self.chance.random() * 30)
        name = self.chance.choice(AGENTS)
        what = self.chance.choice((*VERBS, "interrupt", "kill a box", "kill an engine"))
        alive = self.world.alive()
        try:
            if what == "kill a box" and alive:
                self.chance.choice(alive).die()
            elif what == "kill an engine" and alive:
                for program in self.chance.choice(alive).programs.values():
                    program.end(-9)
            elif what == "interrupt":
                await life.turns.interrupt(OPERATOR, AgentName(name))
            elif what in VERBS:
                await getattr(life.agents, what)(OPERATOR, name)
        except MeliponaError:
            pass  # it does not fit what is so now

    async def _quiet(self, life: Life) -> None:
        """Everybody runs again and nothing goes wrong: in the end all mail is handled."""
        until = asyncio.get_running_loop().time() + QUIET_SECONDS
        while rows := await life.store.read(_waiting):
            for name in AGENTS:
                for verb in ("start", "resume"):
                    try:
                        await getattr(life.agents, verb)(OPERATOR, name)
                    except MeliponaError:
                        pass
            for number, state in rows:
                if state == 3:
                    await life.store.write(life.mail.retry, number, by=OPERATOR)
            if asyncio.get_running_loop().time() > until:
                self.stuck.append(Finding("I-9", "hive", f"{len(rows)} things are still under way after an hour"))
                return
            await asyncio.sleep(5)


def _waiting(c: Any) -> list[tuple[int, int]]:
    """Messages of agents that are not handled; an open turn or operation counts as one."""
    execute: Callable[..., Any] = c.connection.driver_connection.execute
    mail = execute("SELECT id, state FROM messages WHERE agent_id IS NOT NULL AND state <> 2").fetchall()
    turns = execute("SELECT id, 0 FROM turns WHERE state <> 'ended'").fetchall()
    return [*mail, *turns, *execute("SELECT 0, 0 FROM operations WHERE state = 'running'").fetchall()]


def _id_of(c: Any, name: str) -> str:
    return str(c.connection.driver_connection.execute("SELECT id FROM agents WHERE name = ?", (name,)).fetchone()[0])


def _drop(loop: SeededLoop) -> None:
    """Forget a loop as a dead process is forgotten: nothing of it runs any more, not even what would clear up."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # pyright: ignore
        coroutine: Any = task.get_coro()
        _GRAVEYARD.append(coroutine)
    asyncio.set_event_loop(None)


_GRAVEYARD: list[Any] = []
"""Coroutines of dead daemons: let go of, they would run their `finally` blocks."""


def _let_go(store: Store) -> None:
    """Close what a dead process's descriptors would have been closed of by the kernel; what was begun is undone."""
    for c in (*store._reading, store._writer._c):  # pyright: ignore[reportPrivateUsage]
        driver: Any = c.connection.driver_connection
        driver.close()


@cache
def _empty_store() -> bytes:
    """A store with its schema and nothing in it, made once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mel.db")
        ensure_schema(path, SystemClock())
        return path.read_bytes()


def play(seed: int) -> tuple[list[Finding], Simulation]:
    """Play one history in a folder in memory, where there is one."""
    place = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="mel-simulation-", dir=place))
    try:
        simulation = Simulation(seed, folder)
        found = simulation.run()
        simulation.played = simulation.digest
        return found, simulation
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Play histories; 1 when one broke something."""
    parser = argparse.ArgumentParser(prog="python -m melipona.testing.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="only this history")
    parser.add_argument("--first", type=int, default=1, help="the first seed of many")
    parser.add_argument("--seconds", type=float, default=20, help="how long")
    options = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if options.seed is not None:
        found, simulation = play(options.seed)
        print(*found, f"{simulation.steps} steps, digest {simulation.played}", sep="\n")
        return int(bool(found))
    until, seed, steps, broken = time.monotonic() + options.seconds, options.first, 0, 0
    while time.monotonic() < until:
        found, simulation = play(seed)
        steps += simulation.steps
        if found:
            broken += 1
            print(f"python -m melipona.testing.simulation --seed {seed}", *found[:5], sep="\n  ")
        seed += 1
    print(f"{seed - options.first} histories, {steps} steps, {broken} broken")
    return int(bool(broken))


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets of text is chance too
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
