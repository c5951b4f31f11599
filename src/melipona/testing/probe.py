"""34 attempts to get out of a box, run inside it by any Python >= 3.8: `python3 -I probe.py TARGETS [NAME...]`.

TARGETS is JSON about canaries that the tester made on the host: `host_pid`, `canary` (path of a file), `abstract` (name
of a listening abstract socket), `tcp_port` (of a listener on the host's loopback), `key` (id in the launcher's session
keyring), `markers` (words of host paths), `processes` and `memory_mib` (what must be refused). Prints one JSON array a
line: `[name, open, detail]`. *Open* means that the attempt worked. It harms nothing but the box it runs in.

Standard library only; nothing of ours is imported, because a box has nothing of ours.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import json
import mmap
import os
import platform
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import termios
from typing import Any, Callable, NoReturn  # noqa: UP035  (subscripted at run time, which 3.8 has here only)

Attempt = Callable[[], object]

ATTEMPTS: dict[str, Attempt] = {}
targets: dict[str, Any] = {}
libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"

# x86_64, aarch64
CALLS = {
    "keyctl": (250, 219),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fsopen": (430, 430),
    "process_vm_readv": (310, 270),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "personality": (135, 92),
    "clone3": (435, 435),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
}
NEW_USER_NAMESPACE = 0x10000000


class Shut(Exception):
    """The attempt did not work; the text says how it ended."""


def attempt(name: str) -> Callable[[Attempt], Attempt]:
    """Register an attempt: it raises when it did not work, and returns what it got when it did."""

    def register(function: Attempt) -> Attempt:
        ATTEMPTS[name] = function
        return function

    return register


def need(found: Any, otherwise: str) -> Any:
    """`found` when there is any, else the attempt is shut."""
    if not found:
        raise Shut(otherwise)
    return found


def fail(number: int) -> NoReturn:
    raise OSError(number, errno.errorcode.get(number, str(number)))


def call(name: str, *arguments: int) -> int:
    """A raw system call."""
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(CALLS[name][ARM]), *[ctypes.c_void_p(value) for value in arguments])
    if result < 0:
        fail(ctypes.get_errno())
    return int(result)


def in_child(act: Callable[[], object]) -> None:
    """Do it in a child, whose OSError becomes ours. A child ended by a signal is shut."""
    pid = os.fork()
    if not pid:
        try:
            act()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
        except BaseException:
            os._exit(255)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        raise Shut("ended by " + signal.Signals(os.WTERMSIG(status)).name)
    if os.WEXITSTATUS(status):
        fail(os.WEXITSTATUS(status))


def readable(paths: list[str]) -> list[str]:
    """Those of which something can be read."""
    got: list[str] = []
    for path in paths:
        try:
            if os.path.isdir(path):
                os.listdir(path)
                got.append(path)
            else:
                with open(path, "rb", 0) as file:
                    got += [path] if file.read(64) else []
        except OSError:
            pass
    return got


# ---- network --------------------------------------------------------------------------------------------------------


@attempt("net: the host's loopback")
def _() -> None:
    socket.create_connection(("127.0.0.1", targets["tcp_port"]), 1).close()


@attempt("net: a route outside")
def _() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("192.0.2.1", 53))  # asks for a route, sends nothing


@attempt("net: interfaces besides lo")
def _() -> object:
    return need([name for _, name in socket.if_nameindex() if name != "lo"], "only lo")


@attempt("net: abstract socket of the host")
def _() -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0" + targets["abstract"])


@attempt("net: AF_VSOCK")
def _() -> None:
    socket.socket(40, socket.SOCK_STREAM).close()


@attempt("net: AF_ALG, packet, raw, netlink besides route, CAN")
def _() -> object:
    got: list[tuple[int, int, int]] = []
    for kind in ((38, 5, 0), (17, 3, 0), (2, 3, 1), (16, 3, 9), (16, 3, 12), (29, 3, 1), (44, 3, 0)):
        try:
            socket.socket(*kind).close()
            got.append(kind)
        except OSError:
            pass
    return need(got, "none")


# ---- files ----------------------------------------------------------------------------------------------------------


@attempt("fs: canary of the host by its path")
def _() -> object:
    with open(targets["canary"]) as file:
        return file.read()


@attempt("fs: shadow, root's home, package data, other homes")
def _() -> object:
    homes = [home for home in glob.glob("/home/*") if home != "/home/agent"]
    places = ["/etc/shadow", "/root", "/var/lib", "/var/log", "/boot", "/srv", "/mnt", "/sys", *homes]
    return need([path for path in places if os.access(path, os.R_OK)], "none")


@attempt("fs: inherited descriptors")
def _() -> object:
    more: list[tuple[str, str]] = []
    for name in os.listdir("/proc/self/fd"):
        try:
            more += [(name, os.readlink("/proc/self/fd/" + name))] if int(name) > 2 else []
        except FileNotFoundError:
            pass  # the descriptor of this very listing
    return need(more, "0, 1, 2")


@attempt("fs: root, environment, descriptors, memory of the box's init")
def _() -> object:
    return need(readable(["/proc/1/root/", "/proc/1/environ", "/proc/1/fd", "/proc/1/maps", "/proc/1/cwd/"]), "none")


@attempt("fs: unbounded tmpfs")
def _() -> object:
    big: list[tuple[str, int]] = []
    for folder in ("/", "/dev", "/dev/shm", "/run", "/tmp", "/proc/acpi", "/opt", "/home", "/agents"):
        try:
            with tempfile.NamedTemporaryFile(dir=folder):
                size = os.statvfs(folder)
                mib = size.f_blocks * size.f_frsize >> 20
                big += [(folder, mib)] if mib > 1024 or mib == 0 else []
        except OSError:
            pass
    return need(big, "bounded or read-only")


@attempt("fs: write to /usr, /etc, /opt, /shared, /run/mel, /proc/sys, /sys")
def _() -> object:
    got: list[str] = []
    files = ["/usr/x", "/etc/x", "/opt/mel/x", "/shared/x", "/run/mel/x", "/sys/kernel/x", "/proc/sysrq-trigger"]
    sysctls = ["kernel/core_pattern", "kernel/hostname", "kernel/modprobe", "vm/drop_caches", "fs/binfmt_misc/register"]
    for path in files + ["/proc/sys/" + name for name in sysctls]:
        try:
            os.close(os.open(path, os.O_WRONLY | (os.O_CREAT if path.endswith("/x") else 0)))
            got.append(path)
        except OSError:
            pass
    return need(got, "none")


@attempt("fs: facts of the kernel in /proc")
def _() -> object:
    names = ["kcore", "kallsyms", "keys", "config.gz", "cmdline", "timer_list", "kmsg", "key-users", "iomem"]
    names += ["interrupts", "pagetypeinfo", "slabinfo", "vmallocinfo", "sched_debug", "ioports", "mtrr"]
    return need(readable(["/proc/" + name for name in names]), "none")


@attempt("fs: names of host folders in mountinfo")
def _() -> object:
    with open("/proc/self/mountinfo") as file:
        roots = {line.split()[3] for line in file}
    return need(sorted(root for root in roots if any(word in root for word in targets["markers"])), "none")


@attempt("fs: programs that gain by setuid")
def _() -> object:
    with open("/proc/self/status") as file:
        flag = next(line.split()[1] for line in file if line.startswith("NoNewPrivs"))
    return need(flag == "0", "no_new_privs is set")


@attempt("dev: device nodes besides the harmless ones")
def _() -> object:
    harmless = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
    nodes = [path for path in glob.glob("/dev/*") if os.path.basename(path) not in harmless]
    modes = {path: os.lstat(path).st_mode for path in nodes}
    return need([path for path, mode in modes.items() if stat.S_ISCHR(mode) or stat.S_ISBLK(mode)], "none")


@attempt("dev: make a block device")
def _() -> None:
    os.mknod("/tmp/block", 0o600 | stat.S_IFBLK, os.makedev(254, 0))


# ---- namespaces, processes, keys, terminals -------------------------------------------------------------------------


@attempt("ns: user namespace by unshare")
def _() -> None:
    in_child(lambda: call("unshare", NEW_USER_NAMESPACE))


@attempt("ns: user namespace by clone3")
def _() -> None:
    given = (ctypes.c_uint64 * 8)(NEW_USER_NAMESPACE, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    pid = call("clone3", ctypes.addressof(given), 64)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@attempt("ns: mount a tmpfs, remount /usr writable")
def _() -> None:
    if libc.mount(b"x", b"/tmp", b"tmpfs", 0, None) and libc.mount(b"none", b"/usr", None, 32 | 4096, None):
        fail(ctypes.get_errno())


@attempt("ns: bwrap in the box")
def _() -> None:
    done = subprocess.run(
        ["bwrap", "--unshare-user", "--ro-bind", "/", "/", "--proc", "/proc", "true"], capture_output=True, check=False
    )
    need(done.returncode == 0, done.stderr.decode(errors="replace").strip()[:60])


@attempt("proc: see or signal a process of the host")
def _() -> None:
    os.kill(targets["host_pid"], 0)


@attempt("proc: more processes than the box's own")
def _() -> object:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return need(len(pids) > 8 or max(pids) > 4096, str(len(pids)) + " visible")


@attempt("proc: trace or read the memory of the box's init")
def _() -> None:
    def attach() -> None:
        if libc.ptrace(0x4206, 1, 0, 0):  # PTRACE_SEIZE: stops nothing
            first = ctypes.get_errno()
            try:
                os.close(os.open("/proc/1/mem", os.O_RDWR))
            except OSError:
                fail(first)

    in_child(attach)


@attempt("keys: session keyring of whoever started the box")
def _() -> object:
    text = ctypes.create_string_buffer(64)
    length = call("keyctl", 11, targets["key"], ctypes.addressof(text), 64)
    return text.raw[:length].decode()


def push_into_terminal(request: int) -> None:
    """Push a byte into the input of a terminal of our own, as a program would into the operator's."""

    def push() -> None:
        os.setsid()
        _, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        if libc.ioctl(terminal, ctypes.c_ulong(request), b"#"):
            fail(ctypes.get_errno())

    in_child(push)


