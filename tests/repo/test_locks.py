"""The lock files: enough for pyproject.toml, one version each, every one with hashes (docs/adr/0003)."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .files import ROOT

LOCKS = ("requirements.lock", "requirements-claude.lock", "requirements-dev.lock", "requirements-uv.lock")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?P<marker> ;[^\\]*)?(?P<more>\s*\\)?$")


def pins(lock: str) -> dict[str, set[Version]]:
    """Every package of a lock with its versions (more than one only by markers)."""
    found: dict[str, set[Version]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if not line.startswith(" "):
            match = PIN.match(line)
            assert match is not None, f"{lock}: {line}"
            assert match["more"], f"{lock}: {match['name']} has no hash"
            found.setdefault(canonicalize_name(match["name"]), set()).add(Version(match["version"]))
    return found


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def wanted(lock: str) -> list[str]:
    """What a lock must be enough for."""
    file = project()
    extras, groups = file["project"]["optional-dependencies"], file["dependency-groups"]
    runtime = [*file["project"]["dependencies"], *file["build-system"]["requires"], "editables"]
    claude = [*runtime, *extras["claude"]]
    return {
        "requirements.lock": runtime,
        "requirements-claude.lock": claude,
        "requirements-dev.lock": [*claude, *groups["dev"]],
        "requirements-uv.lock": ["uv"],
    }[lock]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_the_project(lock: str) -> None:
    locked = pins(lock)
    for text in wanted(lock):
        requirement = Requirement(text)
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{lock} lacks {requirement.name}: run scripts/lock"
        assert any(version in requirement.specifier for version in versions), f"{lock}: {text}: run scripts/lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_hash_is_sha256_and_no_line_is_an_address_or_an_option(lock: str) -> None:
    for line in (ROOT / lock).read_text().splitlines():
        assert PIN.match(line) or re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


def test_what_runs_is_tested_in_the_same_version() -> None:
    dev = pins("requirements-dev.lock")
    for lock in ("requirements.lock", "requirements-claude.lock"):
        assert {name: versions for name, versions in pins(lock).items() if dev.get(name) != versions} == {}
