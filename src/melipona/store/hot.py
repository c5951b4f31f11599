"""Hot statements: Core statements compiled to text once per dialect and run on the driver's own connection.

That costs a fifth of `Connection.execute` (PERFORMANCE.md section 11, rule 5). Only what every message and turn does is
worth it; everything else goes through `execute()`. Parameters are given by name, all of them; rows are plain tuples.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ClauseElement, Connection


class Hot:
    """A statement whose parameters are all bound by name at each run."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {}

    def _for(self, c: Connection) -> tuple[str, tuple[str, ...], dict[str, Any]]:
        found = self._compiled.get(c.dialect.name)
        if found is None:
            compiled = self._statement.compile(dialect=c.dialect)
            names = tuple(getattr(compiled, "positiontup", None) or ())
            constants = {k: v for k, v in (compiled.params or {}).items() if not _required(compiled, k)}
            found = self._compiled[c.dialect.name] = (str(compiled), names, constants)
        return found

    def _cursor(self, c: Connection, values: dict[str, Any]) -> Any:
        sql, names, constants = self._for(c)
        driver: Any = c.connection.driver_connection
        if names:
            return driver.execute(sql, tuple(values[n] if n in values else constants[n] for n in names))
        return driver.execute(sql, constants | values)

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


def _required(compiled: Any, name: str) -> bool:
    """A `bindparam` without a value, as opposed to a constant (None too) in the statement."""
    bind = compiled.binds.get(name)
    return bind is not None and bool(bind.required)
