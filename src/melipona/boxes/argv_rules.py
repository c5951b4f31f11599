"""The checker of a box's command line: rule 1 and its companions (SECURITY.md sections 0 and 7, line 1).

It reads the options as bwrap does and knows only those that `argv.py` uses, so a new option has to be taught here
before it can be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from melipona.errors import Bug

_PAIRS = frozenset({"--bind", "--ro-bind", "--symlink", "--setenv"})
_SINGLES = frozenset(
    {
        *("--uid", "--gid", "--hostname", "--cap-drop", "--proc", "--dev", "--tmpfs", "--size", "--perms"),
        *("--remount-ro", "--chdir", "--seccomp", "--json-status-fd", "--block-fd"),
    }
)
_FLAGS = frozenset(
    {
        *(f"--unshare-{kind}" for kind in ("user", "ipc", "pid", "net", "uts", "cgroup")),
        *("--disable-userns", "--assert-userns-disabled", "--new-session", "--as-pid-1", "--clearenv"),
    }
)
_MAKES = frozenset({"--bind", "--ro-bind", "--symlink", "--tmpfs", "--proc", "--dev"})
_HARMLESS_AFTER = frozenset({"--bind", "--remount-ro", "--chdir", "--seccomp", "--json-status-fd", "--block-fd"})
_MANAGER_TREE = "/agents"
_OWN_TREES = ("/usr", "/etc", "/proc/")
"""Read-only binds in which mounts may lie: the host's system, our own /etc, files of /proc."""

_Option = tuple[str, tuple[str, ...]]


def read_options(argv: Sequence[str]) -> Iterator[_Option]:
    """The options of a command line before `--`, each with its values.

    Raises:
        Bug: an option is unknown here, lacks a value, or there is no `--` with a program after it.
    """
    rest = list(argv[1:])
    while rest and rest[0] != "--":
        name = rest.pop(0)
        count = 2 if name in _PAIRS else 1 if name in _SINGLES else 0
        if (not count and name not in _FLAGS) or len(rest) < count:
            raise Bug(f"box argv: {name!r} is not an option the rules know")
        yield name, tuple(rest[:count])
        del rest[:count]
    if len(rest) < 2:
        raise Bug("box argv: no `--` with a program after it")


def check_rule_1(argv: Sequence[str]) -> None:
    """Check a box's command line.

    Raises:
        Bug: something is made at or below a writable bind, a writable bind is not last or not on a fresh mount point,
            a tmpfs has no size, `/` or `/dev` stays writable, a namespace is shared, or an option is unknown.
    """
    given = list(read_options(argv))
    _check_writable_last(given)
    _check_nothing_below_writable(given)
    _check_fresh_mount_points(given)
    _check_sizes(given)
    _check_ends_read_only(given)
    missing = _FLAGS - {name for name, _ in given}
    if missing:
        raise Bug(f"box argv: without {sorted(missing)}")


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _target(option: _Option) -> str | None:
    name, values = option
    if name not in _MAKES:
        return None
    target = values[-1]
    if not target.startswith("/") or any(part in ("", ".", "..") for part in target[1:].split("/")):
        raise Bug(f"box argv: {name} {target!r} is not a plain absolute path")
    return target


def _check_writable_last(given: Sequence[_Option]) -> None:
    seen = False
    for name, values in given:
        seen = seen or name == "--bind"
        if seen and name not in _HARMLESS_AFTER:
            raise Bug(f"box argv: {name} {values} after a writable bind")


def _check_nothing_below_writable(given: Sequence[_Option]) -> None:
    writable: list[str] = []
    for option in given:
        target = _target(option)
        if target is None:
            continue
        for folder in writable:
            if _below(target, folder):
                raise Bug(f"box argv: {option[0]} {target} lies at or below the writable bind {folder}")
        if option[0] == "--bind":
            writable.append(target)


def _check_fresh_mount_points(given: Sequence[_Option]) -> None:
    """Nothing lies in a bind but in trees of ours; of writable binds the manager's state in its tree of agents only."""
    bound: list[str] = []
    for option in given:
        name, target = option[0], _target(option)
        if target is None:
            continue
        for folder in bound:
            own_state = folder == _MANAGER_TREE and target.count("/") == 3 and target.endswith("/state")
            allowed = own_state if name == "--bind" else folder.startswith(_OWN_TREES) and folder != target
            if _below(target, folder) and not allowed:
                raise Bug(f"box argv: {name} {target} lies in the bind {folder}")
        if name == "--ro-bind":
            bound.append(target)


def _check_sizes(given: Sequence[_Option]) -> None:
    sized = False
    for name, values in given:
        if name == "--tmpfs" and not sized:
            raise Bug(f"box argv: --tmpfs {values[0]} without a size")
        sized = (name == "--size" and int(values[0]) > 0) or (sized and name == "--perms")


def _check_ends_read_only(given: Sequence[_Option]) -> None:
    for folder in ("/", "/dev"):
        last = max((at for at, (name, v) in enumerate(given) if name == "--remount-ro" and v[0] == folder), default=-1)
        made = [at for at, option in enumerate(given) if (target := _target(option)) and _below(target, folder)]
        if last < max(made, default=0):
            raise Bug(f"box argv: {folder} stays writable")
