"""The index of the threat table: docs/security.md says where each row is tried, and that is true."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = [f"T{n}" for n in (*range(1, 18), 19, *range(22, 25), *range(29, 32), *range(33, 38), 40, 41, 44, 45, 47)]
"""The rows that "Prove it" asks for."""
WITHOUT_A_NOUN = {"T31": "questions"}


def _rows_of(node: ast.expr) -> set[str]:
    """The rows of a `pytest.mark.threat(...)` in an expression, wherever it stands."""
    return {
        str(argument.value)
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "threat"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def _tests_by_row() -> dict[str, set[str]]:
    """Row to files with tests that carry it: by `test_t12_...`, by a mark, or by the module's marks."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "threat(" not in text and "test_t" not in text:
            continue
        name = str(path.relative_to(ROOT))
        for node in ast.parse(text).body:
            rows: set[str] = set()
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets
            ):
                rows = _rows_of(node.value)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                rows = {row for decorator in node.decorator_list for row in _rows_of(decorator)}
                named = re.match(r"test_t(\d\d)_", node.name)
                rows |= {f"T{int(named[1])}"} if named else set()
            for row in rows:
                found[row].add(name)
    return found


def _documented() -> dict[str, set[str]]:
    """Row to the files that the table in docs/security.md names for it."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    section = text.partition("## Threats and their tests")[2].partition("\n## ")[0]
    found: dict[str, set[str]] = {}
    for line in section.splitlines():
        if match := re.match(r"\| (T\d+(?:, T\d+)*) \|.*\|(.*)\|$", line):
            for row in match[1].split(", "):
                found[row] = set(re.findall(r"`(tests/[\w/]+\.py)`", match[2]))
    return found


def test_every_row_has_a_test_that_carries_it() -> None:
    """By name or by mark; a row whose noun does not exist yet has none, and says so."""
    by_row = _tests_by_row()
    assert [row for row in ROWS if not by_row.get(row) and row not in WITHOUT_A_NOUN] == []
    assert [row for row in WITHOUT_A_NOUN if by_row.get(row)] == [], "its noun is there now: list its tests"


def test_the_page_names_a_true_test_for_every_row() -> None:
    """Each file that the page names for a row has a test that carries the row."""
    by_row, documented = _tests_by_row(), _documented()
    assert [row for row in ROWS if row not in documented] == []
    wrong = {row: files - by_row[row] for row, files in documented.items() if files - by_row[row]}
    assert wrong == {}
    assert [row for row, files in documented.items() if not files and row not in WITHOUT_A_NOUN] == []


def test_the_result_of_the_probe_stands_in_the_page() -> None:
    """T3: 34 attempts, each with what a box of ours does."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    attempts = re.findall(r"^\| \w+: [^|]+\|[^|]+\| (?:shut|\*\*open\*\*)[^|]*\|$", text, re.MULTILINE)
    assert len(attempts) == 34
