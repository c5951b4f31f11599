"""Which fault points there are, and where one is missing, read off the code: nothing is imported or run.

`points` lists every name. A commit's is made from the function that is written, so that is looked up as a reader would:
by the module it is imported from. `missing` finds the sites that need points: commits, calls to other processes and
services, starts of processes, reads of what a box has spooled, files that get their names. Each must have a point
before it and one after it in the function that it stands in.

    python -m melipona.testing.fault_points
"""

from __future__ import annotations

import ast
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import melipona

ROOT = Path(melipona.__file__).parent
APART = ("testing", "cli", "demo", "boxes/inside", "store/migrations", "boxes/seccomp")
"""Not of the daemon: tests' own, the client, the demo, what runs in boxes, generated code."""
ALONE = {
    "boxes/launcher.py": "processes of their own between the daemon and bwrap; one ends when its box runs",
    "client.py": "the client's side",
    "remote.py": "the same",
    "logs.py": "a line of the log changes nothing",
    "doctor.py": "looks, for a person who waits for it; what it starts goes through process.run",
    "boxes/bubblewrap_health.py": "the same",
    "boxes/bwrap_check.py": "the same",
}
"""Files whose sites need no points, and why."""
SPARED = {
    "_sync_folder": "makes a name durable that its caller has given: the caller has the points",
    "_send": "end_box, which sends the signals, has the points",
    "_afresh": "launch, which calls it, has the points",
    "_executable": "copies bwrap once; keep_tree has the points",
}
"""Functions the same."""
WRITES = ("write", "write_when_possible")
COMMITS = ("before_commit", "after_commit")
LINK_OPERATIONS = ("before_call", "after_call")


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the code that needs points."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.what}"


@dataclass(frozen=True, slots=True)
class _Function:
    """A function, with the line from which its points and sites are counted."""

    module: _Module
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def takes_connection(self) -> bool:
        names = [a for a in self.node.args.args if a.arg not in ("self", "cls")]
        return bool(names) and names[0].arg == "c"


@dataclass(slots=True)
class _Module:
    """One file of the code. `imported` is where its names come from, as files or (file, name)."""

    name: str
    tree: ast.Module
    imported: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def room(self) -> str:
        return self.name.partition("/")[0].removesuffix(".py")

    def functions(self) -> Iterator[_Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield _Function(self, node)


class Code:
    """The daemon's code."""

    def __init__(self, root: Path = ROOT) -> None:
        self.modules: list[_Module] = []
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root).as_posix()
            if not name.startswith(APART) and name != "faults.py":
                self.modules.append(_module(name, path.read_text()))

    def points(self) -> set[str]:
        """Every name of a point."""
        found = {name for module in self.modules for _, name in _named(module.tree)}
        found |= {f"link.{op}.{when}" for op in self._link_operations() for when in LINK_OPERATIONS}
        return found | {f"{op}.{when}" for op in self.written() for when in COMMITS}

    def written(self) -> set[str]:
        """Every operation of the store that is written somewhere: `mail.send`.

        Raises:
            LookupError: one cannot be told from the code; then its point would have no name here.
        """
        return {name for module in self.modules for function in module.functions() for name in self._ops(function)}

    def missing(self) -> list[Site]:
        """Sites without a point before or after them."""
        return [
            site
            for module in self.modules
            if module.name not in ALONE
            for function in module.functions()
            if function.node.name not in SPARED
            for site in _bare(function)
        ]

    def repeated(self) -> list[str]:
        """Names that more than one place has: a crash there would not say where."""
        places: dict[str, set[str]] = {}
        for module in self.modules:
            for line, name in _named(module.tree):
                places.setdefault(name, set()).add(f"{module.name}:{line}")
        return [f"{name}: {', '.join(sorted(at))}" for name, at in sorted(places.items()) if len(at) > 1]

    # ---- operations of the store -----------------------------------------------------------------------------------

    @cached_property
    def _by_name(self) -> dict[str, list[_Function]]:
        found: dict[str, list[_Function]] = {}
        for module in self.modules:
            for function in module.functions():
                if function.takes_connection:
                    found.setdefault(function.node.name, []).append(function)
        return found

    def _ops(self, function: _Function) -> Generator[str]:
        for call in _calls(function.node):
            if isinstance(call.func, ast.Attribute) and call.func.attr in WRITES and call.args and _of_store(call.func):
                yield from self._resolved(function, call.args[0])

    def _resolved(self, function: _Function, op: ast.expr) -> Generator[str]:
        if isinstance(op, ast.Name):
            handed = self._handed(function, op.id)
            if handed is not None:
                for where, each in handed:
                    yield from self._resolved(where, each)
                return
        name = op.attr if isinstance(op, ast.Attribute) else op.id if isinstance(op, ast.Name) else ""
        candidates = self._by_name.get(name, [])
        home = self._home(function.module, op)
        at_home = [f for f in candidates if f.module.name == home]
        rooms = {f.module.room for f in at_home or candidates}
        if len(rooms) != 1:
            where = f"{function.module.name}:{op.lineno}"
            raise LookupError(f"{where}: what is written by {ast.unparse(op)!r} is not clear: {sorted(rooms)}")
        yield f"{rooms.pop()}.{name.lstrip('_')}"

    def _home(self, module: _Module, op: ast.expr) -> str | None:
        """The file that an operation's function is from, where the expression tells."""
        if isinstance(op, ast.Name):
            return module.imported.get(op.id, module.name)
        if isinstance(op, ast.Attribute) and isinstance(op.value, ast.Name):
            return module.name if op.value.id in ("self", "cls") else module.imported.get(op.value.id)
        return None

    def _handed(self, function: _Function, name: str) -> list[tuple[_Function, ast.expr]] | None:
        """What a local name stands for: what it is assigned, or, of a parameter, what callers in the file hand in.

        None: it is no local name. The store's own functions hand on what they were given.
        """
        for node in ast.walk(function.node):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Tuple)
                and isinstance(node.value, ast.Tuple)
            ):
                for target, value in zip(node.targets[0].elts, node.value.elts, strict=True):
                    if isinstance(target, ast.Name) and target.id == name:
                        return [(function, value)]
        parameters = [a.arg for a in function.node.args.args if a.arg not in ("self", "cls")]
        if name not in parameters:
            return None
        if function.module.name == "store/engine.py" or function.node.name == "once":
            return []
        at = parameters.index(name)
        return [
            (other, call.args[at])
            for other in function.module.functions()
            for call in _calls(other.node)
            if _called(call) == function.node.name and len(call.args) > at
        ]

    def _link_operations(self) -> set[str]:
        [module] = [m for m in self.modules if m.name == "boxes/link_unix.py"]
        found: set[str] = set()
        for function in module.functions():
            if any(_called(call) == "_call" for call in _calls(function.node)):
                for node in ast.walk(function.node):
                    if isinstance(node, ast.Dict):
                        found |= {
                            str(value.value)
                            for key, value in zip(node.keys, node.values, strict=True)
                            if isinstance(key, ast.Constant) and key.value == "op" and isinstance(value, ast.Constant)
                        }
        return found


