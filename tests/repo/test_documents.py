"""The documents: links resolve, commands exist, the reference equals the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from melipona.cli.main import root
from melipona.mail.model import MessageState
from melipona.turns.model import TurnState
from melipona.turns.status import State

from .files import ROOT, below, text_of, tracked

DOCUMENTS = [path for path in tracked() if path.suffix == ".md"]
LINK = re.compile(r'(?:(?<!!)!?\[[^\]]*\]\(|<(?:img|source)\b[^>]*?\bsrc(?:set)?=")(?P<target>[^)\s"]+)[)"]')
BLOCK = re.compile(r"^```(?:sh|console|bash)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(?:\./)?(mel(?: [^`]*)?)`")
KIND = re.compile(
    r"(agent|box|budget|clock|daemon|disk|file|identity|login|message|model|operation|passkey|"
    r"person|recovery|session|store|thread|token|tombstones|turn)\.[a-z]+(_[a-z]+)*"
)
NOT_KINDS = {"daemon.log", "daemon.lock", "login.html", "login.js", "login.css", "message.json"}


def _read(name: str) -> str:
    return (ROOT / name).read_text()


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_to_tracked_files_and_headings(document: Path) -> None:
    known = set(tracked()) | {parent for path in tracked() for parent in path.parents}
    for match in LINK.finditer(text_of(document) or ""):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = Path(*(ROOT / document.parent / target).resolve().relative_to(ROOT).parts) if target else document
        assert path in known, f"{document}: {match['target']}"
        if anchor:
            assert anchor in _anchors(text_of(path) or ""), f"{document}: {match['target']}"


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.name not in ("cli.md", "tools.md")], ids=str)
def test_commands_in_documents_exist_with_their_options(document: Path) -> None:
    text = text_of(document) or ""
    lines = [line.strip() for block in BLOCK.findall(text) for line in block.splitlines()]
    lines += INLINE.findall(text)
    for line in lines:
        words = re.sub(r"^(\$ |sudo )?(\./|/\S*/)?", "", line).split("#")[0].split()
        if words and words[0] == "mel" and "/opt/mel" not in line and "INSIDE" not in line:
            _check_command(words[1:], f"{document}: {line}")


def _check_command(words: list[str], where: str) -> None:
    """Each word up to the first argument names a command, each option is one of it."""
    command: click.Command = root
    context = click.Context(root, info_name="mel")
    known: set[str] = set()
    words = [word for word in words if word != "--with-claude"]
    while isinstance(command, click.Group) and words:
        if words[0].startswith("-"):
            words = words[1:] if words[0] in ("--json", "--version", "--help") else words[2:]
            continue
        found = command.get_command(context, words[0])
        if found is None:
            assert command.invoke_without_command or not re.fullmatch(r"[a-z-]+", words[0]), where
            break
        command, words = found, words[1:]
    known |= {"--help", "--version"} | {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.split("=")[0].rstrip(",;") in known, f"{where}: {word}"


def test_the_readmes_two_commands_are_there() -> None:
    """D-1."""
    readme = _read("README.md")
    assert "./mel demo" in readme
    assert re.search(r"^\./test$", readme, re.MULTILINE)


def test_the_generated_reference_equals_the_code() -> None:
    argv = [sys.executable, "scripts/reference.py", "--check"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _first_column(name: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)`", _read(name), re.MULTILINE))


def _kinds_in_source() -> set[str]:
    """Every string of the source that reads as the kind of an event."""
    found: set[str] = set()
    for path in below("src", ".py"):
        if not path.is_relative_to("src/melipona/testing"):
            for node in ast.walk(ast.parse(text_of(path) or "")):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and KIND.fullmatch(node.value):
                    found.add(node.value)
    return (found | {f"turn.{state.value}" for state in TurnState}) - NOT_KINDS


def test_every_kind_of_event_is_documented() -> None:
    assert _first_column("docs/reference/events.md") == _kinds_in_source()


def test_every_state_is_documented() -> None:
    words = _first_column("docs/reference/states.md")
    assert {state.value for state in State} <= words
    assert {state.value for state in MessageState} <= words


def test_every_decision_threat_and_invariant_that_code_cites_is_explained() -> None:
    explained = set(re.findall(r"^\| ([A-Z]+-?\d+) \|", _read("docs/design-ids.md"), re.MULTILINE))
    sources = [*below("src", ".py"), *below("tests", ".py")]
    cited = {match for path in sources for match in re.findall(r"\b(?:D-|I-|T)\d+\b", text_of(path) or "")}
    assert cited - explained == set()


def test_docs_are_reached_from_their_index() -> None:
    """Nothing lies in docs/ that no page links to."""
    linked: set[Path] = set()
    for document in DOCUMENTS:
        for match in LINK.finditer(text_of(document) or ""):
            target = match["target"].partition("#")[0]
            if target and not re.match(r"[a-z]+:", target):
                linked.add((ROOT / document.parent / target).resolve().relative_to(ROOT))
    pages = {path for path in tracked() if path.is_relative_to("docs")}
    assert pages - linked == set()
