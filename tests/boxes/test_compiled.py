"""Programs of boxes run from their compiled form, made by the Python that runs them, and without it all the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from melipona.boxes.compiled import with_compiled
from melipona.boxes.driver import INSIDE_OPT
from melipona.boxes.programs import BoxPython, find_python
from melipona.boxes.trees import File, folder_tree, keep_tree

pytestmark = pytest.mark.anyio
SAYS = b"import sys\nif __name__ == '__main__':\n    print('it is', sys.argv[1:], len(sys.modules))\n"


def _run(folder: Path, name: str = "boxd.py") -> str:
    """As in a box, where the tree lies at `INSIDE_OPT`."""
    text = (folder / name).read_text().replace(INSIDE_OPT, str(folder))
    return subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", text, "one"], check=True, capture_output=True, text=True, timeout=20
    ).stdout


async def test_a_program_runs_as_itself_from_its_compiled_form(tmp_path: Path) -> None:
    tree = await with_compiled({"boxd.py": File(SAYS), "other": File(b"x")}, await find_python())
    assert set(tree) == {"boxd.py", "source/boxd.py", "compiled/boxd.py", "other"}
    folder = keep_tree(tmp_path, "opt", tree)
    (folder / "source" / "boxd.py").unlink()  # it is not read
    assert _run(folder).startswith("it is ['one']")


@pytest.mark.parametrize("broken", [b"", b"\x00\x00\r\n of another Python"])
async def test_where_the_compiled_form_is_of_another_python_the_source_runs(tmp_path: Path, broken: bytes) -> None:
    """After an upgrade of the machine's Python under a running daemon."""
    tree = dict(await with_compiled({"boxd.py": File(SAYS)}, await find_python()))
    tree["compiled/boxd.py"] = File(broken)
    assert _run(keep_tree(tmp_path, "opt", tree)).startswith("it is ['one']")


async def test_what_cannot_be_compiled_stays_as_it_is() -> None:
    tree = {"boxd.py": File(b"this is no program")}
    assert await with_compiled(tree, await find_python()) == tree
    assert await with_compiled({"boxd.py": File(SAYS)}, BoxPython("/usr/bin/no-such-python", None)) == {
        "boxd.py": File(SAYS)
    }


async def test_the_tree_is_the_same_each_time(tmp_path: Path) -> None:
    """It is named by its content: a daemon that starts again makes no new one."""
    inside = folder_tree(Path(__file__).parents[2] / "src/melipona/boxes/inside")
    python = await find_python()
    first = keep_tree(tmp_path, "opt", await with_compiled(inside, python))
    assert keep_tree(tmp_path, "opt", await with_compiled(inside, python)) == first
