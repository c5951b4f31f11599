"""Bugs on purpose, for the tests of the tests: each rewrites a piece of the product's own source while a machine plays.

A bug is text that is replaced in a function or statement of the product, found by name, compiled in its module, and
put in the place of the original, for every caller, until the block ends. The product has no switch for any of it. One
whose text is not there (exactly once) cannot be seeded, and that fails the gate: somebody changed what it was about.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any


class DoesNotApply(Exception):
    """The text that a bug would replace is not in the product any more."""


@dataclass(frozen=True, slots=True)
class Bug:
    """`place` is `module:function`, `module:Class.method` or `module:STATEMENT`; `old` becomes `new` in its source."""

    name: str
    machine: str
    place: str
    old: str
    new: str
    breaks: str
    also: tuple[str, ...] = ()
    """Statements of the module that were made of the changed one, and are made again."""


@contextmanager
def seeded(bug: Bug) -> Generator[None]:
    """The product with `bug` in it, for as long as the block lasts.

    Raises:
        DoesNotApply: the product is not what the bug was written for.
    """
    name, _, path = bug.place.partition(":")
    module = importlib.import_module(f"melipona.{name}")
    source, owner = _source(module, path, bug)
    if source.count(bug.old) != 1:
        raise DoesNotApply(f"{bug.name}: {bug.old!r} stands {source.count(bug.old)} times in {bug.place}")
    present = getattr(owner, path.rpartition(".")[2])
    made = _compiled(module, path, source.replace(bug.old, bug.new))
    if bug.also:
        with _made_again(module, path, made, bug):
            yield
    elif isinstance(present, FunctionType):
        whole, present.__code__ = present.__code__, made.__code__
        try:
            yield
        finally:
            present.__code__ = whole
    else:
        kept = dict(vars(present))
        vars(present).update(vars(made))
        try:
            yield
        finally:
            vars(present).clear()
            vars(present).update(kept)


@contextmanager
def _made_again(module: Any, path: str, made: Any, bug: Bug) -> Generator[None]:
    """The changed value under its name, and what is made of it in place of what was."""
    kept = {name: dict(vars(getattr(module, name))) for name in bug.also}
    whole = getattr(module, path)
    setattr(module, path, made)
    try:
        for name in bug.also:
            again = _compiled(module, name, _source(module, name, bug)[0])
            vars(getattr(module, name)).update(vars(again))
        yield
    finally:
        setattr(module, path, whole)
        for name, state in kept.items():
            vars(getattr(module, name)).clear()
            vars(getattr(module, name)).update(state)


def _source(module: Any, path: str, bug: Bug) -> tuple[str, Any]:
    """The source of what `path` names, and the object that has it as an attribute."""
    text = inspect.getsource(module)
    nodes: list[ast.stmt] = ast.parse(text).body
    owner: Any = module
    found: ast.stmt | None = None
    for part in path.split("."):
        found = next((node for node in nodes if part in _names(node)), None)
        if found is None:
            raise DoesNotApply(f"{bug.name}: there is no {bug.place}")
        if isinstance(found, ast.ClassDef):
            nodes, owner = found.body, getattr(owner, part)
    assert found is not None
    first = min([found.lineno, *(one.lineno for one in getattr(found, "decorator_list", ()))])
    lines = text.splitlines(keepends=True)[first - 1 : found.end_lineno]
    return textwrap.dedent("".join(lines)), owner


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _compiled(module: Any, path: str, source: str) -> Any:
    """The changed piece, living among its module's names."""
    code = compile("from __future__ import annotations\n" + source, module.__file__, "exec")
    space: dict[str, Any] = {}
    exec(code, vars(module), space)  # the source is the product's own, with a bug of ours
    return space[path.rpartition(".")[2]]
