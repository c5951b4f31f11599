"""The conformance suite of box drivers: what every promise of `boxes/driver.py` means, over real boxes.

A driver's tests subclass `BoxDriverSuite` and give `make_bench`; pytest then runs all of it. `OPEN` is frozen: what the
probe of 34 attempts may find open, with the reason. A driver that shuts more overrides it with less.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import socket
import subprocess
from collections.abc import AsyncGenerator, Generator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from anyio import fail_after, sleep

from melipona.boxes.driver import BoxLimits, BoxRef, BoxState, Mount
from melipona.boxes.identity import uid_of
from melipona.errors import BoxStartFailed
from melipona.testing.boxes import Bench, StartedBox

PROBE = Path(__file__).with_name("probe.py")
PROBE_LIMITS = BoxLimits(memory_bytes=256 << 20, processes=64)
_PROBE_MEMORY_MIB, _PROBE_PROCESSES = 400, 100

OPEN: frozenset[str] = frozenset({"fs: names of host folders in mountinfo"})
"""Cannot be hidden by bubblewrap (SECURITY.md section 3.2); so folder names are neutral (D-8)."""

OPEN_WITHOUT_MEMORY_LIMIT: frozenset[str] = frozenset({"limits: memory"})
"""Where nothing limits memory (an ordinary user without systemd), and only where `enforced()` says so."""

USUALLY_OPEN: frozenset[str] = frozenset(
    {
        "fs: facts of the kernel in /proc",
        "fs: names of host folders in mountinfo",
        "fs: unbounded tmpfs",
        "kernel: rarely needed calls reach the kernel",
        "limits: descriptors, core files, size of a file",
        "limits: processes",
        "net: AF_ALG, packet, raw, netlink besides route, CAN",
        "ns: user namespace by clone3",
        "ns: user namespace by unshare",
        "proc: trace or read the memory of the box's init",
    }
)
"""What a usual bubblewrap sandbox leaves open, whatever the machine (SECURITY.md section 3.2): a probe that never finds
a thing proves nothing."""

_WRITE_ATTEMPT = "import sys; open(sys.argv[1], 'w').write('x')"
_GROW = """
import signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
open(sys.argv[1], 'wb').write(b'x' * (2 << 20))
"""
_FORKS = """
import errno, os, signal
children = []
try:
    for _ in range(60):
        pid = os.fork()
        if not pid: signal.pause()
        children.append(pid)
except OSError as error:
    print(errno.errorcode[error.errno], end="")
for pid in children: os.kill(pid, signal.SIGKILL)
"""
_TERM_NOTE = """
import os, signal, sys
def note(*_):
    open('/ws/asked', 'w').close()
    os._exit(0)
signal.signal(signal.SIGTERM, note)
if os.fork(): os._exit(0)
os.setsid()
os.close(1); os.close(2)
open('/ws/ready', 'w').close()
while True: signal.pause()
"""
_STUBBORN = _TERM_NOTE.replace("signal.signal(signal.SIGTERM, note)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")


@contextlib.contextmanager
def canaries(folder: Path) -> Generator[dict[str, Any]]:
    """What the probe looks for on the host: a file, listeners, a process, a key in this session's keyring."""
    canary = folder / "canary"
    canary.write_text("host canary")
    name = f"melipona-canary-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        yield {
            "host_pid": os.getpid(),
            "canary": str(canary),
            "abstract": name,
            "tcp_port": tcp.getsockname()[1],
            "key": _canary_key(),
            "markers": [folder.name, "homes", "boxes"],
            "processes": _PROBE_PROCESSES,
            "memory_mib": _PROBE_MEMORY_MIB,
        }


def _canary_key() -> int:
    """A key in the session keyring of this process (add_key, KEY_SPEC_SESSION_KEYRING)."""
    number = {"x86_64": 248, "aarch64": 217}[platform.machine()]
    key = ctypes.CDLL(None, use_errno=True).syscall(number, b"user", b"canary", b"secret", 6, ctypes.c_int(-3))
    return max(int(key), 1)


def parse_probe(text: str) -> dict[str, bool]:
    """Name -> open of the probe's output."""
    return {name: worked for name, worked, _ in map(json.loads, text.splitlines())}


async def until(path: Path, within: float = 20) -> None:
    """Wait until a file appears."""
    with fail_after(within):
        while not path.exists():  # noqa: ASYNC110, ASYNC240  (another process makes it)
            await sleep(0.01)