@attempt("tty: TIOCSTI")
def _() -> None:
    push_into_terminal(0x5412)


@attempt("tty: TIOCSTI with high bits (CVE-2019-10063)")
def _() -> None:
    push_into_terminal(0x100005412)


# ---- kernel surface, powers, limits ---------------------------------------------------------------------------------


@attempt("kernel: rarely needed calls reach the kernel")
def _() -> object:
    tried = {
        "bpf": (5, 0, 0),
        "userfaultfd": (1,),
        "io_uring_setup": (1, 0),
        "perf_event_open": (0, 0, 0, 0, 0),
        "fsopen": (0, 0),
        "process_vm_readv": (os.getpid(), 0, 0, 0, 0, 0),
        "open_by_handle_at": (0, 0, 0),
        "name_to_handle_at": (0, 0, 0, 0, 0),
        "syslog": (10, 0, 0),
        "personality": (0x0040000,),
        "setns": (0, 0),
        "quotactl": (0, 0, 0, 0),
        "statmount": (0, 0, 0, 0),
        "listmount": (0, 0, 0, 0),
        "open_tree_attr": (0, 0, 0, 0, 0),
    }
    got: list[str] = []
    for name, arguments in tried.items():
        try:
            call(name, *arguments)
            got.append(name)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOSYS):
                got.append(name + ":" + errno.errorcode.get(error.errno or 0, "?"))  # it looked at the arguments
    return need(got, "all refused at the door")


