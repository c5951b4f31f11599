"""Our programs in boxes, compiled beforehand: else a script is compiled at each start, boxd for a fifth of a box's.

What a box is told to run is a few lines that look for the compiled form and else compile the source, which lies beside
it. It was made by the very interpreter of the boxes; where that was replaced meanwhile, its number says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from melipona.boxes.argv import INSIDE_PYTHON
from melipona.boxes.driver import INSIDE_OPT
from melipona.boxes.programs import BoxPython
from melipona.boxes.trees import File, Tree
from melipona.errors import MeliponaError
from melipona.process import plain_environment, run

PROGRAMS = ("boxd.py", "playbook.py")
SECONDS = timedelta(seconds=20)
STUB = f"""\
# Runs the compiled form of {INSIDE_OPT}/source/{{name}}, or compiles that.
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import loads
try:
    with open("{INSIDE_OPT}/compiled/{{name}}", "rb") as file:
        data = file.read()
except OSError:
    data = b""
if data[:len(MAGIC_NUMBER)] == MAGIC_NUMBER:
    program = loads(data[len(MAGIC_NUMBER):])
else:
    with open("{INSIDE_OPT}/source/{{name}}", "rb") as file:
        program = compile(file.read(), "{INSIDE_OPT}/source/{{name}}", "exec", dont_inherit=True)
exec(program)
"""
COMPILE = """\
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import dumps
program = compile(sys.stdin.buffer.read(), sys.argv[1], "exec", dont_inherit=True)
sys.stdout.buffer.write(MAGIC_NUMBER + dumps(program))
"""


async def with_compiled(tree: Tree, python: BoxPython) -> Tree:
    """`tree`, the /opt/mel of boxes, with its programs compiled by the Python of boxes; as it is where that fails."""
    found: dict[str, File] = {}
    for name in PROGRAMS:
        source = tree.get(name)
        if isinstance(source, File):
            found |= await _entries(name, source, python)
    return {**tree, **found}


async def _entries(name: str, source: File, python: BoxPython) -> Mapping[str, File]:
    try:
        argv = [_on_host(python), "-I", "-S", "-c", COMPILE, f"{INSIDE_OPT}/source/{name}"]
        done = await run(argv, timeout=SECONDS, env=plain_environment(), stdin=source.data)
    except MeliponaError:
        return {}
    if done.code or done.cut or not done.stdout:
        return {}
    return {
        name: File(STUB.format(name=name).encode(), executable=source.executable),
        f"source/{name}": source,
        f"compiled/{name}": File(done.stdout),
    }


def _on_host(python: BoxPython) -> str:
    """Where the interpreter of boxes lies outside of them."""
    if python.prefix is None:
        return python.path
    return str(python.prefix / Path(python.path).relative_to(INSIDE_PYTHON))
