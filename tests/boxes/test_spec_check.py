"""What is checked before a box is started: it needs no bwrap to be refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melipona.boxes.driver import BoxSpec, Mount
from melipona.boxes.folders import Folders, box_owner
from melipona.boxes.spec_check import check_mount, check_spec
from melipona.errors import BoxStartFailed, Invalid
from melipona.ids import AgentId, AgentName, BoxId


@pytest.fixture
def spec(tmp_path: Path) -> BoxSpec:
    folders = Folders(tmp_path / "data", box_owner())
    folders.make_data()
    agent, name, box = AgentId("one"), AgentName("ana"), BoxId("two")
    folders.make_agent(agent, name)
    folders.make_box(box)
    return BoxSpec(id=box, agent=name, folders=folders.of_box(agent, name, box, manager=True))


def test_a_sound_specification_passes(spec: BoxSpec) -> None:
    """The manager's too: its state lies in the folder of all agents."""
    check_spec(spec, box_owner())


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/opt", "/opt/", "/opt/mel", "/opt/mel/bin", "/opt/python/x", "/opt/a/../../etc", "/opt//x", "/opt/./x"),
        *("/etc", "/etc/passwd", "/etc/claude-code/other", "/usr/local", "/usr/local/nowhere", "/usr/lib/x", "x"),
        *("/ws/x", "/home/agent/x", "/agents/ana/state/x", "/run/mel/x", "/proc/x", "/tmp/x", "/opt/-x", "/opt/x\ny"),
    ],
)
def test_mounts_have_few_places(target: str) -> None:
    """Rule 1: never where an agent can write, never over what is ours, never through `..`."""
    with pytest.raises(BoxStartFailed, match="nothing can be mounted"):
        check_mount(Mount(Path("/usr"), target), box_owner())


@pytest.mark.parametrize("second", ["/opt/x", "/opt/x/y", "/opt/x/y/z"])
def test_no_mount_lies_in_another(spec: BoxSpec, tmp_path: Path, second: str) -> None:
    """Rule 1: what is in a layer may be an agent's making, so nothing is made in it."""
    tmp_path.chmod(0o755)
    mounts = [Mount(tmp_path, "/opt/x"), Mount(tmp_path, second)]
    for order in (mounts, mounts[::-1]):
        with pytest.raises(BoxStartFailed, match="lies in"):
            check_spec(replace(spec, mounts=order), box_owner())


@given(st.text(max_size=30))
def test_no_text_becomes_a_mount_elsewhere(text: str) -> None:
    """Rule 1, for every text."""
    for target in (text, "/" + text, "/opt/" + text):
        try:
            accepted = check_mount(Mount(Path("/usr"), target), box_owner())
        except BoxStartFailed:
            continue
        assert accepted.startswith(("/opt/", "/usr/local/", "/etc/claude-code"))
        assert ".." not in accepted.split("/")


@pytest.mark.parametrize("name", ["", "A=B", "1X", "X Y", "X\0"])
def test_odd_variables_are_refused(spec: BoxSpec, name: str) -> None:
    with pytest.raises(BoxStartFailed):
        check_spec(replace(spec, env={name: "x"}), box_owner())
    with pytest.raises(BoxStartFailed):
        check_spec(replace(spec, env={"X": "a\0b"}), box_owner())


def test_a_name_that_is_none_is_refused(spec: BoxSpec) -> None:
    """It becomes part of mount points."""
    with pytest.raises(Invalid):
        check_spec(replace(spec, agent=AgentName("../x")), box_owner())


def test_a_daemons_folder_that_others_can_write_is_refused(spec: BoxSpec) -> None:
    """Rule 2: sources of binds are the daemon's alone, but for the agent's own three."""
    for folder in (spec.folders.sockets, spec.folders.shared, spec.folders.inbox, spec.folders.state.parent):
        folder.chmod(0o777)
        with pytest.raises(BoxStartFailed, match="written by others"):
            check_spec(spec, box_owner())
        folder.chmod(0o755)


def test_a_folder_behind_a_link_is_refused(spec: BoxSpec, tmp_path: Path) -> None:
    """Rule 2: paths are canonical."""
    (tmp_path / "way").symlink_to(spec.folders.home.parent)
    behind = replace(spec.folders, home=tmp_path / "way/home")
    with pytest.raises(BoxStartFailed, match="link"):
        check_spec(replace(spec, folders=behind), box_owner())


def test_the_managers_state_lies_in_the_folder_of_all_agents(spec: BoxSpec) -> None:
    """Rule 1: its mount point is there already."""
    elsewhere = replace(spec.folders, state=spec.folders.home)
    with pytest.raises(BoxStartFailed, match="does not lie"):
        check_spec(replace(spec, folders=elsewhere), box_owner())