@attempt("kernel: system calls of another architecture")
def _() -> None:
    if ARM:
        raise Shut("no such call from 64-bit code")
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20 (getpid of i386); int 0x80; ret

    def jump() -> None:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        if ctypes.CFUNCTYPE(ctypes.c_int)(address)() <= 0:
            fail(errno.ENOSYS)

    in_child(jump)


@attempt("caps: any capability in any set")
def _() -> object:
    with open("/proc/self/status") as file:
        sets = dict(line.split() for line in file if line.startswith("Cap"))
    return need({name: value for name, value in sets.items() if int(value, 16)}, "all empty")


@attempt("limits: processes")
def _() -> object:
    children: list[int] = []
    try:
        for _ in range(targets["processes"]):
            pid = os.fork()
            if not pid:
                signal.pause()
                os._exit(0)
            children.append(pid)
    except OSError as error:
        raise Shut("stopped after " + str(len(children))) from error
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return len(children)


@attempt("limits: memory")
def _() -> None:
    def fill() -> None:
        block = bytearray(targets["memory_mib"] << 20)
        block[::4096] = b"x" * len(block[::4096])

    in_child(fill)


@attempt("limits: descriptors, core files, size of a file")
def _() -> object:
    most = {"RLIMIT_NOFILE": 4096, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 2 << 30}
    hard = {name: resource.getrlimit(getattr(resource, name))[1] for name in most}
    return need({name: value for name, value in hard.items() if not 0 <= value <= most[name]}, str(hard))


@attempt("env: variables of whoever started the box")
def _() -> object:
    names = [name for name in os.environ if "CANARY" in name or "SECRET" in name or "KEY" in name]
    return need(names, "none")


def one(act: Attempt) -> tuple[bool, str]:
    """Whether an attempt worked, and how it ended."""
    try:
        got = act()
    except Shut as shut:
        return False, str(shut)
    except OSError as error:
        return False, errno.errorcode.get(error.errno or 0, str(error))
    except Exception as error:
        return False, type(error).__name__ + ": " + str(error)[:200]
    return True, "" if got is None else str(got)[:500]


def main() -> None:
    """Run all attempts, or those named."""
    targets.update(json.loads(sys.argv[1]))
    for name, act in ATTEMPTS.items():
        if not sys.argv[2:] or name in sys.argv[2:]:
            worked, detail = one(act)
            print(json.dumps([name, worked, detail]), flush=True)


if __name__ == "__main__":
    main()
