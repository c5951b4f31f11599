"""Folders of agents and boxes: owners, modes, and removal whatever lies in them (D-6, D-8, D-9, invariant 36)."""

from __future__ import annotations

import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from melipona.boxes.folders import Folders, box_owner
from melipona.boxes.removal import remove_tree
from melipona.errors import Invalid, WorldFailed
from melipona.ids import AgentId, AgentName, BoxId

ANA, NAME, BOX = AgentId("0192-ana"), AgentName("ana"), BoxId("0192-box")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "data", box_owner())
    made.make_data()
    return made


def owner_and_mode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, stat.S_IMODE(found.st_mode)


def test_folders_have_exact_owners_and_modes_whatever_the_umask(folders: Folders) -> None:
    """D-9: what the agent writes is 0700 of the box's uid; what the daemon writes for it is readable and its own."""
    old = os.umask(0o077)
    try:
        folders.make_agent(ANA, NAME)
        folders.make_box(BOX)
    finally:
        os.umask(old)
    me, box = os.geteuid(), folders.owner.uid
    assert owner_and_mode(folders.data) == (me, 0o700)
    for path in (folders.home(ANA), folders.work(ANA), folders.state(NAME)):
        assert owner_and_mode(path) == (box, 0o700)
    for path in (folders.inbox(NAME), folders.sockets(BOX), folders.shared, folders.agents, folders.trees):
        assert owner_and_mode(path) == (me, 0o755)
    assert owner_and_mode(folders.home(ANA).parent) == (me, 0o700)


def test_making_folders_again_changes_nothing(folders: Folders) -> None:
    """D-9: a restarted daemon never changes the ownership of a live box's folders."""
    folders.make_agent(ANA, NAME)
    (folders.work(ANA) / "file").write_text("work")
    folders.work(ANA).chmod(0o751)
    folders.make_agent(ANA, NAME)
    assert owner_and_mode(folders.work(ANA)) == (folders.owner.uid, 0o751)
    assert (folders.work(ANA) / "file").read_text() == "work"


def test_a_link_in_place_of_a_folder_is_refused(folders: Folders, tmp_path: Path) -> None:
    """Rule 2: no path of ours goes through a link."""
    (folders.agents / "ana").symlink_to(tmp_path)
    with pytest.raises(WorldFailed):
        folders.make_agent(ANA, NAME)
    assert not (tmp_path / "state").exists()


def test_an_open_data_folder_is_refused(tmp_path: Path) -> None:
    """T40: the data folder is the daemon's alone."""
    tmp_path.chmod(0o755)
    with pytest.raises(WorldFailed, match="open to other users"):
        Folders(tmp_path, box_owner()).make_data()


@pytest.mark.parametrize("name", ["../bob", "a/b", "", ".", "operator", "Ana", "a" * 33])
def test_purge_takes_only_a_name(folders: Folders, name: str) -> None:
    """Invariant 36: nothing but an agent's own folders can be named."""
    with pytest.raises(Invalid):
        folders.purge_agent(ANA, AgentName(name))


@pytest.mark.parametrize("identifier", ["../bob", "a/b", "", ".", "..", "a" * 65])
def test_purge_takes_only_an_id(folders: Folders, identifier: str) -> None:
    """Invariant 36: nothing but an agent's own folders can be named."""
    with pytest.raises(Invalid):
        folders.purge_agent(AgentId(identifier), NAME)


