"""The system call filter of boxes: one prebuilt file per architecture, beside its generator."""

from __future__ import annotations

import platform
from pathlib import Path

from melipona.errors import BoxStartFailed


def filter_path(machine: str | None = None) -> Path:
    """The compiled filter (for `bwrap --seccomp`) of this machine's architecture.

    Raises:
        BoxStartFailed: there is none; a box without a filter is never started.
    """
    name = machine or platform.machine()
    path = Path(__file__).parent / f"{name}.bpf"
    if not path.is_file():
        raise BoxStartFailed(
            f"no system call filter for {name}", remedy="run on x86_64 or aarch64", code="no_seccomp_filter"
        )
    return path
