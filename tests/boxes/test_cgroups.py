"""Control groups: what is set where, and what is said when nothing can be set."""

from __future__ import annotations

from pathlib import Path

import pytest

from melipona.boxes.cgroups import Cgroups, memory_kills
from melipona.boxes.driver import BoxLimits
from melipona.boxes.limits import enforced

LIMITS = BoxLimits(memory_bytes=1 << 30, processes=100, cpu_weight=50)
V1 = "4:memory:/daemon\n8:pids:/\n1:cpu,cpuacct:/\n0::/\n"


def v1_tree(root: Path) -> None:
    for controller in ("memory/daemon", "pids", "cpu"):
        (root / controller).mkdir(parents=True)


def v2_tree(root: Path) -> None:
    (root / "cgroup.controllers").write_text("cpu memory pids")
    for folder in (root, root / "melipona"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.subtree_control").write_text("cpu memory pids")


def test_v1_leaves_lie_below_the_daemons_own_group(tmp_path: Path) -> None:
    """SECURITY.md 3.4: memory with swap, processes, shares."""
    v1_tree(tmp_path)
    (tmp_path / "memory/daemon/box").mkdir()
    (tmp_path / "memory/daemon/box/memory.memsw.limit_in_bytes").write_text("")
    leaves = Cgroups(tmp_path, V1).add("box", 42, LIMITS)
    assert leaves == [str(tmp_path / leaf / "box") for leaf in ("memory/daemon", "pids", "cpu")]
    for file, text in {
        "memory/daemon/box/memory.limit_in_bytes": str(1 << 30),
        "memory/daemon/box/memory.memsw.limit_in_bytes": str(1 << 30),
        "memory/daemon/box/cgroup.procs": "42",
        "pids/box/pids.max": "100",
        "cpu/box/cpu.shares": "512",
    }.items():
        assert (tmp_path / file).read_text() == text


def test_v2_has_one_leaf_that_dies_whole(tmp_path: Path) -> None:
    """SECURITY.md 3.4: memory.oom.group, no swap."""
    v2_tree(tmp_path)
    leaf = tmp_path / "melipona/box"
    leaf.mkdir()
    (leaf / "memory.oom.group").write_text("0")
    assert Cgroups(tmp_path, "0::/user.slice\n").add("box", 42, LIMITS) == [str(leaf)]
    files = {path.name: path.read_text() for path in leaf.iterdir()}
    assert files == {
        "memory.max": str(1 << 30),
        "memory.oom.group": "1",
        "pids.max": "100",
        "cpu.weight": "50",
        "cgroup.procs": "42",
    }


def test_no_limit_is_written_as_no_limit(tmp_path: Path) -> None:
    """`BoxLimits`: 0 means no limit."""
    v1_tree(tmp_path)
    Cgroups(tmp_path, V1).add("box", 42, BoxLimits(memory_bytes=0, processes=0))
    assert (tmp_path / "memory/daemon/box/memory.limit_in_bytes").read_text() == "-1"
    assert (tmp_path / "pids/box/pids.max").read_text() == "max"


def test_what_does_not_bind_is_said_with_its_reason(tmp_path: Path) -> None:
    """SECURITY.md 3.4: no silence about a missing memory limit; processes still bind inside the box."""
    found = {limit.name: limit for limit in enforced(Cgroups(tmp_path, "0::/\n"))}
    assert not found["memory_bytes"].binds
    assert "no cgroup controller memory" in found["memory_bytes"].how
    assert found["processes"].binds
    assert "rlimit" in found["processes"].how
    assert not found["disk"].binds


def test_a_controller_that_is_not_handed_down_does_not_bind(tmp_path: Path) -> None:
    """In a container v2's top group may hold processes, and then hands nothing down."""
    v2_tree(tmp_path)
    (tmp_path / "melipona/cgroup.subtree_control").unlink()
    (tmp_path / "melipona/cgroup.subtree_control").mkdir()
    place = Cgroups(tmp_path, "0::/\n").places["memory"]
    assert place.parent is None
    assert "does not hand down memory" in place.why


@pytest.mark.parametrize(
    ("file", "text"), [("memory.events", "oom 3\noom_kill 2\n"), ("memory.oom_control", "oom_kill 2\n")]
)
def test_kills_for_memory_are_counted(tmp_path: Path, file: str, text: str) -> None:
    """T6: the reason of a death."""
    (tmp_path / file).write_text(text)
    assert memory_kills([str(tmp_path), str(tmp_path / "gone")]) == 2


def test_a_user_with_systemd_gets_a_scope_per_box(tmp_path: Path) -> None:
    """SECURITY.md 3.4: limits by the user's systemd where it has the controllers, and no claim where it has not."""
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/private").write_text("")
    manager = tmp_path / "cgroup/user.slice/user-7.slice/user@7.service"
    manager.mkdir(parents=True)
    without = Cgroups(tmp_path / "cgroup", "0::/\n", environ, uid=7)
    assert without.scope(LIMITS, "u") == []
    (manager / "cgroup.controllers").write_text("memory pids")
    cgroups = Cgroups(tmp_path / "cgroup", "0::/\n", environ, uid=7)
    words = cgroups.scope(LIMITS, "u")
    assert words[:3] == ["/usr/bin/systemd-run", "--user", "--scope"]
    assert {"MemoryMax=1073741824", "MemorySwapMax=0", "TasksMax=100", "CPUWeight=50"} <= set(words)
    assert words[-1] == "--"
    binds = {limit.name: limit.binds for limit in enforced(cgroups)}
    assert binds["memory_bytes"]
    assert not binds["cpu_weight"]
    assert Cgroups(tmp_path / "cgroup", "0::/\n", {}, uid=7).scope(LIMITS, "u") == []


def test_stale_leaves_are_those_without_processes(tmp_path: Path) -> None:
    """D-3: a starting daemon removes what a crash left, and nothing that lives."""
    v1_tree(tmp_path)
    for name, processes in (("mel-a-1", ""), ("mel-a-2", "7\n"), ("mel-b-1", "")):
        leaf = tmp_path / "pids" / name
        leaf.mkdir()
        (leaf / "cgroup.procs").write_text(processes)
    assert Cgroups(tmp_path, V1).stale("mel-a-") == [str(tmp_path / "pids/mel-a-1")]


def test_a_leaf_swept_before_its_first_process_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hives of one machine: a sweep of empty leaves does not fail another's start."""
    v1_tree(tmp_path)
    cgroups = Cgroups(tmp_path, V1)
    true_write, swept = Path.write_text, list[str]()

    def write(path: Path, text: str) -> int:
        if path.name == "cgroup.procs" and not swept:
            swept.append(str(path))
            raise FileNotFoundError(path)
        return true_write(path, text)

    monkeypatch.setattr(Path, "write_text", write)
    assert len(cgroups.add("box", 42, LIMITS)) == 3
    assert swept
