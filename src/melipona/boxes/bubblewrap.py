"""The bubblewrap driver: boxes of this machine by kernel namespaces, for root and for an ordinary user.

What a box may see is `argv.py`'s, who owns what `folders.py`'s, how root steps down `launcher.py`'s. Cost of starting:
one short-lived Python for the launcher, one bwrap that waits outside for the box's end. The kernel is shared: an
exploit of it that the system call filter lets through is an escape (docs: security model).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from anyio import CancelScope, fail_after, move_on_after, sleep, to_thread, wait_readable

from melipona.boxes import identity
from melipona.boxes.box_inits import boxes_of, init_command
from melipona.boxes.bubblewrap_health import examine
from melipona.boxes.cgroups import Cgroups, limit_hits, memory_kills, remove
from melipona.boxes.driver import (
    BoxRef,
    BoxSpec,
    BoxState,
    Enforced,
    Finding,
)
from melipona.boxes.folders import Owner
from melipona.boxes.identity import KILL_SECONDS, Init, end_box, wait_gone
from melipona.boxes.launch import LAUNCHER, Stage, check_owner, launch
from melipona.boxes.launch_server import LaunchServer
from melipona.boxes.launcher import UID_TAKEN
from melipona.boxes.limits import enforced
from melipona.boxes.prepared import Prepared, command_line, prepare
from melipona.boxes.programs import BoxPython
from melipona.boxes.spec_check import check_spec
from melipona.boxes.starting import Starting, stderr_tail
from melipona.boxes.trees import sweep_trees
from melipona.boxes.uids import BOX_UIDS, BoxUids
from melipona.errors import BoxLost, BoxStartFailed
from melipona.ids import BoxId

INSIDE = Path(__file__).with_name("inside")
"""Host folder of what lies at /opt/mel in every box: boxd, the `mel` tool, the playbook player."""

START_SECONDS = 30.0
_LEAF = "mel-"
_MONITOR_SECONDS = 2.0
_REMOVE_TRIES, _REMOVE_SECONDS = 50, 0.02
_SCOPE_VARIABLES = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


class BubblewrapBoxDriver:
    """Starts boxes with `bwrap`. `hive` names the data folder: only its boxes are ever swept.

    `trees` is the daemon's folder for read-only trees, in the data folder; `etc` adds files to the boxes' /etc (managed
    settings, say). `owner` has what agents write; of `uids` a root daemon's boxes get one each (D-6).
    """

    name = "bubblewrap"

    def __init__(
        self,
        *,
        hive: str,
        trees: Path,
        owner: Owner,
        uids: range = BOX_UIDS,
        etc: Mapping[str, bytes] | None = None,
        bwrap: Path | None = None,
        python: BoxPython | None = None,
        inside: Path = INSIDE,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.hive = hive
        self.owner = owner
        self.uids = BoxUids(owner, uids, trees.parent)
        self._trees = trees
        self._etc = dict(etc or {})
        self._given = (bwrap, python)
        self._inside = inside
        self._environ = dict(os.environ if environ is None else environ)
        self.cgroups = Cgroups(environ=self._environ)
        self._launches = LaunchServer(LAUNCHER)
        self._prepared: Prepared | None = None
        self._stderr: dict[BoxId, int] = {}
        self._why: dict[BoxId, str] = {}

    async def health(self, *, deep: bool = False) -> list[Finding]:
        return await examine(self, deep=deep)

    def enforced(self) -> list[Enforced]:
        return [*enforced(self.cgroups), self.uids.enforced()]

    async def start(self, spec: BoxSpec) -> BoxRef:
        check_owner(self.owner)
        await to_thread.run_sync(check_spec, spec, self.owner)
        prepared = await self.prepared()
        return await self.start_program(spec, init_command(prepared.python.path, spec, self.hive))

    async def prepared(self) -> Prepared:
        """Find the programs and make the trees, once.

        Raises:
            BoxStartFailed: bwrap, or a Python for boxes, is missing.
        """
        if self._prepared is None:
            self._prepared = await prepare(self._trees, self._inside, self._etc, self._given, self._environ)
            await to_thread.run_sync(self.uids.shared_because)
        return self._prepared

    async def start_program(self, spec: BoxSpec, program: Sequence[str]) -> BoxRef:
        """Start a box whose init is `program`: for `start` and for the examiner.

        Raises:
            BoxStartFailed: nothing of the box is left behind.
        """
        prepared = await self.prepared()
        for user in await to_thread.run_sync(self.uids.candidates):
            try:
                return await self._start_as(user, spec, prepared, program)
            except BoxStartFailed as error:
                if UID_TAKEN not in error.message:
                    raise
        raise BoxStartFailed(
            f"box {spec.agent!r} did not start: no uid of boxes.uids is free", remedy="widen boxes.uids in mel.toml"
        )

    async def _start_as(self, user: Owner, spec: BoxSpec, prepared: Prepared, program: Sequence[str]) -> BoxRef:
        with Starting() as starting:
            try:
                with fail_after(START_SECONDS):
                    init, leaves = await self._start(user, spec, prepared, program, starting)
            except (TimeoutError, OSError) as error:
                raise BoxStartFailed(f"box {spec.agent!r} did not start: {error}", remedy="run: mel doctor") from error
            except BoxStartFailed as error:
                raise BoxStartFailed(
                    f"box {spec.agent!r} did not start: {error.message}",
                    remedy=error.remedy or "run: mel doctor",
                    code=error.code,
                ) from error
            self._forget(spec.id)
            self._stderr[spec.id] = os.dup(starting.stderr)
        handle = init.as_json() | {
            "bwrap": str(prepared.bwrap),
            "uid": user.uid,
            "leaves": leaves,
            "trees": self._trees_of(prepared),
        }
        return BoxRef(spec.id, handle)

    async def inspect(self, ref: BoxRef) -> BoxState:
        try:
            init = Init.from_json(ref.handle)
            return BoxState.RUNNING if identity.is_same(init) else BoxState.GONE
        except (OSError, ValueError, KeyError, TypeError):
            return BoxState.UNKNOWN

    def is_init(self, ref: BoxRef, pid: int) -> bool:
        try:
            init = Init.from_json(ref.handle)
            return init.pid == pid and identity.is_same(init)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    async def stop(self, ref: BoxRef, *, grace: timedelta) -> None:
        try:
            init = Init.from_json(ref.handle)
            fd = identity.open_same(init)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BoxLost(f"box {ref.id}: cannot be told whether it runs: {error}") from error
        if fd is not None:
            monitor = identity.open_monitor(init)
            try:
                await end_box(fd, grace.total_seconds())
            except TimeoutError as error:
                raise BoxLost(f"box {ref.id} does not end", remedy=f"look at process {init.pid}") from error
            finally:
                os.close(fd)
                await wait_gone(monitor, _MONITOR_SECONDS)
        self._note_memory(ref)
        await self._clear(ref)

    async def sweep_trees(self, handles: Collection[Mapping[str, Any] | None]) -> list[str]:
        """Remove the read-only trees that neither new boxes use nor those of these handles; the names of the removed.

        While a box lives that an older version started, which did not say what it uses, nothing is removed.

        Raises:
            WorldFailed: one could not be removed.
        """
        if any(handle is None or "trees" not in handle for handle in handles):
            return []
        used = set(self._trees_of(await self.prepared()))
        used.update(str(name) for handle in handles if handle is not None for name in handle["trees"])
        return await to_thread.run_sync(sweep_trees, self._trees, used)

    def _trees_of(self, prepared: Prepared) -> list[str]:
        """Names of the trees that a box uses."""
        paths = (prepared.etc, prepared.opt, prepared.program)
        return [path.relative_to(self._trees).parts[0] for path in paths if path.is_relative_to(self._trees)]

    async def ended(self, ref: BoxRef) -> None:
        """Wait until a box is gone by itself."""
        fd = identity.open_same(Init.from_json(ref.handle))
        if fd is not None:
            try:
                await wait_readable(fd)
            finally:
                os.close(fd)

    async def failure(self, ref: BoxRef) -> str | None:
        """Also of a box that still runs: `out of memory` once the kernel has ended a program of it for that.

        Of a box that is gone nothing is kept after this but the answer.
        """
        self._note_memory(ref)
        if await self.inspect(ref) is BoxState.GONE:
            words = stderr_tail(self._stderr[ref.id]) if ref.id in self._stderr else ""
            if words:
                self._why.setdefault(ref.id, f"its init ended: {words}")
            await self._clear(ref)
        return self._why.get(ref.id)

    def limit_hits(self, ref: BoxRef) -> Mapping[str, int]:
        return limit_hits(_leaves(ref))

    async def sweep(self, sockets_root: Path, known: Collection[BoxId]) -> list[str]:
        ended: list[str] = []
        for init, box in await to_thread.run_sync(boxes_of, self.hive, self.uids):
            if box in known:
                continue
            await self.stop(BoxRef(BoxId(box), init.as_json()), grace=timedelta(0))
            ended.append(f"box {box} (process {init.pid}) that nothing names")
        await _remove_soon(self.cgroups.stale(_leaf(self.hive, "")))
        return ended

    async def _start(
        self, user: Owner, spec: BoxSpec, prepared: Prepared, program: Sequence[str], starting: Starting
    ) -> tuple[Init, list[str]]:
        await self._launch(user, spec, prepared, program, starting)
        leaves: list[str] = []
        try:
            init = await starting.init()
            unit = _leaf(self.hive, spec.id)
            with CancelScope(
                shield=True
            ):  # what was made must be known, to be removed; the kernel takes some milliseconds
                leaves = await to_thread.run_sync(self._limit, unit, init.pid, spec)
            starting.release()
            await starting.becomes(init, program)
        except BaseException:
            with move_on_after(KILL_SECONDS, shield=True):
                await _abort(starting)
            remove(leaves)
            raise
        return init, leaves

    def _limit(self, unit: str, pid: int, spec: BoxSpec) -> list[str]:
        """Put a box's init under its limits; the folders of its control group. Blocks while the kernel moves it."""
        return self.cgroups.add(unit, pid, spec.limits) or self.cgroups.scope_of(pid, unit)

    async def _launch(
        self, user: Owner, spec: BoxSpec, prepared: Prepared, program: Sequence[str], starting: Starting
    ) -> None:
        stage = Stage(self.owner, user)
        argv = command_line(spec, prepared, stage, program, starting.descriptors)
        prefix = [] if stage.as_root else self.cgroups.scope(spec.limits, _leaf(self.hive, spec.id))
        env = {name: self._environ[name] for name in _SCOPE_VARIABLES if prefix and name in self._environ}
        await to_thread.run_sync(
            lambda: launch(
                argv,
                stage,
                descriptors=starting.theirs,
                stderr=starting.stderr,
                prefix=prefix,
                env=env,
                server=self._launches,
            )
        )
        starting.handed_over()

    def _note_memory(self, ref: BoxRef) -> None:
        if memory_kills(_leaves(ref)):
            self._why[ref.id] = "out of memory"

    async def _clear(self, ref: BoxRef) -> None:
        await _remove_soon(_leaves(ref))
        self._close_stderr(ref.id)

    def _close_stderr(self, box: BoxId) -> None:
        fd = self._stderr.pop(box, None)
        if fd is not None:
            os.close(fd)

    def _forget(self, box: BoxId) -> None:
        self._close_stderr(box)
        self._why.pop(box, None)


async def _remove_soon(leaves: Sequence[str]) -> None:
    """Remove leaves of boxes that have ended, as soon as the kernel has buried the last of their processes."""
    for _ in range(_REMOVE_TRIES):
        if not (leaves := await to_thread.run_sync(remove, leaves)):
            return
        await sleep(_REMOVE_SECONDS)


def _leaf(hive: str, box: str) -> str:
    """The name of a box's control group. The whole id of the hive: ids made in one moment begin alike, and a hive that
    sweeps must never take the leaf that another one has just made."""
    return f"{_LEAF}{hive}-{box}"


def _leaves(ref: BoxRef) -> list[str]:
    return [str(leaf) for leaf in ref.handle.get("leaves", [])]


async def _abort(starting: Starting) -> None:
    """End a box whose start failed or was cancelled, as far as bwrap has made one."""
    try:
        fd = identity.open_same(await starting.init())
    except (BoxStartFailed, OSError):
        return
    if fd is not None:
        try:
            await end_box(fd, 0)
        finally:
            os.close(fd)
