"""What `mel doctor` finds out about bubblewrap boxes: programs and kernel switches; with `deep` by starting boxes.

Which limits bind is `enforced()`'s to say.

The CVE-2026-87766 check starts a control box first: a bwrap that starts nothing also leaves the victim untouched, which
is not "safe". A vulnerable bwrap is reported and not fatal, because boxes never give it anything to follow (rule 1).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from anyio import fail_after, to_thread, wait_readable

from melipona.boxes.bwrap_check import Verdict, check_bwrap
from melipona.boxes.driver import BoxDriver, BoxLimits, BoxRef, BoxSpec, Finding
from melipona.boxes.folders import Folders, Owner
from melipona.boxes.launch import check_owner
from melipona.boxes.prepared import Prepared
from melipona.boxes.programs import FIXED_BWRAP, OLDEST_BWRAP, bwrap_version
from melipona.boxes.seccomp import filter_path
from melipona.boxes.sockets import listen_unix, peer_pid
from melipona.boxes.uids import OWN_UID
from melipona.errors import MeliponaError
from melipona.ids import AgentId, AgentName, BoxId, new_id

PROBE = Path(__file__).parent.parent / "testing/probe.py"
_PROBE_SECONDS = 60.0
_BOXD_SECONDS = 20.0
_PROBE_LIMITS = BoxLimits(memory_bytes=256 << 20, processes=64)
_RUNNER = """
import ctypes, json, os, resource, subprocess, sys
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
def limit():
    for kind, most in ((7, 4096), (4, 0), (1, 2 << 30), (6, 64)):
        resource.setrlimit(kind, (most, most))
probe = [sys.executable, '-I', *sys.argv[1:]]
with open('/ws/results', 'wb') as out:
    subprocess.run(probe, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=limit)
"""

_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_DEBIAN_SWITCH = Path("/proc/sys/kernel/unprivileged_userns_clone")
_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")
APPARMOR_REMEDY = """write /etc/apparmor.d/melipona-bwrap:
  abi <abi/4.0>,
  include <tunables/global>
  profile melipona-bwrap {path} flags=(unconfined) {{ userns, }}
