"""Does this bwrap make mount points through links that an agent left in its workspace (CVE-2026-87766)?

The reproducer of SECURITY.md section 0, with the found binary, three ways (mount point, folder, file), each against a
victim folder of its own making. It uses options that boxes never use.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from anyio import fail_after, to_thread, wait_readable

from melipona.boxes.argv import host_facts
from melipona.boxes.folders import Owner
from melipona.boxes.launch import Stage, launch

_SECONDS = 20.0
_SANDBOX = ("--unshare-all", "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev")


class Verdict(StrEnum):
    """What the reproducer found."""

    SAFE = "safe"
    VULNERABLE = "vulnerable"
    UNKNOWN = "unknown"  # this bwrap starts no box at all


async def check_bwrap(bwrap: Path, owner: Owner) -> Verdict:
    """Run the reproducer against `bwrap` under the boxes' uid, in a folder that is removed again."""
    folder = await to_thread.run_sync(lambda: Path(tempfile.mkdtemp(prefix="mel-check-")).resolve())
    try:
        return await _check(bwrap, owner, folder)
    finally:
        await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


async def _check(bwrap: Path, owner: Owner, folder: Path) -> Verdict:
    seen = Stage(owner).see(folder, "check")
    _lay_out(folder, owner, seen)
    workspace = ["--bind", f"{seen}/ws", "/ws"]
    if await _run(bwrap, owner, folder, workspace) != 0:
        return Verdict.UNKNOWN
    for attack in (
        ["--ro-bind", f"{seen}/source", "/ws/.claude/settings.json"],
        ["--dir", "/ws/.claude/folder"],
        ["--symlink", "x", "/ws/.claude/link"],
    ):
        await _run(bwrap, owner, folder, [*workspace, *attack])
    return Verdict.VULNERABLE if any((folder / "victim").iterdir()) else Verdict.SAFE


def _lay_out(folder: Path, owner: Owner, seen: str) -> None:
    for name in ("ws", "victim"):
        (folder / name).mkdir(mode=0o700)
    (folder / "source").write_text("data")
    (folder / "ws/.claude").symlink_to(f"/oldroot{seen}/victim")
    if os.geteuid() == 0:
        for path in (folder, folder / "ws", folder / "victim", folder / "source"):
            os.chown(path, owner.uid, owner.gid)


async def _run(bwrap: Path, owner: Owner, folder: Path, options: Sequence[str]) -> int | None:
    """Exit code of `true` in a plain sandbox with `options`, None when bwrap never got so far."""
    stage = Stage(owner)
    stage.see(folder, "check")
    links = [part for name, to in host_facts().links.items() for part in ("--symlink", to, f"/{name}")]
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    quiet = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        argv = [stage.see_bwrap(bwrap), *_SANDBOX, *links, *options, "--json-status-fd", str(theirs), "--", "/bin/true"]
        await to_thread.run_sync(lambda: launch(argv, stage, descriptors=[theirs], stderr=quiet))
        os.close(theirs)
        theirs = -1
        return _exit_code(await _read_all(ours))
    finally:
        for fd in (ours, quiet, *([theirs] if theirs >= 0 else [])):
            os.close(fd)


async def _read_all(fd: int) -> bytes:
    text = b""
    with fail_after(_SECONDS):
        while True:
            await wait_readable(fd)
            more = os.read(fd, 4096)
            if not more:
                return text
            text += more


def _exit_code(status: bytes) -> int | None:
    for line in status.splitlines():
        try:
            code = json.loads(line).get("exit-code")
        except (ValueError, AttributeError):
            continue
        if isinstance(code, int):
            return code
    return None
