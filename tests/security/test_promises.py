"""The page of promises: each line of the short list names tests that exist, or says that its part does not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/promises.md"
LINES = set(range(1, 36))
WITHOUT_A_PART = {
    10: "src/melipona/mounts",
    17: "src/melipona/git",
    18: "src/melipona/git",
    19: "src/melipona/approvals",
    23: "src/melipona/approvals",
    26: "src/melipona/hooks",
}
"""Lines about what this release has not, and the room that would have it."""


def _named() -> dict[int, list[tuple[str, str]]]:
    """Line to file and name of each test that the page names for it."""
    found: dict[int, list[tuple[str, str]]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\| (\d+) \| [^|]{20,} \| (.*) \|", line):
            found[int(match[1])] = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", match[2])
    return found


def _tests_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_line_of_the_short_list_has_a_test_or_no_part_yet() -> None:
    named = _named()
    assert set(named) | set(WITHOUT_A_PART) == LINES
    assert set(named) & set(WITHOUT_A_PART) == set()
    assert [line for line, tests in named.items() if not tests] == []


def test_every_test_that_the_page_names_exists() -> None:
    missing = [
        f"{line}: {file}::{test}"
        for line, tests in _named().items()
        for file, test in tests
        if not (ROOT / file).exists() or test not in _tests_of(file)
    ]
    assert missing == []


def test_a_part_that_is_there_now_has_a_line_with_tests() -> None:
    """Whoever builds it has to say here by what its promise is shown."""
    assert [line for line, room in WITHOUT_A_PART.items() if (ROOT / room).exists()] == []
    text = PAGE.read_text(encoding="utf-8")
    said = {int(number) for number in re.findall(r"\b(\d+)\b", text.partition("Not there yet")[2])}
    assert said == set(WITHOUT_A_PART)
