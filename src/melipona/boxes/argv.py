"""The bubblewrap command line of a box, as one pure function, and the checker of its rules.

Rule 1 (SECURITY.md section 0, CVE-2026-87766): bwrap makes missing mount points *through symlinks* that lie in folders
it has bound already, while the host's root is still reachable. So nothing is ever made at or below a folder that an
agent can write: writable binds come last, each on a mount point of bwrap's own fresh root (for the manager's state: on
a directory that is there already, in a tree that only the daemon writes).

Where the sources come from, and who may start what, is left to `bubblewrap.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from melipona.boxes.driver import EGRESS_PORT, INSIDE_HOME, INSIDE_OPT, INSIDE_SOCKETS, INSIDE_WORK, BoxLimits

INSIDE_UID = 1000
INSIDE_PYTHON = "/opt/python"
"""Where a private interpreter lies in the box when the machine's own python3 is missing or too old."""

RUN_BYTES = 16 << 20
PATH = f"{INSIDE_OPT}/bin:/usr/local/bin:/usr/bin:/bin"

_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_PROC_FILES = (
    *("keys", "key-users", "timer_list", "kmsg", "config.gz", "cmdline", "sysrq-trigger", "kallsyms", "slabinfo"),
    *("pagetypeinfo", "iomem", "ioports", "interrupts", "kcore", "sched_debug", "latency_stats", "kpagecount"),
    *("kpageflags", "kpagecgroup", "mtrr", "vmallocinfo"),
)
_PROC_FOLDERS = ("acpi", "driver", "scsi", "fs", "bus", "irq", "sysvipc", "asound")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What of the host decides the command line: how /bin and its like lie, which files of /proc there are."""

    links: Mapping[str, str]
    """Top folders that are links, with their targets (`bin` -> `usr/bin`)."""
    folders: Sequence[str]
    """Top folders that are real."""
    masked: Sequence[str]
    hidden: Sequence[str]


@dataclass(frozen=True, slots=True)
class Sources:
    """Absolute, canonical paths as bwrap will see them. Only `home`, `work`, `state` may be written by the agent."""

    home: str
    work: str
    state: str
    inbox: str
    shared: str
    sockets: str
    etc: str
    opt: str
    agents: str | None = None
    python: str | None = None
    extra: Sequence[tuple[str, str]] = ()
    """More read-only binds: (source, target)."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Numbers of the inherited descriptors, each used once (bwrap consumes them)."""

    seccomp: int | None = None
    status: int | None = None
    block: int | None = None


def host_facts(root: Path = Path("/")) -> HostFacts:
    """Look at this machine."""
    top = {name: root / name for name in _TOP}
    return HostFacts(
        links={name: str(path.readlink()).lstrip("/") for name, path in top.items() if path.is_symlink()},
        folders=[name for name, path in top.items() if path.is_dir() and not path.is_symlink()],
        masked=[name for name in _PROC_FILES if (root / "proc" / name).exists()],
        hidden=[name for name in _PROC_FOLDERS if (root / "proc" / name).is_dir()],
    )


def base_environment() -> dict[str, str]:
    """The variables every program of a box has; nothing of the daemon's own environment."""
    proxy = f"http://127.0.0.1:{EGRESS_PORT}"
    local = "127.0.0.1,localhost,::1"
    return {
        "PATH": PATH,
        "HOME": INSIDE_HOME,
        "LANG": "C.UTF-8",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",  # noqa: S108  (the box's own, sized)
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "HTTP_PROXY": proxy,
        "http_proxy": proxy,
        "NO_PROXY": local,
        "no_proxy": local,
    }


def box_argv(
    bwrap: str,
    sources: Sources,
    facts: HostFacts,
    *,
    agent: str,
    limits: BoxLimits,
    env: Mapping[str, str],
    program: Sequence[str],
    descriptors: Descriptors = Descriptors(),
) -> list[str]:
    """The whole command line of a box that runs `program` as its init. `env` is added to `base_environment()`."""
    return [
        bwrap,
        *_namespaces(),
        *_environment(base_environment() | dict(env)),
        *_system(sources, facts),
        *_proc(facts),
        *_temporary(limits),
        *_read_only(sources, agent),
        *_writable(sources, agent),
        *("--remount-ro", "/", "--chdir", INSIDE_WORK),
        *_descriptors(descriptors),
        "--",
        *program,
    ]


