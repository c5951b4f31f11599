"""The launcher: a fresh process per box between the daemon and `bwrap` (D-7, D-11); a script on the standard library.

    python3 -I -S launcher.py UID GID COUNT [SOURCE TARGET]... BWRAP [ARGUMENT...]

UID and GID are `-` for an ordinary user; COUNT is the number of pairs to stage.

As root it makes a private mount namespace, mounts a tmpfs over STAGE in it and binds there what the box needs: nothing
shows in the host's mount table, nothing is copied, loosened or left behind. Then it drops to the box's uid. For root
and ordinary user alike it gives the box a session, a keyring session and an environment of its own and executes
`bwrap`. It goes on as a child of its own, so that no box is ever the daemon's child.

Whatever fails is one line on stderr and exit code 1; the status descriptor then closes without a word.
"""

# No pathlib, json or platform: a launcher's imports are part of every box's start (they would add 10 ms to it)
# ruff: noqa: PTH103, PTH120
from __future__ import annotations

import ctypes
import os
import resource
import stat
import sys

STAGE = "/run/melipona"

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_JOIN_SESSION_KEYRING = 1
_OOM_FIRST = "500"  # a box goes before the daemon when the machine runs out of memory

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Prepare and execute."""
    uid, gid, count = sys.argv[1:4]
    paths, argv = sys.argv[4 : 4 + 2 * int(count)], sys.argv[4 + 2 * int(count) :]
    if os.fork():
        os._exit(0)
    try:
        _leave_session()
        if paths:
            _stage(list(zip(paths[::2], paths[1::2], strict=True)))
        if uid != "-":
            _become(int(uid), int(gid))
        _refuse_root()
        os.umask(0o022)
        os.chdir("/")
        os.execve(argv[0], argv, {})  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"launcher: {error}\n")
        sys.stderr.flush()
        os._exit(1)


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


def _stage(pairs: list[tuple[str, str]]) -> None:
    """Bind each source to its target below STAGE, in a mount namespace that nobody else sees."""
    os.makedirs(STAGE, mode=0o755, exist_ok=True)
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    handles = [_open_source(source) for source, _ in pairs]
    _mount("melipona", STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    for handle, (_, target) in zip(handles, pairs, strict=True):
        _bind(handle, target)
        os.close(handle)


def _open_source(path: str) -> int:
    """The source itself, never what a link in its place points to."""
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    if stat.S_ISLNK(os.fstat(handle).st_mode):
        raise OSError(f"{path} is a link")
    return handle


def _bind(handle: int, target: str) -> None:
    if not target.startswith(f"{STAGE}/"):
        raise OSError(f"{target} is not below {STAGE}")
    is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
    old = os.umask(0o022)
    os.makedirs(target if is_folder else os.path.dirname(target), exist_ok=True)
    if not is_folder:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    os.umask(old)
    _mount(f"/proc/self/fd/{handle}", target, None, _MS_BIND)


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _refuse_root() -> None:
    """A box whose mapped uid is 0 could write `core_pattern` (T2)."""
    if 0 in os.getresuid():
        raise OSError("a box would run as root")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    kind_bytes = kind.encode() if kind is not None else None
    result = _libc.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), data.encode() or None)
    _check(result, f"mount {target}")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