def _module(name: str, text: str) -> _Module:
    module = _Module(name, ast.parse(text))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("melipona"):
            base = (node.module or "").removeprefix("melipona").lstrip(".").replace(".", "/")
            for alias in node.names:
                inner = f"{base}/{alias.name}.py".lstrip("/")
                is_module = (ROOT / inner).is_file()
                module.imported[alias.asname or alias.name] = inner if is_module else f"{base}.py"
    return module


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (each for each in ast.walk(node) if isinstance(each, ast.Call))


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _of_store(func: ast.Attribute) -> bool:
    """Whether what is written to is the store, or the part of it that may still write when the disk is full."""
    return ast.unparse(func.value).rpartition(".")[2].lstrip("_") in ("store", "reserved", "given")


def _named(tree: ast.AST) -> Generator[tuple[int, str]]:
    """Points that are named in the code, with their lines."""
    for call in _calls(tree):
        if _called(call) in ("fault", "fault_here") and call.args:
            given = call.args[0]
            for each in (given.body, given.orelse) if isinstance(given, ast.IfExp) else (given,):
                if isinstance(each, ast.Constant):
                    yield call.lineno, str(each.value)


# ---- sites ----------------------------------------------------------------------------------------------------------

SQL = ("COMMIT", "VACUUM INTO", "PRAGMA wal_checkpoint")
METHODS = {
    "upgrade": "a migration",
    "aiter_bytes": "a read of the upstream's answer",
    "create_subprocess_exec": "the start of a process",
    "create_subprocess_shell": "the start of a process",
    "Popen": "the start of a process",
    "fork": "the start of a process",
    "execve": "the start of a process",
    "pidfd_send_signal": "a signal to a process",
    "truncate": "a file is cut",
}


def _bare(function: _Function) -> Generator[Site]:
    points = [call.lineno for call in _calls(function.node) if _called(call) in ("fault", "fault_here", "_pass")]
    for line, what in _sites(function.node):
        if not (any(at <= line for at in points) and any(at >= line for at in points)):
            yield Site(function.module.name, line, f"{what} in {function.node.name}")


def _sites(node: ast.AST) -> Generator[tuple[int, str]]:
    for call in _calls(node):
        what = _what(call)
        if what is not None:
            yield call.lineno, what


def _what(call: ast.Call) -> str | None:
    """What a call does to the world, if it is one that needs points."""
    name, on = _called(call), ast.unparse(call.func)
    first = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
    if name == "execute" and isinstance(first, str) and first.startswith(SQL):
        return f"a commit ({first.split()[0]})"
    if on in ("subprocess.run", "subprocess.check_output", "subprocess.check_call"):
        return "the start of a process"
    if name == "send" and on.endswith("client.send"):
        return "a call of the upstream"
    if name == "next" and on.endswith("feed.next"):
        return "a read of the spool"
    if name in ("rename", "replace") and _of_a_path(call):
        return "a file gets its name"
    if on == "os.link":
        return "a file gets its name"
    if on in ("os.write", "os.truncate", "os.fork", "os.execve"):
        return f"{on}"
    return METHODS.get(name)


def _of_a_path(call: ast.Call) -> bool:
    """Not of a text or a record: a path's has one argument and no keyword."""
    return len(call.args) == 1 and not call.keywords


def main() -> None:
    """Print every point, and what is missing."""
    code = Code()
    for name in sorted(code.points()):
        print(name)
    for site in code.missing():
        print(f"MISSING {site}")


if __name__ == "__main__":
    main()