def test_purge_removes_hostile_contents_and_nothing_else(folders: Folders, tmp_path: Path) -> None:
    """Invariant 36: links are removed and not followed; closed folders, sockets, fifos and odd names go too."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").write_text("precious")
    folders.make_agent(ANA, NAME)
    folders.make_agent(AgentId("bob"), AgentName("bob"))
    work = folders.work(ANA)
    (work / "link").symlink_to(outside)
    (work / "up").symlink_to("../../../..")
    os.mkfifo(work / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        fd = os.open(work, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{fd}/socket")
        os.close(fd)
    (work / ".1/.2/.1").mkdir(parents=True)
    (work / "\n\x1b[31m").write_text("x")
    os.link(outside / "file", work / "hard")
    closed = work / "closed/inner"
    closed.mkdir(parents=True)
    (closed / "file").write_text("x")
    closed.chmod(0)
    closed.parent.chmod(0o100)
    folders.purge_agent(ANA, NAME)
    assert (outside / "file").read_text() == "precious"
    assert (outside / "deep").is_dir()
    assert not folders.work(ANA).parent.exists()
    assert not folders.state(NAME).parent.exists()
    assert folders.work(AgentId("bob")).is_dir()
    assert list((folders.data / "trash").iterdir()) == []
    folders.purge_agent(ANA, NAME)


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    """Invariant 36: an agent cannot make a tree that is too deep to remove."""
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    remove_tree(top)
    assert not top.exists()


def test_an_interrupted_removal_is_finished(folders: Folders) -> None:
    """Invariant 36: what a crash left in the trash goes at the next start."""
    (folders.data / "trash/x/y").mkdir(parents=True)
    folders.empty_trash()
    assert list((folders.data / "trash").iterdir()) == []


def test_a_purge_that_failed_half_way_goes_on_where_it_was(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 36: it is not done before everything is gone, and what another removal left does not stop it."""
    from melipona.boxes import folders as module

    folders.make_agent(ANA, NAME)
    (folders.work(ANA) / "file").write_text("x")
    (folders.data / "trash/stuck").mkdir()
    failing = {ANA, "stuck"}

    def remove(top: Path) -> None:
        if any(top.name.startswith(name) for name in failing):
            raise WorldFailed(f"{top} cannot be removed: busy")
        remove_tree(top)

    monkeypatch.setattr(module, "remove_tree", remove)
    with pytest.raises(WorldFailed, match="busy"):
        folders.purge_agent(ANA, NAME)
    with pytest.raises(WorldFailed, match="busy"):
        folders.purge_agent(ANA, NAME)
    failing.remove(ANA)
    folders.purge_agent(ANA, NAME)
    assert [path.name for path in (folders.data / "trash").iterdir()] == ["stuck"]
    assert not folders.work(ANA).parent.exists()
    with pytest.raises(WorldFailed):
        folders.empty_trash()
    failing.clear()
    folders.empty_trash()
    assert list((folders.data / "trash").iterdir()) == []


def test_removals_run_side_by_side_and_twice(folders: Folders) -> None:
    """D-3, invariant 36: many boxes end at once, and a box's end may be noticed from two sides."""
    for _ in range(10):
        boxes = [BoxId(f"box-{number}") for number in range(8)]
        for box in boxes:
            folders.make_box(box)
        with ThreadPoolExecutor(16) as threads:
            for done in [threads.submit(folders.remove_box, box) for box in boxes + boxes]:
                done.result()
        assert list(folders.boxes.iterdir()) == list((folders.data / "trash").iterdir()) == []


@pytest.mark.threat("T44")
def test_a_namesake_inherits_nothing(folders: Folders) -> None:
    """T44: a destroyed agent's named folder is out of the way before its name is used again; purge still finds it."""
    folders.make_agent(ANA, NAME)
    (folders.state(NAME) / "token").write_text("old")
    folders.retire_agent(ANA, NAME)
    folders.make_agent(AgentId("0193-ana"), NAME)
    assert list(folders.state(NAME).iterdir()) == []
    folders.retire_agent(ANA, NAME)
    assert folders.state(NAME).is_dir()
    folders.purge_agent(ANA, None)
    assert not folders.home(ANA).exists()
    assert folders.state(NAME).is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_that_a_crash_left_unfinished_is_finished(folders: Folders) -> None:
    """D-9: made but not yet given to the box's uid."""
    folders.make_agent(ANA, NAME)
    folders.work(ANA).rmdir()
    folders.work(ANA).mkdir(mode=0o700)
    folders.make_agent(ANA, NAME)
    assert owner_and_mode(folders.work(ANA)) == (folders.owner.uid, 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_folder_of_somebody_else_is_refused(folders: Folders) -> None:
    """D-9: ownership is never changed silently."""
    folders.make_agent(ANA, NAME)
    os.chown(folders.home(ANA), 12345, 12345)
    with pytest.raises(WorldFailed, match="12345"):
        folders.make_agent(ANA, NAME)
