"""The daemon: the only wiring. Opens the store, names the concrete drivers, runs every loop in one task group.

`python -m melipona.daemon --data DIR [--config FILE]` runs in the foreground. Exit codes: 0 after an orderly end, 1
when it cannot start (with the reason on stderr), 74 when the disk is why, 75 when the outcome of a commit is unknown:
start it again. SIGTERM leaves boxes running; `mel down` ends turns, boxes and daemon.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from melipona import __version__
from melipona.access.exposure import check_exposure, finding, passkeys_finding
from melipona.access.logins import provider_of
from melipona.access.oidc_client import ProviderClient
from melipona.agents import store as agent_rows
from melipona.agents.model import Agent
from melipona.agents.service import Agents
from melipona.agents.tools import agent_tools
from melipona.api.listen import Listeners, listen
from melipona.api.server import serve as serve_api
from melipona.api.services import Facts, Services
from melipona.boxes.bubblewrap import BubblewrapBoxDriver
from melipona.boxes.driver import Mount
from melipona.boxes.folders import Folders, box_owner
from melipona.boxes.uids import uid_range
from melipona.budgets.model import micro
from melipona.budgets.prices import load_prices
from melipona.budgets.service import Budgets
from melipona.clock import SystemClock
from melipona.daemon_process import hold_data, loop_factory, no_core, notify, tune
from melipona.doctor import examine
from melipona.engines.claude import ClaudeEngineDriver
from melipona.engines.engine import EngineDriver
from melipona.engines.playbook import PlaybookEngineDriver, parse_playbook
from melipona.errors import BoxError, MeliponaError, OutcomeUnknown, StoreFull
from melipona.faults import fault
from melipona.files.references import Files
from melipona.gate.app import Gate
from melipona.gate.listener import serve_box
from melipona.gate.upstream import Upstream
from melipona.ids import OPERATOR, EpochId
from melipona.logs import configure
from melipona.mail.bodies import FileBodies
from melipona.mail.service import Mail
from melipona.mail.tools import mail_tools
from melipona.memory import give_back_at_rest, keep_for_good
from melipona.operations.service import Operations
from melipona.settings import Settings, load_settings, with_host
from melipona.store.backup import backup
from melipona.store.check import Checks
from melipona.store.disk import DiskWatch
from melipona.store.engine import Store
from melipona.store.epochs import begin_epoch, end_epoch
from melipona.store.jumps import ClockWatch
from melipona.store.retention import Retention
from melipona.store.seals import Sealer
from melipona.store.space import Space, short_of_room
from melipona.terminals.service import Terminals
from melipona.tool import Tool
from melipona.turns import box_rows
from melipona.turns.adopt import Adoption
from melipona.turns.agent_facts import Limits, Process
from melipona.turns.controls import Controls
from melipona.turns.keeper import Keeper
from melipona.turns.kept import KeptEngines
from melipona.turns.loop import Turns, slot_cap
from melipona.turns.model import STOPPED
from melipona.turns.parts import RunnerParts
from melipona.turns.slots import Slots
from melipona.turns.station import Station, StationParts, Stations
from melipona.turns.status import derive, facts
from melipona.turns.why import Look, why
from melipona.views.events import store_id

log = structlog.get_logger("daemon")

Json = dict[str, Any]
ENGINES = ("claude", "playbook")
UNKNOWN_OUTCOME = 75
CANNOT_NOW = 74
"""The disk does not let it start: full, read-only, failing. Started again later it may."""
NOT_NOW = frozenset({"store_read_only", "store_io"})
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
FULL_SECONDS = 4.0
"""How long `mel down` waits on a full disk until the ends of turns are written."""
ANEW = frozenset({"no_key", "login_expired", "engine_missing", "budget_spent", "turns_per_hour"})
"""Troubles that a new daemon judges anew: what was missing may be there now; keys and limits are read at its start
(D-29, D-30)."""


def engine_drivers(environ: Mapping[str, str], *, python: str = "/usr/bin/python3") -> dict[str, EngineDriver]:
    """Every engine there is, by name. `python` is the interpreter inside boxes."""
    return {"claude": ClaudeEngineDriver(environ=environ), "playbook": PlaybookEngineDriver(python=python)}


async def box_python(driver: BubblewrapBoxDriver) -> str:
    """The interpreter's path inside boxes. Where none can be started that is told when one is, and by the doctor."""
    try:
        return (await driver.prepared()).python.path
    except BoxError as error:
        log.warning("boxes cannot be started here", error=error.message, remedy=error.remedy)
        return "/usr/bin/python3"


def box_driver(data: Path, settings: Settings, hive: str) -> BubblewrapBoxDriver:
    """The box driver of the settings' choice, for one data folder."""
    folders = Folders(data, box_owner(settings.boxes.owner_uid))
    return BubblewrapBoxDriver(hive=hive, trees=folders.trees, owner=folders.owner, uids=uid_range(settings.boxes.uids))


