"""./mel and ./test: quick when nothing is to do, and clear when something cannot be done (D-1)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .files import ROOT

LOCKS = ("requirements.lock", "requirements-claude.lock", "requirements-dev.lock", "requirements-uv.lock")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with a blank in its path, whose environment is a stand-in that is up to date."""
    root = tmp_path / "my clone"
    (root / "scripts").mkdir(parents=True)
    for name in ("mel", "test", "scripts/bootstrap.sh", "scripts/page.sh", "pyproject.toml", *LOCKS):
        shutil.copy2(ROOT / name, root / name)
    (root / ".venv/bin").mkdir(parents=True)
    _script(root / ".venv/bin/python", "exit 0")
    _script(root / ".venv/bin/mel", 'echo "mel: $*"; pwd')
    _stamp(root, "runtime")
    return root


def _script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def _stamp(root: Path, level: str) -> None:
    key = subprocess.run(
        ["sh", "-c", ". ./scripts/bootstrap.sh; root=$PWD; wanted_key"], cwd=root, capture_output=True, check=True
    )
    (root / ".venv/.melipona").write_text(f"{level}\n{key.stdout.decode()}")


def _run(root: Path, *args: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(root / "home"), **env}
    return subprocess.run(
        [str(root / "mel"), *args],
        cwd=cwd or root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_up_to_date_clone_hands_over_at_once_and_says_nothing(clone: Path, tmp_path: Path) -> None:
    done = _run(clone, "send", "ana", "two words", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"mel: send ana two words\n{tmp_path}\n"


def test_handing_over_starts_no_program_that_takes_its_time(clone: Path, tmp_path: Path) -> None:
    """Each `./mel` pays for it: no other Python, no Node, no installer, no lock."""
    for slow in ("python3", "python3.11", "uv", "node", "npm", "pip", "git", "flock", "apt-get"):
        _script(tmp_path / "tools" / slow, f'echo "$0 $*" >>"{tmp_path}/started"; exit 1')
    assert _run(clone, "x", PATH=f"{tmp_path}/tools:/usr/bin:/bin").returncode == 0
    assert not (tmp_path / "started").exists()


def test_a_link_to_the_script_finds_its_clone(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mel").symlink_to(clone / "mel")
    environ = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run([tmp_path / "bin/mel", "x"], env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("mel: x")


@pytest.fixture
def recording_uv(tmp_path: Path) -> Path:
    """A `uv` that only notes what it is asked for."""
    _script(tmp_path / "tools/uv", f'echo "$*" >>"{tmp_path}/asked"')
    return tmp_path / "tools"


def test_changed_locks_install_again_with_hashes_and_without_building(
    clone: Path, recording_uv: Path, tmp_path: Path
) -> None:
    with (clone / "requirements.lock").open("a") as lock:
        lock.write("\n")
    done = _run(clone, "x", PATH=f"{recording_uv}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text()
    assert "--require-hashes --only-binary :all:" in asked
    assert "-r requirements.lock" in asked
    assert "--no-deps --no-build-isolation" in asked
    assert "Melipona: installing" in done.stderr
    assert _run(clone, "x").stderr == ""


def test_an_update_keeps_what_was_installed_before(clone: Path, recording_uv: Path, tmp_path: Path) -> None:
    _stamp(clone, "dev")
    with (clone / "requirements-dev.lock").open("a") as lock:
        lock.write("\n")
    assert _run(clone, "x", PATH=f"{recording_uv}:/usr/bin:/bin").returncode == 0
    assert "-r requirements-dev.lock" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    ("args", "env", "lock"),
    [
        (["--with-claude", "doctor"], {}, "requirements-claude.lock"),
        (["up", "--detach"], {"ANTHROPIC_API_KEY": "k"}, "requirements-claude.lock"),
        (["--json", "agent", "new", "ana"], {"ANTHROPIC_AUTH_TOKEN": "k"}, "requirements-claude.lock"),
        (["demo"], {"ANTHROPIC_API_KEY": "k"}, "requirements.lock"),
        (["up"], {}, "requirements.lock"),
    ],
)
def test_the_command_line_of_claude_comes_when_it_is_wanted(
    clone: Path, recording_uv: Path, tmp_path: Path, args: list[str], env: dict[str, str], lock: str
) -> None:
    (clone / ".venv/.melipona").write_text("runtime\nold\n")
    done = _run(clone, *args, cwd=None, PATH=f"{recording_uv}:/usr/bin:/bin", **env)
    assert f"-r {lock}\n" in (tmp_path / "asked").read_text()
    assert done.stdout.startswith(f"mel: {' '.join(arg for arg in args if arg != '--with-claude')}\n")


def test_concurrent_runs_install_once(clone: Path, recording_uv: Path, tmp_path: Path) -> None:
    _stamp(clone, "runtime")
    (clone / ".venv/.melipona").write_text("runtime\nold\n")
    environ = {"PATH": f"{recording_uv}:/usr/bin:/bin", "HOME": str(tmp_path)}
    runs = [
        subprocess.Popen([clone / "mel", "x"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    outcomes = [(run.communicate(timeout=60), run.returncode) for run in runs]
    assert [code for _, code in outcomes] == [0] * 4, outcomes
    assert (tmp_path / "asked").read_text().count("-r requirements.lock") == 1


def test_a_failed_installation_shows_why_and_is_tried_again(clone: Path, tmp_path: Path) -> None:
    (clone / ".venv/.melipona").unlink()
    _script(tmp_path / "tools/uv", 'case $1 in --version) ;; *) echo "no route to the index"; exit 2 ;; esac')
    done = _run(clone, "x", PATH=f"{tmp_path}/tools:/usr/bin:/bin")
    assert done.returncode == 1
    assert "no route to the index" in done.stderr
    assert not (clone / ".venv/.melipona").exists()


def test_without_a_new_enough_python_the_message_is_the_line_to_type(clone: Path, tmp_path: Path) -> None:
    (clone / ".venv/.melipona").unlink()
    for tool in ("sh", "cat", "cksum", "dirname", "readlink", "mkdir", "id", "date", "flock", "rm"):
        found = shutil.which(tool, path="/usr/bin:/bin")
        assert found is not None
        _script(tmp_path / "few" / tool, f'exec {found} "$@"')
    text = (clone / "scripts/bootstrap.sh").read_text().replace("/usr/bin/python3", "/nowhere/python3")
    (clone / "scripts/bootstrap.sh").write_text(text)
    done = _run(clone, "x", PATH=str(tmp_path / "few"))
    assert done.returncode == 1
    assert "sudo apt-get install python3" in done.stderr


def _machine_without_venv(clone: Path, tools: Path, uid: int) -> None:
    """No uv; a Python whose `venv` works only once `apt-get` has run, and that has no pip."""
    (clone / ".venv/.melipona").unlink()
    text = (clone / "scripts/bootstrap.sh").read_text().replace("/usr/bin/python3", f"{tools}/python3")
    (clone / "scripts/bootstrap.sh").write_text(text)
    _script(tools / "id", f"echo {uid}")
    _script(tools / "apt-get", f'echo "$*" >>"{tools}/apt"')
    venv = 'd=$3; mkdir -p "$d/bin"; printf "#!/bin/sh\n" | tee "$d/bin/python" >"$d/bin/uv"; chmod +x "$d/bin/"*'
    script = f"""case "$1 $2" in
        "-c "*) echo "{tools}/python3" ;;
        "-m venv") test -e "{tools}/apt" || exit 1; {venv} ;;
        *) exit 1 ;;
    esac"""
    _script(tools / "python3", script)


def test_root_gets_a_missing_system_package_with_a_clear_message(clone: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    _machine_without_venv(clone, tools, uid=0)
    done = _run(clone, "x", PATH=f"{tools}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    assert "installing the system package python3-venv with apt-get" in done.stderr
    assert (tools / "apt").read_text().splitlines() == ["update", "install -y --no-install-recommends python3-venv"]


def test_an_ordinary_user_is_told_the_line_to_type(clone: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    _machine_without_venv(clone, tools, uid=1000)
    done = _run(clone, "x", PATH=f"{tools}:/usr/bin:/bin")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("sudo apt-get install python3-venv")
    assert not (tools / "apt").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_clone_that_cannot_be_written_says_so(clone: Path) -> None:
    (clone / ".venv/.melipona").unlink()
    clone.chmod(0o555)
    try:
        done = _run(clone, "x")
    finally:
        clone.chmod(0o755)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


@pytest.fixture
def paged(clone: Path) -> Path:
    """The clone with a page to build, an npm that says what it is asked, and a Node that is new enough."""
    (clone / "web/node_modules").mkdir(parents=True)
    (clone / "web/package-lock.json").write_text("{}")
    (clone / "src/melipona/api").mkdir(parents=True)
    _script(clone / "tools/node", "exit 0")
    _script(clone / "tools/npm", 'echo "$*" >>../npm.log; [ "$1" = ci ] || mkdir -p ../src/melipona/api/page')
    return clone


def _up(root: Path) -> list[str]:
    done = _run(root, "up", PATH=f"{root}/tools:/usr/bin:/bin")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "mel: up")
    return done.stderr.splitlines()


def test_a_clone_builds_the_page_once_and_again_when_it_changed(paged: Path) -> None:
    """With the packages of the build alone; a command that serves no page builds none."""
    assert _run(paged, "status", PATH=f"{paged}/tools:/usr/bin:/bin").stderr == ""
    assert "building the page" in _up(paged)[0]
    assert _up(paged) == []
    (paged / "web/index.html").write_text("new")
    assert "building the page" in _up(paged)[0]
    asked = (paged / "npm.log").read_text().splitlines()
    assert [line for line in asked if "build" in line] == ["run --silent build"] * 2
    assert all("--omit=dev" in line for line in asked if line.startswith("ci"))


def test_without_node_one_line_says_that_there_is_no_page(paged: Path) -> None:
    _script(paged / "tools/node", "exit 1")
    said = _up(paged)
    assert len(said) == 1
    assert "needs Node 20.19" in said[0]
    assert not (paged / "npm.log").exists()


def test_a_build_that_fails_keeps_nothing_from_running(paged: Path) -> None:
    _script(paged / "tools/npm", "echo no network >&2; exit 1")
    said = _up(paged)
    assert "could not be built" in said[-1]
    assert "no network" in (paged / ".mel/page.log").read_text()
    assert not (paged / "src/melipona/api/page/.melipona").exists()