then: sudo apparmor_parser -r /etc/apparmor.d/melipona-bwrap"""


class Examined(BoxDriver, Protocol):
    """What is examined: a driver that starts boxes with bwrap."""

    @property
    def owner(self) -> Owner: ...

    async def prepared(self) -> Prepared:
        """The programs and trees that its boxes are started with."""
        ...

    async def start_program(self, spec: BoxSpec, program: Sequence[str]) -> BoxRef:
        """Start a box whose init is `program`."""
        ...

    async def ended(self, ref: BoxRef) -> None:
        """Return when the box has ended."""
        ...


Check = Callable[[Examined], Awaitable[list[Finding]]]


async def examine(driver: Examined, *, deep: bool) -> list[Finding]:
    """All findings; a check that fails itself is a finding too."""
    found: list[Finding] = []
    checks: list[Check] = [_programs, _owner, _kernel]
    for check in [*checks, _box, _boxd, _cve] if deep else checks:
        try:
            found += await check(driver)
        except MeliponaError as error:
            found.append(Finding(check.__name__.strip("_"), False, error.message, error.remedy))
        except (OSError, TimeoutError) as error:
            found.append(Finding(check.__name__.strip("_"), False, f"the check itself failed: {error}"))
    return found


async def _programs(driver: Examined) -> list[Finding]:
    prepared = await driver.prepared()
    version = await bwrap_version(prepared.bwrap)
    new_enough = version >= OLDEST_BWRAP
    text = ".".join(map(str, version))
    needed = ".".join(map(str, OLDEST_BWRAP))
    prefix = f" (its prefix {prepared.python.prefix} is bound)" if prepared.python.prefix else ""
    return [
        Finding("bwrap", new_enough, f"{prepared.bwrap} {text}", "" if new_enough else f"install {needed} or newer"),
        Finding("box python", True, f"{prepared.python.path}{prefix}"),
        Finding("system call filter", True, str(filter_path())),
        Finding("kernel", True, f"{platform.release()} {platform.machine()}"),
    ]


async def _owner(driver: Examined) -> list[Finding]:
    check_owner(driver.owner)
    own = next(limit for limit in driver.enforced() if limit.name == OWN_UID)
    detail = f"what agents write belongs to uid {driver.owner.uid}; {own.how}; 1000 inside"
    remedy = "" if own.binds else "namespaces alone keep boxes apart: see boxes.uids in docs/reference/mel-toml.md"
    return [Finding("boxes' user", own.binds or os.geteuid() != 0, detail, remedy, fatal=False)]


async def _kernel(driver: Examined) -> list[Finding]:
    """Switches that forbid an unprivileged user namespaces; root's boxes start unprivileged too."""
    bwrap = (await driver.prepared()).bwrap
    return [
        *switch("user namespaces", _DEBIAN_SWITCH, "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
        *switch("user namespaces", _NAMESPACES, "0", "sudo sysctl user.max_user_namespaces=10000"),
        *switch("apparmor", _APPARMOR, "1", APPARMOR_REMEDY.format(path=bwrap)),
    ]


def switch(name: str, file: Path, bad: str, remedy: str) -> list[Finding]:
    """A kernel switch, when this kernel has it. AppArmor's may be met by a profile, so only a real box is fatal."""
    try:
        value = file.read_text().strip()
    except OSError:
        return []
    ok = value != bad
    return [Finding(name, ok, f"{file} is {value}", "" if ok else remedy, fatal=not ok and file != _APPARMOR)]


async def _box(driver: Examined) -> list[Finding]:
    """A real box with the probe in it."""
    try:
        results, said = await _probe(driver)
    except MeliponaError as error:
        return [Finding("a real box", False, error.message, explain(error.message, (await driver.prepared()).bwrap))]
    finding = Finding("a real box", bool(results), "starts" if results else f"ran, but said nothing: {said}")
    allowed = _may_be_open(driver)
    wrong = sorted(name for name, worked in results.items() if worked and name not in allowed)
    detail = f"{len(results)} attempts to get out, open: {', '.join(wrong) or 'none'}"
    return [finding, Finding("probe", bool(results) and not wrong, detail, "do not run agents here" if wrong else "")]


async def _boxd(driver: Examined) -> list[Finding]:
    """boxd comes up in a box and dials the daemon."""
    async with _box_spec(driver) as (spec, _):
        sockets, gid = spec.folders.sockets, driver.owner.gid
        with await to_thread.run_sync(lambda: listen_unix(sockets, "ctl.sock", mode=0o660, gid=gid)) as listener:
            ref = await driver.start(spec)
            try:
                with fail_after(_BOXD_SECONDS):
                    await wait_readable(listener)
                peer, _address = listener.accept()
                with peer:
                    known = driver.is_init(ref, peer_pid(peer))
            except TimeoutError:
                return [Finding("boxd", False, f"does not dial: {await driver.failure(ref) or 'no word of it'}")]
            finally:
                await driver.stop(ref, grace=timedelta(0))
    return [Finding("boxd", known, "dials and is known as the box's init" if known else "the peer is not the init")]


def _may_be_open(driver: Examined) -> set[str]:
    binds = {limit.name: limit.binds for limit in driver.enforced()}
    return {"fs: names of host folders in mountinfo"} | (set() if binds["memory_bytes"] else {"limits: memory"})


async def _probe(driver: Examined) -> tuple[dict[str, bool], str]:
    async with _box_spec(driver) as (spec, root):
        canary = root / "canary"
        canary.write_text("canary")
        targets = {
            "host_pid": os.getpid(),
            "canary": str(canary),
            "abstract": new_id(),
            "tcp_port": 9,
            "key": 1,
            "markers": ["homes"],
            "processes": 100,
            "memory_mib": 400,
        }
        python = (await driver.prepared()).python.path
        probe = await to_thread.run_sync(PROBE.read_text)
        ref = await driver.start_program(spec, [python, "-I", "-c", _RUNNER, "-c", probe, json.dumps(targets)])
        try:
            with fail_after(_PROBE_SECONDS):
                await driver.ended(ref)
        finally:
            await driver.stop(ref, grace=timedelta(0))
        return _results(spec.folders.work / "results")


def _results(file: Path) -> tuple[dict[str, bool], str]:
    """The probe's lines; the box wrote them, so anything may stand there."""
    found: dict[str, bool] = {}
    fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as opened:
        text = opened.read(1 << 20).decode(errors="replace")
    for line in text.splitlines():
        try:
            name, worked, _ = json.loads(line)
            found[str(name)] = bool(worked)
        except (ValueError, TypeError):
            continue
    return found, text[-300:]


@asynccontextmanager
async def _box_spec(driver: Examined) -> AsyncGenerator[tuple[BoxSpec, Path]]:
    """Folders of a box of nobody, gone again afterwards."""
    root = await to_thread.run_sync(lambda: Path(tempfile.mkdtemp(prefix="mel-doctor-")).resolve())
    try:
        folders = Folders(root / "data", driver.owner)
        agent, name, box = AgentId(new_id()), AgentName("doctor"), BoxId(new_id())
        folders.make_data()
        folders.make_agent(agent, name)
        folders.make_box(box)
        yield BoxSpec(id=box, agent=name, folders=folders.of_box(agent, name, box), limits=_PROBE_LIMITS), root
    finally:
        await to_thread.run_sync(lambda: shutil.rmtree(root, ignore_errors=True))


def explain(message: str, bwrap: Path) -> str:
    """What the known failures of bwrap mean and what to do (bubblewrap #632, #801)."""
    if any(sign in message for sign in ("setting up uid map", "RTM_NEWADDR", "Creating new namespace failed")):
        if _APPARMOR.exists():
            return "AppArmor forbids user namespaces here: " + APPARMOR_REMEDY.format(path=bwrap)
        return (
            "user namespaces are forbidden here: run as an ordinary user of a machine, or allow them in the container"
        )
    if "launcher: " in message and any(call in message for call in ("unshare", "mount ")):
        return "root may not mount here (a container without CAP_SYS_ADMIN): run the daemon as an ordinary user"
    if "Unknown option" in message:
        return "this bwrap is too old: install 0.8.0 or newer"
    if "Permission denied" in message:
        return f"the boxes' user cannot reach {bwrap}, or a folder of it is not readable: check its mode"
    return "agents cannot run before this is mended: there is no run without a box"


async def _cve(driver: Examined) -> list[Finding]:
    """CVE-2026-87766, with the found binary."""
    bwrap = (await driver.prepared()).bwrap
    verdict = await check_bwrap((await driver.prepared()).program, driver.owner)
    fixed = ".".join(map(str, FIXED_BWRAP))
    if verdict is Verdict.UNKNOWN:
        return [Finding("CVE-2026-87766", False, f"{bwrap} starts no box, so it cannot be told", "see above")]
    if verdict is Verdict.VULNERABLE:
        detail = f"{bwrap} follows links while it sets a box up; boxes give it none to follow (rule 1)"
        return [Finding("CVE-2026-87766", False, detail, f"install {fixed} or newer", fatal=False)]
    return [Finding("CVE-2026-87766", True, f"{bwrap} does not follow links while it sets a box up")]