class Daemon:
    """One life of a hive's daemon."""

    def __init__(
        self,
        data: Path,
        settings: Settings,
        upstream: Upstream,
        store: Store,
        epoch: EpochId,
        provider: ProviderClient | None = None,
    ) -> None:
        self.data, self.settings, self.store, self.epoch = data, settings, store, epoch
        self.clock = store.clock
        self.host = socket.gethostname()
        self.upstream = upstream
        self.provider = provider
        self.folders = Folders(data, box_owner(settings.boxes.owner_uid))
        self.files = Files(self.folders)
        self.mail = Mail(store, settings.mail, FileBodies(data), self.files)
        self.operations = Operations(store, epoch, self.host)
        self.agents = Agents(store, self.mail, settings, operations=self.operations, engines=ENGINES)
        self.budgets = Budgets(
            settings.budgets,
            timezone=settings.hive.timezone,
            prices=load_prices(settings.models.anthropic.prices_file),
        )
        self.slots = Slots(store, slot_cap(settings.turns.cap), epoch)
        self.sealer = Sealer(store)
        self.ending = asyncio.Event()
        """Set to begin an end."""
        self.down = False
        """The end was asked for by `mel down`: turns and boxes end too."""
        self.is_ready = False

    async def run(self, listeners: Listeners) -> None:
        """Serve until asked to end."""
        driver = box_driver(self.data, self.settings, await self.store.read(store_id))
        self.engines = engine_drivers(os.environ, python=await box_python(driver))
        async with anyio.create_task_group() as tasks:
            stations = Stations(self._station_parts(driver), tasks)
            self.stations = stations
            parts = self._runner_parts(stations)
            self.turns = Turns(parts, self.slots, self.budgets, host=self.host)
            self.keeper = Keeper(self.store, self.agents, stations, self.turns, self.folders, self.settings, self.clock)
            self.terminals = Terminals(self.store, self.operations, stations, self.settings, self.clock, tasks)
            await self.mail.begin()
            await tasks.start(serve_api, self._services(listeners, driver), listeners)
            self.gate = Gate(
                self.store,
                self._tools(),
                self.slots,
                self.upstream,
                self.budgets,
                self.settings,
                self.clock,
                self.epoch,
            )
            await self.store.reserved.write(self._account_for_older_daemons)
            adoption = Adoption(self.store, driver, self.folders, stations, self.turns, parts, self.host)
            await fault("daemon.adoption.before_run")
            await adoption.run(tasks)
            await fault("daemon.adoption.after_run")
            self._start_loops(tasks)
            tasks.start_soon(self._sweep_trees, driver, name="trees")
            self.is_ready = True
            keep_for_good()
            await fault("daemon.ready.before_notify")
            notify("READY=1")
            await fault("daemon.ready.after_notify")
            log.info("ready", epoch=self.epoch, port=listeners.port)
            try:
                await self._until_asked(tasks)
            finally:
                await stations.close()
                await self.gate.aclose()

    def _start_loops(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self.turns.run, tasks, name="turns")
        tasks.start_soon(self.keeper.run, tasks, name="keeper")
        kept = KeptEngines(
            self.store,
            self.stations,
            host=self.host,
            most_bytes=self.settings.turns.kept_bytes,
            look=self.turns.look,
        )
        tasks.start_soon(kept.run, name="kept engines")
        tasks.start_soon(self.sealer.run, name="sealer")
        tasks.start_soon(give_back_at_rest, self.store, name="memory")
        tasks.start_soon(ClockWatch(self.store).run, name="clock")
        tasks.start_soon(Retention(self.store, self.mail, self.settings, self.data).run, name="retention")
        tasks.start_soon(Checks(self.store, self._tell_operator).run, name="checks")
        if self.store.space is not None:
            tasks.start_soon(DiskWatch(self.store, self.store.space, self._tell_operator).run, name="disk")

    def _tell_operator(self, c: Any, text: str) -> None:
        self.mail.notice(c, OPERATOR, text)

    async def _sweep_trees(self, driver: BubblewrapBoxDriver) -> None:
        """Once: remove the read-only trees of older versions that no living box sees any more."""
        rows = await self.store.read(box_rows.live_boxes, self.host)
        try:
            removed = await driver.sweep_trees([row.handle for row in rows])
        except MeliponaError as error:
            log.warning("trees of older versions are still there", error=error.message)
            return
        if removed:
            log.info("removed trees of older versions", trees=removed)

    async def _until_asked(self, tasks: TaskGroup) -> None:
        broken = asyncio.create_task(self.store.broken.wait())
        asked = asyncio.create_task(self.ending.wait())
        await asyncio.wait({broken, asked}, return_when=asyncio.FIRST_COMPLETED)
        for task in (broken, asked):
            task.cancel()
        notify("STOPPING=1")
        self.turns.quiesce()
        if not self.store.broken.is_set():
            if self.down:
                await fault("daemon.down.before_boxes")
                await self._end_boxes()
                await fault("daemon.down.after_boxes")
            self.store.stop_waiting()
            try:
                why = "down" if self.down else "stopped"
                await self.store.reserved.write(end_epoch, self.epoch, why=why)
                await fault("daemon.end.before_seal")
                await self.sealer.finish()
                await fault("daemon.end.after_seal")
            except StoreFull as error:  # the next daemon takes it for an unclean end
                log.warning("the end could not be recorded", error=error.message)
        tasks.cancel_scope.cancel()

    async def _end_boxes(self) -> None:
        """`mel down`: every turn ends and gives its mail back, every box ends. On a full disk without ballast the ends
        of turns cannot be written: the boxes end all the same, and the next daemon gives the mail back."""
        await self._while_there_is_room(self._end_turns())
        async with anyio.create_task_group() as tasks:
            for station in self.stations.all():
                tasks.start_soon(self._while_there_is_room, self._end_box(station))

    async def _end_turns(self) -> None:
        await self.turns.end_all(STOPPED)
        for station in self.stations.all():
            async with self.stations.lock(station.agent_id):
                pass  # a box of the daemon before us is taken over now, with its turn
        await self.turns.end_all(STOPPED)

    async def _while_there_is_room(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for `work`, but on a full disk, where it may wait for ever to be written, not for long."""
        task = asyncio.create_task(work)
        space = self.store.space
        while not (await asyncio.wait({task}, timeout=FULL_SECONDS))[0]:
            if space is not None and space.full:
                task.cancel()
                await asyncio.wait({task}, timeout=FULL_SECONDS)
                return
        task.result()

    async def _end_box(self, station: Station) -> None:
        try:
            await self.stations.stop(station, "down")
        except MeliponaError as error:  # the other boxes end all the same
            log.warning("a box could not be ended", agent=station.name, error=error.message)

    def _account_for_older_daemons(self, c: Any) -> None:
        self.operations.takeover(c)
        self.budgets.settle_stale(c, self.epoch)
        for agent in agent_rows.troubled(c, ANEW):
            agent_rows.clear_trouble(c, agent)

    # ---- parts -----------------------------------------------------------------------------------------------------

    def _station_parts(self, driver: BubblewrapBoxDriver) -> StationParts:
        return StationParts(
            store=self.store,
            driver=driver,
            folders=self.folders,
            settings=self.settings.boxes,
            clock=self.clock,
            host=self.host,
            serve_gate=lambda sock, who: serve_box(self.gate, sock, who),
            mounts=self._mounts,
            crashed=lambda agent, why: self.keeper.crashed(agent, why),
        )

    def _mounts(self, agent: Agent) -> Sequence[Mount]:
        return self.engines[agent.engine].mounts()

    def _runner_parts(self, stations: Stations) -> RunnerParts:
        return RunnerParts(
            store=self.store,
            stations=stations,
            engines=self.engines,
            settings=self.settings,
            clock=self.clock,
            epoch=self.epoch,
            turns_folder=self.data / "turns",
            grew=lambda turn: self.turns.grew(turn),
            playbook=parse_playbook,
            agents=self.agents,
            mail=self.mail,
            budgets=self.budgets,
            has_key=self.upstream.has_key,
        )

    def _tools(self) -> list[Tool]:
        mine = agent_tools(self.agents, self.folders, states=self._states, budget_left=self.budgets.left)
        return [*mail_tools(self.mail), *mine]

    def _services(self, listeners: Listeners, driver: BubblewrapBoxDriver) -> Services:
        engines = list(self.engines.values())
        return Services(
            store=self.store,
            settings=self.settings,
            clock=self.clock,
            mail=self.mail,
            agents=self.agents,
            turns=self.turns,
            controls=Controls(self.store, self.operations, lambda: self.engines),
            facts=Facts(cap=self.slots.cap, limits=self._limits, process=self._processes),
            files=self.files,
            terminals=self.terminals,
            data=self.data,
            version=__version__,
            pid=os.getpid(),
            started_at=self.clock.now(),
            port=listeners.port,
            why=self._why,
            doctor=lambda: self._doctor(driver, engines),
            backup=self._backup,
            stop=self._stop,
            ready=lambda: None if self.is_ready else "older boxes are being accounted for",
            gauges=self.store.gauges,
            limits=lambda: [{"name": x.name, "binds": x.binds, "how": x.how} for x in driver.enforced()],
            work_folder=self.folders.work,
            provider=self.provider,
        )

    async def _doctor(self, driver: BubblewrapBoxDriver, engines: Sequence[EngineDriver]) -> list[Json]:
        return await examine(
            self.data,
            driver,
            engines,
            has_key=self.upstream.has_key,
            store=self.settings.store,
            more=[
                await self.store.read(finding, self.settings.access),
                *await self.store.read(passkeys_finding, self.settings.access),
            ],
        )

    def _limits(self) -> Limits:
        at, budgets = self.clock.now(), self.settings.budgets
        return Limits(
            day=self.budgets.today(at),
            day_ends=self.budgets.day_ends(at),
            hive_micro_usd=micro(budgets.hive_usd_per_day),
            agent_micro_usd=micro(budgets.agent_usd_per_day),
            turns_per_hour=budgets.turns_per_hour,
            disk=short_of_room(self.store.space),
        )

    def _processes(self) -> dict[str, Process]:
        """What only this process knows of its agents."""
        wanting = self.slots.wanting
        return {
            station.agent_id: Process(
                link=station.link.connected,
                tool=self.turns.tool_in_flight(station.agent_id),
                wants_slot=station.agent_id in wanting,
            )
            for station in self.stations.all()
        }

    async def _why(self, subject: str) -> Json:
        look = Look(self.clock.now(), self.slots.cap, self._limits(), self._processes(), self.settings.turns.total)
        return (await self.store.read(why, subject, look)).as_json()

    async def _backup(self, target: Path, homes: bool) -> Json:
        await self.sealer.finish()
        return await backup(self.data, target, homes=homes, clock=self.clock)

    async def _states(self) -> dict[str, str]:
        """Each agent's state word, for agents that look."""
        args = (self.clock.now(), self.slots.cap)
        found = await self.store.read(facts, *args, limits=self._limits(), process=self._processes())
        return {known.name: derive(known, args[0]).state.value for known in found}

    def _stop(self) -> None:
        self.down = True
        self.ending.set()


async def serve(data: Path, settings: Settings, environ: MutableMapping[str, str]) -> int:
    """Run a hive's daemon until it is asked to end; the exit code."""
    upstream = Upstream.from_settings(settings.models.anthropic, environ)
    provider = provider_of(settings.access.oidc, environ, SystemClock())
    Folders(data, box_owner(settings.boxes.owner_uid)).make_data()
    space = Space(data, settings.store)
    await asyncio.to_thread(space.begin)
    store = await Store.open(data / "mel.db", SystemClock(), space=space)
    listeners: Listeners | None = None
    try:
        await fault("daemon.listen.before_bind")
        await store.read(check_exposure, settings.access)
        listeners = await listen(store, data / "run", port=settings.hive.port, host=settings.access.host)
        await fault("daemon.listen.after_bind")
        epoch = await store.reserved.write(begin_epoch, host=socket.gethostname(), pid=os.getpid(), version=__version__)
        daemon = Daemon(data, settings, upstream, store, epoch, provider)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, daemon.ending.set)
        try:
            await daemon.run(listeners)
        except ExceptionGroup as failures:
            if not store.broken.is_set() and not (daemon.ending.is_set() and failures.split(StoreFull)[1] is None):
                raise
            log.warning("the store is given up", errors=[str(error) for error in failures.exceptions])
        return UNKNOWN_OUTCOME if store.broken.is_set() else 0
    finally:
        await upstream.aclose()
        if provider is not None:
            await provider.aclose()
        if listeners is not None:
            listeners.close()
        await store.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The daemon's command line."""
    parser = argparse.ArgumentParser(prog="python -m melipona.daemon", description="Run a hive in the foreground.")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--config", type=Path, help="mel.toml")
    parser.add_argument("--host", help="address of the page and the API, instead of the one in mel.toml")
    options = parser.parse_args(argv)
    os.umask(0o077)
    no_core()
    configure(readable=sys.stderr.isatty())
    tune()
    data = options.data.absolute()
    try:
        settings = with_host(load_settings(options.config), options.host)
        lock = hold_data(data)
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                return runner.run(serve(data, settings, os.environ))
        finally:
            os.close(lock)
    except MeliponaError as error:
        print(f"mel: {error.message}\n  {error.remedy}".rstrip(), file=sys.stderr)
        if isinstance(error, OutcomeUnknown):
            return UNKNOWN_OUTCOME
        return CANNOT_NOW if isinstance(error, StoreFull) or error.code in NOT_NOW else 1
    except OSError as error:
        print(f"mel: {error.filename or data}: {error.strerror}", file=sys.stderr)
        return CANNOT_NOW if error.errno in DISK_ERRORS else 1


if __name__ == "__main__":
    sys.exit(main())
