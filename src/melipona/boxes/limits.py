"""Which limits of a box really bind on this machine, and how: said plainly, for `mel doctor` and `agent show`."""

from __future__ import annotations

from melipona.boxes.cgroups import Cgroups
from melipona.boxes.driver import Enforced

_RLIMIT = "rlimit, set by boxd before each program"


def enforced(cgroups: Cgroups) -> list[Enforced]:
    """One line per field of `BoxLimits`, and one for disk, which a plain folder does not limit."""
    return [
        _grouped("memory_bytes", "memory", cgroups),
        _processes(_grouped("processes", "pids", cgroups)),
        _grouped("cpu_weight", "cpu", cgroups),
        Enforced("open_files", True, _RLIMIT),
        Enforced("file_size_bytes", True, _RLIMIT),
        Enforced("tmp_bytes", True, "size of the tmpfs"),
        Enforced("shm_bytes", True, "size of the tmpfs"),
        Enforced("disk", False, "a plain folder has no quota: the daemon measures it and ends the box"),
    ]


def _grouped(name: str, controller: str, cgroups: Cgroups) -> Enforced:
    place = cgroups.places[controller]
    if place.parent is not None:
        return Enforced(name, True, place.why)
    if controller in cgroups.delegated:
        return Enforced(name, True, "systemd scope of the user")
    return Enforced(name, False, f"{place.why}; a systemd user session, or root, would limit it")


def _processes(grouped: Enforced) -> Enforced:
    """RLIMIT_NPROC counts within the box's own user namespace, so it binds where no control group does."""
    return grouped if grouped.binds else Enforced(grouped.name, True, f"{_RLIMIT} ({grouped.how})")
