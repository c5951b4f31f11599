"""The launcher: a process per box between the daemon and `bwrap` (D-7, D-11); a script on the standard library.

    python3 -I -S launcher.py serve DESCRIPTOR
    python3 -I -S launcher.py UID GID COUNT [OWNER SOURCE TARGET]... BWRAP [ARGUMENT...]
    python3 -I -S launcher.py check OWNER UID FOLDER...

UID and GID are `-` for an ordinary user; COUNT is the number of places to stage. OWNER is `-` for a plain bind. A
number asks for an idmapped view: what belongs to that uid and gid on disk is UID's and GID's below TARGET, and what is
made there belongs to OWNER on disk (D-6). `check` says on stdout why views of the folders cannot be had, if so.

As root it makes a private mount namespace, mounts a tmpfs over STAGE in it and binds there what the box needs: nothing
shows in the host's mount table, nothing is copied, loosened or left behind. Then it drops to the box's uid, which no
other process of the machine may have when it is the box's own. For root and ordinary user alike it gives the box a
session, a keyring session and an environment of its own and executes `bwrap`. It goes on as a child of its own, so
that no box is ever the daemon's child.

`serve` goes on as a child of its own, which starts launchers by forking itself: of one thread, with no environment, no
open file but the socket DESCRIPTOR and nothing read or imported since (ADR 0015). Each message on the socket is one
launcher: its descriptors, the numbers that they shall have there, and its arguments. The answer is its exit code. The
server ends with the daemon, whose end of the socket is the only one.

Whatever fails is one line on stderr and exit code 1; the status descriptor then closes without a word.
"""

# No pathlib, json or platform: a launcher's imports are part of every box's start (they would add 10 ms to it)
# ruff: noqa: PTH103, PTH120
from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import stat
import sys

STAGE = "/run/melipona"

UID_TAKEN = "has processes already"
"""What the launcher says of a uid that is not free."""

MESSAGE_MOST, DESCRIPTORS_MOST = 128 << 10, 16
"""Bytes of one message to the server, and its descriptors."""

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_JOIN_SESSION_KEYRING = 1
# Numbers that all architectures share, and the parts of their flags that are used
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _AT_EMPTY_PATH, _AT_FDCWD = 0x1, 0x4, 0x1000, -100
_MOUNT_ATTR_IDMAP = 0x00100000
_OOM_FIRST = "500"  # a box goes before the daemon when the machine runs out of memory

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def main() -> None:
    """Prepare and execute."""
    if sys.argv[1] == "serve":
        return _serve(int(sys.argv[2]))
    if sys.argv[1] == "check":
        return _say_why_not(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    uid, gid, count = sys.argv[1:4]
    places, argv = sys.argv[4 : 4 + 3 * int(count)], sys.argv[4 + 3 * int(count) :]
    own = any(owner != "-" for owner in places[::3])
    if os.fork():
        os._exit(0)
    try:
        _leave_session()
        if places:
            _stage(list(zip(places[::3], places[1::3], places[2::3], strict=True)), uid, gid)
        if uid != "-":
            _become(int(uid), int(gid), own=own)
        _refuse_root()
        os.umask(0o022)
        os.chdir("/")
        os.execve(argv[0], argv, {})  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"launcher: {error}\n")
        sys.stderr.flush()
        os._exit(1)
    return None


def _serve(number: int) -> None:
    """Be forked into launchers until the daemon is gone."""
    import socket  # once in a daemon's life, not at the start of each box

    if os.fork():
        os._exit(0)
    with socket.socket(fileno=number) as daemon:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(daemon, MESSAGE_MOST, DESCRIPTORS_MOST)
                if not data:
                    os._exit(0)
                child = os.fork()
                if not child:
                    _launch_from(data, descriptors)
                for fd in descriptors:
                    os.close(fd)
                _, status = os.waitpid(child, 0)
                daemon.send(b"%d" % os.waitstatus_to_exitcode(status))
            except OSError:
                os._exit(1)  # without its socket it is of no use, and a daemon that misses it starts boxes without it


def _launch_from(data: bytes, descriptors: list[int]) -> None:
    """In the child: hold what a fresh launcher would hold, then be one."""
    try:
        numbers, *plan = [os.fsdecode(part) for part in data.split(b"\0")]
        wanted = [int(number) for number in numbers.split(",")]
        _hold_only(dict(zip(wanted, descriptors, strict=True)))
        os.setsid()
        sys.argv[1:] = plan
        main()
    except BaseException as error:
        sys.stderr.write(f"launcher: {error}\n")
        sys.stderr.flush()
    os._exit(1)


def _hold_only(wanted: dict[int, int]) -> None:
    """Have each descriptor under the number that it is wanted at, nothing to read on 0, and no other open."""
    high = max(*wanted, *wanted.values()) + 1
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD, high) for number, fd in wanted.items()}
    moved[0] = fcntl.fcntl(os.open(os.devnull, os.O_RDONLY), fcntl.F_DUPFD, high)
    for number, fd in moved.items():
        os.dup2(fd, number)
    kept = sorted(moved)
    for below, above in zip(kept, [*kept[1:], 1 << 20], strict=True):
        os.closerange(below + 1, above)


