"""Folders that people look into: what is told of them, and that nothing leads out of them (FR-4, T23)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from melipona.boxes.folders import Folders, box_owner
from melipona.errors import Invalid, MeliponaError, NotFound, Refused
from melipona.files import listing
from melipona.files.listing import list_folder
from melipona.ids import AgentId, agent_name

ANA = agent_name("ana")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "hive", box_owner())
    folders.make_data()
    folders.make_agent(AgentId("a1"), ANA)
    return folders


def named(folders: Folders, path: str) -> list[str]:
    return [entry.name for entry in list_folder(folders, path).entries]


def test_folders_come_first_then_files_by_name_with_sizes(folders: Folders) -> None:
    state = folders.state(ANA)
    (state / "plans").mkdir()
    (state / "plans" / "b.md").write_text("b")
    (state / "notes.md").write_text("what I know")
    (state / "a.txt").write_text("")
    found = list_folder(folders, "/agents/ana/state")
    assert [(entry.name, entry.is_folder, entry.size) for entry in found.entries] == [
        ("plans", True, None),
        ("a.txt", False, 0),
        ("notes.md", False, 11),
    ]
    assert (found.more, found.unnamed) == (False, 0)
    assert named(folders, "/agents/ana/state/plans") == ["b.md"]
    assert named(folders, "/agents/ana/inbox") == []
    assert "mail" not in named(folders, "/shared") or (folders.shared / "mail").is_dir()


@pytest.mark.threat("T23")
def test_links_sockets_pipes_and_names_that_are_no_text_are_counted_and_not_named(folders: Folders) -> None:
    state = folders.state(ANA)
    (state / "plain").write_text("x")
    (state / "link").symlink_to("/etc/passwd")
    (state / "folder-link").symlink_to("/etc")
    os.mkfifo(state / "pipe")
    (state / "one").write_text("x")
    (state / "two").hardlink_to(state / "one")
    Path(os.fsdecode(os.fsencode(state) + b"/\xff\xfe")).write_text("x")
    found = list_folder(folders, "/agents/ana/state")
    assert [entry.name for entry in found.entries] == ["plain"]
    assert found.unnamed == 6


@pytest.mark.threat("T23")
@pytest.mark.parametrize(
    "path",
    ["/agents/ana", "/agents", "/", "/etc", "/homes/a1", "/agents/ana/home", "/state", "/data", "/agents/ana/ws"],
)
def test_no_other_folder_is_shown(folders: Folders, path: str) -> None:
    with pytest.raises((Refused, Invalid)):
        list_folder(folders, path)


@pytest.mark.threat("T23")
@pytest.mark.parametrize("way", ["..", "../..", "plans/../..", ".", "a//b", "a\0b", "x" * 5000])
def test_no_way_leads_up(folders: Folders, way: str) -> None:
    with pytest.raises(MeliponaError):
        list_folder(folders, f"/agents/ana/state/{way}")


@pytest.mark.threat("T23")
def test_a_folder_that_is_a_link_is_not_entered(folders: Folders) -> None:
    (folders.state(ANA) / "out").symlink_to("/etc")
    with pytest.raises(Invalid):
        list_folder(folders, "/agents/ana/state/out")


def test_what_is_not_there_is_not_found_and_a_file_is_no_folder(folders: Folders) -> None:
    (folders.state(ANA) / "file").write_text("x")
    for path in ("/agents/ana/state/none", "/agents/nobody/state", "/agents/ana/state/file"):
        with pytest.raises(NotFound):
            list_folder(folders, path)


def test_a_folder_of_any_size_is_looked_at_up_to_a_bound(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent can make half a million entries: no request reads them all."""
    monkeypatch.setattr(listing, "SHOWN_MOST", 3)
    monkeypatch.setattr(listing, "SEEN_MOST", 5)
    for number in range(9):
        (folders.state(ANA) / f"f{number}").touch()
    found = list_folder(folders, "/agents/ana/state")
    assert (len(found.entries), found.more) == (3, True)
