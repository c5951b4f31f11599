"""Write the system call filters: `python -m melipona.boxes.seccomp.generate [FOLDER]`. Needs pyseccomp.

A deny list in the manner of Flatpak's plus what came later (SECURITY.md sections 3.2, 3.6). Foreign architectures
(32-bit calls on x86_64) are killed. `clone3` answers ENOSYS so that the C library falls back to `clone`, whose flags a
filter can see. The bytes are the product: a test generates them again and compares.
"""

from __future__ import annotations

import errno
import importlib
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ARCHITECTURES = {"x86_64": ("X86_64", 0xC000003E), "aarch64": ("AARCH64", 0xC00000B7)}
"""libseccomp's name and the kernel's number (AUDIT_ARCH_*) of each."""

REFUSED = (
    *("syslog", "uselib", "acct", "quotactl", "quotactl_fd", "add_key", "keyctl", "request_key", "move_pages", "mbind"),
    *("get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "unshare", "setns", "mount"),
    *("umount", "umount2", "pivot_root", "chroot", "swapon", "swapoff", "reboot", "kexec_load", "kexec_file_load"),
    *("init_module", "finit_module", "delete_module", "create_module", "sethostname", "setdomainname", "settimeofday"),
    *("clock_settime", "clock_adjtime", "adjtimex", "stime", "iopl", "ioperm", "modify_ldt", "vhangup", "bpf"),
    *("perf_event_open", "userfaultfd", "fanotify_init", "lookup_dcookie", "nfsservctl", "open_by_handle_at"),
    *("name_to_handle_at", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "vmsplice", "ptrace"),
)
"""Answered with EPERM."""

ABSENT = (
    *("clone3", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
)
"""Answered with ENOSYS: programs fall back."""

ABSENT_NUMBERS = {"statmount": 457, "listmount": 458, "open_tree_attr": 467, "listns": 470}
"""The same for calls newer than libseccomp 2.5.4, by number (those above 423 are the same on all architectures).

libseccomp cannot translate a number it does not know to another architecture, so these go into a prefix of our own.
"""

_NEW_NAMESPACES = (0x10000000, 0x00020000, 0x08000000, 0x04000000, 0x20000000, 0x40000000, 0x02000000)
_DEVICE_KINDS = (0o020000, 0o060000)  # not FIFOs: mkfifo is a normal thing to do
_TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_FAMILIES = (0, 1, 2, 10, 16)  # unspecified, unix, inet, inet6, netlink (route only)
_FAMILY_LIMIT = 46
_NETLINK = 16


def build(architecture: str, out: Path) -> list[str]:
    """Write the filter of `architecture` to `out`; return the names of calls that libseccomp does not know."""
    s: Any = importlib.import_module("pyseccomp")
    name, number = ARCHITECTURES[architecture]
    native = getattr(s.Arch, name)
    rules = s.SyscallFilter(s.ALLOW)
    if s.system_arch() != native:
        rules.add_arch(native)
        rules.remove_arch(s.system_arch())
    unknown = _calls(s, rules)
    _arguments(s, rules, unknown)
    _families(s, rules)
    with out.open("wb") as file:
        file.write(_prefix(number, list(ABSENT_NUMBERS.values())))
        file.flush()
        rules.export_bpf(file)
    return unknown


def _prefix(architecture: int, numbers: Sequence[int]) -> bytes:
    """Instructions that answer `numbers` with ENOSYS on `architecture` and else fall through to what follows."""
    load, jump_equal, give = 0x20, 0x15, 0x06
    count = len(numbers)
    program = [(load, 0, 0, 4), (jump_equal, 0, count + 2, architecture), (load, 0, 0, 0)]
    for index, number in enumerate(numbers):
        program.append((jump_equal, count - 1 - index, int(index == count - 1), number))
    program.append((give, 0, 0, 0x00050000 | errno.ENOSYS))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _calls(s: Any, rules: Any) -> list[str]:
    unknown: list[str] = []
    for name in REFUSED:
        _rule(s, rules, unknown, s.ERRNO(errno.EPERM), name)
    for name in ABSENT:
        _rule(s, rules, unknown, s.ERRNO(errno.ENOSYS), name)
    return unknown


def _rule(s: Any, rules: Any, unknown: list[str], action: int, name: str, *arguments: Any) -> None:
    """One rule. A call that an architecture has not needs none there (libseccomp skips it)."""
    if s.resolve_syscall(s.system_arch(), name) == -1:
        unknown.append(name)
        return
    rules.add_rule(action, name, *arguments)


def _arguments(s: Any, rules: Any, unknown: list[str]) -> None:
    refuse = s.ERRNO(errno.EPERM)
    for kind in _DEVICE_KINDS:
        _rule(s, rules, unknown, refuse, "mknodat", s.Arg(2, s.MASKED_EQ, 0o170000, kind))
        _rule(s, rules, unknown, refuse, "mknod", s.Arg(1, s.MASKED_EQ, 0o170000, kind))
    for flag in _NEW_NAMESPACES:
        _rule(s, rules, unknown, refuse, "clone", s.Arg(0, s.MASKED_EQ, flag, flag))
    for request in _TERMINAL_INPUT:  # 32 bits: the kernel ignores the rest (CVE-2019-10063)
        _rule(s, rules, unknown, refuse, "ioctl", s.Arg(1, s.MASKED_EQ, 0xFFFFFFFF, request))
    _rule(s, rules, unknown, refuse, "personality", s.Arg(0, s.NE, 0))


def _families(s: Any, rules: Any) -> None:
    for call in ("socket", "socketpair"):
        for family in range(_FAMILY_LIMIT + 1):
            if family not in _FAMILIES:
                rules.add_rule(s.ERRNO(errno.EAFNOSUPPORT), call, s.Arg(0, s.EQ, family))
    rules.add_rule(s.ERRNO(errno.EAFNOSUPPORT), "socket", s.Arg(0, s.GT, _FAMILY_LIMIT))
    rules.add_rule(s.ERRNO(errno.EPROTONOSUPPORT), "socket", s.Arg(0, s.EQ, _NETLINK), s.Arg(2, s.NE, 0))


def main() -> None:
    """Write all filters beside this file, or into the folder given."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for architecture in ARCHITECTURES:
        out = folder / f"{architecture}.bpf"
        unknown = build(architecture, out)
        print(f"{out}: {out.stat().st_size} bytes; unknown to libseccomp: {unknown}")


if __name__ == "__main__":
    main()
