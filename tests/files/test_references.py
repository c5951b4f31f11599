"""Files that agents name: which paths are readable, and that nothing leads out of their folders (FR-2 to FR-8, T23)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from melipona.boxes.folders import Folders, box_owner
from melipona.errors import Invalid, LimitReached, MeliponaError, NotFound, Refused
from melipona.files.references import READ_LIMIT, Files
from melipona.ids import AgentId, agent_name

ANA = agent_name("ana")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "hive", box_owner())
    folders.make_data()
    folders.make_agent(AgentId("a1"), ANA)
    (folders.state(ANA) / "notes.md").write_text("what I know\n")
    (folders.inbox(ANA) / "m1.txt").write_text("a long message")
    (folders.shared / "ana").mkdir()
    (folders.shared / "ana" / "picture.png").write_bytes(b"\x89PNG\xff\0")
    (folders.home(AgentId("a1")) / "secret").write_text("no")
    return folders


@pytest.fixture
def files(folders: Folders) -> Files:
    return Files(folders)


def test_state_inbox_and_shared_are_read_in_the_form_agents_see_and_in_the_hosts(
    files: Files, folders: Folders
) -> None:
    """FR-2, FR-5."""
    assert files.read("/agents/ana/state/notes.md").text == "what I know\n"
    assert files.read("/agents/ana/inbox/m1.txt").text == "a long message"
    assert files.read("/shared/ana/picture.png").text is None
    host = files.read(str(folders.state(ANA) / "notes.md"))
    assert (host.path, host.data) == ("/agents/ana/state/notes.md", b"what I know\n")


@pytest.mark.parametrize(
    "path",
    [
        "/state/notes.md",  # FR-6: whose?
        "/etc/passwd",
        "/agents/ana/home/secret",
        "/agents/ana/notes.md",
        "/agents/ana",
        "/shared",
        "notes.md",
        "agents/ana/state/notes.md",
        "",
    ],
)
def test_any_other_path_is_refused(files: Files, path: str) -> None:
    """FR-2, FR-5, FR-6."""
    with pytest.raises(Refused):
        files.read(path)


@pytest.mark.parametrize(
    "path",
    [
        "/agents/ana/state/../inbox/m1.txt",
        "/agents/ana/state/./notes.md",
        "/agents/ana/state//notes.md",
        "/shared/../mel.db",
        "/agents/../homes/a1/home/secret",
        "/agents/Ana/state/notes.md",
        "/agents/ana/state/notes.md\0.png",
        "/shared/" + "x" * 5000,
    ],
)
def test_a_path_that_is_not_written_plainly_is_refused(files: Files, path: str) -> None:
    """FR-4."""
    with pytest.raises((Invalid, Refused)):
        files.read(path)


def test_what_an_agent_puts_in_a_files_place_leads_nowhere(files: Files, folders: Folders, tmp_path: Path) -> None:
    """FR-4, T23: links, pipes, folders and second names of a file are no files of it."""
    outside = tmp_path / "outside"
    outside.write_text("the host's")
    state = folders.state(ANA)
    (state / "link").symlink_to(outside)
    (state / "way").symlink_to(tmp_path)
    (state / "folder").mkdir()
    os.mkfifo(state / "pipe")
    os.link(outside, state / "second")
    for name in ("link", "way/outside", "folder", "pipe", "second"):
        with pytest.raises(Invalid):
            files.read(f"/agents/ana/state/{name}")
    with pytest.raises(NotFound):
        files.read("/agents/ana/state/nothing")
    with pytest.raises(NotFound):
        files.read("/agents/nobody/state/notes.md")


def test_a_file_over_the_limit_is_refused_and_one_at_it_is_not(files: Files, folders: Folders) -> None:
    """FR-3."""
    big = folders.state(ANA) / "big"
    big.write_bytes(b"x" * READ_LIMIT)
    assert len(files.read("/agents/ana/state/big").data) == READ_LIMIT
    big.write_bytes(b"x" * (READ_LIMIT + 1))
    with pytest.raises(LimitReached):
        files.read("/agents/ana/state/big")


@given(st.text(st.characters() | st.sampled_from("/.\0"), max_size=60))
@example("../../mel.db")
@example("/agents/ana/state/\udcff")
def test_no_text_reads_what_is_not_offered(tmp_path_factory: pytest.TempPathFactory, tail: str) -> None:
    """T23: whatever is asked, the answer is a file of the three folders or an error of ours."""
    folders = Folders(tmp_path_factory.getbasetemp() / "asked", box_owner())
    folders.make_data()
    (folders.data / "mel.db").write_text("the store")
    for path in (tail, f"/shared/{tail}", f"/agents/ana/state/{tail}", f"/agents/{tail}"):
        try:
            found = Files(folders).read(path)
        except MeliponaError:
            continue
        assert found.data != b"the store"
