"""The smallest box that an engine program accepts, for contract tests of engines: right paths and a uid that is not 0.

It is no isolation: it shares the network with the host, so that a stub on loopback answers. Real boxes are tested by
`melipona.testing.box_suite`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from melipona.boxes.driver import INSIDE_HOME, INSIDE_WORK, Mount
from melipona.boxes.programs import find_bwrap


def mini_box_argv(*, home: Path, work: Path, mounts: Sequence[Mount] = ()) -> list[str]:
    """What to put before a program's argv so that it runs with `home`, `work` and `mounts` at their places in a box."""
    argv = [str(find_bwrap(os.environ)), "--unshare-user", "--uid", "1000", "--gid", "1000"]
    argv += ["--unshare-pid", "--die-with-parent", "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib64", "sbin"):
        if Path(f"/{name}").exists():
            argv += ["--symlink", f"usr/{name}", f"/{name}"]
    argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/etc", "--tmpfs", "/opt"]
    argv += ["--bind", str(home), INSIDE_HOME, "--bind", str(work), INSIDE_WORK]
    for mount in mounts:
        argv += ["--ro-bind", str(mount.source), mount.target]
    return [*argv, "--chdir", INSIDE_WORK, "--"]