def _namespaces() -> list[str]:
    """Fail rather than share a namespace; no nested user namespace; not killed with whoever started it (D-3)."""
    kinds = ("user", "ipc", "pid", "net", "uts", "cgroup")
    ids = ["--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--hostname", "box"]
    return [
        *(f"--unshare-{kind}" for kind in kinds),
        *("--disable-userns", "--assert-userns-disabled"),
        *ids,
        *("--cap-drop", "ALL", "--new-session", "--as-pid-1"),
    ]


def _environment(env: Mapping[str, str]) -> list[str]:
    return ["--clearenv", *(part for name, value in env.items() for part in ("--setenv", name, value))]


def _system(sources: Sources, facts: HostFacts) -> list[str]:
    argv = ["--ro-bind", "/usr", "/usr", "--ro-bind", sources.etc, "/etc"]
    for name in facts.folders:
        argv += ["--ro-bind", f"/{name}", f"/{name}"]
    for name, target in facts.links.items():
        argv += ["--symlink", target, f"/{name}"]
    return argv


def _proc(facts: HostFacts) -> list[str]:
    """/proc without facts of the kernel; /proc/sys read-only, since bwrap leaves it writable for uid 0 (T2)."""
    argv = ["--proc", "/proc"]
    for name in facts.masked:
        argv += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    argv += ["--ro-bind", "/proc/sys", "/proc/sys"]
    for name in facts.hidden:
        argv += [*_tmpfs(f"/proc/{name}", 4096, "0555"), "--remount-ro", f"/proc/{name}"]
    return argv


def _temporary(limits: BoxLimits) -> list[str]:
    return [
        *("--dev", "/dev", *_tmpfs("/dev/shm", limits.shm_bytes, "1777"), "--remount-ro", "/dev"),  # noqa: S108
        *_tmpfs("/tmp", limits.tmp_bytes, "1777"),  # noqa: S108
        *_tmpfs("/run", RUN_BYTES, "0755"),
        *("--symlink", "../run", "/var/run", "--symlink", "../tmp", "/var/tmp"),  # noqa: S108
    ]


def _tmpfs(target: str, size: int, mode: str) -> list[str]:
    """A tmpfs with a size; the kernel takes 0 as *no limit*, so no limit becomes the largest size there is."""
    return ["--size", str(size if size > 0 else (1 << 63) - 1), "--perms", mode, "--tmpfs", target]


def _read_only(sources: Sources, agent: str) -> list[str]:
    argv = ["--ro-bind", sources.sockets, INSIDE_SOCKETS, "--ro-bind", sources.opt, INSIDE_OPT]
    if sources.python is not None:
        argv += ["--ro-bind", sources.python, INSIDE_PYTHON]
    for source, target in sources.extra:
        argv += ["--ro-bind", source, target]
    argv += ["--ro-bind", sources.shared, "/shared"]
    if sources.agents is not None:
        return [*argv, "--ro-bind", sources.agents, "/agents"]
    return [*argv, "--ro-bind", sources.inbox, f"/agents/{agent}/inbox"]


def _writable(sources: Sources, agent: str) -> list[str]:
    """Last, each a leaf. For the manager the state's mount point lies in the daemon's own tree, made beforehand."""
    return [
        *("--bind", sources.home, INSIDE_HOME),
        *("--bind", sources.work, INSIDE_WORK),
        *("--bind", sources.state, f"/agents/{agent}/state"),
    ]


def _descriptors(given: Descriptors) -> list[str]:
    options = (("--seccomp", given.seccomp), ("--json-status-fd", given.status), ("--block-fd", given.block))
    return [part for option, fd in options if fd is not None for part in (option, str(fd))]