def again(ref: BoxRef) -> BoxRef:
    """A reference as a restarted daemon reads it from its row."""
    return BoxRef(ref.id, json.loads(json.dumps(dict(ref.handle))))


def _uid(box: StartedBox) -> int:
    return int(box.ref.handle["uid"])


def _reads(path: Path, uid: int) -> bool:
    """Whether a process of the host under `uid` can read a file."""
    done = subprocess.run(["/bin/cat", path], user=uid, group=uid, extra_groups=[], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.anyio
@pytest.mark.boxes
class BoxDriverSuite:
    """Promises of a box driver. Subclass it with `make_bench`."""

    may_be_open: ClassVar[frozenset[str]] = OPEN

    def make_bench(self, data: Path) -> Bench:
        """A bench of the driver under test, its data folder at `data`."""
        raise NotImplementedError

    @pytest.fixture
    async def bench(self, tmp_path: Path) -> AsyncGenerator[Bench]:
        async with self.make_bench(tmp_path / "data") as bench:
            yield bench

    # ---- start, know again, stop ----

    async def test_a_started_box_runs_and_its_init_dials_and_is_known(self, bench: Bench) -> None:
        """D-11: the peer of ctl.sock is the init of this box and of no other."""
        ana, bob = await bench.start("ana"), await bench.start("bob")
        assert await bench.driver.inspect(ana.ref) is BoxState.RUNNING
        pid = await ana.accept()
        assert bench.driver.is_init(ana.ref, pid)
        assert not bench.driver.is_init(bob.ref, pid)
        assert not bench.driver.is_init(ana.ref, os.getpid())

    async def test_a_restarted_daemon_knows_and_ends_the_box(self, bench: Bench) -> None:
        """Invariant 5: boxes are not children of the daemon; a handle read from the row is enough."""
        box = await bench.start()
        await box.accept()
        driver = bench.another_driver()
        assert await driver.inspect(again(box.ref)) is BoxState.RUNNING
        await driver.stop(again(box.ref), grace=timedelta(0))
        assert await driver.inspect(again(box.ref)) is BoxState.GONE

    async def test_a_socket_made_anew_reaches_the_same_box(self, bench: Bench) -> None:
        """SECURITY.md 3.5: the folder is bound, so a restarted daemon's socket is found."""
        box = await bench.start()
        first = await box.accept()
        await box.listen_again()
        assert await box.accept() == first
        assert (await box.run("/bin/echo", "here")).out == "here\n"

    async def test_stop_asks_every_program_first(self, bench: Bench) -> None:
        """SIGTERM within the grace, also to a program that left its session."""
        box = await bench.start()
        assert (await box.python(_TERM_NOTE)).code == 0
        await until(box.spec.folders.work / "ready")
        await box.stop(grace=20)
        assert (box.spec.folders.work / "asked").exists()
        assert await bench.driver.inspect(box.ref) is BoxState.GONE

    async def test_stop_kills_what_does_not_listen(self, bench: Bench) -> None:
        """After the grace none of the box's processes is left."""
        box = await bench.start()
        await box.python(_STUBBORN)
        await until(box.spec.folders.work / "ready")
        await box.stop(grace=0.2)
        assert await bench.driver.inspect(box.ref) is BoxState.GONE
        assert not (box.spec.folders.work / "asked").exists()

    async def test_stop_may_be_repeated(self, bench: Bench) -> None:
        """A box that is gone already is a success."""
        box = await bench.start()
        await box.stop()
        await box.stop(grace=1)
        assert await bench.driver.inspect(box.ref) is BoxState.GONE

    async def test_a_second_box_of_the_agent_finds_its_files(self, bench: Bench) -> None:
        """BR-1: home, workspace and state stay; nothing else does."""
        box = await bench.start()
        for folder in ("/home/agent", "/ws", "/agents/ana/state", "/tmp"):
            assert (await box.python(_WRITE_ATTEMPT, f"{folder}/kept")).code == 0
        await box.stop()
        box = await bench.start()
        done = await box.run("/bin/ls", "/home/agent", "/ws", "/agents/ana/state", "/tmp")
        assert done.out.split().count("kept") == 3

    async def test_a_start_that_fails_leaves_nothing(self, bench: Bench) -> None:
        """BoxStartFailed: no process, no second try needed to clean up."""
        spec = bench.spec()
        spec.folders.home.rmdir()
        with pytest.raises(BoxStartFailed):
            await bench.driver.start(spec)
        assert await bench.driver.sweep(bench.folders.boxes, ()) == []

    async def test_sweep_ends_only_boxes_that_no_row_names(self, bench: Bench) -> None:
        """D-3: a starting daemon ends its own strays and nobody else's boxes."""
        known, stray = await bench.start("ana"), await bench.start("bob")
        async with self._second_hive(bench) as other:
            foreign = await other.start("cho")
            ended = await bench.another_driver().sweep(bench.folders.boxes, [known.spec.id])
            assert len(ended) == 1
            assert stray.spec.id in ended[0]
            assert await bench.driver.inspect(known.ref) is BoxState.RUNNING
            assert await bench.driver.inspect(stray.ref) is BoxState.GONE
            assert await other.driver.inspect(foreign.ref) is BoxState.RUNNING

    @contextlib.asynccontextmanager
    async def _second_hive(self, bench: Bench) -> AsyncGenerator[Bench]:
        async with self.make_bench(bench.folders.data.with_name("other")) as other:
            yield other

    # ---- what a box can see and do ----

    async def test_the_probe_finds_open_what_is_frozen_and_nothing_else(self, bench: Bench, tmp_path: Path) -> None:
        """T3, SECURITY.md section 7 line 4: 34 attempts from inside."""
        with canaries(tmp_path) as targets:
            box = await bench.start(limits=PROBE_LIMITS)
            done = await box.python(PROBE.read_text(), json.dumps(targets))
        results = parse_probe(done.out)
        assert len(results) == 34, done.err
        binds = {limit.name: limit.binds for limit in bench.driver.enforced()}
        allowed = self.may_be_open if binds["memory_bytes"] else self.may_be_open | OPEN_WITHOUT_MEMORY_LIMIT
        assert {name for name, worked in results.items() if worked} == allowed, done.out

    async def test_programs_inherit_three_descriptors_and_an_allowed_environment(self, bench: Bench) -> None:
        """T5: a descriptor and a variable of the daemon do not reach the box."""
        leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        os.set_inheritable(leak, True)
        os.environ["CANARY_SECRET"] = "1"
        try:
            box = await bench.start(env={"EXTRA": "yes"})
            done = await box.python("import os; print(sorted(os.environ), [f for f in os.listdir('/proc/self/fd')])")
        finally:
            os.close(leak)
            del os.environ["CANARY_SECRET"]
        proxies = ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "NO_PROXY", "no_proxy"]
        names = ["PATH", "HOME", "LANG", "LC_CTYPE", "LOGNAME", "USER", "SHELL", "TMPDIR", "PWD", "EXTRA", *proxies]
        variables, descriptors = done.out.split("] [")
        assert set(json.loads(variables.replace("'", '"') + "]")) <= set(names)
        assert len(descriptors.split(",")) == 4  # 0, 1, 2 and that of the listing itself

    async def test_the_sockets_folder_is_read_only(self, bench: Bench) -> None:
        """T9: no socket can be replaced by a link to another."""
        box = await bench.start()
        code = "import errno, os, sys\n" + "\n".join(
            f"try: {act}; print('worked')\nexcept OSError as e: print(errno.errorcode[e.errno])"
            for act in (
                "os.unlink('/run/mel/ctl.sock')",
                "os.rename('/run/mel/ctl.sock', '/run/mel/other')",
                "os.symlink('/ws', '/run/mel/link')",
            )
        )
        assert (await box.python(code)).out.split() == ["EROFS"] * 3

    async def test_links_left_in_every_writable_folder_make_nothing_on_the_host(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        """T1, CVE-2026-87766: what an agent leaves behind changes nothing outside at the next start."""
        victim = tmp_path / "victim"
        victim.mkdir()
        victim.chmod(0o777)
        spec = bench.spec()
        layout = (".claude", ".config", "state", "inbox", "mel", "agent", "etc", "usr", "tmp", "opt", "run", "proc")
        box = await bench.start_spec(spec)
        plant = "import os, sys\n" + "\n".join(
            f"os.symlink('/oldroot{victim}', '{folder}/{name}')"
            for folder in ("/home/agent", "/ws", "/agents/ana/state")
            for name in layout
        )
        assert (await box.python(plant)).code == 0
        await box.stop()
        for manager in (False, True):
            box = await bench.start("ana", manager=manager)
            assert (await box.run("/bin/true")).code == 0
            await box.stop()
        assert list(victim.iterdir()) == []

    async def test_agents_do_not_see_each_other(self, bench: Bench) -> None:
        """BR-3: state, workspace, processes and abstract sockets of another box are out of reach."""
        ana, bob = await bench.start("ana"), await bench.start("bob")
        assert (await ana.python(_WRITE_ATTEMPT, "/agents/ana/state/secret")).code == 0
        assert (await bob.run("/bin/ls", "/agents")).out.split() == ["bob"]
        assert (await bob.run("/bin/cat", "/agents/ana/state/secret")).code != 0
        namespaces = (
            "import os; print(*[os.readlink('/proc/self/ns/' + n) for n in ('net', 'pid', 'mnt', 'ipc', 'user')])"
        )
        ours, theirs = (await ana.python(namespaces)).out.split(), (await bob.python(namespaces)).out.split()
        assert not set(ours) & set(theirs)

    async def test_inbox_and_shared_are_read_only(self, bench: Bench) -> None:
        """D-8: what the daemon writes for an agent, the agent only reads."""
        spec = bench.spec()
        (spec.folders.inbox / "long").write_text("a long body")
        (spec.folders.inbox / "long").chmod(0o644)
        box = await bench.start_spec(spec)
        assert (await box.run("/bin/cat", "/agents/ana/inbox/long")).out == "a long body"
        for path in ("/agents/ana/inbox/x", "/shared/x", "/opt/mel/x", "/x", "/agents/x"):
            done = await box.python(_WRITE_ATTEMPT, path)
            assert "Read-only file system" in done.err, path

    async def test_the_manager_reads_all_agents_and_writes_its_own_state(self, bench: Bench) -> None:
        """D-8: one trust group; an agent made while the manager's box runs appears in it."""
        await (await bench.start("bob")).python(_WRITE_ATTEMPT, "/agents/bob/state/note")
        chief = await bench.start("chief", manager=True)
        bench.spec("dan")
        assert sorted((await chief.run("/bin/ls", "/agents")).out.split()) == ["bob", "chief", "dan"]
        assert (await chief.run("/bin/cat", "/agents/bob/state/note")).out == "x"
        assert (await chief.python(_WRITE_ATTEMPT, "/agents/chief/state/mine")).code == 0
        for path in ("/agents/bob/state/x", "/agents/chief/inbox/x", "/agents/x"):
            assert "Read-only file system" in (await chief.python(_WRITE_ATTEMPT, path)).err

    async def test_mounts_are_read_only_and_where_they_were_asked(self, bench: Bench, tmp_path: Path) -> None:
        """T46: a layer cannot be changed from inside; managed settings lie in /etc."""
        layer, settings = tmp_path / "layer", tmp_path / "settings.json"
        layer.mkdir()
        (layer / "tool").write_text("layer")
        settings.write_text('{"a": 1}')
        for path, mode in ((layer, 0o755), (layer / "tool", 0o644), (settings, 0o644)):
            path.chmod(mode)
        mounts = [Mount(layer, "/opt/layer"), Mount(settings, "/etc/claude-code/managed-settings.json")]
        box = await bench.start(mounts=mounts)
        done = await box.run("/bin/cat", "/opt/layer/tool", "/etc/claude-code/managed-settings.json")
        assert done.out == 'layer{"a": 1}'
        assert "Read-only file system" in (await box.python(_WRITE_ATTEMPT, "/opt/layer/tool")).err

    # ---- whose it is on the host ----

    async def test_each_box_of_a_root_daemon_has_a_uid_of_its_own(self, bench: Bench) -> None:
        """D-6: no two live boxes share a uid, and what they write belongs to the owner on disk and to them inside."""
        ana, bob = await self._two_users(bench)
        mine, theirs = _uid(ana), _uid(bob)
        assert len({mine, theirs, bench.folders.owner.uid, 0}) == 4
        for box in (ana, bob):
            assert uid_of(int(box.ref.handle["pid"])) == _uid(box)
            written = "import os\nfor f in ('/home/agent', '/ws', '/agents/' + os.listdir('/agents')[0] + '/state'):"
            done = await box.python(f"{written}\n open(f + '/file', 'w').close(); print(os.stat(f + '/file').st_uid)")
            assert done.out.split() == ["1000"] * 3, done.err
            for folder in (box.spec.folders.home, box.spec.folders.work, box.spec.folders.state):
                assert (folder / "file").stat().st_uid == bench.folders.owner.uid

    async def test_a_uid_of_one_box_cannot_read_another_agents_folders(self, bench: Bench) -> None:
        """D-6: a process outside any box, under one box's uid, on the host's own paths, with every folder above open.
        The owner's uid can, so the attempt is a real one."""
        ana, bob = await self._two_users(bench)
        assert (await ana.python(_WRITE_ATTEMPT, "/ws/secret")).code == 0
        secret = ana.spec.folders.work / "secret"
        above = [folder for folder in secret.parents[1:] if folder.stat().st_mode & 0o055 != 0o055]
        modes = {folder: folder.stat().st_mode & 0o7777 for folder in above}
        try:
            for folder in above:
                folder.chmod(0o755)
            assert _reads(secret, bench.folders.owner.uid)
            for uid in (_uid(ana), _uid(bob)):
                assert not _reads(secret, uid)
        finally:
            for folder, mode in modes.items():
                folder.chmod(mode)

    async def _two_users(self, bench: Bench) -> tuple[StartedBox, StartedBox]:
        own = next(limit for limit in bench.driver.enforced() if limit.name == "own_uid")
        if not own.binds:
            pytest.skip(own.how)
        return await bench.start("ana"), await bench.start("bob")

    # ---- limits ----

    async def test_limits_of_files_and_processes_bind(self, bench: Bench) -> None:
        """SECURITY.md section 7 line 9: each limit is hit."""
        box = await bench.start(
            limits=BoxLimits(open_files=64, file_size_bytes=1 << 20, processes=40, tmp_bytes=1 << 20, shm_bytes=1 << 20)
        )
        opens = "import os\nfor i in range(100): os.open('/', os.O_RDONLY)"
        assert "Too many open files" in (await box.python(opens)).err
        assert "File too large" in (await box.python(_GROW, "/ws/big")).err
        assert (await box.python(_FORKS)).out == "EAGAIN"
        box = await bench.start(limits=BoxLimits(tmp_bytes=1 << 20, shm_bytes=1 << 20))
        for folder in ("/tmp", "/dev/shm"):
            assert "No space left" in (await box.python(_GROW, f"{folder}/big")).err

    async def test_a_box_that_ran_out_of_memory_says_so(self, bench: Bench) -> None:
        """T6: the limit binds and is named, where `enforced` says that it binds."""
        box = await bench.start(limits=BoxLimits(memory_bytes=96 << 20))
        assert await bench.driver.failure(box.ref) is None
        binds = {limit.name: limit.binds for limit in bench.driver.enforced()}["memory_bytes"]
        fill = "b = bytearray(200 << 20)\nb[::4096] = b'x' * len(b[::4096])"
        if not binds:
            assert (await box.python(fill)).code == 0
            return
        with contextlib.suppress(EOFError, OSError):
            assert (await box.python(fill)).code != 0
        assert await bench.driver.failure(box.ref) == "out of memory"
        await box.stop()
        assert await bench.driver.failure(box.ref) == "out of memory"

    async def test_every_limit_is_accounted_for(self, bench: Bench) -> None:
        """`mel doctor`, `agent show`: which limits bind, and how or why not."""
        found = {limit.name: limit for limit in bench.driver.enforced()}
        assert {field.name for field in fields(BoxLimits)} <= set(found)
        assert all(limit.how for limit in found.values())

    # ---- refusals ----

    async def test_what_cannot_be_safe_is_refused_before_the_start(self, bench: Bench, tmp_path: Path) -> None:
        """Rule 2: folders behind links, mounts in odd places and odd variables start no box."""
        link = tmp_path / "link"
        link.symlink_to(tmp_path)
        good = bench.spec()
        bad = [
            replace(good, folders=replace(good.folders, work=link)),
            replace(good, folders=replace(good.folders, sockets=good.folders.sockets / "none")),
            replace(good, mounts=[Mount(tmp_path, "/home/agent/x")]),
            replace(good, mounts=[Mount(tmp_path, "/opt/../ws")]),
            replace(good, mounts=[Mount(tmp_path, "/opt/mel/bin")]),
            replace(good, mounts=[Mount(tmp_path / "none", "/opt/x")]),
            replace(good, env={"A=B": "x"}),
        ]
        for spec in bad:
            with pytest.raises(BoxStartFailed):
                await bench.driver.start(spec)
