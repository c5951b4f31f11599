"""Hot statements: Core statements compiled to text once per dialect and run on the driver's own connection.

That costs a fifth of `Connection.execute` (PERFORMANCE.md section 11, rule 5). Only what every message and turn does is
worth it; everything else goes through `execute()`. Parameters are given by name, all of them; rows are plain tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from sqlalchemy import ClauseElement, Connection


class Hot:
    """A statement whose parameters are all bound by name at each run."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def _for(self, c: Connection) -> _Compiled:
        found = self._compiled.get(c.dialect.name)
        if found is None:
            compiled = self._statement.compile(dialect=c.dialect)
            names = tuple(getattr(compiled, "positiontup", None) or ())
            constants = {k: v for k, v in (compiled.params or {}).items() if not _required(compiled, k)}
            found = self._compiled[c.dialect.name] = (str(compiled), _picker(names), constants)
        return found

    def _cursor(self, c: Connection, values: dict[str, Any]) -> Any:
        sql, pick, constants = self._for(c)
        driver: Any = c.connection.driver_connection
        given = constants | values if constants else values
        return driver.execute(sql, given if pick is None else pick(given))

    def text(self, c: Connection) -> tuple[str, int]:
        """The text as the driver gets it, and how many parameters it has."""
        return self._for(c)[0], len(getattr(self._statement.compile(dialect=c.dialect), "positiontup", None) or ())

    def run(self, c: Connection, **values: Any) -> int:
        """Execute; the number of rows changed."""
        return int(self._cursor(c, values).rowcount)

    def insert(self, c: Connection, **values: Any) -> int:
        """Execute an INSERT; the new row's integer id."""
        cursor = self._cursor(c, values)
        return int(cursor.lastrowid if cursor.description is None else cursor.fetchone()[0])

    def all(self, c: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Every row."""
        return list(self._cursor(c, values).fetchall())

    def one(self, c: Connection, **values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        row = self._cursor(c, values).fetchone()
        return None if row is None else tuple(row)


_Picker = Callable[[Mapping[str, Any]], tuple[Any, ...]]
_Compiled = tuple[str, _Picker | None, dict[str, Any]]
"""The text; what puts values into the order of its parameters, None where the driver takes them by name; constants."""


def _picker(names: tuple[str, ...]) -> _Picker | None:
    if len(names) > 1:
        return itemgetter(*names)
    return (lambda values: (values[names[0]],)) if names else None


def _required(compiled: Any, name: str) -> bool:
    """A `bindparam` without a value, as opposed to a constant (None too) in the statement."""
    bind = compiled.binds.get(name)
    return bind is not None and bool(bind.required)