def _say_why_not(owner: int, uid: int, folders: list[str]) -> None:
    """Try an idmapped view of each folder, attached nowhere."""
    try:
        ids = _id_map(owner, uid, uid)
        for folder in folders:
            handle = _open_source(folder)
            os.close(_view(handle, ids, folder))
            os.close(handle)
        os.close(ids)
    except OSError as error:
        sys.stdout.write(f"{error.strerror or error}\n")


def _leave_session() -> None:
    """A new session (no terminal), a new and empty session keyring, no core files, first to go when memory is out."""
    os.setsid()
    number = _KEYCTL[os.uname().machine]
    _check(_libc.syscall(number, _JOIN_SESSION_KEYRING, None, 0, 0, 0), "keyctl")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(_OOM_FIRST)
    except OSError:
        pass  # it is higher already


def _stage(places: list[tuple[str, str, str]], uid: str, gid: str) -> None:
    """Bind each source to its target below STAGE, in a mount namespace that nobody else sees."""
    os.makedirs(STAGE, mode=0o755, exist_ok=True)
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    owners = {owner for owner, _, _ in places} - {"-"}
    ids = {owner: _id_map(int(owner), int(uid), int(gid)) for owner in owners}
    handles = [_open_source(source) for _, source, _ in places]
    _mount("melipona", STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    for handle, (owner, source, target) in zip(handles, places, strict=True):
        _make_place(handle, target)
        if owner == "-":
            _mount(f"/proc/self/fd/{handle}", target, None, _MS_BIND)
        else:
            _attach(_view(handle, ids[owner], source), target)
        os.close(handle)
    for fd in ids.values():
        os.close(fd)


def _open_source(path: str) -> int:
    """The source itself, never what a link in its place points to."""
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    if stat.S_ISLNK(os.fstat(handle).st_mode):
        raise OSError(f"{path} is a link")
    return handle


def _make_place(handle: int, target: str) -> None:
    """An empty file or folder to mount over, as the source is one."""
    if not target.startswith(f"{STAGE}/"):
        raise OSError(f"{target} is not below {STAGE}")
    is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
    old = os.umask(0o022)
    os.makedirs(target if is_folder else os.path.dirname(target), exist_ok=True)
    if not is_folder:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    os.umask(old)


def _view(handle: int, ids: int, name: str) -> int:
    """A detached mount of the source in which its owner is the box's uid."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH
    tree = int(_check(_libc.syscall(_OPEN_TREE, handle, b"", flags), f"open_tree {name}"))
    attributes = b"".join(value.to_bytes(8, sys.byteorder) for value in (_MOUNT_ATTR_IDMAP, 0, 0, ids))
    changed = _libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, ctypes.c_size_t(32))
    _check(changed, f"mount_setattr {name}")
    return tree


def _attach(tree: int, target: str) -> None:
    moved = _libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, target.encode(), _MOVE_MOUNT_F_EMPTY_PATH)
    _check(moved, f"move_mount {target}")
    os.close(tree)


def _id_map(owner: int, uid: int, gid: int) -> int:
    """A user namespace, kept by its descriptor alone, that maps root to itself and `owner` to the box's ids."""
    made, let_go = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        os.close(let_go[1])
        if _libc.unshare(_CLONE_NEWUSER) == 0:
            os.write(made[1], b"x")
            os.read(let_go[0], 1)
        os._exit(0)
    os.close(made[1])
    try:
        if not os.read(made[0], 1):
            raise OSError("no user namespace can be made")
        for name, to in (("uid", uid), ("gid", gid)):
            with open(f"/proc/{child}/{name}_map", "w") as file:
                file.write(f"0 0 1\n{owner} {to} 1\n")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for fd in (made[0], *let_go):
            os.close(fd)
        os.waitpid(child, 0)


def _become(uid: int, gid: int, *, own: bool) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    if own:
        os.setresuid(uid, uid, 0)
        _refuse_shared(uid)
    os.setresuid(uid, uid, uid)


def _refuse_root() -> None:
    """A box whose mapped uid is 0 could write `core_pattern` (T2)."""
    if 0 in os.getresuid():
        raise OSError("a box would run as root")


def _refuse_shared(uid: int) -> None:
    """A uid of a box's own is nobody else's: the kernel, which counts every process of it, lets one more be made.

    Refused, this process does not stay of that uid: its corpse would count.
    """
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (2, before[1]))
    try:
        child = os.fork()
    except BlockingIOError:
        os.setresuid(0, 0, 0)
        raise OSError(f"uid {uid} {UID_TAKEN}") from None
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    resource.setrlimit(resource.RLIMIT_NPROC, before)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    kind_bytes = kind.encode() if kind is not None else None
    result = _libc.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), data.encode() or None)
    _check(result, f"mount {target}")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


if __name__ == "__main__":
    main()
