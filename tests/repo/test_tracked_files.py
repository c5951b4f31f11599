"""What is in the repository, and what is not."""

from __future__ import annotations

import os
import re

from .files import ROOT, below, text_of, tracked

# Put together here, so that this file does not name them either.
REGISTRIES = (
    *(".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"))),
    *(".".join(parts) for parts in (("crates", "io"), ("proxy", "golang", "org"), ("rubygems", "org"))),
    *(".".join(parts) for parts in (("npmjs", "com"), ("registry", "yarnpkg", "com"), ("deb", "debian", "org"))),
)
BINARY = {"src/melipona/boxes/seccomp/x86_64.bpf", "src/melipona/boxes/seccomp/aarch64.bpf"} | {
    f"docs/pictures/dashboard-{theme}.png"
    for theme in ("light", "dark")  # made by scripts/picture.py
}
LARGE_BYTES = 200_000
LARGE = {"docs/reference/openapi.json"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bsk-ant-[a-z0-9]{2,}-[A-Za-z0-9_-]{20,}")


def test_no_file_names_a_host_of_a_package_registry() -> None:
    """A clone installs from wherever the machine is configured to; the locks hold hashes, not addresses."""
    named = [f"{path}: {host}" for path in tracked() for host in REGISTRIES if host in (text_of(path) or "").casefold()]
    assert named == []


def test_only_system_call_filters_and_pictures_are_binary_and_nothing_is_large() -> None:
    binary = {str(path) for path in tracked() if text_of(path) is None}
    large = {str(path) for path in tracked() if (ROOT / path).stat().st_size > LARGE_BYTES}
    assert binary <= BINARY
    assert large <= LARGE


def test_generated_and_private_things_are_not_tracked() -> None:
    kinds = (".pyc", ".whl", ".sqlite", ".db", ".pem", ".key", ".so", ".egg-info")
    found = [str(path) for path in tracked() if path.name.endswith(kinds) or path.name in ("uv.lock", "mel.toml")]
    assert found == []


def test_no_tracked_file_holds_a_key() -> None:
    assert [str(path) for path in tracked() if PRIVATE_KEY.search(text_of(path) or "")] == []


def test_the_source_has_nothing_that_says_it_is_unfinished() -> None:
    found = [str(path) for path in below("src", ".py") if UNFINISHED.search(text_of(path) or "")]
    assert found == []


def test_commands_of_the_repository_can_be_run() -> None:
    for name in ("mel", "test", ".ci/run", "scripts/lock"):
        assert os.access(ROOT / name, os.X_OK), name
        assert (text_of((ROOT / name).relative_to(ROOT)) or "").startswith("#!/"), name


def test_the_licence_is_apache_2() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()


def test_text_files_end_with_one_line_end_and_have_no_trailing_blanks() -> None:
    bad: list[str] = []
    for path in tracked():
        text = text_of(path)
        if not text or path.name in ("LICENSE", "py.typed"):
            continue
        if not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]+$", text, re.MULTILINE):
            bad.append(str(path))
    assert bad == []
